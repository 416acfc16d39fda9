"""Who may call a webhook: credentials, signatures, timestamps, and what a stranger is told (contract 3.5, 4)."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook

from tests.api import Api
from tests.domain.webhooks.webhook_vectors.refused import Attempt, refused_attempts
from tests.web.hooks import JSON, MODES, NOT_FOUND, SIGNED, UNAUTHORIZED, hex_hmac, hook, refusal_of, runs_of
from tests.web.served import serve_further
from web.http.guard import MAX_HEADER_BYTES

VECTORS = Path(__file__).parents[3] / "domain" / "webhooks" / "webhook_vectors"


def secrets_kept(api: Api) -> int:
    with api.system.pool.connection() as conn:
        return int(conn.execute("SELECT count(*) FROM vault.secrets").fetchone()[0])


@pytest.mark.parametrize("mode", MODES)
def test_who_knows_the_secret_fires_the_routine(api: Api, routine: str, mode: str):
    sender, body = hook(api, routine, mode), b'{"event": "deploy", "by": "Zo\xc3\xab"}'

    answer = sender.call(body, JSON)

    run = answer.json()
    assert 202 == answer.status_code, answer.text
    assert int(answer.headers["X-Routines-Position"]) > 0
    assert ("webhook", "issue_created", sender.trigger) == (run["source"], run["status"], run["triggerId"])
    assert {"event": "deploy", "by": "Zo\u00eb"} == run["triggerPayload"]
    (listed,) = runs_of(api, routine)
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
    assert UNAUTHORIZED == refusal_of(altered)


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
    assert 1 == len(runs_of(api, routine))


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
        assert NOT_FOUND == refusal_of(api.request("POST", f"/routine-triggers/public/{name}/fire", {}))


def test_the_tokens_of_the_api_open_no_webhook(api: Api, company: str, routine: str):
    sender, (_, token) = hook(api, routine), api.agent(company)

    for known in (api.token, token):
        assert UNAUTHORIZED == refusal_of(sender.knowing(known).call())


def test_deliveries_that_prove_nothing_are_all_answered_alike_and_leave_no_trace(api: Api, routine: str):
    """A part of the attempts that are made on the function."""
    now = datetime.now(UTC).replace(microsecond=0)
    sender = hook(api, routine, "hmac_sha256", replayWindowSec=300)
    attempts = [one for one in refused_attempts(sender.secret, now, 300) if is_a_request(one)][::4]
    answers = Counter[tuple[int, bytes]]()

    with serve_further(api, clock=lambda: now) as here:
        for mode in ("hmac_sha256", "github_hmac", "standard_webhooks", "bearer"):  # the secret stays the same
            api.patch(f"/routine-triggers/{sender.trigger}", {"signingMode": mode})
            head, kept = api.system.store.head(), secrets_kept(api)
            for attempt in attempts:
                if attempt.mode == mode:
                    answers[sender.at(here.url).send_raw(attempt.body, attempt.headers)] += 1
            assert (head, kept) == (api.system.store.head(), secrets_kept(api))

    assert sum(answers.values()) > 50
    assert {401} == {status for status, _ in answers}
    assert 1 == len(answers)
    assert [] == runs_of(api, routine)


def is_a_request(attempt: Attempt) -> bool:
    """Whether it can be sent at all, and gets past the limits of the server."""
    return all(len(value) < MAX_HEADER_BYTES and not set(value) & set("\n\r\0") for _, value in attempt.headers)


def test_a_flood_of_bad_signatures_is_forgotten(api: Api, routine: str):
    senders = [hook(api, routine, mode).knowing("0" * 48) for mode in SIGNED]
    head, kept = api.system.store.head(), secrets_kept(api)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda number: senders[number % len(senders)].call(b"{}", JSON), range(100)))

    assert {UNAUTHORIZED} == {refusal_of(answer) for answer in answers}
    assert {"Bearer"} == {answer.headers["WWW-Authenticate"] for answer in answers}
    assert (head, kept) == (api.system.store.head(), secrets_kept(api))


@pytest.mark.parametrize("mode", SIGNED)
def test_a_header_of_the_credential_that_is_given_twice_is_none(api: Api, routine: str, mode: str):
    sender = hook(api, routine, mode)
    genuine = list(sender.signed(b"{}").items())

    answers = [sender.send(b"{}", [*genuine, twice]) for twice in genuine]

    assert {UNAUTHORIZED} == {refusal_of(answer) for answer in answers}
    assert 202 == sender.send(b"{}", genuine).status_code
