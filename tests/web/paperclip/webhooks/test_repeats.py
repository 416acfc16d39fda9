"""A call counts once: keys, messages that are sent again, replays of a signature (contract 6)."""

import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api import Api
from tests.web.hooks import JSON, UNAUTHORIZED, hex_hmac, hook, refusal_of, runs_of


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

    runs = [sender.fire(b"", headers) for _ in range(2)]

    assert [None, None] == [run["idempotencyKey"] for run in runs]
    assert 2 == len({run["id"] for run in runs})


def test_a_key_has_at_most_255_characters_and_is_given_once(api: Api, routine: str):
    sender = hook(api, routine)

    longest, longer = (sender.call(b"", {"Idempotency-Key": "x" * size}) for size in (255, 256))
    twice = sender.send(b"", [*sender.signed().items(), ("Idempotency-Key", "a"), ("idempotency-key", "a")])

    assert [202, 400, 400] == [answer.status_code for answer in (longest, longer, twice)]
    for answer in (longer, twice):
        assert [["Idempotency-Key"]] == [issue["path"] for issue in answer.json()["details"]]
    assert UNAUTHORIZED == refusal_of(sender.knowing("no").call(b"", {"Idempotency-Key": "x" * 256}))


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
    assert 4 == len(runs_of(api, routine))


def test_the_key_of_a_run_is_given_in_the_header_or_the_body(api: Api, routine: str):
    path, key = f"/routines/{routine}/run", {"Idempotency-Key": "k"}

    answers = [api.request("POST", path, {"idempotencyKey": name}, headers=key) for name in ("k", "", None, "other")]
    bearer, doubled = ("Authorization", f"Bearer {api.token}"), [("Idempotency-Key", "a")] * 2
    twice = httpx.post(f"{api.url}/api{path}", json={}, headers=[bearer, *doubled])
    too_long = api.request("POST", path, {}, headers={"Idempotency-Key": "x" * 256})

    assert [202, 202, 202, 400] == [answer.status_code for answer in answers]
    assert ["k"] == [run["idempotencyKey"] for run in runs_of(api, routine)]
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
    assert 2 == len(runs_of(api, routine))


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-GitHub-Delivery", "svix-id", "webhook-id"])
def test_a_key_or_an_id_of_a_message_is_ascii(api: Api, routine: str, header: str):
    sender = hook(api, routine, "none")

    answers = [
        httpx.post(sender.url, headers={header.encode(): key})
        for key in ("schl\u00fcssel".encode(), b"schl\xfcssel", b"key")
    ]

    assert [400, 400, 202] == [answer.status_code for answer in answers]
    assert [[header]] * 2 == [answer.json()["details"][0]["path"] for answer in answers[:2]]
    assert 1 == len(runs_of(api, routine))


def test_twenty_calls_at_once_with_one_key_are_one_run(api: Api, routine: str):
    sender = hook(api, routine)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: sender.call(b"", {"Idempotency-Key": "once"}), range(20)))

    assert {202} == {answer.status_code for answer in answers}
    assert 1 == len({answer.json()["id"] for answer in answers}) == len(runs_of(api, routine))


def test_a_signed_call_counts_once(api: Api, routine: str):
    sender, body = hook(api, routine, "hmac_sha256"), b'{"a": 1}'
    headers = sender.signed(body)

    first, *again = (sender.send(body, headers | more) for more in ({}, {}, JSON, {"Content-Type": "text/plain"}))

    assert 202 == first.status_code
    assert {(409, "Webhook replay detected")} == {refusal_of(answer) for answer in again}
    assert re.fullmatch(r"webhook-hmac:[0-9a-f]{64}", first.json()["idempotencyKey"])
    assert 1 == len(runs_of(api, routine))


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
    assert 1 == len(runs_of(api, routine))


def test_of_a_hundred_deliveries_of_a_message_at_once_all_are_the_same_run(api: Api, routine: str):
    sender = hook(api, routine, "standard_webhooks")
    headers = sender.signed(b"{}")

    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda _: sender.send(b"{}", headers), range(100)))

    assert {202} == {answer.status_code for answer in answers}
    assert 1 == len({answer.json()["id"] for answer in answers}) == len(runs_of(api, routine))


def test_a_replay_is_told_after_a_restart_and_by_any_process(api: Api, other_process: Api, routine: str):
    stamped, keyed = hook(api, routine, "hmac_sha256"), hook(api, routine)
    headers, named = stamped.signed(b"{}"), {"Idempotency-Key": "k"}
    taken, first = stamped.send(b"{}", headers), keyed.fire(b"", named)

    replayed = stamped.at(other_process.url).send(b"{}", headers)
    again = keyed.at(other_process.url).fire(b"", named)

    assert 202 == taken.status_code
    assert (409, "Webhook replay detected") == refusal_of(replayed)
    assert first == again
