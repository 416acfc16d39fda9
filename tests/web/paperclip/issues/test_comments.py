"""Comments on issues: fields, order, pages (contract 7.5)."""

from uuid import uuid4

import pytest

from tests.web.paperclip.issues.conftest import IssuesFixture


def test_a_comment_has_exactly_the_contracts_fields(issues_fixture: IssuesFixture):
    issue = issues_fixture.open()["id"]

    by_user = issues_fixture.api.post(f"/issues/{issue}/comments", {"body": " hello\n"})
    by_agent = issues_fixture.send("POST", f"/issues/{issue}/comments", {"body": "hi"}).json()

    assert {
        "id": by_user["id"],
        "companyId": issues_fixture.company,
        "issueId": issue,
        "authorAgentId": None,
        "authorUserId": issues_fixture.api.get("/cli-auth/me")["userId"],
        "authorType": "user",
        "createdByRunId": None,
        "body": " hello\n",
        "createdAt": by_user["createdAt"],
        "updatedAt": by_user["createdAt"],
    } == by_user
    assert (issues_fixture.agent, None, "agent", issues_fixture.session) == tuple(
        by_agent[name] for name in ("authorAgentId", "authorUserId", "authorType", "createdByRunId")
    )
    assert by_user == issues_fixture.api.get(f"/issues/{issue}/comments/{by_user['id']}")


def test_comments_are_listed_newest_first_or_as_asked(issues_fixture: IssuesFixture):
    issue = issues_fixture.open()["id"]
    path = f"/issues/{issue}/comments"
    ids = [issues_fixture.api.post(path, {"body": text})["id"] for text in "abcd"]

    def listed(query: str) -> list[str]:
        return [comment["id"] for comment in issues_fixture.api.get(f"{path}?{query}")]

    assert ids[::-1] == listed("") == listed("order=desc")
    assert ids == listed("order=asc")
    assert ids[2:] == listed(f"order=asc&after={ids[1]}") == listed(f"order=asc&afterCommentId={ids[1]}")
    assert ids[:1:-1] == listed(f"after={ids[1]}")
    assert ids[:2] == listed("order=asc&limit=2")
    assert ids[3:] == listed("limit=1")


@pytest.mark.parametrize("query", ["order=up", "limit=0", "limit=501", "limit=x", "after=nonsense"])
def test_comments_are_not_listed_by_nonsense(issues_fixture: IssuesFixture, query: str):
    answer = issues_fixture.api.request("GET", f"/issues/{issues_fixture.open()['id']}/comments?{query}")

    assert 400 == answer.status_code
    assert [[query.split("=", maxsplit=1)[0]]] == [issue["path"] for issue in answer.json()["details"]]


def test_a_comment_that_does_not_exist_or_is_on_another_issue_is_not_found(issues_fixture: IssuesFixture):
    issue, other = issues_fixture.open()["id"], issues_fixture.open()["id"]
    comment = issues_fixture.api.post(f"/issues/{other}/comments", {"body": "x"})["id"]

    for id_ in (comment, str(uuid4()), "nonsense"):
        answer = issues_fixture.api.request("GET", f"/issues/{issue}/comments/{id_}")
        assert (404, "Comment not found") == (answer.status_code, answer.json()["error"])
