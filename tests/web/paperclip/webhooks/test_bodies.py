"""What a call of a webhook says: its encoding, its size, its path, and the payload that its body becomes."""

import gzip
import json
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from domain.bounds.limits import DEFAULT as LIMITS
from projections import responses
from tests.api import Api
from tests.web.hooks import JSON, NOT_ACTIVE, UNAUTHORIZED, Hook, hook, refusal_of, runs_of
from tests.web.served import serve_further

OF_A_RUN_THAT_IS_READ = {  # fields that a run has only when it is read by its id
    field.encode_name
    for field in msgspec.structs.fields(responses.RunDetail)
    if field.name not in responses.Run.__struct_fields__
} | {"attempt", "maxAttempts"}


@pytest.fixture(scope="module")
def fired_often(api: Api) -> tuple[str, list[Hook]]:
    """A routine for tests that read only its newest run, and webhooks of it."""
    company = api.company()
    routine = api.routine(company, api.agent(company)[0], concurrencyPolicy="always_enqueue")
    return routine, [hook(api, routine, mode) for mode in ("bearer", "github_hmac")]


@pytest.fixture(scope="module")
def never_fired(api: Api) -> tuple[str, dict[str, Hook]]:
    """A routine for tests of calls that are all refused, and webhooks of it by their modes."""
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])
    return routine, {mode: hook(api, routine, mode) for mode in ("bearer", "hmac_sha256", "none")}


def test_the_query_of_a_call_is_the_senders_own_whatever_its_names_are(api: Api, routine: str):
    sender = hook(api, routine)
    address = f"{sender.url}?asOf=2026-11-20&as_of=1&as-of=2&to=a&to=b&from=x&from=y"

    assert 202 == httpx.post(address, headers=sender.signed(b"")).status_code
    assert 200 == httpx.get(f"{api.url}/api/health?asof=1&to=2&to=3").status_code


@pytest.mark.parametrize("encoding", ["br", "identity, gzip", "gzip, gzip", "nonsense"])
def test_a_body_that_is_coded_otherwise_than_by_gzip_is_refused(api: Api, routine: str, encoding: str):
    sender = hook(api, routine)

    assert (415, "Content-Encoding is not supported") == refusal_of(sender.call(b"{}", {"Content-Encoding": encoding}))
    assert 202 == sender.call(b"{}", {"Content-Encoding": "identity"}).status_code


@pytest.mark.parametrize("mode", ["bearer", "hmac_sha256", "standard_webhooks"])
def test_a_body_in_gzip_is_unpacked_and_its_signature_covers_what_was_sent(api: Api, routine: str, mode: str):
    sender, plain = hook(api, routine, mode), b'{"a": "Zo\xc3\xab"}'
    packed = gzip.compress(plain)
    headers = JSON | {"Content-Encoding": "gzip"}

    assert {"a": "Zo\u00eb"} == sender.fire(packed, headers)["triggerPayload"]
    if mode != "bearer":
        assert UNAUTHORIZED == refusal_of(sender.send(packed, headers | sender.signed(plain)))
    assert UNAUTHORIZED == refusal_of(sender.knowing("0" * 48).call(b"no gzip", headers))


def test_a_bomb_in_gzip_is_not_unpacked_and_a_broken_one_is_a_bad_request(api: Api, routine: str):
    sender, headers = hook(api, routine), JSON | {"Content-Encoding": "x-gzip"}
    bomb = gzip.compress(b" " * (LIMITS.max_webhook_bytes + 1))
    understated = bomb[:-4] + (4).to_bytes(4, "little")
    packed = gzip.compress(b"{}")

    assert 413 == sender.call(bomb, headers).status_code
    assert UNAUTHORIZED == refusal_of(sender.knowing("no").call(bomb, headers))
    for broken in (
        understated,
        packed[:-1],
        packed + packed,
        packed[:-5] + b"x" + packed[-4:],
        b"{}",
        b"no gzip at all",
        b"\x1f\x8b",
    ):
        answer = sender.call(broken, headers)
        assert 400 == answer.status_code, broken
    assert [] == runs_of(api, routine)


def test_what_a_body_in_gzip_unpacks_to_is_held_as_any_body_is(api: Api, routine: str):
    sender, half = hook(api, routine), gzip.compress(b" " * 40_000 + b"{}")

    with serve_further(api, limits=msgspec.structs.replace(LIMITS, max_held_body_bytes_per_sender=50_000)) as here:
        answer = sender.at(here.url).call(half, JSON | {"Content-Encoding": "gzip"})
        full = sender.at(here.url).call(gzip.compress(b" " * 80_000), JSON | {"Content-Encoding": "gzip"})

    assert (202, 503) == (answer.status_code, full.status_code)


def test_a_body_of_ten_megabytes_is_taken_and_a_byte_more_is_too_large(api: Api, routine: str):
    """The payload is kept whole; lists, and the answer to the sender, show it without its largest fields."""
    sender, text = hook(api, routine, "hmac_sha256"), f"The body must have at most {LIMITS.max_webhook_bytes} bytes"
    body = b'{"b":1,"a":"%s"}' % (b"x" * (LIMITS.max_webhook_bytes - 14))
    chunks = [body, b" "]

    answer = sender.call(body, JSON)
    declared, undeclared = sender.call(body + b" ", JSON), sender.send(iter(chunks), sender.signed(b"".join(chunks)))

    run = answer.json()
    (listed,) = runs_of(api, routine)
    whole = api.get(f"/routine-runs/{run['id']}")
    assert 10 * 1024**2 == len(body) == LIMITS.max_webhook_bytes
    assert (202, {"b": 1}, len(body)) == (answer.status_code, run["triggerPayload"], run["triggerPayloadBytes"])
    assert ({"b": 1}, len(body)) == (listed["triggerPayload"], listed["triggerPayloadBytes"])
    assert json.loads(body) == whole["triggerPayload"]
    assert run.keys() - {"triggerPayloadBytes"} == whole.keys() - OF_A_RUN_THAT_IS_READ
    assert (413, text) == refusal_of(declared) == refusal_of(undeclared)


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
    api: Api, never_fired: tuple[str, dict[str, Hook]], mode: str, body: bytes, text: str
):
    routine, senders = never_fired
    sender = senders[mode]

    assert (400, text) == refusal_of(sender.call(body, JSON))
    assert UNAUTHORIZED == refusal_of(sender.knowing("0" * 48).call(body, JSON))
    assert [] == runs_of(api, routine)


def test_whether_a_webhook_is_active_is_said_before_what_is_wrong_with_the_body(api: Api, routine: str):
    sender = hook(api, routine, enabled=False)

    assert NOT_ACTIVE == refusal_of(sender.call(b"{", JSON))


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
def test_a_webhook_is_posted_to(never_fired: tuple[str, dict[str, Hook]], method: str):
    sender = never_fired[1]["none"]

    assert (404, "API route not found") == refusal_of(httpx.request(method, sender.url))


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
        ("application/json", b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 2}', {"a": 2, "b": {"c": 2}}),
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
    api: Api, fired_often: tuple[str, list[Hook]], kind: str | None, body: bytes, payload: Any
):
    routine, senders = fired_often
    for sender in senders:
        headers = {"Idempotency-Key": str(uuid4())} | ({"Content-Type": kind} if kind else {})
        run = sender.fire(body, headers)

        (listed,) = api.get(f"/routines/{routine}/runs?limit=1")
        assert (run["id"], payload) == (listed["id"], listed["triggerPayload"])
        assert payload == run["triggerPayload"]
