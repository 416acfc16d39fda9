"""Issues and the agent's loop over them (contract 7.5)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.api import Api
from tests.web import people

STATUSES = ["backlog", "todo", "in_progress", "in_review", "done", "blocked", "cancelled"]


class Desk(msgspec.Struct):
    """A company, an agent, the agent's work session."""

    api: Api
    company: str
    agent: str
    token: str
    session: str

    def open(self, **fields: Any) -> Any:
        return self.api.post(f"/companies/{self.company}/issues", {"title": "Look", **fields})

    def assigned(self, **fields: Any) -> str:
        return str(self.open(assigneeAgentId=self.agent, **fields)["id"])

    def send(self, method: str, path: str, body: Any = ..., *, session: str | None = "", **kwargs: Any) -> Any:
        """As the agent in its session."""
        kwargs.setdefault("token", self.token)
        headers = {} if session is None else {"X-Paperclip-Run-Id": session or self.session}
        return self.api.request(method, path, body, headers=headers, **kwargs)

    def refusal(self, method: str, path: str, body: Any = ..., **kwargs: Any) -> tuple[int, str]:
        answer = self.send(method, path, body, **kwargs)
        return answer.status_code, answer.json()["error"]

    def checkout(self, issue: str, **kwargs: Any) -> Any:
        body = {"agentId": self.agent, "expectedStatuses": ["todo", "backlog", "blocked"]}
        return self.send("POST", f"/issues/{issue}/checkout", body, **kwargs)

    def held(self) -> str:
        issue = self.assigned()
        assert 200 == self.checkout(issue).status_code
        return issue

    def inbox(self) -> list[Any]:
        items: list[Any] = self.api.get("/agents/me/inbox-lite", token=self.token)
        return items

    def listed(self, query: str = "") -> list[str]:
        return [issue["id"] for issue in self.api.get(f"/companies/{self.company}/issues{query}")]


@pytest.fixture
def desk(api: Api) -> Desk:
    company = api.company()
    return Desk(api, company, *api.agent(company), session=str(uuid4()))


def test_a_new_issue_has_exactly_the_contracts_fields_and_defaults(desk: Desk):
    issue = desk.open(title=" Look ")

    assert {
        "id": issue["id"],
        "companyId": desk.company,
        "projectId": None,
        "goalId": None,
        "parentId": None,
        "title": "Look",
        "description": None,
        "status": "backlog",
        "priority": "medium",
        "assigneeAgentId": None,
        "assigneeUserId": None,
        "checkoutRunId": None,
        "executionRunId": None,
        "createdByAgentId": None,
        "createdByUserId": desk.api.get("/cli-auth/me")["userId"],
        "responsibleUserId": None,
        "issueNumber": 1,
        "identifier": issue["identifier"],
        "originKind": "manual",
        "originId": None,
        "originRunId": None,
        "originFingerprint": "default",
        "startedAt": None,
        "completedAt": None,
        "cancelledAt": None,
        "hiddenAt": None,
        "createdAt": issue["createdAt"],
        "updatedAt": issue["createdAt"],
        "labels": [],
        "blockedBy": [],
        "blocks": [],
        "executionWorkspaceId": None,
        "executionWorkspacePreference": None,
        "executionWorkspaceSettings": None,
        "projectWorkspaceId": None,
    } == issue
    assert issue | {"ancestors": []} == desk.api.get(f"/issues/{issue['id']}")


def test_an_issue_with_an_assignee_starts_as_todo(desk: Desk):
    issue = desk.open(assigneeAgentId=desk.agent)

    assert "todo" == issue["status"]
    assert "blocked" == desk.open(assigneeAgentId=desk.agent, status="blocked")["status"]


def test_issues_are_numbered_within_their_company_and_found_by_identifier(api: Api):
    company = api.post("/companies", {"name": "Quirk"})
    other = api.post("/companies", {"name": "Quirks and more"})
    prefix = company["issuePrefix"]
    path = f"/companies/{company['id']}/issues"
    opened = [api.post(path, {"title": title}) for title in "abc"]

    assert [f"{prefix}-{number}" for number in (1, 2, 3)] == [issue["identifier"] for issue in opened]
    assert other["issuePrefix"] + "-1" == api.post(f"/companies/{other['id']}/issues", {"title": "x"})["identifier"]
    for identifier in (f"{prefix}-2", f"{prefix}-2".lower()):
        assert opened[1]["id"] == api.get(f"/issues/{identifier}")["id"]
    assert opened[1]["id"] == api.patch(f"/issues/{prefix}-2", {"title": "d"})["id"]
    for unknown in (f"{prefix}-4", "NOPE-1", f"{prefix}-", str(uuid4()), "%F0%9F%98%80"):
        answer = api.request("GET", f"/issues/{unknown}")
        assert (404, "Issue not found") == (answer.status_code, answer.json()["error"])


def test_the_first_issue_of_acme_is_acm_1(api: Api):
    company = api.post("/companies", {"name": "Acme"})

    issue = api.post(f"/companies/{company['id']}/issues", {"title": "x"})

    assert company["issuePrefix"].startswith("ACM")
    assert f"{company['issuePrefix']}-1" == issue["identifier"]


def test_an_identifier_of_another_company_is_not_found(desk: Desk):
    identifier = desk.open()["identifier"]
    _, foreign = desk.api.agent(desk.api.company())

    assert (404, "Issue not found") == desk.refusal("GET", f"/issues/{identifier}", token=foreign)


def test_issues_are_listed_newest_first_and_narrowed(desk: Desk):
    project = desk.api.post(f"/companies/{desk.company}/projects", {"name": "x"})["id"]
    plain = desk.open(title="Red Fox")["id"]
    mine = desk.assigned(projectId=project)
    child = desk.open(title="100% red_fox", parentId=plain, status="done")
    routine = desk.api.routine(desk.company, desk.agent)
    execution = desk.api.post(f"/routines/{routine}/run", {})["linkedIssueId"]

    assert [execution, child["id"], mine, plain] == desk.listed()
    for query, expected in {
        "status=todo": [execution, mine],
        "status=todo,%20done": [execution, child["id"], mine],
        "status=nonsense": [],
        "status=": [execution, child["id"], mine, plain],
        f"assigneeAgentId={desk.agent}": [execution, mine],
        f"projectId={project}": [mine],
        f"parentId={plain}": [child["id"]],
        "originKind=manual": [child["id"], mine, plain],
        f"originKind=routine_execution&originId={routine}": [execution],
        "q=rED": [child["id"], plain],
        "q=%25": [child["id"]],
        "q=_": [child["id"]],
        f"q={child['identifier'].lower()}": [child["id"]],
        "limit=1": [execution],
        "limit=2&offset=1": [child["id"], mine],
        "offset=9": [],
    }.items():
        assert expected == desk.listed(f"?{query}"), query


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "abc", "2.5", "1e2", "%C2%B2", "9" * 400, ""])
def test_a_limit_that_is_none_is_refused_in_the_contracts_words(desk: Desk, limit: str):
    answer = desk.api.request("GET", f"/companies/{desk.company}/issues?limit={limit}")

    assert (400, "limit must be a positive integer up to 1000") == (answer.status_code, answer.json()["error"])
    assert [["limit"]] == [issue["path"] for issue in answer.json()["details"]]


def test_the_inbox_holds_what_there_is_to_do_oldest_first(desk: Desk):
    issue_by_status = {status: desk.assigned(status=status) for status in STATUSES}
    desk.open()

    inbox = desk.inbox()

    assert [issue_by_status[status] for status in ("todo", "in_progress", "blocked")] == [item["id"] for item in inbox]
    issue = desk.api.get(f"/issues/{issue_by_status['todo']}")
    named = ("id", "identifier", "title", "status", "priority", "projectId", "goalId", "parentId", "updatedAt")
    assert {name: issue[name] for name in named} | {
        "activeRun": None,
        "dependencyReady": True,
        "unresolvedBlockerCount": 0,
        "unresolvedBlockerIssueIds": [],
    } == inbox[0]


def test_a_checkout_gives_the_issue_to_the_session(desk: Desk):
    issue = desk.assigned()

    answer = desk.checkout(issue)

    taken = answer.json()
    assert (200, "in_progress", desk.agent, desk.session, desk.session) == (
        answer.status_code,
        *(taken[name] for name in ("status", "assigneeAgentId", "checkoutRunId", "executionRunId")),
    )
    assert taken["updatedAt"] == taken["startedAt"]
    assert taken | {"ancestors": []} == desk.api.get(f"/issues/{issue}")


def test_the_same_session_again_finds_nothing_to_do(desk: Desk):
    issue = desk.assigned()

    assert desk.checkout(issue).json() == desk.checkout(issue).json()


def test_an_unassigned_issue_is_assigned_by_its_checkout(desk: Desk):
    issue = desk.open()["id"]

    assert desk.agent == desk.checkout(issue).json()["assigneeAgentId"]
    assert [issue] == [item["id"] for item in desk.inbox()]


def test_an_issue_that_is_held_or_in_another_status_conflicts_with_its_details(desk: Desk):
    held, done = desk.held(), desk.assigned(status="done")
    other, other_token = desk.api.agent(desk.company, "Other")
    body = {"agentId": other, "expectedStatuses": STATUSES}

    by_other = desk.send("POST", f"/issues/{held}/checkout", body, token=other_token, session=str(uuid4()))
    by_other_session = desk.checkout(held, session=str(uuid4()))
    in_other_status = desk.checkout(done)

    for answer, issue, status, session in (
        (by_other, held, "in_progress", desk.session),
        (by_other_session, held, "in_progress", desk.session),
        (in_other_status, done, "done", None),
    ):
        assert (409, "Issue checkout conflict") == (answer.status_code, answer.json()["error"])
        assert {
            "issueId": issue,
            "status": status,
            "assigneeAgentId": desk.agent,
            "checkoutRunId": session,
            "executionRunId": session,
        } == answer.json()["details"]


def test_an_issue_assigned_to_another_agent_cannot_be_checked_out(desk: Desk):
    issue = desk.assigned()
    other, token = desk.api.agent(desk.company, "Other")

    body = {"agentId": other, "expectedStatuses": STATUSES}
    assert (409, "Issue checkout conflict") == desk.refusal("POST", f"/issues/{issue}/checkout", body, token=token)


def test_a_checkout_is_refused_in_the_contracts_order(desk: Desk):
    """Body, existence, paused project, another agent, no session, conflict."""
    project = desk.api.post(f"/companies/{desk.company}/projects", {"name": "x"})["id"]
    other, _ = desk.api.agent(desk.company, "Other")
    issue = desk.assigned(projectId=project, status="done")
    path, body = f"/issues/{issue}/checkout", {"agentId": other, "expectedStatuses": ["todo"]}

    desk.api.post(f"/projects/{project}/pause")
    assert (400, "Validation error") == desk.refusal("POST", f"/issues/{uuid4()}/checkout", {})
    assert (404, "Issue not found") == desk.refusal("POST", f"/issues/{uuid4()}/checkout", body, session=None)
    assert (409, "Project is paused") == desk.refusal("POST", path, body, session=None)
    desk.api.post(f"/projects/{project}/resume")
    assert (403, "Agent can only checkout as itself") == desk.refusal("POST", path, body, session=None)
    body["agentId"] = desk.agent
    assert (401, "Agent run id required") == desk.refusal("POST", path, body, session=None)
    assert (409, "Issue checkout conflict") == desk.refusal("POST", path, body)


def test_a_deleted_project_holds_up_no_checkout(desk: Desk):
    project = desk.api.post(f"/companies/{desk.company}/projects", {"name": "x"})["id"]
    issue = desk.assigned(projectId=project)
    desk.api.post(f"/projects/{project}/pause")
    desk.api.request("DELETE", f"/projects/{project}")

    assert 200 == desk.checkout(issue).status_code


def test_a_session_that_is_no_id_is_refused(desk: Desk):
    answer = desk.checkout(desk.assigned(), session="nonsense")

    assert 400 == answer.status_code
    assert ["X-Paperclip-Run-Id"] == answer.json()["details"][0]["path"]


def test_a_release_gives_the_issue_back(desk: Desk):
    issue = desk.held()

    released = desk.send("POST", f"/issues/{issue}/release").json()

    names = ("status", "assigneeAgentId", "checkoutRunId", "executionRunId")
    assert ("todo", None, None, None) == tuple(released[name] for name in names)
    assert [] == desk.inbox()


@pytest.mark.parametrize("how", ["release", "admin/force-release"])
def test_a_release_clears_when_the_work_started(desk: Desk, how: str):
    """Contract 7.5: leaving in_progress clears startedAt, as a PATCH to todo does."""
    issue = desk.held()

    token = desk.token if how == "release" else desk.api.token
    assert desk.send("POST", f"/issues/{issue}/{how}", token=token).json()["startedAt"] is None


def test_only_the_assignee_in_its_session_releases(desk: Desk):
    issue = desk.held()
    _, other = desk.api.agent(desk.company, "Other")
    path = f"/issues/{issue}/release"

    assert (409, "Only assignee can release issue") == desk.refusal("POST", path, token=other)
    assert (401, "Agent run id required") == desk.refusal("POST", path, session=None)
    assert (409, "Issue run ownership conflict") == desk.refusal("POST", path, session=str(uuid4()))


def test_the_board_takes_an_issue_from_whoever_holds_it(desk: Desk):
    issue = desk.held()

    freed = desk.api.post(f"/issues/{issue}/admin/force-release")

    assert ("todo", desk.agent, None) == (freed["status"], freed["assigneeAgentId"], freed["checkoutRunId"])
    [comment] = desk.api.get(f"/issues/{issue}/comments")
    assert (freed["createdByUserId"], True) == (comment["authorUserId"], desk.session in comment["body"])
    assert (403, "Board access required") == desk.refusal("POST", f"/issues/{issue}/admin/force-release")
    assert freed == desk.api.post(f"/issues/{issue}/admin/force-release")


def leases(desk: Desk, issue: str, seconds: Any = 60, **kwargs: Any) -> Any:
    body = {"agentId": desk.agent, "expectedStatuses": ["todo", "in_progress"], "leaseSeconds": seconds}
    return desk.send("POST", f"/issues/{issue}/checkout", body, **kwargs)


def test_a_checkout_with_a_lease_says_until_when_and_one_without_has_no_such_field(desk: Desk):
    leased, plain = desk.assigned(), desk.held()

    taken = leases(desk, leased).json()

    assert ("in_progress", 1) == (taken["status"], taken["checkoutCount"])
    assert taken["startedAt"] < taken["checkoutLeaseUntil"]
    again = leases(desk, leased, 3600).json()
    assert taken["checkoutLeaseUntil"] < again["checkoutLeaseUntil"]
    assert again == taken | {"checkoutLeaseUntil": again["checkoutLeaseUntil"]}
    assert "checkoutLeaseUntil" not in desk.api.get(f"/issues/{plain}")
    done = desk.send("PATCH", f"/issues/{leased}", {"status": "done"}).json()
    assert ("done", False) == (done["status"], "checkoutLeaseUntil" in done)


@pytest.mark.parametrize("seconds", [0, 1, 86_401, 1.5, "60", True])
def test_a_lease_has_bounds(desk: Desk, seconds: Any):
    refusal = leases(desk, desk.assigned(), seconds)

    assert (400, True) == (refusal.status_code, "leaseSeconds" in refusal.text)


@pytest.mark.parametrize(
    ("status", "mark"),
    [("in_progress", "startedAt"), ("done", "completedAt"), ("cancelled", "cancelledAt"), ("in_review", None)],
)
def test_a_status_sets_its_time_and_leaving_clears_it(desk: Desk, status: str, mark: str | None):
    issue = desk.open()["id"]
    marks = {"startedAt", "completedAt", "cancelledAt"}

    moved = desk.api.patch(f"/issues/{issue}", {"status": status})
    left = desk.api.patch(f"/issues/{issue}", {"status": "todo"})

    assert {mark} - {None} == {name for name in marks if moved[name] is not None}
    assert set() == {name for name in marks if left[name] is not None}


@pytest.mark.parametrize("status", ["done", "cancelled"])
def test_an_issue_that_ended_is_held_by_nobody(desk: Desk, status: str):
    issue = desk.held()

    moved = desk.send("PATCH", f"/issues/{issue}", {"status": status}).json()

    assert (status, None, None, desk.agent) == tuple(
        moved[name] for name in ("status", "checkoutRunId", "executionRunId", "assigneeAgentId")
    )


def test_an_update_changes_what_it_names_and_clears_by_null(desk: Desk):
    goal = desk.api.post(f"/companies/{desk.company}/goals", {"title": "x"})["id"]
    project = desk.api.post(f"/companies/{desk.company}/projects", {"name": "x"})["id"]
    parent, issue = desk.open()["id"], desk.open()["id"]
    fields = {
        "title": "T",
        "description": "d",
        "priority": "low",
        "assigneeAgentId": desk.agent,
        "projectId": project,
        "goalId": goal,
        "parentId": parent,
    }
    cleared = dict.fromkeys(("description", "assigneeAgentId", "projectId", "goalId", "parentId"))

    edited = desk.api.patch(f"/issues/{issue}", fields)
    after = desk.api.patch(f"/issues/{issue}", cleared)

    assert fields == {name: edited[name] for name in fields}
    assert fields | cleared == {name: after[name] for name in fields}
    assert (None, None) == (edited["comment"], after["comment"])


def test_the_references_of_an_issue_must_be_of_the_same_company(desk: Desk):
    abroad, api = desk.api.company(), desk.api
    issue = desk.open()["id"]
    for field, name, foreign in (
        ("projectId", "Project", api.post(f"/companies/{abroad}/projects", {"name": "x"})["id"]),
        ("assigneeAgentId", "Assignee agent", api.agent(abroad)[0]),
        ("goalId", "Goal", api.post(f"/companies/{abroad}/goals", {"title": "x"})["id"]),
        ("parentId", "Parent issue", api.post(f"/companies/{abroad}/issues", {"title": "x"})["id"]),
    ):
        for method, path, body in (
            ("POST", f"/companies/{desk.company}/issues", {"title": "x"}),
            ("PATCH", f"/issues/{issue}", {}),
        ):
            answers = [api.request(method, path, body | {field: id_}) for id_ in (str(uuid4()), foreign)]
            assert [(404, f"{name} not found"), (422, f"{name} must belong to same company")] == [
                (answer.status_code, answer.json()["error"]) for answer in answers
            ]


def test_an_update_may_bring_a_comment(desk: Desk):
    issue = desk.held()

    updated = desk.send("PATCH", f"/issues/{issue}", {"status": "in_review", "comment": "see here"}).json()

    comment = updated["comment"]
    assert ("see here", desk.agent, desk.session) == (
        comment["body"],
        comment["authorAgentId"],
        comment["createdByRunId"],
    )
    assert [comment] == desk.api.get(f"/issues/{issue}/comments")


def test_an_agent_updates_only_what_it_is_assigned_to_in_the_session_that_holds_it(desk: Desk):
    issue = desk.held()
    _, other = desk.api.agent(desk.company, "Other")
    path, body = f"/issues/{issue}", {"status": "done"}

    assert (403, "Agents can only update issues assigned to themselves") == desk.refusal(
        "PATCH", path, body, token=other
    )
    assert (409, "Issue run ownership conflict") == desk.refusal("PATCH", path, body, session=str(uuid4()))
    assert (401, "Agent run id required") == desk.refusal("PATCH", path, body, session=None)
    assert 200 == desk.send("PATCH", path, body).status_code


def test_a_comment_has_exactly_the_contracts_fields(desk: Desk):
    issue = desk.open()["id"]

    by_user = desk.api.post(f"/issues/{issue}/comments", {"body": " hello\n"})
    by_agent = desk.send("POST", f"/issues/{issue}/comments", {"body": "hi"}).json()

    assert {
        "id": by_user["id"],
        "companyId": desk.company,
        "issueId": issue,
        "authorAgentId": None,
        "authorUserId": desk.api.get("/cli-auth/me")["userId"],
        "authorType": "user",
        "createdByRunId": None,
        "body": " hello\n",
        "createdAt": by_user["createdAt"],
        "updatedAt": by_user["createdAt"],
    } == by_user
    assert (desk.agent, None, "agent", desk.session) == tuple(
        by_agent[name] for name in ("authorAgentId", "authorUserId", "authorType", "createdByRunId")
    )
    assert by_user == desk.api.get(f"/issues/{issue}/comments/{by_user['id']}")


def test_comments_are_listed_newest_first_or_as_asked(desk: Desk):
    issue = desk.open()["id"]
    path = f"/issues/{issue}/comments"
    ids = [desk.api.post(path, {"body": text})["id"] for text in "abcd"]

    def listed(query: str) -> list[str]:
        return [comment["id"] for comment in desk.api.get(f"{path}?{query}")]

    assert ids[::-1] == listed("") == listed("order=desc")
    assert ids == listed("order=asc")
    assert ids[2:] == listed(f"order=asc&after={ids[1]}") == listed(f"order=asc&afterCommentId={ids[1]}")
    assert ids[:1:-1] == listed(f"after={ids[1]}")
    assert ids[:2] == listed("order=asc&limit=2")
    assert ids[3:] == listed("limit=1")


@pytest.mark.parametrize("query", ["order=up", "limit=0", "limit=501", "limit=x", "after=nonsense"])
def test_comments_are_not_listed_by_nonsense(desk: Desk, query: str):
    answer = desk.api.request("GET", f"/issues/{desk.open()['id']}/comments?{query}")

    assert 400 == answer.status_code
    assert [[query.split("=", maxsplit=1)[0]]] == [issue["path"] for issue in answer.json()["details"]]


def test_a_comment_that_does_not_exist_or_is_on_another_issue_is_not_found(desk: Desk):
    issue, other = desk.open()["id"], desk.open()["id"]
    comment = desk.api.post(f"/issues/{other}/comments", {"body": "x"})["id"]

    for id_ in (comment, str(uuid4()), "nonsense"):
        answer = desk.api.request("GET", f"/issues/{issue}/comments/{id_}")
        assert (404, "Comment not found") == (answer.status_code, answer.json()["error"])


def test_an_agent_finds_all_it_needs_in_the_heartbeat_context(desk: Desk):
    project = desk.api.post(f"/companies/{desk.company}/projects", {"name": "x"})
    goal = desk.api.post(f"/companies/{desk.company}/goals", {"title": "x"})
    top = desk.open()
    middle = desk.open(parentId=top["id"])
    issue = desk.open(parentId=middle["id"], projectId=project["id"], goalId=goal["id"])
    desk.api.post(f"/issues/{issue['id']}/comments", {"body": "a"})
    last = desk.api.post(f"/issues/{issue['id']}/comments", {"body": "b"})

    context = desk.api.get(f"/issues/{issue['id']}/heartbeat-context", token=desk.token)

    assert {
        "issue": issue,
        "ancestors": [middle, top],
        "project": project,
        "goal": goal,
        "commentCursor": {
            "totalComments": 2,
            "latestCommentId": last["id"],
            "latestCommentAt": last["createdAt"],
        },
        "wakeComment": None,
        "attachments": [],
    } == context
    assert [middle["id"], top["id"]] == [
        ancestor["id"] for ancestor in desk.api.get(f"/issues/{issue['id']}")["ancestors"]
    ]


def test_issues_that_are_each_others_parent_still_answer(desk: Desk):
    one = desk.open()["id"]
    two = desk.open(parentId=one)["id"]

    answer = desk.api.request("PATCH", f"/issues/{one}", {"parentId": two})

    assert answer.status_code in {200, 409, 422}
    assert 200 == desk.api.request("GET", f"/issues/{one}").status_code
    assert 200 == desk.api.request("GET", f"/issues/{two}/heartbeat-context").status_code


def test_the_agents_whole_loop_completes_the_run(desk: Desk):
    routine = desk.api.routine(desk.company, desk.agent)
    run = desk.api.post(f"/routines/{routine}/run", {})

    me = desk.api.get("/agents/me", token=desk.token)["id"]
    (item,) = desk.inbox()
    desk.send("POST", f"/issues/{item['identifier']}/checkout", {"agentId": me, "expectedStatuses": ["todo"]})
    context = desk.api.get(f"/issues/{item['id']}/heartbeat-context", token=desk.token)
    done = desk.send("PATCH", f"/issues/{item['id']}", {"status": "done", "comment": "all well"}).json()

    (shown,) = desk.api.get(f"/routines/{routine}/runs")
    assert run["linkedIssueId"] == context["issue"]["id"]
    assert [] == desk.inbox()
    assert (run["id"], "completed", done["completedAt"]) == (shown["id"], shown["status"], shown["completedAt"])


def test_two_agents_at_once_check_an_issue_out_once(desk: Desk):
    people_ = [(desk.agent, desk.token), *(desk.api.agent(desk.company, f"A{n}") for n in range(5))]
    issue = desk.open()["id"]

    def take(who: tuple[str, str]) -> int:
        body = {"agentId": who[0], "expectedStatuses": ["backlog"]}
        headers = {"X-Paperclip-Run-Id": str(uuid4())}
        answer = desk.api.request("POST", f"/issues/{issue}/checkout", body, token=who[1], headers=headers)
        return answer.status_code

    with ThreadPoolExecutor(6) as threads:
        assert [200, *[409] * 5] == sorted(threads.map(take, people_))


def test_a_viewer_reads_issues_and_writes_none(desk: Desk):
    viewer = people.member(desk.api, desk.company, "viewer")
    issue = desk.open()["id"]

    assert issue == desk.api.get(f"/issues/{issue}", token=viewer)["id"]
    assert (403, "Viewer access is read-only") == desk.refusal("PATCH", f"/issues/{issue}", {}, token=viewer)
