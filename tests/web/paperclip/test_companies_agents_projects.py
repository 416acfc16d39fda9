"""Companies, agents, projects, goals (contract 7.2, 7.3, 7.4)."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api import Api
from tests.web import people

TIMES = ("id", "createdAt", "updatedAt")


def without_times(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name not in TIMES}


def error(api: Api, method: str, path: str, body: Any = ..., **kwargs: Any) -> tuple[int, str]:
    answer = api.request(method, path, body, **kwargs)
    return answer.status_code, answer.json()["error"]


def test_a_company_has_exactly_the_contracts_fields(api: Api):
    company = api.post("/companies", {"name": " Quokka Ltd ", "id": "x", "issueCounter": 9})

    assert {
        "name": "Quokka Ltd",
        "description": None,
        "status": "active",
        "issuePrefix": "QUO",
        "issueCounter": 0,
        "defaultResponsibleUserId": None,
        "budgetMonthlyCents": 0,
        "spentMonthlyCents": 0,
        "requireBoardApprovalForNewAgents": False,
        "budget": None,  # ours
    } == without_times(company)
    assert company["createdAt"] == company["updatedAt"]
    assert company == api.get(f"/companies/{company['id']}")


def test_issue_prefixes_grow_by_a_letter_until_they_are_free(api: Api):
    prefixes = [api.post("/companies", {"name": name})["issuePrefix"] for name in ("Zebra", "Zebu x", "zeb", "1Z")]

    assert ["ZEB", "ZEBA", "ZEBB", "ZXX"] == prefixes


def test_a_user_sees_the_companies_they_belong_to_oldest_first(api: Api):
    company = api.company("Mine")
    api.company("Not mine")

    assert [company] == [row["id"] for row in api.get("/companies", token=people.member(api, company, "viewer"))]
    assert company in [row["id"] for row in api.get("/companies")]
    assert [] == api.get("/companies", token=people.user(api)[1])


def test_the_companies_are_read_a_part_at_a_time_by_whoever_asks_for_so_many(api: Api):
    companies = [api.company() for _ in range(3)]
    user_id, token = people.user(api)
    for company in companies:
        api.post(f"/companies/{company}/members", {"userId": str(user_id), "membershipRole": "viewer"})
    all_companies = [row["id"] for row in api.get("/companies", token=token)]

    first = api.request("GET", "/companies?limit=2", token=token)
    rest = api.get("/companies", token=token, params={"limit": 2, "cursor": first.headers["X-Next-Cursor"]})

    assert sorted(companies) == sorted(all_companies)
    assert all_companies == [row["id"] for row in [*first.json(), *rest]]
    assert all_companies[:2] == [row["id"] for row in first.json()]
    assert 2 == len(api.get("/companies?limit=2"))  # of all, whom an instance admin sees
    assert 400 == api.request("GET", "/companies?limit=0").status_code


def test_an_archived_company_stays_archived_whatever_is_sent(api: Api):
    company = api.company()
    api.post(f"/companies/{company}/archive")

    for body in ({"status": "active"}, {"name": "Again"}, {}):
        refusal = api.request("PATCH", f"/companies/{company}", body)
        assert (409, "Company is archived") == (refusal.status_code, refusal.json()["error"])
    assert "archived" == api.post(f"/companies/{company}/archive")["status"]


def test_a_company_is_renamed_and_archived(api: Api):
    company = api.company()

    renamed = api.patch(f"/companies/{company}", {"name": "Better", "description": "d"})
    cleared = api.patch(f"/companies/{company}", {"description": None})
    archived = api.post(f"/companies/{company}/archive")

    assert ("Better", "d", None, "archived") == (
        renamed["name"],
        renamed["description"],
        cleared["description"],
        archived["status"],
    )
    assert archived == api.get(f"/companies/{company}")


def test_every_reply_about_a_company_counts_its_issues(api: Api):
    company = api.company()
    api.post(f"/companies/{company}/issues", {"title": "One"})

    assert 1 == api.get(f"/companies/{company}")["issueCounter"]
    assert 1 == api.patch(f"/companies/{company}", {"description": "x"})["issueCounter"]
    assert 1 == api.post(f"/companies/{company}/archive")["issueCounter"]


@pytest.mark.parametrize(
    "id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense", "11111111-1111-4111-8111-11111111111g"]
)
def test_an_unknown_company_is_not_found(api: Api, id_: str):
    for path in ("", "/agents", "/projects", "/goals", "/routines", "/issues"):
        assert (404, "Company not found") == error(api, "GET", f"/companies/{id_}{path}")
    assert (404, "Company not found") == error(api, "POST", f"/companies/{id_}/routines", {"title": "x"})


def test_an_agent_has_exactly_the_contracts_fields(api: Api):
    company = api.company()

    agent = api.post(f"/companies/{company}/agents", {"name": " Ada Scout "})

    assert {
        "companyId": company,
        "name": "Ada Scout",
        "role": "general",
        "title": None,
        "status": "idle",
        "reportsTo": None,
        "adapterType": "process",
        "adapterConfig": {},
        "urlKey": "ada-scout",
        "pausedAt": None,
        "pauseReason": None,
        "permissions": {},
        "budgetMonthlyCents": 0,
        "spentMonthlyCents": 0,
        "metadata": None,
        "heartbeatUrl": None,  # ours
        "budget": None,  # ours
    } == without_times(agent)
    assert agent == api.get(f"/agents/{agent['id']}")
    assert [agent] == api.get(f"/companies/{company}/agents")


def test_an_agent_keeps_what_it_is_given(api: Api):
    company = api.company()
    chief, _ = api.agent(company, "Chief")
    given = {
        "role": "engineer",
        "title": "Staff",
        "reportsTo": chief,
        "adapterType": "http",
        "adapterConfig": {"url": "x", "deep": [1, 2.5, None, {"a": True}]},
        "metadata": {"k": 10**20},
        "budgetMonthlyCents": 2**53 - 1,
    }

    agent = api.post(f"/companies/{company}/agents", {"name": "A", **given})
    changed = api.patch(f"/agents/{agent['id']}", {"title": None, "reportsTo": None, "metadata": None, "name": "B"})

    assert given == {name: agent[name] for name in given}
    assert given | {"title": None, "reportsTo": None, "metadata": None} == {name: changed[name] for name in given}
    assert ("B", "a") == (changed["name"], changed["urlKey"])


def test_agents_are_found_by_their_short_name_within_a_company(api: Api):
    company = api.company()
    agent_ids = [api.agent(company, "Scout")[0] for _ in range(3)]

    named_ids = [api.get(f"/agents/{name}?companyId={company}")["id"] for name in ("scout", "scout-2", "scout-3")]

    assert agent_ids == named_ids == [agent["id"] for agent in api.get(f"/companies/{company}/agents")]
    assert (422, "Agent shortname lookup requires companyId query parameter") == error(api, "GET", "/agents/scout")
    assert (404, "Agent not found") == error(api, "GET", f"/agents/nobody?companyId={company}")
    assert (404, "Agent not found") == error(api, "GET", f"/agents/scout?companyId={api.company()}")
    assert (404, "Agent not found") == error(api, "GET", f"/agents/{uuid4()}")


def test_an_agent_is_paused_resumed_and_terminated(api: Api):
    agent, token = api.agent(api.company())

    paused = api.post(f"/agents/{agent}/pause", {"reason": "holiday"})
    resumed = api.post(f"/agents/{agent}/resume")
    gone = api.post(f"/agents/{agent}/terminate")

    assert ("paused", "holiday", True) == (paused["status"], paused["pauseReason"], bool(paused["pausedAt"]))
    assert ("idle", None, None) == (resumed["status"], resumed["pauseReason"], resumed["pausedAt"])
    assert "terminated" == gone["status"]
    assert (409, "Cannot resume terminated agent") == error(api, "POST", f"/agents/{agent}/resume")
    assert (409, "Cannot pause terminated agent") == error(api, "POST", f"/agents/{agent}/pause", {})
    assert (409, "Only pending approval agents can be approved") == error(api, "POST", f"/agents/{agent}/approve")
    assert "terminated" == api.post(f"/agents/{agent}/terminate")["status"]
    assert 401 == api.request("GET", "/agents/me", token=token).status_code


def test_pausing_twice_keeps_the_first_reason_and_a_reason_is_manual_unless_given(api: Api):
    agent, _ = api.agent(api.company())

    first = api.request("POST", f"/agents/{agent}/pause").json()
    second = api.post(f"/agents/{agent}/pause", {"reason": "again"})

    assert "manual" == first["pauseReason"]
    assert first == second


def test_a_project_has_exactly_the_contracts_fields(api: Api):
    company = api.company()

    project = api.post(f"/companies/{company}/projects", {"name": " Moon Base "})

    assert {
        "companyId": company,
        "goalId": None,
        "name": "Moon Base",
        "description": None,
        "status": "backlog",
        "leadAgentId": None,
        "targetDate": None,
        "color": None,
        "pausedAt": None,
        "pauseReason": None,
        "archivedAt": None,
        "urlKey": "moon-base",
        "goalIds": [],
    } == without_times(project)
    assert project == api.get(f"/projects/{project['id']}") == api.get(f"/projects/moon-base?companyId={company}")
    assert [project] == api.get(f"/companies/{company}/projects")


@pytest.mark.parametrize("target_date", ["2026-02-30", "soon", "2027-01-01T00:00:00Z", ""])
def test_a_target_date_that_no_calendar_has_is_refused(api: Api, target_date: str):
    company = api.company()
    project = api.post(f"/companies/{company}/projects", {"name": "Moon"})["id"]

    for method, path in (("POST", f"/companies/{company}/projects"), ("PATCH", f"/projects/{project}")):
        answer = api.request(method, path, {"name": "Moon", "targetDate": target_date})
        assert (400, ["targetDate"]) == (answer.status_code, answer.json()["details"][0]["path"])


def test_a_project_is_edited_paused_resumed_and_deleted(api: Api):
    company = api.company()
    lead, _ = api.agent(company)
    goal = api.post(f"/companies/{company}/goals", {"title": "Land"})["id"]
    project = api.post(f"/companies/{company}/projects", {"name": "Moon"})["id"]
    given = {"goalId": goal, "leadAgentId": lead, "status": "in_progress", "targetDate": "2027-01-01", "color": "red"}

    edited = api.patch(f"/projects/{project}", given)
    paused = api.post(f"/projects/{project}/pause")
    resumed = api.post(f"/projects/{project}/resume")
    answer = api.request("DELETE", f"/projects/{project}")

    assert given == {name: edited[name] for name in given}
    assert ("manual", True) == (paused["pauseReason"], bool(paused["pausedAt"]))
    assert (None, None) == (resumed["pauseReason"], resumed["pausedAt"])
    assert (200, project) == (answer.status_code, answer.json()["id"])
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume")):
        body = {} if method == "PATCH" else ...
        assert (404, "Project not found") == error(api, method, f"/projects/{project}{path}", body)
    assert (422, "Project shortname lookup requires companyId query parameter") == error(api, "GET", "/projects/moon")


def test_a_project_with_routines_is_not_deleted(api: Api):
    """Contract 7.4: refuse (409), so that no routine loses its project and none its history."""
    company = api.company()
    project = api.post(f"/companies/{company}/projects", {"name": "Moon"})["id"]
    routine = api.routine(company, None, projectId=project)

    refusal = api.request("DELETE", f"/projects/{project}")
    api.patch(f"/routines/{routine}", {"projectId": None})

    assert (409, "Project has routines: move or reassign them first") == (refusal.status_code, refusal.json()["error"])
    assert 200 == api.request("DELETE", f"/projects/{project}").status_code


def test_a_goal_has_exactly_the_contracts_fields(api: Api):
    company = api.company()

    goal = api.post(f"/companies/{company}/goals", {"title": " Land "})

    assert {
        "companyId": company,
        "title": "Land",
        "description": None,
        "level": "task",
        "status": "planned",
        "parentId": None,
        "ownerAgentId": None,
    } == without_times(goal)
    assert goal == api.get(f"/goals/{goal['id']}")
    assert [goal] == api.get(f"/companies/{company}/goals")


def test_a_goal_is_edited_and_deleted(api: Api):
    company = api.company()
    owner, _ = api.agent(company)
    parent, goal = (api.post(f"/companies/{company}/goals", {"title": title})["id"] for title in ("Far", "Near"))
    given = {"parentId": parent, "ownerAgentId": owner, "level": "team", "status": "achieved", "description": "d"}

    edited = api.patch(f"/goals/{goal}", given)
    cleared = api.patch(f"/goals/{goal}", {"parentId": None, "ownerAgentId": None, "description": None})
    answer = api.request("DELETE", f"/goals/{goal}")

    assert given == {name: edited[name] for name in given}
    assert (None, None, None) == (cleared["parentId"], cleared["ownerAgentId"], cleared["description"])
    assert (200, goal) == (answer.status_code, answer.json()["id"])
    assert (404, "Goal not found") == error(api, "GET", f"/goals/{goal}")
    assert (404, "Goal not found") == error(api, "PATCH", f"/goals/{goal}", {"title": "x"})


def test_what_points_at_something_deleted_can_still_be_edited(api: Api):
    company = api.company()
    path = f"/companies/{company}"
    parent = api.post(f"{path}/goals", {"title": "Far"})["id"]
    project = api.post(f"{path}/projects", {"name": "Moon", "goalId": parent})["id"]
    things = {
        f"/goals/{api.post(f'{path}/goals', {'title': 'Near', 'parentId': parent})['id']}": "parentId",
        f"/projects/{project}": "goalId",
        f"/issues/{api.post(f'{path}/issues', {'title': 'Look', 'goalId': parent})['id']}": "goalId",
        f"/routines/{api.routine(company, None, goalId=parent)}": "goalId",
    }
    api.request("DELETE", f"/goals/{parent}")

    for thing, field in things.items():
        assert parent == api.patch(thing, {"description": "still here"})[field]
        assert 404 == api.request("PATCH", thing, {field: str(uuid4())}).status_code
        assert api.patch(thing, {field: None})[field] is None


@pytest.mark.parametrize(
    ("path", "body", "field", "name"),
    [
        ("agents", {"name": "A"}, "reportsTo", "Agent"),
        ("projects", {"name": "P"}, "goalId", "Goal"),
        ("projects", {"name": "P"}, "leadAgentId", "Lead agent"),
        ("goals", {"title": "G"}, "parentId", "Goal"),
        ("goals", {"title": "G"}, "ownerAgentId", "Owner agent"),
    ],
)
def test_what_is_pointed_at_must_exist_in_the_same_company(api: Api, path: str, body: Any, field: str, name: str):
    home, abroad = api.company(), api.company()
    there = {
        "Goal": lambda: api.post(f"/companies/{abroad}/goals", {"title": "x"})["id"],
    }.get(name, lambda: api.agent(abroad)[0])()

    missing = error(api, "POST", f"/companies/{home}/{path}", {**body, field: str(uuid4())})
    foreign = error(api, "POST", f"/companies/{home}/{path}", {**body, field: there})

    assert (404, f"{name} not found") == missing
    assert (422, f"{name} must belong to same company") == foreign


def test_a_project_is_changed_and_deleted_by_its_short_name_too(api: Api):
    """Contract 7.4."""
    company = api.company()
    id_ = api.post(f"/companies/{company}/projects", {"name": "Inbox work"})["id"]
    path = f"/projects/inbox-work?companyId={company}"

    assert "Other" == api.patch(path, {"description": "Other"})["description"]
    assert 404 == api.request("PATCH", f"/projects/inbox-work?companyId={api.company()}", {}).status_code
    assert 404 == api.request("PATCH", "/projects/inbox-work", {}).status_code
    assert id_ == api.request("DELETE", path).json()["id"]
    assert 404 == api.request("DELETE", path).status_code


def test_a_short_name_is_found_however_it_is_written(api: Api):
    company = api.company()
    agent = api.agent(company, "Night Owl")[0]

    assert agent == api.get(f"/agents/Night Owl?companyId={company}")["id"]
    assert agent == api.get(f"/agents/night-owl?companyId={company}")["id"]
