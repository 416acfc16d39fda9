"""Routines: shapes, defaults, order of checks, lifecycle (contract 2, 3)."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.api import Api
from tests.web import people

ROUTINE = {
    *("id", "companyId", "title", "description", "projectId", "goalId", "parentIssueId", "assigneeAgentId"),
    *("priority", "status", "concurrencyPolicy", "catchUpPolicy", "variables", "latestRevisionId"),
    *("maxRunDurationSec", "retryPolicy", "alertBounds", "budget", "probe", "pauseNote", "resumeAt"),
    *("latestRevisionNumber", "createdByAgentId", "createdByUserId", "updatedByAgentId", "updatedByUserId"),
    *("responsibleUserId", "lastTriggeredAt", "lastEnqueuedAt", "createdAt", "updatedAt", "folderId", "env"),
    *("originId", "originKind", "activityGatePolicy", "activityGateScope"),
}


class Home(msgspec.Struct):
    """A company with an agent."""

    api: Api
    company: str
    agent: str
    token: str

    def create(self, body: dict[str, Any], **kwargs: Any) -> tuple[int, Any]:
        return self.send("POST", f"/companies/{self.company}/routines", body, **kwargs)

    def send(self, method: str, path: str, body: Any = ..., **kwargs: Any) -> tuple[int, Any]:
        """The status, and the reply or the text of its error."""
        answer = self.api.request(method, path, body, **kwargs)
        shown = answer.json()
        return answer.status_code, shown if answer.is_success else shown["error"]

    def routine(self, **fields: Any) -> str:
        return self.api.routine(self.company, self.agent, **fields)


@pytest.fixture
def home(api: Api) -> Home:
    company = api.company()
    return Home(api, company, *api.agent(company))


def test_a_new_routine_has_exactly_the_contracts_fields_and_defaults(home: Home):
    """Contract 2 and 3.2."""
    status, routine = home.create({"title": " Look ", "assigneeAgentId": home.agent})
    me = home.api.get("/cli-auth/me")["userId"]

    assert 201 == status
    assert {
        "id": routine["id"],
        "companyId": home.company,
        "title": "Look",
        "description": None,
        "projectId": None,
        "goalId": None,
        "parentIssueId": None,
        "assigneeAgentId": home.agent,
        "priority": "medium",
        "status": "active",
        "concurrencyPolicy": "coalesce_if_active",
        "catchUpPolicy": "skip_missed",
        "maxRunDurationSec": None,
        "retryPolicy": None,
        "alertBounds": {"untakenAfterSec": 3_600, "stuckAfterSec": 21_600, "overdueAfterSec": None, "missedInARow": 3},
        "budget": None,
        "probe": None,
        "pauseNote": None,
        "resumeAt": None,
        "variables": [],
        "latestRevisionId": routine["latestRevisionId"],
        "latestRevisionNumber": 1,
        "createdByAgentId": None,
        "createdByUserId": me,
        "updatedByAgentId": None,
        "updatedByUserId": me,
        "responsibleUserId": me,
        "lastTriggeredAt": None,
        "lastEnqueuedAt": None,
        "createdAt": routine["createdAt"],
        "updatedAt": routine["createdAt"],
        "folderId": None,
        "env": None,
        "originId": None,
        "originKind": "manual",
        "activityGatePolicy": "always",
        "activityGateScope": "company",
    } == routine


def test_a_list_item_adds_triggers_last_run_and_active_issue(home: Home):
    """Contract 3.1."""
    routine = home.routine()
    trigger = home.api.post(f"/routines/{routine}/triggers", {"kind": "api", "label": "door"})["trigger"]
    run = home.api.post(f"/routines/{routine}/run", {"source": "api", "triggerId": trigger["id"]})

    (item,) = home.api.get(f"/companies/{home.company}/routines")

    issue = home.api.get(f"/issues/{run['linkedIssueId']}")
    summary = {name: issue[name] for name in ("id", "identifier", "title", "status", "priority", "updatedAt")}
    assert ROUTINE | {"managedByPlugin", "triggers", "lastRun", "activeIssue"} == item.keys()
    assert [
        {
            "id": trigger["id"],
            "kind": "api",
            "label": "door",
            "enabled": True,
            "cronExpression": None,
            "timezone": None,
            "nextRunAt": None,
            "dueAt": None,
            "lastFiredAt": run["triggeredAt"],
            "lastResult": f"Created execution issue {issue['id']}",
        }
    ] == item["triggers"]
    assert summary == item["activeIssue"] == item["lastRun"]["linkedIssue"]
    assert {"id": trigger["id"], "kind": "api", "label": "door"} == item["lastRun"]["trigger"]
    assert run["id"] == item["lastRun"]["id"]
    assert (run["triggeredAt"],) * 2 == (item["lastTriggeredAt"], item["lastEnqueuedAt"])
    assert item["managedByPlugin"] is None


def test_the_detail_adds_project_assignee_parent_issue_triggers_and_runs(home: Home):
    """Contract 3.3."""
    project = home.api.post(f"/companies/{home.company}/projects", {"name": "Moon"})
    parent = home.api.post(f"/companies/{home.company}/issues", {"title": "Parent"})
    routine = home.routine(projectId=project["id"], parentIssueId=parent["id"])
    triggers = [
        home.api.post(f"/routines/{routine}/triggers", {"kind": "api", "label": label})["trigger"] for label in "ab"
    ]
    run = home.api.post(f"/routines/{routine}/run", {})

    detail = home.api.get(f"/routines/{routine}")

    added = {"managedByPlugin", "project", "assignee", "parentIssue", "triggers", "recentRuns", "activeIssue"}
    assert ROUTINE | added == detail.keys()
    assert project == detail["project"]
    assert {"id": home.agent, "name": "Scout", "role": "general", "title": None, "urlKey": "scout"} == detail[
        "assignee"
    ]
    assert parent == detail["parentIssue"]
    assert triggers == detail["triggers"]
    assert home.api.get(f"/routines/{routine}/runs") == detail["recentRuns"]
    assert run["linkedIssueId"] == detail["activeIssue"]["id"]
    assert parent["id"] == detail["activeIssue"]["parentId"]


def test_the_detail_of_a_routine_without_anything_has_nulls_and_empty_lists(home: Home):
    routine = home.api.routine(home.company, None)

    detail = home.api.get(f"/routines/{routine}")

    assert (None, None, None, None) == tuple(
        detail[name] for name in ("project", "assignee", "parentIssue", "activeIssue")
    )
    assert ([], []) == (detail["triggers"], detail["recentRuns"])


def test_the_detail_shows_the_newest_25_runs(home: Home):
    routine = home.routine()
    runs = [home.api.post(f"/routines/{routine}/run", {})["id"] for _ in range(27)]

    shown = [run["id"] for run in home.api.get(f"/routines/{routine}")["recentRuns"]]

    assert runs[:1:-1] == shown


def test_routines_are_listed_newest_change_first_archived_ones_included(home: Home):
    """Of changes of one millisecond the order of titles is the same."""
    first, second, third = (home.routine(title=title) for title in "bac")
    home.api.patch(f"/routines/{first}", {"title": "b2"})
    home.api.patch(f"/routines/{second}", {"status": "archived"})

    listed = [routine["id"] for routine in home.api.get(f"/companies/{home.company}/routines")]

    assert [second, first, third] == listed


def test_routines_are_narrowed_to_a_project(home: Home):
    project = home.api.post(f"/companies/{home.company}/projects", {"name": "Moon"})["id"]
    inside, outside = home.routine(title="b", projectId=project), home.routine(title="a")

    def listed(query: str) -> list[str]:
        return [found["id"] for found in home.api.get(f"/companies/{home.company}/routines{query}")]

    assert [inside] == listed(f"?projectId={project}") == listed(f"?projectId={project.upper()}")
    assert [] == listed(f"?projectId={uuid4()}")
    assert [outside, inside] == listed("?projectId=") == listed("")


def test_a_routine_without_an_assignee_is_stored_paused(home: Home):
    for body in ({"title": "x"}, {"title": "x", "status": "active"}, {"title": "x", "assigneeAgentId": None}):
        status, routine = home.create(body)

        assert (201, "paused") == (status, routine["status"])


@pytest.mark.parametrize("status", ["active", "paused", "archived"])
def test_a_routine_may_be_made_in_any_status(home: Home, status: str):
    assert status == home.create({"title": "x", "assigneeAgentId": home.agent, "status": status})[1]["status"]


def test_what_a_body_says_about_identity_is_ignored(home: Home):
    foreign_fields = {"id": str(uuid4()), "companyId": str(uuid4()), "latestRevisionNumber": 7, "createdByUserId": "me"}

    _, routine = home.create({"title": "x", **foreign_fields})

    assert not {name: value for name, value in foreign_fields.items() if routine[name] == value}


def test_an_agent_makes_routines_for_itself_only(home: Home):
    other, _ = home.api.agent(home.company, "Other")

    status, routine = home.create({"title": "x", "assigneeAgentId": home.agent}, token=home.token)

    refused = (403, "Agents can only manage routines assigned to themselves")
    assert (201, home.agent, None) == (status, routine["createdByAgentId"], routine["createdByUserId"])
    assert refused == home.create({"title": "x", "assigneeAgentId": other}, token=home.token)
    assert refused == home.create({"title": "x"}, token=home.token)


def test_references_are_checked_in_the_contracts_order(home: Home):
    """Contract 3.2: project, assignee, goal, parent issue; the first failure answers."""
    abroad = home.api.company()
    foreign = {
        "projectId": home.api.post(f"/companies/{abroad}/projects", {"name": "x"})["id"],
        "assigneeAgentId": home.api.agent(abroad)[0],
        "goalId": home.api.post(f"/companies/{abroad}/goals", {"title": "x"})["id"],
        "parentIssueId": home.api.post(f"/companies/{abroad}/issues", {"title": "x"})["id"],
    }
    missing = dict.fromkeys(foreign, str(uuid4()))
    names = {
        "projectId": "Project",
        "assigneeAgentId": "Assignee agent",
        "goalId": "Goal",
        "parentIssueId": "Parent issue",
    }
    routine = home.routine()

    for ids, status, said in ((missing, 404, "not found"), (foreign, 422, "must belong to same company")):
        body = dict(ids)
        for field, name in names.items():
            who = "Assignee" if (field, status) == ("assigneeAgentId", 422) else name
            assert (status, f"{who} {said}") == home.create({"title": "x", **body})
            assert (status, f"{who} {said}") == home.send("PATCH", f"/routines/{routine}", body)
            del body[field]
    assert 1 == home.api.get(f"/routines/{routine}")["latestRevisionNumber"]


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        ("terminated", "Cannot assign routines to terminated agents", "assignee_terminated"),
        ("pending_approval", "Cannot assign routines to pending approval agents", "pending_approval"),
    ],
)
def test_an_agent_that_cannot_work_gets_no_routines(home: Home, status: Any, text: str, reason: str):
    """Contract 3.7."""
    agent = people.agent(home.api, home.company, status)

    answer = home.api.request("POST", f"/companies/{home.company}/routines", {"title": "x", "assigneeAgentId": agent})

    shown = answer.json()
    assert (409, text, "agent_not_assignable") == (answer.status_code, shown["error"], shown["code"])
    assert {
        "code": "agent_not_assignable",
        "reason": reason,
        "companyId": home.company,
        "assigneeAgentId": agent,
        "invalidAncestorAgentId": None,
        "missingAncestorAgentId": None,
        "ancestorChain": [],
    } == shown["details"]


@pytest.mark.parametrize("status", ["idle", "active", "running", "paused", "error"])
def test_any_other_agent_gets_routines(home: Home, status: Any):
    agent = people.agent(home.api, home.company, status)

    assert 201 == home.create({"title": "x", "assigneeAgentId": agent})[0]


def test_an_update_changes_what_it_names_and_is_one_revision(home: Home):
    routine = home.routine(description="d", priority="low")
    before = home.api.get(f"/routines/{routine}")

    after = home.api.patch(f"/routines/{routine}", {"title": " New ", "priority": "critical"})

    assert ROUTINE == after.keys()
    changed = {name for name in ROUTINE if before[name] != after[name]}
    assert {"title", "priority", "latestRevisionId", "latestRevisionNumber", "updatedAt"} == changed
    assert ("New", "critical", 2) == (after["title"], after["priority"], after["latestRevisionNumber"])


def test_an_update_without_effect_is_no_revision(home: Home):
    routine = home.routine()
    before = home.api.get(f"/routines/{routine}")

    for body in ({}, {"title": before["title"]}, {"status": "active", "description": None}, before):
        after = home.api.patch(f"/routines/{routine}", body)
        assert {name: before[name] for name in ROUTINE} == after


def test_null_clears_what_may_be_empty(home: Home):
    goal = home.api.post(f"/companies/{home.company}/goals", {"title": "x"})["id"]
    project = home.api.post(f"/companies/{home.company}/projects", {"name": "x"})["id"]
    parent = home.api.post(f"/companies/{home.company}/issues", {"title": "x"})["id"]
    routine = home.routine(goalId=goal, projectId=project, parentIssueId=parent, description="d")
    cleared = dict.fromkeys(("goalId", "projectId", "parentIssueId", "description", "assigneeAgentId"))

    after = home.api.patch(f"/routines/{routine}", cleared)

    assert cleared == {name: after[name] for name in cleared}
    assert "paused" == after["status"]


def test_a_routine_needs_an_assignee_to_become_active(home: Home):
    routine = home.api.routine(home.company, None)

    assert (422, "Default agent required") == home.send("PATCH", f"/routines/{routine}", {"status": "active"})
    both = home.send("PATCH", f"/routines/{routine}", {"status": "active", "assigneeAgentId": home.agent})
    assert (200, "active") == (both[0], both[1]["status"])


def test_activating_and_clearing_the_assignee_at_once_is_refused(home: Home):
    routine = home.routine(status="paused")

    body = {"status": "active", "assigneeAgentId": None}
    assert (422, "Default agent required") == home.send("PATCH", f"/routines/{routine}", body)


def test_archived_is_the_end_but_its_title_may_still_be_edited(home: Home):
    """Contract 3.4, 3.5."""
    routine = home.routine(status="archived")

    for status in ("active", "paused"):
        refused = home.send("PATCH", f"/routines/{routine}", {"status": status, "assigneeAgentId": None})
        assert (409, "Routine is archived") == refused
    assert (409, "Routine is archived") == home.send("POST", f"/routines/{routine}/run", {})
    assert 200 == home.send("PATCH", f"/routines/{routine}", {"title": "Old", "status": "archived"})[0]
    assert "archived" == home.api.get(f"/routines/{routine}")["status"]


def test_a_routine_is_paused_resumed_and_archived(home: Home):
    routine = home.routine()

    statuses = [
        home.api.patch(f"/routines/{routine}", {"status": s})["status"] for s in ("paused", "active", "archived")
    ]

    assert ["paused", "active", "archived"] == statuses


def test_an_edit_of_a_revision_that_is_not_the_newest_is_refused_with_the_newest(home: Home):
    routine = home.routine()
    first = home.api.get(f"/routines/{routine}")["latestRevisionId"]
    head = home.api.patch(f"/routines/{routine}", {"title": "b", "baseRevisionId": first})["latestRevisionId"]

    answer = home.api.request("PATCH", f"/routines/{routine}", {"title": "c", "baseRevisionId": first})

    assert (409, "Routine was updated by someone else") == (answer.status_code, answer.json()["error"])
    assert {"currentRevisionId": head} == answer.json()["details"]
    assert "b" == home.api.get(f"/routines/{routine}")["title"]
    assert 200 == home.send("PATCH", f"/routines/{routine}", {"title": "c", "baseRevisionId": None})[0]


def test_the_base_revision_is_checked_last_and_also_when_nothing_changes(home: Home):
    routine, other = home.routine(), str(uuid4())

    assert (404, "Goal not found") == home.send(
        "PATCH", f"/routines/{routine}", {"goalId": other, "baseRevisionId": other}
    )
    assert 409 == home.send("PATCH", f"/routines/{routine}", {"baseRevisionId": other})[0]


def test_a_member_without_tasks_assign_may_edit_but_neither_assign_nor_activate(home: Home):
    token = people.member(home.api, home.company, "member", ())
    other, _ = home.api.agent(home.company, "Other")
    active, paused = home.routine(), home.routine(status="paused")

    missing = (403, "Missing permission: tasks:assign")
    assert missing == home.send("PATCH", f"/routines/{active}", {"assigneeAgentId": other}, token=token)
    assert missing == home.send("PATCH", f"/routines/{active}", {"assigneeAgentId": None}, token=token)
    assert missing == home.send("PATCH", f"/routines/{paused}", {"status": "active"}, token=token)
    edits = {"title": "b", "status": "paused", "assigneeAgentId": home.agent}
    assert 200 == home.send("PATCH", f"/routines/{active}", edits, token=token)[0]


def test_an_agent_edits_its_own_routines_and_cannot_give_them_away(home: Home):
    other, other_token = home.api.agent(home.company, "Other")
    routine = home.routine(status="paused")
    path = f"/routines/{routine}"

    refused = (403, "Agents can only assign routines to themselves")
    assert refused == home.send("PATCH", path, {"assigneeAgentId": other}, token=home.token)
    assert refused == home.send("PATCH", path, {"assigneeAgentId": None}, token=home.token)
    own_only = (403, "Agents can only manage routines assigned to themselves")
    assert own_only == home.send("PATCH", path, {"assigneeAgentId": other}, token=other_token)
    status, after = home.send("PATCH", path, {"status": "active", "assigneeAgentId": home.agent}, token=home.token)
    assert (200, "active", home.agent, None) == (
        status,
        after["status"],
        after["updatedByAgentId"],
        after["updatedByUserId"],
    )


@pytest.mark.parametrize(
    "id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense", "%20", "11111111-1111-4111-8111-1111111111111"]
)
@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", ...),
        ("PATCH", "", {}),
        ("GET", "/runs", ...),
        ("POST", "/run", {}),
        ("POST", "/triggers", {"kind": "api"}),
    ],
)
def test_an_unknown_routine_is_not_found(home: Home, id_: str, method: str, rest: str, body: Any):
    assert (404, "Routine not found") == home.send(method, f"/routines/{id_}{rest}", body)


def test_the_id_of_another_thing_is_no_routine(home: Home):
    for id_ in (home.agent, home.company):
        assert (404, "Routine not found") == home.send("GET", f"/routines/{id_}")
        assert (404, "Routine not found") == home.send("POST", f"/routines/{id_}/run", {})


def test_declared_variables_come_back_whole_and_the_later_of_one_name_wins(home: Home):
    """Contract 2.1."""
    variables = [
        {"name": "a"},
        {"name": "b", "label": " L ", "type": "number", "defaultValue": 1.5, "required": False},
        {"name": "a", "defaultValue": "x"},
    ]

    _, routine = home.create({"title": "x", "variables": variables})

    assert [
        {"name": "a", "label": None, "type": "text", "defaultValue": "x", "required": True, "options": []},
        {"name": "b", "label": "L", "type": "number", "defaultValue": 1.5, "required": False, "options": []},
    ] == routine["variables"]


def test_a_required_variable_without_default_cannot_join_an_enabled_schedule(home: Home):
    """Contract 3.4."""
    routine = home.routine(variables=[{"name": "a", "defaultValue": 0}])
    schedule = {"kind": "schedule", "cronExpression": "0 9 * * *"}
    trigger = home.api.post(f"/routines/{routine}/triggers", schedule)["trigger"]["id"]
    variables = {"variables": [{"name": "a"}, {"name": "b"}, {"name": "c", "required": False}]}

    refused = home.send("PATCH", f"/routines/{routine}", variables)
    home.api.patch(f"/routine-triggers/{trigger}", {"enabled": False})

    assert (422, "Scheduled routines require defaults for required variables: a, b") == refused
    assert 200 == home.send("PATCH", f"/routines/{routine}", variables)[0]
