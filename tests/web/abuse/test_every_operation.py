"""Each operation of the served description is tried at its limits and past them; none answers 5xx (contract 1)."""

import re
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import httpx
import pytest

from domain.bounds.limits import DEFAULT as LIMITS
from tests.api import Api
from tests.web.abuse.conftest import FIRE, HastyServer, path_of_nobody
from tests.web.hooks import JSON
from web.http import json_body
from web.http.json_body import MAX_DEPTH, MAX_VALUES

BODIES = {
    "too deep": (
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        f"The body is nested deeper than {MAX_DEPTH} levels",
    ),
    "arrays without end": (b"[" * 100_000, "Invalid JSON body"),
    "too many values": (b"[" + b"0," * MAX_VALUES + b"0]", f"The body must have at most {MAX_VALUES} values"),
    "too many objects": (b"[" + b"{}," * MAX_VALUES + b"0]", f"The body must have at most {MAX_VALUES} values"),
    "nul": (b'{"a":"\\u0000"}', "The character U+0000 is not allowed (in a)"),
    "surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', "Invalid JSON body"),
    "not UTF-8": (b'{"a":"\xff"}', "Invalid JSON body"),
    "a number of a million digits": (b'{"a":' + b"9" * 1_000_000 + b"}", "Invalid JSON body"),
    "no number": (b'{"a":NaN}', "Invalid JSON body"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_what_is_too_much_or_malformed_is_found(kind: str):
    body, error = BODIES[kind]

    with pytest.raises((json_body.Unsound, json_body.Malformed), match=re.escape(error)):
        json_body.read(body)


def test_no_operation_takes_a_body_that_is_too_much_or_malformed(api: Api, taking_bodies: list[tuple[str, str]]):
    """Each one is sent to several operations, and each operation gets one: all read their bodies alike."""
    for (method, path), (body, error) in zip(taking_bodies, cycle(BODIES.values())):
        answer = api.request(method, path_of_nobody(path), content=body, headers=JSON)

        assert (400, error) == (answer.status_code, answer.json()["error"]), (method, path)


def test_many_values_within_texts_are_none(api: Api):
    company = api.company()

    issue = api.post(f"/companies/{company}/issues", {"title": ",{" * 99, "description": ',["\\' * 25_000})

    assert ',["\\' * 25_000 == issue["description"]


@pytest.mark.parametrize("announced", [True, False])
def test_no_operation_takes_a_body_of_more_than_ten_megabytes(
    api: Api, taking_bodies: list[tuple[str, str]], announced: bool
):
    body = b'{"a":"' + b"x" * LIMITS.max_large_body_bytes + b'"}'
    for method, path in taking_bodies:
        content = body if announced else (body[at : at + 2_000_000] for at in range(0, len(body), 2_000_000))
        answer = api.request(method, path_of_nobody(path), content=content, headers=JSON)

        assert (413, "no-store") == (answer.status_code, answer.headers["cache-control"]), (method, path)


def find_limits(served: Any, schema: Any) -> Iterator[tuple[list[Any], dict[str, Any], list[dict[str, str]]]]:
    """Where in a body something is limited, how, and what else each object on the way there must hold."""
    while "$ref" in schema:
        schema = served["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for member in schema.get("anyOf", []) + schema.get("oneOf", []):
        yield from find_limits(served, member)
    bounds = {name: schema[name] for name in ("maxLength", "maxItems", "minimum", "maximum") if name in schema}
    if bounds:
        yield [], bounds | {"pattern": schema.get("pattern")}, []
    kinds = schema.get("properties", {}).get("kind", {}).get("enum", [])
    tag = {"kind": kinds[0]} if len(kinds) == 1 else {}
    for name, inner in schema.get("properties", {}).items():
        for path, schema_limits, tags in find_limits(served, inner):
            yield [name, *path], schema_limits, [tag, *tags]
    if "items" in schema:
        for path, schema_limits, tags in find_limits(served, schema["items"]):
            yield [0, *path], schema_limits, [{}, *tags]


def nest_value(path: list[Any], value: object, tags: list[dict[str, str]]) -> Any:
    for step, tag in zip(reversed(path), reversed(tags), strict=True):
        value = [value] if step == 0 else {**tag, step: value}
    return value


def edge_values(bounds: dict[str, Any]) -> Iterator[tuple[object, str | None]]:
    """Values at the limits and just past them, and what is then found: too_big, too_small or nothing."""
    if most := bounds.get("maxLength"):
        fill = {r"^[^@\s]+@[^@\s]+$": "a@b"}.get(bounds["pattern"] or "", "")
        yield fill + "x" * (most - len(fill)), None
        yield fill + "x" * (most - len(fill) + 1), "too_big"
        yield fill + "\U0001f600" * (most - len(fill)), None
    if most := bounds.get("maxItems"):
        yield [None] * most, None
        yield [None] * (most + 1), "too_big"
    if (most := bounds.get("maximum")) is not None:
        yield most, None
        yield most + 1, "too_big"
        yield 10**400, "too_big"
    if (least := bounds.get("minimum")) is not None:
        yield least, None
        yield least - 1, "too_small"
        yield -(10**400), "too_small"


def test_every_described_limit_holds_at_its_edge_and_not_one_further(api: Api, served: Any):
    tried = 0
    for path, operations in served["paths"].items():
        for method, operation in operations.items():
            if operation["operationId"] == FIRE or "requestBody" not in operation:
                continue
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            for where, bounds, tags in find_limits(served, schema):
                for value, expected in edge_values(bounds):
                    target = path_of_nobody(path.removeprefix("/api").replace("{", "").replace("}", ""))
                    answer = api.request(method.upper(), target, nest_value(where, value, tags))
                    issues = answer.json().get("details") or [] if answer.status_code == 400 else []
                    sized = [one["code"] for one in issues if one["path"] == where and one["code"].startswith("too_")]

                    assert answer.status_code < 500, (operation["operationId"], where)
                    assert ([expected] if expected else []) == sized, (operation["operationId"], where, str(value)[:80])
                    tried += 1
    assert tried > 200


def query_parameters(operation: Any) -> list[Any]:
    return [one for one in operation.get("parameters", []) if one["in"] == "query"]


def test_two_authorization_headers_are_none_at_any_operation(api: Api, served: Any):
    both = [("Authorization", f"Bearer {api.token}"), ("Authorization", "Bearer x")]
    with httpx.Client(base_url=api.url, headers=both, timeout=20, trust_env=False) as client:
        for path, operations in served["paths"].items():
            for method, operation in operations.items():
                if operation["operationId"] not in (FIRE, "getHealth"):
                    status = client.request(method, path_of_nobody(path.replace("{", "").replace("}", ""))).status_code

                    needs = "requestBody" in operation or any(one["required"] for one in query_parameters(operation))
                    assert status == 401 or (status == 400 and needs), (method, path)


def test_every_answer_is_what_it_says_and_is_not_stored_for_others(api: Api, hasty_server: HastyServer, served: Any):
    """Errors, what no route answers, and every operation of the description with and without a token."""
    api = Api(url=f"http://127.0.0.1:{hasty_server.port}", token=api.token, system=api.system)
    seen = [
        api.request("GET", "/nothing"),
        api.request("OPTIONS", "/companies"),
        api.request("HEAD", "/health"),
        api.request("GET", "/docs", token=None),
        api.request("GET", "/health", headers={"X-A": "x" * 40_000}),
        api.request("GET", "/companies?x=%00"),
        api.request("POST", "/companies", content=b"{", headers=JSON),
        api.request("POST", "/companies", content=b"{}", headers={"Content-Type": "text/plain"}),
    ]
    for path, operations in served["paths"].items():
        for method in operations:
            target = path_of_nobody(path.removeprefix("/api").replace("{", "").replace("}", ""))
            seen += [api.request(method.upper(), target, token=token) for token in ("", None)]
    api.close()

    for answer in seen:
        what = (answer.request.method, str(answer.request.url), answer.status_code)
        assert "nosniff" == answer.headers["x-content-type-options"], what
        assert answer.headers["cache-control"] in ("no-store", "private, no-cache"), what
        assert answer.status_code == 200 or answer.headers["cache-control"] == "no-store", what
        assert "server" not in answer.headers, what
        if answer.content:
            assert answer.headers["content-type"].split(";")[0] in (
                "application/json",
                "application/vnd.oai.openapi+json",
                "text/html",
            ), what


def test_answers_that_show_a_secret_are_stored_by_nobody(api: Api):
    company = api.company()
    agent, _ = api.agent(company)
    routine = api.routine(company, agent)
    answer_body = api.request("POST", f"/routines/{routine}/triggers", {"kind": "webhook"})
    trigger = answer_body.json()["trigger"]["id"]
    showing = [
        answer_body,
        api.request("POST", f"/routine-triggers/{trigger}/rotate-secret", {}),
        api.request("PATCH", f"/routine-triggers/{trigger}", {"signingMode": "hmac_sha256"}),
        api.request("POST", "/board-api-keys", {}),
        api.request("POST", f"/agents/{agent}/keys", {}),
        api.request("POST", f"/companies/{company}/members", {"name": "Robin"}),
    ]

    assert ["no-store"] * 6 == [answer.headers["cache-control"] for answer in showing]
    assert all(answer.is_success and ("token" in answer.text or "webhookSecret" in answer.text) for answer in showing)
