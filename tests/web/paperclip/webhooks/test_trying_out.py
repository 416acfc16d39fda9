"""Senders that try out an address, samples that a user tries, and the last refusal that the trigger shows."""

import gzip
import json
from base64 import b64encode
from typing import Any

import pytest

from tests.api import Api
from tests.web.hooks import JSON, MODES, NOT_ACTIVE, UNAUTHORIZED, Hook, hook, refusal_of, runs_of

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
        assert UNAUTHORIZED == refusal_of(sender.knowing("no").call(body, headers))
    assert [] == runs_of(api, routine)


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


def last_refusal(api: Api, routine: str) -> Any:
    (trigger,) = api.get(f"/routines/{routine}")["triggers"]
    return trigger.get("lastRefusal")


def test_the_last_refusal_is_shown_on_the_trigger(api: Api, other_process: Api, routine: str):
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
    elsewhere = last_refusal(other_process, routine)

    wrong, encoded, malformed = shown
    assert (401, "127.0.0.1") == (wrong["status"], wrong["sender"])
    assert wrong["reason"].startswith("the signature is not the HMAC-SHA256 of")
    assert (415, "Content-Encoding is not supported") == (encoded["status"], encoded["reason"])
    assert (400, "Invalid JSON body") == (malformed["status"], malformed["reason"])
    assert wrong["at"] < encoded["at"] < malformed["at"]
    assert malformed == elsewhere
    assert sender.secret not in json.dumps(shown)


def try_sample(api: Api, sender: Hook, body: bytes, headers: dict[str, str], **fields: str) -> Any:
    sample = {"headers": headers, "body": body.decode(), **fields}
    return api.post(f"/routine-triggers/{sender.trigger}/test", sample)


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_is_judged_as_a_call_is_and_starts_no_work(api: Api, routine: str, mode: str):
    sender, body = hook(api, routine, mode), b'{"a": 1}'
    head = api.system.store.head()

    accepted = try_sample(api, sender, body, JSON | sender.signed(body))
    malformed = try_sample(api, sender, b"{", JSON | sender.signed(b"{"))
    greeted = try_sample(api, sender, body, {"X-GitHub-Event": "ping", **sender.signed(body)})
    packed = b64encode(gzip.compress(body))
    headers = JSON | {"Content-Encoding": "gzip"} | sender.signed(gzip.compress(body))
    unpacked = try_sample(api, sender, packed, headers, encoding="base64")

    assert (202, None, "issue_created", {"a": 1}) == tuple(
        accepted[name] for name in ("status", "reason", "outcome", "payload")
    )
    assert {"a": 1} == unpacked["payload"]
    assert (400, "Invalid JSON body") == (malformed["status"], malformed["reason"])
    assert 200 == greeted["status"]
    if mode != "none":
        refused_one = try_sample(api, sender, body, JSON | sender.knowing("0" * 48).signed(body))
        assert (401, True) == (refused_one["status"], len(refused_one["reason"]) > 20)
    assert ([], head) == (runs_of(api, routine), api.system.store.head())


def test_a_sample_is_told_which_run_it_repeats_and_that_the_webhook_is_not_active(api: Api, routine: str):
    sender = hook(api, routine)
    run = sender.fire(b"{}", {"Idempotency-Key": "k"})
    headers = sender.signed() | {"Idempotency-Key": "k"}

    repeated = try_sample(api, sender, b"{}", headers)
    api.patch(f"/routine-triggers/{sender.trigger}", {"enabled": False})
    disabled = try_sample(api, sender, b"{}", headers)

    assert (run["id"], "k") == (repeated["repeatsRunId"], repeated["idempotencyKey"])
    assert NOT_ACTIVE == (disabled["status"], disabled["reason"])


def test_only_a_webhook_is_tried_out_and_a_sample_in_base64_is_base64(api: Api, routine: str):
    schedule = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    sender = hook(api, routine, "none")

    no_webhook = api.request("POST", f"/routine-triggers/{schedule}/test", {})
    no_base64 = api.request("POST", f"/routine-triggers/{sender.trigger}/test", {"body": "?", "encoding": "base64"})

    assert (422, "Only webhook triggers are called") == refusal_of(no_webhook)
    assert (400, [["body"]]) == (no_base64.status_code, [one["path"] for one in no_base64.json()["details"]])
