"""Issues: their fields, lists, statuses, references and updates, and the whole loop of an agent over them (contract 7.5)."""

from uuid import uuid4

import pytest

from tests.api import Api
from tests.web import people
from tests.web.paperclip.issues.conftest import STATUSES, IssuesFixture


def test_a_new_issue_has_exactly_the_contracts_fields_and_defaults(issues_fixture: IssuesFixture):
    issue = issues_fixture.open(title=" Look ")

    assert {
        "id": issue["id"],
        "companyId": issues_fixture.company,
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
        "createdByUserId": issues_fixture.api.get("/cli-auth/me")["userId"],
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
    assert issue | {"ancestors": []} == issues_fixture.api.get(f"/issues/{issue['id']}")


def test_an_issue_with_an_assignee_starts_as_todo(issues_fixture: IssuesFixture):
    issue = issues_fixture.open(assigneeAgentId=issues_fixture.agent)

    assert "todo" == issue["status"]
    assert "blocked" == issues_fixture.open(assigneeAgentId=issues_fixture.agent, status="blocked")["status"]


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


def test_an_identifier_of_another_company_is_not_found(issues_fixture: IssuesFixture):
    identifier = issues_fixture.open()["identifier"]
    _, foreign = issues_fixture.api.agent(issues_fixture.api.company())

    assert (404, "Issue not found") == issues_fixture.refusal("GET", f"/issues/{identifier}", token=foreign)


def test_issues_are_listed_newest_first_and_narrowed(issues_fixture: IssuesFixture):
    project = issues_fixture.api.post(f"/companies/{issues_fixture.company}/projects", {"name": "x"})["id"]
    plain = issues_fixture.open(title="Red Fox")["id"]
    mine = issues_fixture.open_assigned(projectId=project)
    child = issues_fixture.open(title="100% red_fox", parentId=plain, status="done")
    routine = issues_fixture.api.routine(issues_fixture.company, issues_fixture.agent)
    execution = issues_fixture.api.post(f"/routines/{routine}/run", {})["linkedIssueId"]

    assert [execution, child["id"], mine, plain] == issues_fixture.list_ids()
    for query, expected in {
        "status=todo": [execution, mine],
        "status=todo,%20done": [execution, child["id"], mine],
        "status=": [execution, child["id"], mine, plain],
        f"assigneeAgentId={issues_fixture.agent}": [execution, mine],
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
        assert expected == issues_fixture.list_ids(f"?{query}"), query


def test_a_status_that_there_is_not_is_refused_and_no_empty_list(issues_fixture: IssuesFixture):
    for statuses in ("nonsense", "todo,doen"):
        answer = issues_fixture.api.request("GET", f"/companies/{issues_fixture.company}/issues?status={statuses}")
        assert (400, "invalid_enum_value") == (answer.status_code, answer.json()["details"][0]["code"])
        assert ["status", statuses.count(",")] == answer.json()["details"][0]["path"]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "abc", "2.5", "1e2", "%C2%B2", "9" * 400, ""])
def test_a_limit_that_is_none_is_refused_in_the_contracts_words(issues_fixture: IssuesFixture, limit: str):
    answer = issues_fixture.api.request("GET", f"/companies/{issues_fixture.company}/issues?limit={limit}")

    assert (400, "limit must be a positive integer up to 1000") == (answer.status_code, answer.json()["error"])
    assert [["limit"]] == [issue["path"] for issue in answer.json()["details"]]


def test_the_inbox_holds_what_there_is_to_do_oldest_first(issues_fixture: IssuesFixture):
    issue_by_status = {status: issues_fixture.open_assigned(status=status) for status in STATUSES}
    issues_fixture.open()

    inbox = issues_fixture.inbox()

    assert [issue_by_status[status] for status in ("todo", "in_progress", "blocked")] == [item["id"] for item in inbox]
    issue = issues_fixture.api.get(f"/issues/{issue_by_status['todo']}")
    named = ("id", "identifier", "title", "status", "priority", "projectId", "goalId", "parentId", "updatedAt")
    assert {name: issue[name] for name in named} | {
        "activeRun": None,
        "dependencyReady": True,
        "unresolvedBlockerCount": 0,
        "unresolvedBlockerIssueIds": [],
    } == inbox[0]


@pytest.mark.parametrize(
    ("status", "mark"),
    [("in_progress", "startedAt"), ("done", "completedAt"), ("cancelled", "cancelledAt"), ("in_review", None)],
)
def test_a_status_sets_its_time_and_leaving_clears_it(issues_fixture: IssuesFixture, status: str, mark: str | None):
    issue = issues_fixture.open()["id"]
    marks = {"startedAt", "completedAt", "cancelledAt"}

    moved = issues_fixture.api.patch(f"/issues/{issue}", {"status": status})
    left = issues_fixture.api.patch(f"/issues/{issue}", {"status": "todo"})

    assert {mark} - {None} == {name for name in marks if moved[name] is not None}
    assert set() == {name for name in marks if left[name] is not None}


@pytest.mark.parametrize("status", ["done", "cancelled"])
def test_an_issue_that_ended_is_held_by_nobody(issues_fixture: IssuesFixture, status: str):
    issue = issues_fixture.check_out_new()

    moved = issues_fixture.send("PATCH", f"/issues/{issue}", {"status": status}).json()

    assert (status, None, None, issues_fixture.agent) == tuple(
        moved[name] for name in ("status", "checkoutRunId", "executionRunId", "assigneeAgentId")
    )


def test_an_update_changes_what_it_names_and_clears_by_null(issues_fixture: IssuesFixture):
    goal = issues_fixture.api.post(f"/companies/{issues_fixture.company}/goals", {"title": "x"})["id"]
    project = issues_fixture.api.post(f"/companies/{issues_fixture.company}/projects", {"name": "x"})["id"]
    parent, issue = issues_fixture.open()["id"], issues_fixture.open()["id"]
    fields = {
        "title": "T",
        "description": "d",
        "priority": "low",
        "assigneeAgentId": issues_fixture.agent,
        "projectId": project,
        "goalId": goal,
        "parentId": parent,
    }
    cleared = dict.fromkeys(("description", "assigneeAgentId", "projectId", "goalId", "parentId"))

    edited = issues_fixture.api.patch(f"/issues/{issue}", fields)
    after = issues_fixture.api.patch(f"/issues/{issue}", cleared)

    assert fields == {name: edited[name] for name in fields}
    assert fields | cleared == {name: after[name] for name in fields}
    assert (None, None) == (edited["comment"], after["comment"])


def test_the_references_of_an_issue_must_be_of_the_same_company(issues_fixture: IssuesFixture):
    abroad, api = issues_fixture.api.company(), issues_fixture.api
    issue = issues_fixture.open()["id"]
    for field, name, foreign in (
        ("projectId", "Project", api.post(f"/companies/{abroad}/projects", {"name": "x"})["id"]),
        ("assigneeAgentId", "Assignee agent", api.agent(abroad)[0]),
        ("goalId", "Goal", api.post(f"/companies/{abroad}/goals", {"title": "x"})["id"]),
        ("parentId", "Parent issue", api.post(f"/companies/{abroad}/issues", {"title": "x"})["id"]),
    ):
        for method, path, body in (
            ("POST", f"/companies/{issues_fixture.company}/issues", {"title": "x"}),
            ("PATCH", f"/issues/{issue}", {}),
        ):
            answers = [api.request(method, path, body | {field: id_}) for id_ in (str(uuid4()), foreign)]
            assert [(404, f"{name} not found"), (422, f"{name} must belong to same company")] == [
                (answer.status_code, answer.json()["error"]) for answer in answers
            ]


def test_an_update_may_bring_a_comment(issues_fixture: IssuesFixture):
    issue = issues_fixture.check_out_new()

    updated = issues_fixture.send("PATCH", f"/issues/{issue}", {"status": "in_review", "comment": "see here"}).json()

    comment = updated["comment"]
    assert ("see here", issues_fixture.agent, issues_fixture.session) == (
        comment["body"],
        comment["authorAgentId"],
        comment["createdByRunId"],
    )
    assert [comment] == issues_fixture.api.get(f"/issues/{issue}/comments")


def test_an_agent_updates_only_what_it_is_assigned_to_in_the_session_that_holds_it(issues_fixture: IssuesFixture):
    issue = issues_fixture.check_out_new()
    _, other = issues_fixture.api.agent(issues_fixture.company, "Other")
    path, body = f"/issues/{issue}", {"status": "done"}

    assert (403, "Agents can only update issues assigned to themselves") == issues_fixture.refusal(
        "PATCH", path, body, token=other
    )
    assert (409, "Issue run ownership conflict") == issues_fixture.refusal("PATCH", path, body, session=str(uuid4()))
    assert (401, "Agent run id required") == issues_fixture.refusal("PATCH", path, body, session=None)
    assert 200 == issues_fixture.send("PATCH", path, body).status_code


def test_an_agent_finds_all_it_needs_in_the_heartbeat_context(issues_fixture: IssuesFixture):
    project = issues_fixture.api.post(f"/companies/{issues_fixture.company}/projects", {"name": "x"})
    goal = issues_fixture.api.post(f"/companies/{issues_fixture.company}/goals", {"title": "x"})
    top = issues_fixture.open()
    middle = issues_fixture.open(parentId=top["id"])
    issue = issues_fixture.open(parentId=middle["id"], projectId=project["id"], goalId=goal["id"])
    issues_fixture.api.post(f"/issues/{issue['id']}/comments", {"body": "a"})
    last = issues_fixture.api.post(f"/issues/{issue['id']}/comments", {"body": "b"})

    context = issues_fixture.api.get(f"/issues/{issue['id']}/heartbeat-context", token=issues_fixture.token)

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
        ancestor["id"] for ancestor in issues_fixture.api.get(f"/issues/{issue['id']}")["ancestors"]
    ]


def test_issues_that_are_each_others_parent_still_answer(issues_fixture: IssuesFixture):
    one = issues_fixture.open()["id"]
    two = issues_fixture.open(parentId=one)["id"]

    answer = issues_fixture.api.request("PATCH", f"/issues/{one}", {"parentId": two})

    assert answer.status_code in {200, 409, 422}
    assert 200 == issues_fixture.api.request("GET", f"/issues/{one}").status_code
    assert 200 == issues_fixture.api.request("GET", f"/issues/{two}/heartbeat-context").status_code


def test_the_agents_whole_loop_completes_the_run(issues_fixture: IssuesFixture):
    routine = issues_fixture.api.routine(issues_fixture.company, issues_fixture.agent)
    run = issues_fixture.api.post(f"/routines/{routine}/run", {})

    me = issues_fixture.api.get("/agents/me", token=issues_fixture.token)["id"]
    (item,) = issues_fixture.inbox()
    issues_fixture.send("POST", f"/issues/{item['identifier']}/checkout", {"agentId": me, "expectedStatuses": ["todo"]})
    context = issues_fixture.api.get(f"/issues/{item['id']}/heartbeat-context", token=issues_fixture.token)
    done = issues_fixture.send("PATCH", f"/issues/{item['id']}", {"status": "done", "comment": "all well"}).json()

    (shown,) = issues_fixture.api.get(f"/routines/{routine}/runs")
    assert run["linkedIssueId"] == context["issue"]["id"]
    assert [] == issues_fixture.inbox()
    assert (run["id"], "completed", done["completedAt"]) == (shown["id"], shown["status"], shown["completedAt"])


def test_a_viewer_reads_issues_and_writes_none(issues_fixture: IssuesFixture):
    viewer = people.member(issues_fixture.api, issues_fixture.company, "viewer")
    issue = issues_fixture.open()["id"]

    assert issue == issues_fixture.api.get(f"/issues/{issue}", token=viewer)["id"]
    assert (403, "Viewer access is read-only") == issues_fixture.refusal("PATCH", f"/issues/{issue}", {}, token=viewer)
