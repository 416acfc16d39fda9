"""
docs/access.csv, cell by cell, against the running API (contract 1.2, 3, 7).

A webhook is fired by whoever knows its secret; here by all, since this one has none to know.
"""

import csv
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from application import tokens
from domain.events import KeyIssued
from domain.identity import key_of
from tests.api import Api
from tests.web import people
from tests.web.access_requests import OPERATIONS, AccessFixture, Request, new_access_fixture

TABLE = {
    row.pop("operation"): {who: int(status) for who, status in row.items()}
    for row in csv.DictReader((Path(__file__).parents[2] / "docs" / "access.csv").read_text().splitlines())
}
PRINCIPALS = next(iter(TABLE.values())).keys()
IN_COMPANY_OF_ITS_OWN = (
    "archiveCompany",  # nothing begins in the company after that
    "replayCompany",  # looks at each of the hundreds of routines that the other operations make
)
ONCE = ("approveAgent", "cancelBackfill")  # like whatever is deleted, what these are about is used up
UNKNOWN = ("nobody", "unknown token", "revoked key", "terminated agent")
BY_ID = [name for name, row in TABLE.items() if row["agent of another company"] == 404]


@pytest.fixture(scope="module")
def access_fixture(api: Api) -> AccessFixture:
    return new_access_fixture(api)


def test_every_operation_that_is_served_has_its_row_and_every_row_its_operation(api: Api):
    served = {
        operation["operationId"] for path in api.get("/openapi.json")["paths"].values() for operation in path.values()
    }

    assert served == TABLE.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("operation", TABLE)
def test_each_caller_is_answered_as_the_table_says_and_whoever_is_unknown_is_told_that_and_nothing_else(
    access_fixture: AccessFixture, operation: str
):
    if operation in IN_COMPANY_OF_ITS_OWN:
        access_fixture = new_access_fixture(access_fixture.api)
    arrange, expected = OPERATIONS[operation][1], TABLE[operation]
    answers, request = dict[str, httpx.Response](), None

    for who in sorted(PRINCIPALS, key=expected.__getitem__, reverse=True):  # the refused leave it as it is to the next
        request = request or arrange(access_fixture)
        answers[who] = access_fixture.send(operation, access_fixture.tokens[who], request)
        if answers[who].is_success and (OPERATIONS[operation][0] == "DELETE" or operation in ONCE):
            request = None

    assert expected == {who: answer.status_code for who, answer in answers.items()}
    assert {("Unauthorized", "Bearer")} >= {
        (answers[who].json()["error"], answers[who].headers["WWW-Authenticate"])
        for who in UNKNOWN
        if expected[who] == 401
    }


@pytest.mark.parametrize("stranger", ["agent of another company", "user of another company"])
@pytest.mark.parametrize("operation", BY_ID)
def test_what_belongs_to_another_company_answers_byte_for_byte_like_what_does_not_exist(
    access_fixture: AccessFixture, operation: str, stranger: str
):
    there = _shared_request(access_fixture, operation)
    kind, id_, *rest = there.path.removeprefix("/").split("/")
    nowhere = Request("/".join(["", kind, str(uuid4()), *rest]), there.body)

    foreign = access_fixture.send(operation, access_fixture.tokens[stranger], there)
    missing = access_fixture.send(operation, access_fixture.tokens[stranger], nowhere)

    assert 404 == foreign.status_code == missing.status_code
    assert foreign.content == missing.content
    assert id_ not in foreign.text
    assert _without_date(foreign) == _without_date(missing)


@pytest.mark.parametrize(
    ("who", "text"),
    [
        ("agent of another company", "Agent key cannot access another company"),
        ("user of another company", "User does not have access to this company"),
        ("viewer", "Viewer access is read-only"),
        ("auditor", "Auditor access is read-only"),
        ("instance auditor", "Auditor access is read-only"),
    ],
)
def test_paths_of_a_company_tell_why_somebody_is_turned_away(access_fixture: AccessFixture, who: str, text: str):
    answer = access_fixture.send(
        "createIssue", access_fixture.tokens[who], _shared_request(access_fixture, "createIssue")
    )

    assert (403, text) == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize(
    ("who", "operation", "text"),
    [
        ("agent own", "createAgent", "Board access required"),
        ("agent own", "addMember", "Board access required"),
        ("viewer", "addMember", "Viewer access is read-only"),
        ("member without tasks:assign", "removeMember", "Only owners and admins may manage members"),
        ("agent own", "listCompanies", "Board access required"),
        ("agent own", "createCompany", "Board access required"),
        ("board owner", "createCompany", "Instance admin required"),
        ("board owner", "createMemberKey", "Instance admin required"),
        ("agent own", "createAgentKey", "Board access required"),
        ("agent own", "createBoardKey", "Board authentication required"),
        ("agent own", "getIdentity", "Board authentication required"),
        ("board owner", "getMe", "Agent authentication required"),
        ("board owner", "getInbox", "Agent authentication required"),
        ("agent not owning", "updateRoutine", "Agents can only manage routines assigned to themselves"),
        ("agent not owning", "runRoutine", "Agents can only manage routines assigned to themselves"),
        ("agent not owning", "createTrigger", "Agents can only manage routines assigned to themselves"),
        ("agent not owning", "deleteTrigger", "Agents can only manage routines assigned to themselves"),
        ("agent not owning", "rotateTriggerSecret", "Agents can only manage routines assigned to themselves"),
        ("agent not owning", "listRevisions", "Agents can only manage routines assigned to themselves"),
        ("agent not owning", "restoreRevision", "Agents can only manage routines assigned to themselves"),
        ("member without tasks:assign", "restoreRevision", "Missing permission: tasks:assign"),
        ("user of another company", "rotateTriggerSecret", "Routine trigger not found"),
        ("user of another company", "restoreRevision", "Routine not found"),
        ("agent not owning", "createRoutine", "Agents can only manage routines assigned to themselves"),
        ("member without tasks:assign", "runRoutine", "Missing permission: tasks:assign"),
        ("member without tasks:assign", "createRoutine", "Missing permission: tasks:assign"),
        ("member without tasks:assign", "updateTrigger", "Missing permission: tasks:assign"),
        ("member without tasks:assign", "rotateTriggerSecret", "Missing permission: tasks:assign"),
        ("member without tasks:assign", "rotateHeartbeatSecret", "Missing permission: tasks:assign"),
        ("member without tasks:assign", "createAgentKey", "Missing permission: tasks:assign"),
        ("member without tasks:assign", "listCompanyKeys", "Only owners and admins may manage the company's keys"),
        ("viewer", "revokeCompanyKey", "Viewer access is read-only"),
        ("agent not owning", "releaseIssue", "Only assignee can release issue"),
        ("agent not owning", "checkoutIssue", "Agent can only checkout as itself"),
        ("agent of another company", "updateTrigger", "Routine trigger not found"),
        ("user of another company", "getRoutine", "Routine not found"),
        ("user of another company", "getIssue", "Issue not found"),
        ("user of another company", "getAgent", "Agent not found"),
        ("user of another company", "getProject", "Project not found"),
        ("user of another company", "getGoal", "Goal not found"),
    ],
)
def test_each_refusal_has_its_text(access_fixture: AccessFixture, who: str, operation: str, text: str):
    answer = access_fixture.send(operation, access_fixture.tokens[who], _shared_request(access_fixture, operation))

    assert text == answer.json()["error"]


@pytest.mark.parametrize(
    ("scheme", "status"),
    [("Bearer", 200), ("bearer", 200), ("BEARER", 200), ("Basic", 401), ("Bearer:", 401), ("Token", 401)],
)
def test_only_a_bearer_token_counts_in_whatever_case_the_word_is_written(api: Api, scheme: str, status: int):
    assert status == api.request("GET", "/companies", headers={"Authorization": f"{scheme} {api.token}"}).status_code


def test_a_key_is_unknown_from_the_request_after_its_revocation_on(access_fixture: AccessFixture):
    api, user = access_fixture.api, access_fixture.tokens["board owner"]
    key = api.post("/board-api-keys", {}, token=user)
    api.get("/cli-auth/me", token=key["token"])

    api.request("DELETE", f"/board-api-keys/{key['id']}", token=key["token"])

    assert 401 == api.request("GET", "/cli-auth/me", token=key["token"]).status_code
    assert 200 == api.request("GET", "/cli-auth/me", token=user).status_code


def test_an_expired_key_is_unknown(api: Api):
    token = people.key(api, people.user(api)[0], expires_at=api.system.clock())

    assert 401 == api.request("GET", "/cli-auth/me", token=token).status_code


def test_the_key_of_an_agent_that_waits_for_approval_is_unknown_until_it_is_approved(access_fixture: AccessFixture):
    agent_id, token = access_fixture.unapproved_agent(), tokens.mint("agent")
    event = KeyIssued(name="early", agent_id=UUID(agent_id))
    people.operate(access_fixture.api, lambda work: work.record(key_of(token), [event], UUID(access_fixture.company)))

    before = access_fixture.api.request("GET", "/agents/me", token=token).status_code
    access_fixture.api.post(f"/agents/{agent_id}/approve")

    assert (401, 200) == (before, access_fixture.api.request("GET", "/agents/me", token=token).status_code)


def test_what_is_wrong_with_a_body_is_said_before_who_may_send_it(access_fixture: AccessFixture):
    path = f"/companies/{access_fixture.company}/routines"

    answers = [access_fixture.api.request("POST", path, {}, token=token) for token in access_fixture.tokens.values()]

    assert {(400, "Validation error")} == {(answer.status_code, answer.json()["error"]) for answer in answers}


def _shared_request(access_fixture: AccessFixture, operation: str) -> Request:
    """A request whose ids exist, made once per operation: nobody here gets far enough to use it up."""
    if operation not in SHARED:
        SHARED[operation] = OPERATIONS[operation][1](access_fixture)
    return SHARED[operation]


SHARED: dict[str, Request] = {}


def _without_date(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}
