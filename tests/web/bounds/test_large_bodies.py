"""A large body is read only where one is needed, of a sender who is known, and never for longer than it took to send."""

import msgspec
import pytest

from application.request_bodies import jetty as jetty_request_bodies
from application.request_bodies.board import AgentDraft, ProjectDraft
from application.request_bodies.issues import CommentDraft, IssuePatch
from application.request_bodies.routines import RoutineDraft, RunRequest
from domain.bounds.limits import MIB
from tests.api import Api
from tests.web.bounds.connections import FORM, PUBLIC, connected_client, read_answer, request_head
from tests.web.hooks import JSON, hook
from tests.web.jetty.conftest import ECHO, Jetty
from tests.web.served import serve_further
from web.http import json_body
from web.http.large_bodies import takes_anything
from web.jetty.requests import MOST_ESCAPES, MOST_FIELDS


@pytest.mark.parametrize("token", [None, "nonsense", "pcp_board_" + "0" * 38])
def test_a_large_body_is_read_when_its_sender_is_known(api: Api, routine: str, token: str | None):
    path, authorization = f"/api/routines/{routine}/run", () if token is None else (f"Authorization: Bearer {token}",)
    sizes = (MIB + 1, 10 * MIB)

    for size in sizes:
        with connected_client(api) as client:
            client.sendall(request_head("POST", path, size, *authorization))
            assert (401, {"error": "Unauthorized", "retry": None}) == read_answer(client)
    chunks = (b" " * 100_000 for _ in range(50))
    answer = api.request("POST", f"/routines/{routine}/run", token=token, content=chunks, headers=JSON)
    known = api.request(
        "POST", f"/routines/{routine}/run", content=b'{"payload":{"text":"%s"}}' % (b"x" * MIB), headers=JSON
    )

    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])
    assert 202 == known.status_code


def test_an_operation_that_needs_no_large_body_takes_none_of_anybody(api: Api, company: str):
    body = b'{"name":"x"%s}' % (b" " * MIB)

    for path in ("/companies", f"/companies/{company}/projects", f"/companies/{company}/goals"):
        answer = api.request("POST", path, content=body, headers=JSON)
        assert (413, f"The body must have at most {MIB} bytes") == (answer.status_code, answer.json()["error"]), path


def test_large_bodies_are_those_that_hold_objects_of_any_shape_or_long_texts():
    large = (
        RunRequest,
        RoutineDraft,
        IssuePatch,
        AgentDraft,
        jetty_request_bodies.RunCreate,
        jetty_request_bodies.TaskChange,
        jetty_request_bodies.IngestCreate,
        jetty_request_bodies.StepReport,
        jetty_request_bodies.RoutineCreate,
    )
    small = (
        ProjectDraft,
        CommentDraft,
        jetty_request_bodies.CollectionCreate,
        jetty_request_bodies.LabelCreate,
    )

    assert all(map(takes_anything, large))
    assert not any(map(takes_anything, small))


def test_jetty_takes_large_bodies_where_results_are_pushed_and_of_its_own_keys_only(api: Api, jetty: Jetty):
    task = jetty.task(workflow=ECHO)
    path = f"/trajectories/{jetty.collection}/{task}/ingest"
    body = b'{"output":{"text":"%s"}%s}' % (b"x" * 1_000, b" " * 3 * MIB)

    refusals = [
        jetty.request("POST", path, content=body, headers=JSON, key=key) for key in ("", None, "mlc_" + "0" * 47)
    ]
    small = jetty.request("POST", f"/tasks/{jetty.collection}/{task}/nothing", content=body, headers=JSON)

    assert [200, 401, 401] == [answer.status_code for answer in refusals]
    assert {"detail": "Invalid API key or JWT token"} == refusals[1].json() == refusals[2].json()
    assert 413 == small.status_code
    assert "at most" in small.json()["detail"]


@pytest.mark.parametrize(
    "body", [b"a=" + b"%" * (MOST_ESCAPES + 1), b"&" * MOST_FIELDS, b"init_params=" + b"%7B" * (MOST_ESCAPES + 1)]
)
def test_a_form_that_takes_longer_to_read_than_to_send_is_not_read(jetty: Jetty, body: bytes):
    path = f"/run/{jetty.collection}/{jetty.task(workflow=ECHO)}"

    answer = jetty.request("POST", path, content=body, headers=FORM)
    largest = jetty.request("POST", path, content=b"a=" + b"%" * 9_000_000, headers=FORM)

    assert (422, 413) == (answer.status_code, largest.status_code)
    assert f"at most {MOST_FIELDS} fields and {MOST_ESCAPES} escapes" in answer.json()["detail"][0]["msg"]


def test_a_body_of_a_webhook_is_read_when_there_is_that_webhook(api: Api, routine: str):
    sender, body = hook(api, routine), b'{"a":"%s"}' % (b"x" * 500_000)

    with connected_client(api) as client:
        client.sendall(request_head("POST", f"{PUBLIC}/{'0' * 24}/fire", MIB))
        unknown = read_answer(client)
    known, forged = sender.call(body, JSON), sender.knowing("no").call(body, JSON)

    assert (404, "Routine trigger not found") == (unknown[0], unknown[1]["error"])
    assert [202, 401] == [known.status_code, forged.status_code]


def test_of_a_sender_whose_headers_prove_nothing_no_large_body_is_read_and_he_is_counted(api: Api, routine: str):
    late = {"X-Paperclip-Signature": "0" * 64, "X-Paperclip-Timestamp": "1000000000"}
    attempts = [
        (hook(api, routine), {"Authorization": "Bearer no"}),
        (hook(api, routine, "hmac_sha256"), late),
        (hook(api, routine, "github_hmac"), {}),
        (hook(api, routine, "standard_webhooks"), {"webhook-id": "1"}),
    ]
    with serve_further(api, webhook_rate=1) as here:
        refused = []
        for sender, headers in attempts * 3:
            with connected_client(here) as client:
                client.sendall(
                    request_head(
                        "POST",
                        f"{PUBLIC}/{sender.public_id}/fire",
                        MIB,
                        *(f"{name}: {value}" for name, value in headers.items()),
                    )
                )
                refused.append(read_answer(client)[0])

    assert [401] * 10 + [429] * 2 == refused


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 3_000_000 + b"1]",
        b"[" * 5_000_000,
        b"[" + b'"",' * 3_000_000 + b"1]",
        b'{"a":[' + b'"\\"",' * 1_500_000 + b"1]}",
        b'{"a":' * 1_500_000,
    ],
)
def test_values_are_counted_before_any_is_made(monkeypatch: pytest.MonkeyPatch, body: bytes):
    def decode(_body: bytes) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(msgspec.json, "decode", decode)

    with pytest.raises(json_body.Unsound, match="at most 100000 values"):
        json_body.read(body)


@pytest.mark.parametrize(
    "text", [",[{" * 200_000, '\\",' * 200_000, "\\\\" * 200_000 + ",", '"' * 500_000, '\\"\\' * 9]
)
def test_marks_within_texts_are_no_values(text: str):
    value = {"a": [text, {text: "\\"}, "b"]}

    assert value == json_body.read(msgspec.json.encode(value))
