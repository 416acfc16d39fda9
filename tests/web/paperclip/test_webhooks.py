"""Firing by webhook: who may, what a request says, and that it counts once (contract 3.5, 4, 6)."""

import gzip
import json
import re
import time
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook

from application.use_cases import references
from domain.bounds.limits import DEFAULT as LIMITS
from domain.errors import NotFound
from tests.api import Api
from tests.domain.webhooks.webhook_vectors.refused import Attempt, refused
from tests.web.hooks import JSON, Hook, hex_hmac, hook
from tests.web.served import further
from web.http.guard import MAX_HEADER_BYTES
from web.http.rate_limit import WebhookRateLimiter

MODES = ["bearer", "hmac_sha256", "github_hmac", "none", "standard_webhooks"]
SIGNED = [mode for mode in MODES if mode != "none"]
VECTORS = Path(__file__).parents[2] / "domain" / "webhooks" / "webhook_vectors"
NOT_ACTIVE = (409, "Routine trigger is not active")
NOT_FOUND = (404, "Routine trigger not found")
UNAUTHORIZED = (401, "Unauthorized")


@pytest.fixture
def company(api: Api) -> str:
    return api.company()


@pytest.fixture
def agent(api: Api, company: str) -> str:
    return api.agent(company)[0]


@pytest.fixture
def routine(api: Api, company: str, agent: str) -> str:
    return api.routine(company, agent, concurrencyPolicy="always_enqueue")


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def runs(api: Api, routine: str) -> list[Any]:
    found: list[Any] = api.get(f"/routines/{routine}/runs?limit=200")
    return found


def secrets_kept(api: Api) -> int:
    with api.system.pool.connection() as conn:
        return int(conn.execute("SELECT count(*) FROM vault.secrets").fetchone()[0])


# Who is let in


@pytest.mark.parametrize("mode", MODES)
def test_who_knows_the_secret_fires_the_routine(api: Api, routine: str, mode: str):
    sender, body = hook(api, routine, mode), b'{"event": "deploy", "by": "Zo\xc3\xab"}'

    answer = sender.call(body, JSON)

    run = answer.json()
    assert 202 == answer.status_code, answer.text
    assert int(answer.headers["X-Routines-Position"]) > 0
    assert ("webhook", "issue_created", sender.trigger) == (run["source"], run["status"], run["triggerId"])
    assert {"event": "deploy", "by": "Zo\u00eb"} == run["triggerPayload"]
    (listed,) = runs(api, routine)
    assert listed | {"responsibleUserId": run["responsibleUserId"]} == run | {
        "linkedIssue": listed["linkedIssue"],
        "trigger": {"id": sender.trigger, "kind": "webhook", "label": None},
    }
    (shown,) = api.get(f"/routines/{routine}")["triggers"]
    assert (run["triggeredAt"], f"Created execution issue {run['linkedIssueId']}") == (
        shown["lastFiredAt"],
        shown["lastResult"],
    )


def test_a_run_by_webhook_was_made_by_its_trigger_and_its_issue_by_nobody(api: Api, routine: str):
    """Contract 5.4."""
    sender = hook(api, routine)

    run = sender.fire()

    issue = api.get(f"/issues/{run['linkedIssueId']}")
    assert (None, None, run["id"]) == (issue["createdByAgentId"], issue["createdByUserId"], issue["originRunId"])
    for stream_id in map(UUID, (run["id"], run["linkedIssueId"])):
        assert [f"trigger:{sender.trigger}"] == [one.actor for one in api.system.store.load([stream_id])[stream_id]]


@pytest.mark.parametrize("header", ["X-Paperclip-Signature", "X-Hub-Signature-256"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_the_signature_may_be_in_either_header_with_or_without_its_prefix(
    api: Api, routine: str, header: str, prefix: str
):
    """A4."""
    stamped, plain = hook(api, routine, "hmac_sha256"), hook(api, routine, "github_hmac")
    sent = str(time.time())

    signature = hex_hmac(stamped.secret, sent.encode() + b".{}")
    answers = [
        stamped.send(b"{}", {header: prefix + signature, "X-Paperclip-Timestamp": sent}),
        plain.send(b"{}", {header: prefix + hex_hmac(plain.secret, b"{}")}),
    ]

    assert [202, 202] == [answer.status_code for answer in answers]


def test_a_push_of_github_is_taken_as_it_comes(api: Api, routine: str):
    sender, body = hook(api, routine, "github_hmac"), (VECTORS / "github_push.json").read_bytes()
    headers = {
        "User-Agent": "GitHub-Hookshot/044aadd",
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": str(uuid4()),
        "X-Hub-Signature": "sha1=" + "0" * 40,
        "X-Hub-Signature-256": "sha256=" + hex_hmac(sender.secret, body),
    }

    taken, altered = sender.send(body, headers), sender.send(body + b" ", headers)

    assert (202, json.loads(body)) == (taken.status_code, taken.json()["triggerPayload"])
    assert UNAUTHORIZED == said(altered)


def test_an_event_signed_the_way_of_stripe_is_taken_as_it_comes(api: Api, routine: str):
    """`<timestamp>.<body>`, the timestamp in whole seconds."""
    sender, body = hook(api, routine, "hmac_sha256"), (VECTORS / "stripe_event.json").read_bytes()
    sent = str(int(time.time()))
    headers = {
        "X-Paperclip-Timestamp": sent,
        "X-Paperclip-Signature": hex_hmac(sender.secret, f"{sent}.".encode() + body),
    }

    answer = sender.send(body, headers | {"Content-Type": "application/json; charset=utf-8"})

    assert (202, json.loads(body)) == (answer.status_code, answer.json()["triggerPayload"])


def test_what_the_standard_webhooks_library_signs_is_taken_and_its_message_counts_once(api: Api, routine: str):
    sender, body = hook(api, routine, "standard_webhooks"), '{"type": "invoice.paid", "to": "Zo\u00eb"}'
    sent = datetime.now(UTC)
    headers = JSON | {
        "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(sender.secret).sign("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", sent, body),
    }

    first, again = (sender.send(body.encode(), headers) for _ in range(2))

    assert 202 == first.status_code == again.status_code
    assert first.json() == again.json()
    assert json.loads(body) == first.json()["triggerPayload"]
    assert 1 == len(runs(api, routine))


def test_a_message_that_is_sent_again_later_is_the_same_message(api: Api, routine: str):
    """Standard Webhooks 1.0: an attempt has a timestamp and so a signature of its own."""
    sender = hook(api, routine, "standard_webhooks")

    answers = [sender.send(b"{}", sender.signed(b"{}", at=time.time() - ago, message_id="msg_1")) for ago in (90, 0)]
    other = sender.send(b"{}", sender.signed(b"{}", message_id="msg_2"))

    assert [202] * 3 == [answer.status_code for answer in (*answers, other)]
    assert answers[0].json()["id"] == answers[1].json()["id"] != other.json()["id"]


@pytest.mark.parametrize("mode", ["hmac_sha256", "standard_webhooks"])
def test_a_timestamp_counts_within_the_window_on_either_side(api: Api, routine: str, mode: str):
    sender, now = hook(api, routine, mode, replayWindowSec=60), time.time()

    answers = [sender.send(b"", sender.signed(at=now + off)).status_code for off in (-50, 50, -70, 70)]

    assert [202, 202, 401, 401] == answers


def test_milliseconds_are_a_timestamp_too(api: Api, routine: str):
    sender, sent = hook(api, routine, "hmac_sha256"), str(int(time.time() * 1000))
    headers = {"X-Paperclip-Timestamp": sent, "X-Paperclip-Signature": hex_hmac(sender.secret, f"{sent}.".encode())}

    assert 202 == sender.send(b"", headers).status_code


# Who is not


@pytest.mark.parametrize(
    "public_id",
    [
        "0" * 24,
        "0" * 23,
        "0" * 25,
        "A" * 24,
        "nonsense",
        "5f0c1f5e-0000-4000-8000-0000000000ff",
        "%00" * 8,
        "\u00e9" * 24,
        "0" * 24 + "%0A",
    ],
)
def test_an_unknown_address_is_not_found(api: Api, public_id: str):
    for token in (None, api.token):
        answer = api.request("POST", f"/routine-triggers/public/{public_id}/fire", {}, token=token)
        assert 404 == answer.status_code


def test_a_trigger_of_another_kind_has_no_address(api: Api, routine: str):
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]

    for name in (trigger, trigger.replace("-", "")[:24]):
        assert NOT_FOUND == said(api.request("POST", f"/routine-triggers/public/{name}/fire", {}))


def test_the_tokens_of_the_api_open_no_webhook(api: Api, company: str, routine: str):
    sender, (_, token) = hook(api, routine), api.agent(company)

    for known in (api.token, token):
        assert UNAUTHORIZED == said(sender.knowing(known).call())


def test_deliveries_that_prove_nothing_are_all_answered_alike_and_leave_no_trace(api: Api, routine: str):
    now = datetime.now(UTC).replace(microsecond=0)
    sender = hook(api, routine, "hmac_sha256", replayWindowSec=300)
    attempts = [one for one in refused(sender.secret, now, 300) if is_a_request(one)]
    answers = Counter[tuple[int, bytes]]()

    with further(api, clock=lambda: now) as here:
        for mode in ("hmac_sha256", "github_hmac", "standard_webhooks", "bearer"):  # the secret stays the same
            api.patch(f"/routine-triggers/{sender.trigger}", {"signingMode": mode})
            head, kept = api.system.store.head(), secrets_kept(api)
            for attempt in attempts:
                if attempt.mode == mode:
                    answers[sender.at(here.url).send_raw(attempt.body, attempt.headers)] += 1
            assert (head, kept) == (api.system.store.head(), secrets_kept(api))

    assert sum(answers.values()) > 200
    assert {401} == {status for status, _ in answers}
    assert 1 == len(answers)
    assert [] == runs(api, routine)


def is_a_request(attempt: Attempt) -> bool:
    """Whether it can be sent at all, and gets past the limits of the server."""
    return all(len(value) < MAX_HEADER_BYTES and not set(value) & set("\n\r\0") for _, value in attempt.headers)


def test_a_flood_of_bad_signatures_is_forgotten(api: Api, routine: str):
    senders = [hook(api, routine, mode).knowing("0" * 48) for mode in SIGNED]
    head, kept = api.system.store.head(), secrets_kept(api)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda number: senders[number % len(senders)].call(b"{}", JSON), range(500)))

    assert {UNAUTHORIZED} == {said(answer) for answer in answers}
    assert {"Bearer"} == {answer.headers["WWW-Authenticate"] for answer in answers}
    assert (head, kept) == (api.system.store.head(), secrets_kept(api))


@pytest.mark.parametrize("mode", SIGNED)
def test_a_header_of_the_credential_that_is_given_twice_is_none(api: Api, routine: str, mode: str):
    sender = hook(api, routine, mode)
    genuine = list(sender.signed(b"{}").items())

    answers = [sender.send(b"{}", [*genuine, twice]) for twice in genuine]

    assert {UNAUTHORIZED} == {said(answer) for answer in answers}
    assert 202 == sender.send(b"{}", genuine).status_code


# What is told to whom


def disabled(api: Api, sender: Hook, _: str) -> None:
    api.patch(f"/routine-triggers/{sender.trigger}", {"enabled": False})


def paused(api: Api, _: Hook, routine: str) -> None:
    api.patch(f"/routines/{routine}", {"status": "paused"})


def archived(api: Api, _: Hook, routine: str) -> None:
    api.patch(f"/routines/{routine}", {"status": "archived"})


@pytest.mark.parametrize("change", [disabled, paused, archived])
@pytest.mark.parametrize("mode", SIGNED)
def test_only_who_knows_the_secret_is_told_that_a_webhook_is_not_active(api: Api, routine: str, mode: str, change: Any):
    """Contract 3.5, 6."""
    sender = hook(api, routine, mode)
    before = said(sender.knowing("0" * 48).call())
    change(api, sender, routine)

    assert UNAUTHORIZED == before == said(sender.knowing("0" * 48).call())
    assert NOT_ACTIVE == said(sender.call())
    assert [] == runs(api, routine)


@pytest.mark.parametrize("mode", MODES)
def test_a_deleted_webhook_is_not_found_with_the_secret_or_without(api: Api, routine: str, mode: str):
    sender = hook(api, routine, mode)

    assert 204 == api.request("DELETE", f"/routine-triggers/{sender.trigger}").status_code

    assert NOT_FOUND == said(sender.call()) == said(sender.send())


def test_a_webhook_that_is_enabled_again_fires_again(api: Api, routine: str):
    sender = hook(api, routine, enabled=False)

    before = said(sender.call())
    api.patch(f"/routine-triggers/{sender.trigger}", {"enabled": True})

    assert NOT_ACTIVE == before
    assert 202 == sender.call().status_code


def test_a_paused_project_does_not_suppress_a_webhook(api: Api, company: str, agent: str):
    """Contract 4.2."""
    project = api.post(f"/companies/{company}/projects", {"name": "x"})["id"]
    sender = hook(api, api.routine(company, agent, projectId=project))
    api.post(f"/projects/{project}/pause")

    assert "issue_created" == sender.fire()["status"]


def test_a_paused_agent_makes_the_run_fail_and_a_terminated_one_is_a_refusal(api: Api, routine: str, agent: str):
    """Contract 3.7, 5.3."""
    sender = hook(api, routine)
    api.post(f"/agents/{agent}/pause")

    run = sender.fire()
    api.post(f"/agents/{agent}/terminate")
    refusal = sender.call()

    assert ("failed", "Agent is not invokable in its current state", None) == (
        run["status"],
        run["failureReason"],
        run["linkedIssueId"],
    )
    assert (409, "agent_not_assignable") == (refusal.status_code, refusal.json()["code"])
    assert 1 == len(runs(api, routine))


@pytest.mark.parametrize(("policy", "outcome"), [("coalesce_if_active", "coalesced"), ("skip_if_active", "skipped")])
def test_a_webhook_goes_through_the_concurrency_policy(api: Api, company: str, agent: str, policy: str, outcome: str):
    sender = hook(api, api.routine(company, agent, concurrencyPolicy=policy))

    first, second = sender.fire(b'{"a": 1}', JSON), sender.fire(b'{"a": 2}', JSON)

    assert ["issue_created", outcome] == [first["status"], second["status"]]
    assert (first["linkedIssueId"], first["id"]) == (second["linkedIssueId"], second["coalescedIntoRunId"])
    assert {"a": 2} == second["triggerPayload"]


# What a request must be


@pytest.mark.parametrize("encoding", ["br", "identity, gzip", "gzip, gzip", "nonsense"])
def test_a_body_that_is_coded_otherwise_than_by_gzip_is_refused(api: Api, routine: str, encoding: str):
    sender = hook(api, routine)

    assert (415, "Content-Encoding is not supported") == said(sender.call(b"{}", {"Content-Encoding": encoding}))
    assert 202 == sender.call(b"{}", {"Content-Encoding": "identity"}).status_code


@pytest.mark.parametrize("mode", ["bearer", "hmac_sha256", "standard_webhooks"])
def test_a_body_in_gzip_is_unpacked_and_its_signature_covers_what_was_sent(api: Api, routine: str, mode: str):
    sender, plain = hook(api, routine, mode), b'{"a": "Zo\xc3\xab"}'
    packed = gzip.compress(plain)
    headers = JSON | {"Content-Encoding": "gzip"}

    assert {"a": "Zo\u00eb"} == sender.fire(packed, headers)["triggerPayload"]
    if mode != "bearer":
        assert UNAUTHORIZED == said(sender.send(packed, headers | sender.signed(plain)))
    assert UNAUTHORIZED == said(sender.knowing("0" * 48).call(b"no gzip", headers))


def test_a_bomb_in_gzip_is_not_unpacked_and_a_broken_one_is_a_bad_request(api: Api, routine: str):
    sender, headers = hook(api, routine), JSON | {"Content-Encoding": "x-gzip"}
    bomb = gzip.compress(b" " * (LIMITS.max_webhook_bytes + 1))
    understated = bomb[:-4] + (4).to_bytes(4, "little")
    packed = gzip.compress(b"{}")

    assert 413 == sender.call(bomb, headers).status_code
    assert UNAUTHORIZED == said(sender.knowing("no").call(bomb, headers))
    for broken in (understated, packed[:-1], packed + packed, packed[:-5] + b"x" + packed[-4:], b"{}", b"\x1f\x8b"):
        answer = sender.call(broken, headers)
        assert 400 == answer.status_code, broken
    assert [] == runs(api, routine)


def test_what_a_body_in_gzip_unpacks_to_is_held_as_any_body_is(api: Api, routine: str):
    sender, half = hook(api, routine), gzip.compress(b" " * 40_000 + b"{}")

    with further(api, limits=msgspec.structs.replace(LIMITS, max_held_body_bytes_per_sender=50_000)) as here:
        held = sender.at(here.url).call(half, JSON | {"Content-Encoding": "gzip"})
        full = sender.at(here.url).call(gzip.compress(b" " * 80_000), JSON | {"Content-Encoding": "gzip"})

    assert (202, 503) == (held.status_code, full.status_code)


def test_a_body_of_ten_megabytes_is_taken_and_a_byte_more_is_too_large(api: Api, routine: str):
    """The payload is kept whole; lists, and the answer to the sender, show it without its largest fields."""
    sender, text = hook(api, routine, "hmac_sha256"), f"The body must have at most {LIMITS.max_webhook_bytes} bytes"
    body = b'{"b":1,"a":"%s"}' % (b"x" * (LIMITS.max_webhook_bytes - 14))
    chunks = [body, b" "]

    taken = sender.call(body, JSON)
    declared, undeclared = sender.call(body + b" ", JSON), sender.send(iter(chunks), sender.signed(b"".join(chunks)))

    run = taken.json()
    (listed,) = runs(api, routine)
    whole = api.get(f"/routine-runs/{run['id']}")
    assert 10 * 1024**2 == len(body) == LIMITS.max_webhook_bytes
    assert (202, {"b": 1}, len(body)) == (taken.status_code, run["triggerPayload"], run["triggerPayloadBytes"])
    assert ({"b": 1}, len(body)) == (listed["triggerPayload"], listed["triggerPayloadBytes"])
    assert json.loads(body) == whole["triggerPayload"]
    assert run.keys() - {"triggerPayloadBytes"} == whole.keys() - {"deadline"}
    assert (413, text) == said(declared) == said(undeclared)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a": ', "Invalid JSON body"),
        (b"{'a': 1}", "Invalid JSON body"),
        (b"\xff\xfe", "Invalid JSON body"),
        (b'{"a": "\\u0000"}', "The character U+0000 is not allowed (in a)"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "The body is nested deeper than 64 levels"),
    ],
)
@pytest.mark.parametrize("mode", ["bearer", "hmac_sha256"])
def test_malformed_json_is_a_bad_request_for_who_knows_the_secret(
    api: Api, routine: str, mode: str, body: bytes, text: str
):
    sender = hook(api, routine, mode)

    assert (400, text) == said(sender.call(body, JSON))
    assert UNAUTHORIZED == said(sender.knowing("0" * 48).call(body, JSON))
    assert [] == runs(api, routine)


def test_whether_a_webhook_is_active_is_said_before_what_is_wrong_with_the_body(api: Api, routine: str):
    sender = hook(api, routine, enabled=False)

    assert NOT_ACTIVE == said(sender.call(b"{", JSON))


@pytest.mark.parametrize(
    ("old", "new"), [("/fire", "/fire/"), ("/public", "//public"), ("/api/", "//api///"), ("/fire", "//fire//")]
)
def test_an_address_that_is_spelled_with_more_slashes_is_guarded_alike(api: Api, routine: str, old: str, new: str):
    sender = hook(api, routine)
    url, form, large = sender.url.replace(old, new), {"Content-Type": FORM}, b"x" * (LIMITS.max_webhook_bytes + 1)

    answers = [
        httpx.post(url, content=body, headers=headers)
        for body, headers in ((large, form), (b"{", JSON), (b"a=1", form | sender.signed()))
    ]

    assert [413, 401, 202] == [answer.status_code for answer in answers]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_webhook_is_posted_to(api: Api, routine: str, method: str):
    sender = hook(api, routine, "none")

    assert (404, "API route not found") == said(httpx.request(method, sender.url))


# What a run keeps of it


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("kind", "body", "payload"),
    [
        (None, b"", {}),
        ("application/json", b"", {}),
        ("text/plain", b"", {}),
        ("application/json", b"{}", {}),
        ("application/json", b'{"a": [1, null]}', {"a": [1, None]}),
        ("APPLICATION/JSON; charset=UTF-8", b'{"a": 1}', {"a": 1}),
        (None, b'{"a": 1}', {"a": 1}),
        ("application/json", b'{"payload": {"a": 1}}', {"payload": {"a": 1}}),
        ("application/json", b'{"payload": {"a": 1}, "b": 2}', {"payload": {"a": 1}, "b": 2}),
        ("application/json", b'{"body": 1}', {"body": 1}),
        ("application/json", b"[1, {}]", {"body": [1, {}]}),
        ("application/json", b"[]", {"body": []}),
        ("application/json", b"7.5", {"body": 7.5}),
        ("application/json", b'"text"', {"body": "text"}),
        ("application/json", b"false", {"body": False}),
        ("application/json", b"null", {"body": None}),
        ("application/json; charset=utf8", b'\xef\xbb\xbf{"a": "\\ud800"}', {"a": "\ufffd"}),
        ("application/json, application/json", b'{"a": 1}', {"a": 1}),
        (FORM, b"payload=%7B%22a%22%3A1%7D", {"a": 1}),
        (f"{FORM}; charset=utf-8", b"x=1&payload=%7b%22a%22:+%22%C3%AB+%25%22}&payload=2", {"a": "\u00eb %"}),
        (FORM, b"payload=[1]", {"body": [1]}),
        (FORM, b"payload=hello", None),
        (FORM, b"payload", None),
        (FORM, b'payload={"a":"=3D %3D%0A+%2B%25"}', None),
        (FORM, b'payload={"a":"=3D+%3D%2B%253D_."}', {"a": "=3D =+%3D_."}),
        (FORM, b'payload={"a":"100%"}', None),
        (FORM, b"a=1&" * 200 + b"payload={}", None),
        ("text/plain", b'{"a": 1}', {"a": 1}),
        ("text/plain; charset=UTF-8", b"[1]", {"body": [1]}),
        ("text/plain", b"7", None),
        ("text/plain", b"{hello", None),
        ("application/octet-stream", b"\x00\xff", None),
        (None, b"\x00\xff", None),
        (None, b"a=1", None),
    ],
)
def test_a_json_object_is_the_payload_and_other_json_is_wrapped(
    api: Api, routine: str, kind: str | None, body: bytes, payload: Any
):
    for mode in ("bearer", "github_hmac"):
        run = hook(api, routine, mode).fire(body, {"Content-Type": kind} if kind else None)

        assert payload == run["triggerPayload"] == runs(api, routine)[0]["triggerPayload"]


# Once, and no more


@pytest.mark.parametrize("mode", ["bearer", "github_hmac", "none"])
def test_the_same_key_gives_the_same_run(api: Api, routine: str, mode: str):
    sender, other = hook(api, routine, mode), hook(api, routine, mode)

    first = sender.fire(b'{"a": 1}', {"Idempotency-Key": "k 1"})
    again = sender.fire(b'{"a": 2}', {"Idempotency-Key": "k 1"})
    another = sender.fire(b'{"a": 1}', {"Idempotency-Key": "k 2"})
    elsewhere = other.fire(b'{"a": 1}', {"Idempotency-Key": "k 1"})

    assert first == again
    assert ("k 1", {"a": 1}) == (first["idempotencyKey"], first["triggerPayload"])
    assert 3 == len({run["id"] for run in (first, another, elsewhere)})


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": ""}])
def test_without_a_key_every_call_is_a_run(api: Api, routine: str, headers: dict[str, str]):
    sender = hook(api, routine)

    found = [sender.fire(b"", headers) for _ in range(2)]

    assert [None, None] == [run["idempotencyKey"] for run in found]
    assert 2 == len({run["id"] for run in found})


def test_a_key_has_at_most_255_characters_and_is_given_once(api: Api, routine: str):
    sender = hook(api, routine)

    longest, longer = (sender.call(b"", {"Idempotency-Key": "x" * size}) for size in (255, 256))
    twice = sender.send(b"", [*sender.signed().items(), ("Idempotency-Key", "a"), ("idempotency-key", "a")])

    assert [202, 400, 400] == [answer.status_code for answer in (longest, longer, twice)]
    for answer in (longer, twice):
        assert [["Idempotency-Key"]] == [issue["path"] for issue in answer.json()["details"]]
    assert UNAUTHORIZED == said(sender.knowing("no").call(b"", {"Idempotency-Key": "x" * 256}))


def test_an_answer_says_that_it_repeats_an_earlier_run_and_whether_the_body_was_another(api: Api, routine: str):
    sender, key = hook(api, routine), {"Idempotency-Key": "k"}
    bodies = [b'{"a": 1}', b'{"a": 1}', b'{"a": 2}']

    answers = [sender.call(body, key) for body in bodies]
    by_hand = [
        api.request("POST", f"/routines/{routine}/run", {"payload": json.loads(body)}, headers=key) for body in bodies
    ]
    api.post(f"/routines/{routine}/run", {"idempotencyKey": "k", "payload": {"a": 1}})
    unkeyed = [sender.call(bodies[0]) for _ in range(2)]

    for repeated in (answers, by_hand):
        assert [None, "same-body", "other-body"] == [one.headers.get("X-Routines-Repeated") for one in repeated]
        assert 1 == len({one.json()["id"] for one in repeated})
    assert {None} == {one.headers.get("X-Routines-Repeated") for one in unkeyed}
    assert 4 == len(runs(api, routine))


def test_the_key_of_a_run_is_given_in_the_header_or_the_body(api: Api, routine: str):
    path, key = f"/routines/{routine}/run", {"Idempotency-Key": "k"}

    answers = [api.request("POST", path, {"idempotencyKey": name}, headers=key) for name in ("k", "", None, "other")]
    bearer, doubled = ("Authorization", f"Bearer {api.token}"), [("Idempotency-Key", "a")] * 2
    twice = httpx.post(f"{api.url}/api{path}", json={}, headers=[bearer, *doubled])
    too_long = api.request("POST", path, {}, headers={"Idempotency-Key": "x" * 256})

    assert [202, 202, 202, 400] == [answer.status_code for answer in answers]
    assert ["k"] == [run["idempotencyKey"] for run in runs(api, routine)]
    for refusal in (answers[-1], twice, too_long):
        assert [400, [["Idempotency-Key"]]] == [
            refusal.status_code,
            [issue["path"] for issue in refusal.json()["details"]],
        ]


@pytest.mark.parametrize(
    ("header", "key"),
    [("X-GitHub-Delivery", "github-delivery:72d3"), ("svix-id", "webhook-id:72d3"), ("webhook-id", "webhook-id:72d3")],
)
def test_the_senders_id_of_its_message_is_a_key_where_there_is_no_other(api: Api, routine: str, header: str, key: str):
    sender = hook(api, routine, "github_hmac")

    first, again = (sender.call(b"{}", {header: "72d3"}) for _ in range(2))
    named = sender.fire(b"{}", {header: "72d3", "Idempotency-Key": "k"})

    assert (first.json(), "same-body") == (again.json(), again.headers["X-Routines-Repeated"])
    assert [key, "k"] == [first.json()["idempotencyKey"], named["idempotencyKey"]]
    assert 2 == len(runs(api, routine))


SLACK = b'{"token": "x", "challenge": "3eZbrw1aB", "type": "url_verification"}'


@pytest.mark.parametrize(
    ("headers", "body", "greeting"),
    [
        (JSON | {"X-GitHub-Event": "ping"}, b'{"zen": "Keep it logically awesome."}', {"message": "pong"}),
        ({"Content-Type": "application/x-www-form-urlencoded", "X-GitHub-Event": "ping"}, b"", {"message": "pong"}),
        (JSON, SLACK, {"challenge": "3eZbrw1aB"}),
    ],
)
def test_a_sender_that_tries_out_the_address_is_answered_and_starts_no_work(
    api: Api, routine: str, headers: dict[str, str], body: bytes, greeting: Any
):
    """Whether or not the webhook is active, but only for who knows the secret."""
    sender = hook(api, routine)

    for enabled in (True, False):
        api.patch(f"/routine-triggers/{sender.trigger}", {"enabled": enabled})
        head, answer = api.system.store.head(), sender.call(body, headers)
        assert (200, greeting, head) == (answer.status_code, answer.json(), api.system.store.head())
        assert UNAUTHORIZED == said(sender.knowing("no").call(body, headers))
    assert [] == runs(api, routine)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"X-GitHub-Event": "push"}, b"{}"),
        ({}, b'{"type": "url_verification"}'),
        ({}, b'{"type": "x", "a": "url_verification", "challenge": "y"}'),
        ({}, b'["url_verification"]'),
    ],
)
def test_what_only_looks_like_trying_out_is_a_call(api: Api, routine: str, headers: dict[str, str], body: bytes):
    assert "issue_created" == hook(api, routine).fire(body, JSON | headers)["status"]


def test_twenty_calls_at_once_with_one_key_are_one_run(api: Api, routine: str):
    sender = hook(api, routine)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: sender.call(b"", {"Idempotency-Key": "once"}), range(20)))

    assert {202} == {answer.status_code for answer in answers}
    assert 1 == len({answer.json()["id"] for answer in answers}) == len(runs(api, routine))


def test_a_signed_call_counts_once(api: Api, routine: str):
    sender, body = hook(api, routine, "hmac_sha256"), b'{"a": 1}'
    headers = sender.signed(body)

    first, *again = (sender.send(body, headers | more) for more in ({}, {}, JSON, {"Content-Type": "text/plain"}))

    assert 202 == first.status_code
    assert {(409, "Webhook replay detected")} == {said(answer) for answer in again}
    assert re.fullmatch(r"webhook-hmac:[0-9a-f]{64}", first.json()["idempotencyKey"])
    assert 1 == len(runs(api, routine))


def test_a_signed_call_that_is_made_anew_counts_anew(api: Api, routine: str):
    sender = hook(api, routine, "hmac_sha256")

    assert 3 == len({sender.fire(b'{"a": 1}')["id"] for _ in range(3)})


def test_the_key_of_a_call_is_ignored_where_its_signature_tells_a_replay(api: Api, routine: str):
    """Contract 6."""
    sender = hook(api, routine, "hmac_sha256")

    runs = [sender.fire(b"", {"Idempotency-Key": "k"}) for _ in range(2)]

    assert runs[0]["id"] != runs[1]["id"]
    assert all(run["idempotencyKey"].startswith("webhook-hmac:") for run in runs)


def test_one_signature_counts_once_for_each_webhook(api: Api, routine: str):
    """The secret is the webhook's own, so what another was sent proves nothing here."""
    one, other = hook(api, routine, "hmac_sha256"), hook(api, routine, "hmac_sha256")
    headers = one.signed(b"{}")

    assert [202, 401] == [sender.send(b"{}", headers).status_code for sender in (one, other)]


def test_a_push_that_github_delivers_again_is_another_run(api: Api, routine: str):
    """No replay check without a timestamp (contract 6); with one there is."""
    sender, sent = hook(api, routine, "github_hmac"), f"{time.time():.6f}"
    stamped = {"X-Paperclip-Timestamp": sent, "X-Hub-Signature-256": hex_hmac(sender.secret, f"{sent}.{{}}".encode())}

    plain = [sender.call(b"{}").status_code for _ in range(2)]
    timed = [sender.send(b"{}", stamped).status_code for _ in range(2)]

    assert ([202, 202], [202, 409]) == (plain, timed)


def test_of_a_hundred_replays_at_once_one_is_taken(api: Api, routine: str):
    sender, body = hook(api, routine, "hmac_sha256"), b'{"a": 1}'
    headers = sender.signed(body)

    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda _: sender.send(body, headers), range(100)))

    assert {202: 1, 409: 99} == Counter(answer.status_code for answer in answers)
    assert 1 == len(runs(api, routine))


def test_of_a_hundred_deliveries_of_a_message_at_once_all_are_the_same_run(api: Api, routine: str):
    sender = hook(api, routine, "standard_webhooks")
    headers = sender.signed(b"{}")

    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda _: sender.send(b"{}", headers), range(100)))

    assert {202} == {answer.status_code for answer in answers}
    assert 1 == len({answer.json()["id"] for answer in answers}) == len(runs(api, routine))


def test_a_replay_is_told_after_a_restart_and_by_any_process(api: Api, routine: str):
    stamped, keyed = hook(api, routine, "hmac_sha256"), hook(api, routine)
    headers, named = stamped.signed(b"{}"), {"Idempotency-Key": "k"}
    taken, first = stamped.send(b"{}", headers), keyed.fire(b"", named)

    with further(api) as other:
        replayed, again = stamped.at(other.url).send(b"{}", headers), keyed.at(other.url).fire(b"", named)

    assert 202 == taken.status_code
    assert (409, "Webhook replay detected") == said(replayed)
    assert first == again


# What its owner is shown


def last_refusal(api: Api, routine: str) -> Any:
    (trigger,) = api.get(f"/routines/{routine}")["triggers"]
    return trigger.get("lastRefusal")


def test_the_last_refusal_is_shown_on_the_trigger(api: Api, routine: str):
    sender = hook(api, routine, "hmac_sha256")
    assert last_refusal(api, routine) is None

    shown = []
    for attempt, headers in (
        (sender.knowing("0" * 48), JSON),
        (sender, JSON | {"Content-Encoding": "br"}),
        (sender, JSON),
    ):
        attempt.call(b"{", headers)
        shown.append(last_refusal(api, routine))
    with further(api) as other:
        elsewhere = other.get(f"/routines/{routine}")["triggers"][0]["lastRefusal"]

    wrong, encoded, malformed = shown
    assert (401, "127.0.0.1") == (wrong["status"], wrong["sender"])
    assert wrong["reason"].startswith("the signature is not the HMAC-SHA256 of")
    assert (415, "Content-Encoding is not supported") == (encoded["status"], encoded["reason"])
    assert (400, "Invalid JSON body") == (malformed["status"], malformed["reason"])
    assert wrong["at"] < encoded["at"] < malformed["at"]
    assert malformed == elsewhere
    assert sender.secret not in json.dumps(shown)


def sampled(api: Api, sender: Hook, body: bytes, headers: dict[str, str], **fields: str) -> Any:
    sample = {"headers": headers, "body": body.decode(), **fields}
    return api.post(f"/routine-triggers/{sender.trigger}/test", sample)


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_is_judged_as_a_call_is_and_starts_no_work(api: Api, routine: str, mode: str):
    sender, body = hook(api, routine, mode), b'{"a": 1}'
    head = api.system.store.head()

    accepted = sampled(api, sender, body, JSON | sender.signed(body))
    malformed = sampled(api, sender, b"{", JSON | sender.signed(b"{"))
    greeted = sampled(api, sender, body, {"X-GitHub-Event": "ping", **sender.signed(body)})
    packed = b64encode(gzip.compress(body))
    headers = JSON | {"Content-Encoding": "gzip"} | sender.signed(gzip.compress(body))
    unpacked = sampled(api, sender, packed, headers, encoding="base64")

    assert (202, None, "issue_created", {"a": 1}) == tuple(
        accepted[name] for name in ("status", "reason", "outcome", "payload")
    )
    assert {"a": 1} == unpacked["payload"]
    assert (400, "Invalid JSON body") == (malformed["status"], malformed["reason"])
    assert 200 == greeted["status"]
    if mode != "none":
        refused_one = sampled(api, sender, body, JSON | sender.knowing("0" * 48).signed(body))
        assert (401, True) == (refused_one["status"], len(refused_one["reason"]) > 20)
    assert ([], head) == (runs(api, routine), api.system.store.head())


def test_a_sample_is_told_which_run_it_repeats_and_that_the_webhook_is_not_active(api: Api, routine: str):
    sender = hook(api, routine)
    run = sender.fire(b"{}", {"Idempotency-Key": "k"})
    headers = sender.signed() | {"Idempotency-Key": "k"}

    repeated = sampled(api, sender, b"{}", headers)
    api.patch(f"/routine-triggers/{sender.trigger}", {"enabled": False})
    disabled = sampled(api, sender, b"{}", headers)

    assert (run["id"], "k") == (repeated["repeatsRunId"], repeated["idempotencyKey"])
    assert NOT_ACTIVE == (disabled["status"], disabled["reason"])


def test_only_a_webhook_is_tried_out_and_a_sample_in_base64_is_base64(api: Api, routine: str):
    schedule = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    sender = hook(api, routine, "none")

    no_webhook = api.request("POST", f"/routine-triggers/{schedule}/test", {})
    no_base64 = api.request("POST", f"/routine-triggers/{sender.trigger}/test", {"body": "?", "encoding": "base64"})

    assert (422, "Only webhook triggers are called") == said(no_webhook)
    assert (400, [["body"]]) == (no_base64.status_code, [one["path"] for one in no_base64.json()["details"]])


# How many


def test_a_sender_calls_a_webhook_so_often_a_minute_and_is_told_when_to_come_back(api: Api, routine: str):
    one, other = hook(api, routine, "none"), hook(api, routine, "none")

    with further(api, webhook_rate=3) as here, sending_from("127.0.0.2") as another_sender:
        allowed = [one.at(here.url).send().status_code for _ in range(3)]
        refusal = one.at(here.url).send()
        forged = [one.at(here.url).send(b"", {name: "203.0.113.7"}) for name in FORWARDED]
        others = [other.at(here.url).send(), one.at(here.url).send(client=another_sender)]
        unlimited = here.request("GET", "/companies")

    assert [202] * 3 == allowed
    assert (429, "Too many requests: try again later") == said(refusal)
    assert 0 < int(refusal.headers["Retry-After"]) <= 60
    assert {429} == {answer.status_code for answer in forged}
    assert [202, 202] == [answer.status_code for answer in others]
    assert 200 == unlimited.status_code
    assert 5 == len(runs(api, routine))


def test_a_sender_that_may_call_is_not_counted_as_refused_for_what_is_gone(
    api: Api, routine: str, monkeypatch: pytest.MonkeyPatch
):
    def check_gone(*_: object) -> None:
        raise NotFound("Agent not found")

    refused: list[str] = []
    monkeypatch.setattr(WebhookRateLimiter, "count_refusal", lambda _, sender: refused.append(sender))
    monkeypatch.setattr(references, "check_assignee", check_gone)
    sender = hook(api, routine, "bearer")
    found = [sender.send(headers={"Authorization": f"Bearer {secret}"}) for secret in (sender.secret, "no")]

    assert [404, 401] == [answer.status_code for answer in found]
    assert 1 == len(refused)


def test_a_sender_may_not_try_one_address_after_the_other(api: Api):
    """Ten webhooks' worth of calls, known addresses or not."""
    with further(api, webhook_rate=3) as here, sending_from("127.0.0.3") as client:
        path = f"{here.url}/api/routine-triggers/public"
        answers = [client.post(f"{path}/{number:024x}/fire").status_code for number in range(32)]

    assert [404] * 30 + [429] * 2 == answers


FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")


def sending_from(address: str) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address))
