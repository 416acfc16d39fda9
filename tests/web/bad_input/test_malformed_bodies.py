"""Bodies that are no JSON object, too deep or too large, of another type, or hold odd text: a 4xx in words, never a 5xx."""

import gzip
import json
from uuid import uuid4

import pytest

from domain.bounds.limits import DEFAULT as LIMITS
from tests.api import Api
from tests.web.bad_input.requests_by_hand import ID, issue_paths, send_run
from tests.web.hooks import JSON
from web.http.json_body import MAX_DEPTH

DEEP = b'{"payload":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1)


def test_text_is_trimmed_before_its_length_is_tested(api: Api):
    company = api.company()
    path = f"/companies/{company}/routines"

    assert 400 == api.request("POST", path, {"title": " \t\n "}).status_code
    assert "x" * 200 == api.post(path, {"title": " " * 50 + "x" * 200 + " " * 50})["title"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"}", b"{}x", b"{} {}", b"{'a':1}", b'{"a":1,}', b"{a:1}", b" ", b"\n", b"//", b"undefined", b"\x00"),
        *(b"NaN", b'{"payload":{"x":NaN}}', b'{"payload":{"x":Infinity}}', b'{"payload":{"x":1e400}}', b"-1e999"),
        *(b'{"payload":{"x":01}}', b'{"payload":{"x":+1}}', b'{"payload":{"x":.5}}', b"[" * 90_000),
        *(b'{"payload":{"x":"\xff"}}', b'{"idempotencyKey":"\xc3\x28"}', b'{"idempotencyKey":"\xed\xa0\x80"}'),
        *(b'{"idempotencyKey":"\x00"}', b'{"idempotencyKey":"a\nb"}', b'{"idempotencyKey":"\\x41"}', b'{"a":"'),
        *(b"{}\xef\xbb\xbf", '{"source":"api"}'.encode("utf-16"), '{"source":"api"}'.encode("utf-32"), b"\x1f\x8b\x08"),
    ],
)
def test_what_is_not_json_is_refused(api: Api, body: bytes):
    answer = send_run(api, body)

    assert (400, "Invalid JSON body") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"idempotencyKey":"a\\u0000b"}', "in idempotencyKey"),
        (b'{"payload":{"a":[0,{"b":"\\u0000"}]}}', "in payload.a.1.b"),
        (b'{"payload":{"a\\u0000":1}}', "in a name"),
        (b'{"unknown":"\\\\\\u0000"}', "in unknown"),
    ],
)
def test_the_character_nul_is_refused_and_its_place_is_named(api: Api, routine: str, body: bytes, where: str):
    answer = send_run(api, body, routine)

    assert (400, f"The character U+0000 is not allowed ({where})") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "x\\u0000 \\n", "u0000"])
def test_text_that_only_spells_nul_is_kept(api: Api, routine: str, text: str):
    body = json.dumps({"payload": {"x": text}, "idempotencyKey": text}).encode()

    run = send_run(api, body, routine).json()

    assert (text, text) == (run["triggerPayload"]["x"], run["idempotencyKey"])
    assert text == api.get(f"/routines/{routine}/runs?limit=1")[0]["idempotencyKey"]


@pytest.mark.parametrize(
    "text", ["😀", "\u202e", "\ufeff", "\ufffd", "e\u0301", "\U0010ffff", "\x7f\x01", "\\", '"', "'; --"]
)
def test_any_other_text_is_kept_as_it_is(api: Api, routine: str, text: str):
    run = api.post(f"/routines/{routine}/run", {"payload": {text: text}, "idempotencyKey": f"<{text}>"})

    assert ({text: text}, f"<{text}>") == (run["triggerPayload"], run["idempotencyKey"])
    assert {text: text} == api.get(f"/routines/{routine}/runs?limit=1")[0]["triggerPayload"]


@pytest.mark.parametrize(
    "number", [b"9" * 400, b"-" + b"9" * 30, b"18446744073709551616", b"1.7e308", b"5e-324", b"-0.0"]
)
def test_numbers_that_json_allows_are_taken_and_read_back(api: Api, routine: str, number: bytes):
    answer = send_run(api, b'{"payload":{"x":%s}}' % number, routine)

    assert 202 == answer.status_code
    listed = api.get(f"/routines/{routine}/runs?limit=1")[0]["triggerPayload"]
    assert json.loads(number) == answer.json()["triggerPayload"]["x"] == listed["x"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"source":"api","payload":{},"source":"api"}', ["source"]),
        (b'{"payload":{"a":1,"b":[[],{"c":2,"d":3,"c":4}]}}', ["payload", "b", 1, "c"]),
        (b'{"payload":{"\\u00e9":1,"\xc3\xa9":1}}', ["payload", "\u00e9"]),
        (b'{"payload":{"%s":1,"%s":2}}' % (b"x" * 90, b"x" * 90), ["payload", "x" * 60 + "..."]),
        (b'\xef\xbb\xbf{"unknown":9999999999999999999999,"unknown":1}', ["unknown"]),
        (b'{"":1,"":2}', [""]),
        (b'{"payload":{"a":1},"payload":{"b":1,"b":2}}', ["payload"]),
    ],
)
def test_a_name_that_an_object_has_twice_is_refused_and_named(
    api: Api, routine: str, body: bytes, path: list[str | int]
):
    answer = send_run(api, body, routine)

    text = f"Each name in an object must be given once: '{path[-1]}' is given again"
    assert (400, text) == (answer.status_code, answer.json()["error"])
    assert [{"code": "custom", "message": text, "path": path}] == answer.json()["details"]


def test_objects_beside_each_other_may_have_the_same_names(api: Api, routine: str):
    payload = {"a": [{"b": 1}, {"b": 2}], "b": {"a": {"b": 3}}}

    assert payload == send_run(api, json.dumps({"payload": payload}).encode(), routine).json()["triggerPayload"]


@pytest.mark.parametrize("body", [DEEP, b"[" * 100 + b"]" * 100, b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"])
def test_a_body_that_is_nested_too_deep_is_refused(api: Api, routine: str, body: bytes):
    answer = send_run(api, body, routine)

    text = f"The body is nested deeper than {MAX_DEPTH} levels"
    assert (400, text) == (answer.status_code, answer.json()["error"])


def test_a_body_may_be_as_deep_as_the_limit(api: Api, routine: str):
    deep = b'{"payload":' + b'{"a":' * (MAX_DEPTH - 2) + b"1" + b"}" * (MAX_DEPTH - 2) + b"}"

    assert 202 == send_run(api, deep, routine).status_code


def test_a_body_of_ten_megabytes_and_a_byte_is_too_large(api: Api, routine: str):
    frame = b'{"payload":{"text":"%s"}}'
    fits = frame % (b"x" * (LIMITS.max_large_body_bytes - len(frame) + 2))

    taken, refused = send_run(api, fits, routine), send_run(api, fits + b" ", routine)

    assert (202, 413) == (taken.status_code, refused.status_code)
    assert f"The body must have at most {LIMITS.max_large_body_bytes} bytes" == refused.json()["error"]


def test_a_body_that_never_says_its_length_is_too_large_all_the_same(api: Api):
    chunks = (b"x" * 1_000_000 for _ in range(11))

    answer = api.request("POST", "/companies", content=chunks, headers=JSON)

    assert 413 == answer.status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json, text/plain"},
        {"Content-Type": 'text/plain; x=", application/json"'},
        {"Content-Type": "application/xml"},
        {"Content-Type": ""},
        {"Content-Type": "ü/json".encode("latin-1").decode("latin-1")},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br"},
    ],
)
def test_only_json_is_taken(api: Api, headers: dict[str, str]):
    encoded = {name: value.encode("latin-1") for name, value in (JSON | headers).items()}
    body = gzip.compress(b'{"name":"x"}') if "Content-Encoding" in headers else b'{"name":"x"}'

    answer = api.request("POST", "/companies", content=body, headers=encoded)

    assert 415 == answer.status_code
    assert answer.json()["error"] in {
        "Content-Type must be application/json in UTF-8",
        "Content-Encoding is not supported",
    }


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json; charset=utf8",
        "application/json; charset=utf-16",
        "application/json, application/json; charset=utf-8",
        'application/vnd.x+json; profile="a, b"',
        None,
    ],
)
def test_json_is_taken_however_its_type_is_written(api: Api, routine: str, kind: str | None):
    headers = {} if kind is None else {"Content-Type": kind}

    answer = api.request("POST", f"/routines/{routine}/run", content=b"{}", headers=headers)

    assert 202 == answer.status_code


def test_a_route_that_takes_no_body_refuses_a_broken_one_too(api: Api):
    project = api.post(f"/companies/{api.company()}/projects", {"name": "x"})["id"]
    path = f"/projects/{project}/pause"

    assert 400 == api.request("POST", path, content=b"garbage", headers=JSON).status_code
    assert 200 == api.request("POST", path, content=b"[1]", headers=JSON).status_code


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", "x" * 201), ("title", "x" * 1_000_000), ("description", "x" * 1_000_001), ("priority", "x" * 100_000)],
)
def test_text_that_is_too_long_is_named(api: Api, field: str, value: str):
    answer = api.request("POST", f"/companies/{ID}/routines", {"title": "x", field: value})

    assert 400 == answer.status_code
    assert [[field]] == issue_paths(answer)


def test_text_counts_characters_not_bytes(api: Api):
    company = api.company()

    assert "😀" * 200 == api.post(f"/companies/{company}/routines", {"title": "😀" * 200})["title"]


def test_after_all_this_every_read_model_still_keeps_up(api: Api):
    health = api.get("/health")

    assert {None} == {model["stopped"] for model in health["readModels"]}
    assert 201 == api.request("POST", "/companies", {"name": str(uuid4())}).status_code
