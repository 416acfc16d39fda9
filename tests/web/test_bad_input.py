"""Whatever is sent, the answer is a 4xx that names the field or says what is wrong in words; never a 5xx (contract 1)."""

import gzip
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import msgspec
import pytest

from application.request_bodies.board import (
    AgentDraft,
    AgentKeyDraft,
    AgentPatch,
    BoardKeyDraft,
    CompanyDraft,
    CompanyPatch,
    FolderDraft,
    FolderItems,
    FolderMove,
    FolderPatch,
    GoalDraft,
    GoalPatch,
    MemberDraft,
    MemberPatch,
    PauseRequest,
    ProjectDraft,
    ProjectPatch,
)
from application.request_bodies.budgets import UsageReport
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.request_bodies.fields import Body
from application.request_bodies.issues import Checkout, CommentDraft, IssueDraft, IssuePatch, LogDraft
from application.request_bodies.routines import (
    BackfillDraft,
    BulkPause,
    BulkResume,
    RoutineDraft,
    RoutinePatch,
    RunRequest,
)
from application.request_bodies.triggers import (
    ScheduleDraft,
    SchedulePreview,
    SecretRotation,
    TriggerDraft,
    TriggerPatch,
    WebhookSample,
)
from application.request_bodies.what_ifs import CompanyWhatIf, WhatIf
from domain.bounds.limits import DEFAULT as LIMITS
from tests.api import Api
from web.http import validation
from web.http.guard import MAX_HEADER_BYTES, MAX_HEADERS
from web.http.json_body import MAX_DEPTH
from web.http.validation import Invalid

ID = "11111111-1111-4111-8111-111111111111"
SHAPES: dict[tuple[str, str], type[Body]] = {
    ("POST", "/companies"): CompanyDraft,
    ("PATCH", f"/companies/{ID}"): CompanyPatch,
    ("POST", f"/companies/{ID}/members"): MemberDraft,
    ("PATCH", f"/companies/{ID}/members/{ID}"): MemberPatch,
    ("POST", f"/companies/{ID}/members/{ID}/keys"): BoardKeyDraft,
    ("POST", f"/companies/{ID}/agents"): AgentDraft,
    ("PATCH", f"/agents/{ID}"): AgentPatch,
    ("POST", f"/agents/{ID}/pause"): PauseRequest,
    ("POST", f"/agents/{ID}/keys"): AgentKeyDraft,
    ("POST", "/board-api-keys"): BoardKeyDraft,
    ("POST", f"/companies/{ID}/projects"): ProjectDraft,
    ("PATCH", f"/projects/{ID}"): ProjectPatch,
    ("POST", f"/companies/{ID}/goals"): GoalDraft,
    ("PATCH", f"/goals/{ID}"): GoalPatch,
    ("POST", f"/companies/{ID}/folders"): FolderDraft,
    ("PATCH", f"/companies/{ID}/folders/{ID}"): FolderPatch,
    ("POST", f"/companies/{ID}/folders/{ID}/move"): FolderMove,
    ("POST", f"/companies/{ID}/folders/items/move"): FolderItems,
    ("POST", f"/companies/{ID}/routines"): RoutineDraft,
    ("PATCH", f"/routines/{ID}"): RoutinePatch,
    ("POST", f"/routines/{ID}/run"): RunRequest,
    ("POST", f"/routine-runs/{ID}/usage"): UsageReport,
    ("POST", f"/routines/{ID}/triggers"): ScheduleDraft,
    ("PATCH", f"/routine-triggers/{ID}"): TriggerPatch,
    ("POST", f"/routine-triggers/{ID}/rotate-secret"): SecretRotation,
    ("POST", f"/routine-triggers/{ID}/test"): WebhookSample,
    ("POST", f"/agents/{ID}/rotate-heartbeat-secret"): SecretRotation,
    ("POST", f"/companies/{ID}/webhook-endpoints"): EndpointDraft,
    ("PATCH", f"/companies/{ID}/webhook-endpoints/{ID}"): EndpointPatch,
    ("POST", f"/companies/{ID}/webhook-endpoints/{ID}/rotate-secret"): SecretRotation,
    ("POST", f"/companies/{ID}/routines/pause"): BulkPause,
    ("POST", f"/companies/{ID}/routines/resume"): BulkResume,
    ("POST", f"/routine-triggers/{ID}/backfills"): BackfillDraft,
    ("POST", f"/routine-triggers/{ID}/backfills/preview"): BackfillDraft,
    ("POST", f"/companies/{ID}/issues"): IssueDraft,
    ("PATCH", f"/issues/{ID}"): IssuePatch,
    ("POST", f"/issues/{ID}/checkout"): Checkout,
    ("POST", f"/issues/{ID}/comments"): CommentDraft,
    ("POST", f"/routine-runs/{ID}/log"): LogDraft,
    ("POST", "/schedule/preview"): SchedulePreview,
    ("POST", f"/routines/{ID}/what-if"): WhatIf,
    ("POST", f"/companies/{ID}/what-if"): CompanyWhatIf,
}
NEED_SOMETHING = (
    "/members",
    "/triggers",
    "/preview",
    "/routines/pause",
    "/routines/resume",
)  # one of two fields; a kind; a selection
SAMPLES = (None, True, 7, -1, 1.5, 1e300, 2**70, "", "nonsense", "x" * 100_001, [], ["x"], [None], {}, {"a": [1]})
NO_OBJECTS: dict[str, object] = {"null": None, "array": [{}], "string": "{}", "number": 1, "boolean": False}
DEEP = b'{"payload":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def routine(api: Api) -> str:
    company = api.company()
    return api.routine(company, api.agent(company)[0])


def send(api: Api, body: bytes, routine: str = ID, **headers: str) -> httpx.Response:
    return api.request("POST", f"/routines/{routine}/run", content=body, headers=JSON | headers)


def paths(answer: httpx.Response) -> list[list[Any]]:
    return [issue["path"] for issue in answer.json()["details"]]


def body(shape: type[Body], fields: dict[str, Any]) -> dict[str, Any]:
    """With the kind that the shape is for, where there are several."""
    config = shape.__struct_config__
    return {**({config.tag_field: config.tag} if config.tag_field else {}), **fields}


def wrong(field: Any) -> Iterator[object]:
    """Those of the samples that the field's type does not take."""
    for sample in SAMPLES:
        try:
            msgspec.convert(sample.strip() if isinstance(sample, str) else sample, field.type)
        except msgspec.ValidationError:
            yield sample


def taken(shape: type[Body]) -> Any:
    """What a route reads that takes this shape, or one of several by their kind."""
    return TriggerDraft if shape is ScheduleDraft else shape


def issues(shape: type[Body], sent: object) -> list[dict[str, Any]]:
    """What is found wrong with a body."""
    with pytest.raises(Invalid) as caught:
        validation.parse(taken(shape), msgspec.json.decode(json.dumps(sent)))
    return caught.value.issues


@pytest.fixture
def read_as(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The shapes that the routes read bodies in, meanwhile."""
    shapes: list[Any] = []

    def noting(shape: Any, value: object) -> Any:
        shapes.append(shape)
        return validation.parse(shape, value)

    monkeypatch.setattr("web.http.requests.parse", noting)
    return shapes


def test_every_operation_that_takes_a_body_is_tried(api: Api):
    served = {
        (method.upper(), path.removeprefix("/api"))
        for path, operations in api.get("/openapi.json")["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation and operation["operationId"] != "fireWebhook"  # which takes anything
    }

    assert len(served) == len(SHAPES)
    assert {(method, path.replace(ID, "*")) for method, path in SHAPES} == {
        (method, "/".join("*" if part.startswith("{") else part for part in path.split("/"))) for method, path in served
    }


@pytest.mark.parametrize(("method", "path"), SHAPES)
def test_each_field_of_the_wrong_type_is_named(method: str, path: str):
    """Every cell, on the function that all routes read their bodies with; the tests after it say that they do."""
    shape = SHAPES[method, path]
    for field in msgspec.structs.fields(shape):
        for sample in wrong(field):
            issues_found = issues(shape, body(shape, {field.encode_name: sample}))

            assert field.encode_name in [issue["path"][0] for issue in issues_found], (
                field.encode_name,
                str(sample)[:50],
            )
            assert all({"code", "message", "path"} <= issue.keys() for issue in issues_found)


@pytest.mark.parametrize(("method", "path"), SHAPES)
def test_each_route_reads_its_body_in_its_shape_and_reports_all_wrong_fields_together(
    api: Api, read_as: list[Any], method: str, path: str
):
    shape = SHAPES[method, path]
    sent = body(shape, {field.encode_name: [] for field in msgspec.structs.fields(shape) if [] in list(wrong(field))})

    answer = api.request(method, path, sent)

    assert [taken(shape)] == read_as
    assert (400, "Validation error") == (answer.status_code, answer.json()["error"])
    assert issues(shape, sent) == answer.json()["details"]
    assert sent.keys() - {"kind"} == {at[0] for at in paths(answer)}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample)[:20])
def test_a_field_of_the_wrong_type_is_answered_as_it_is_found(api: Api, sample: object):
    shape, path = RoutineDraft, f"/companies/{ID}/routines"
    for field in msgspec.structs.fields(shape):
        if sample in list(wrong(field)):
            sent = {field.encode_name: sample}

            answer = api.request("POST", path, sent)

            assert (400, "Validation error") == (answer.status_code, answer.json()["error"])
            assert issues(shape, sent) == answer.json()["details"]


@pytest.mark.parametrize(("method", "path"), [at for at in SHAPES if not at[1].endswith(NEED_SOMETHING)])
def test_an_empty_body_is_an_empty_object(api: Api, method: str, path: str):
    empty = api.request(method, path, content=b"", headers=JSON)
    answer = api.request(method, path, content=b"")
    missing = [field.encode_name for field in msgspec.structs.fields(SHAPES[method, path]) if field.required]

    if missing:
        assert 400 == empty.status_code == answer.status_code
        assert [[name] for name in missing] == paths(empty) == paths(answer)
        assert {("invalid_type", "undefined", "Required")} == {
            (issue["code"], issue["received"], issue["message"]) for issue in empty.json()["details"]
        }
    else:
        assert empty.status_code in {201, 404}
        assert empty.status_code == answer.status_code


@pytest.mark.parametrize("kind", NO_OBJECTS)
def test_a_body_that_is_no_object_is_refused(api: Api, kind: str):
    issue = {"code": "invalid_type", "expected": "object", "received": kind, "path": []}
    refused = [issue | {"message": f"Expected object, received {kind}"}]

    answer = api.request("PATCH", f"/issues/{ID}", content=json.dumps(NO_OBJECTS[kind]), headers=JSON)

    assert (400, refused) == (answer.status_code, answer.json()["details"])
    assert [refused] * len(SHAPES) == [issues(shape, NO_OBJECTS[kind]) for shape in SHAPES.values()]


@pytest.mark.parametrize(
    ("body", "issue"),
    [
        (
            {"title": ""},
            {
                "code": "too_small",
                "minimum": 1,
                "type": "string",
                "inclusive": True,
                "exact": False,
                "message": "String must contain at least 1 character(s)",
                "path": ["title"],
            },
        ),
        (
            {"title": "x" * 201},
            {
                "code": "too_big",
                "maximum": 200,
                "type": "string",
                "inclusive": True,
                "exact": False,
                "message": "String must contain at most 200 character(s)",
                "path": ["title"],
            },
        ),
        (
            {},
            {
                "code": "invalid_type",
                "expected": "string",
                "received": "undefined",
                "message": "Required",
                "path": ["title"],
            },
        ),
        (
            {"title": 7},
            {
                "code": "invalid_type",
                "expected": "string",
                "received": "number",
                "message": "Expected string, received number",
                "path": ["title"],
            },
        ),
        (
            {"title": "x", "goalId": "zz"},
            {"code": "invalid_string", "validation": "uuid", "message": "Invalid uuid", "path": ["goalId"]},
        ),
        (
            {"title": "x", "status": "up"},
            {
                "code": "invalid_enum_value",
                "options": ["active", "paused", "archived"],
                "received": "up",
                "message": "Invalid enum value. Expected 'active' | 'paused' | 'archived', received 'up'",
                "path": ["status"],
            },
        ),
        (
            {"title": "x", "status": None},
            {
                "code": "invalid_type",
                "expected": "'active' | 'paused' | 'archived'",
                "received": "null",
                "message": "Expected 'active' | 'paused' | 'archived', received null",
                "path": ["status"],
            },
        ),
        (
            {"title": "x", "variables": [{"name": "a"}, {"name": "1"}]},
            {
                "code": "invalid_string",
                "validation": "regex",
                "message": "Invalid",
                "path": ["variables", 1, "name"],
            },
        ),
        (
            {"title": "x", "variables": [{"name": "a", "options": ["x"] * 51}]},
            {
                "code": "too_big",
                "maximum": 50,
                "type": "array",
                "inclusive": True,
                "exact": False,
                "message": "Array must contain at most 50 element(s)",
                "path": ["variables", 0, "options"],
            },
        ),
    ],
)
def test_an_issue_has_exactly_the_form_that_clients_print(api: Api, body: Any, issue: Any):
    """Contract 1.1, the zod 3 form."""
    answer = api.request("POST", f"/companies/{ID}/routines", body)

    shown = answer.json()
    assert {"error", "type", "title", "status", "detail", "details"} == shown.keys()
    assert (400, "Validation error", [issue]) == (answer.status_code, shown["error"], shown["details"])


def test_a_value_that_fits_no_member_of_a_union_tells_why_for_each(api: Api, routine: str):
    (issue,) = send(api, b'{"variables":{"a":[]}}', routine).json()["details"]

    assert ("invalid_union", "Invalid input", ["variables", "a"]) == (issue["code"], issue["message"], issue["path"])
    received = [inner["received"] for error in issue["unionErrors"] for inner in error["issues"]]
    assert {"array"} == set(received)


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
    answer = send(api, body)

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
    answer = send(api, body, routine)

    assert (400, f"The character U+0000 is not allowed ({where})") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "x\\u0000 \\n", "u0000"])
def test_text_that_only_spells_nul_is_kept(api: Api, routine: str, text: str):
    body = json.dumps({"payload": {"x": text}, "idempotencyKey": text}).encode()

    run = send(api, body, routine).json()

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
    answer = send(api, b'{"payload":{"x":%s}}' % number, routine)

    assert 202 == answer.status_code
    listed = api.get(f"/routines/{routine}/runs?limit=1")[0]["triggerPayload"]
    assert json.loads(number) == answer.json()["triggerPayload"]["x"] == listed["x"]


def test_of_duplicate_keys_the_last_one_counts(api: Api, routine: str):
    body = b'{"source":"nonsense","payload":{"a":1,"a":2},"source":"api"}'

    run = send(api, body, routine).json()

    assert ("api", {"a": 2}) == (run["source"], run["triggerPayload"])


@pytest.mark.parametrize("body", [DEEP, b"[" * 100 + b"]" * 100, b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"])
def test_a_body_that_is_nested_too_deep_is_refused(api: Api, routine: str, body: bytes):
    answer = send(api, body, routine)

    text = f"The body is nested deeper than {MAX_DEPTH} levels"
    assert (400, text) == (answer.status_code, answer.json()["error"])


def test_a_body_may_be_as_deep_as_the_limit(api: Api, routine: str):
    deep = b'{"payload":' + b'{"a":' * (MAX_DEPTH - 2) + b"1" + b"}" * (MAX_DEPTH - 2) + b"}"

    assert 202 == send(api, deep, routine).status_code


def test_a_body_of_ten_megabytes_and_a_byte_is_too_large(api: Api, routine: str):
    frame = b'{"payload":{"text":"%s"}}'
    fits = frame % (b"x" * (LIMITS.max_large_body_bytes - len(frame) + 2))

    taken, refused = send(api, fits, routine), send(api, fits + b" ", routine)

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


@pytest.mark.parametrize("field", ["triggerId", "projectId", "assigneeAgentId"])
@pytest.mark.parametrize(
    "id_", ["", "nonsense", f"{{{ID}}}", f"urn:uuid:{ID}", ID[:-1], f"{ID}0", ID.replace("-", ""), f" {ID}"]
)
def test_a_malformed_id_in_a_body_is_named(api: Api, routine: str, field: str, id_: str):
    answer = api.request("POST", f"/routines/{routine}/run", {field: id_})

    issue = {"code": "invalid_string", "validation": "uuid", "message": "Invalid uuid", "path": [field]}
    assert (400, [issue]) == (answer.status_code, answer.json()["details"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("routines", "projectId"),
        *(("issues", name) for name in ("projectId", "assigneeAgentId", "parentId", "originId")),
    ],
)
@pytest.mark.parametrize("id_", ["nonsense", "%20", "%ff", f"{ID}x", "1"])
def test_a_malformed_id_in_a_query_is_named(api: Api, path: str, name: str, id_: str):
    answer = api.request("GET", f"/companies/{ID}/{path}?{name}={id_}")

    assert 400 == answer.status_code
    assert [[name]] == paths(answer)


@pytest.mark.parametrize(
    "id_",
    ["nonsense", "%00", "%ff", "%ED%A0%80", "..%2f..", "%2e%2e", "'%22;--", "x" * 5_000, "%F0%9F%98%80", "%0d%0aX:1"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/{kind}/*") for kind in ("companies", "routines", "issues", "goals")),
        *(("GET", f"/{kind}/*?companyId={ID}") for kind in ("agents", "projects")),
        *(("DELETE", f"/{kind}/*") for kind in ("routine-triggers", "goals", "projects", "board-api-keys")),
        *(("GET", f"/companies/*/{kind}") for kind in ("agents", "projects", "goals", "routines", "issues")),
        ("DELETE", f"/agents/{ID}/keys/*"),
        ("GET", f"/issues/{ID}/comments/*"),
        ("POST", "/routines/*/run"),
    ],
)
def test_a_malformed_id_in_a_path_is_not_found(api: Api, method: str, path: str, id_: str):
    answer = api.request(method, path.replace("*", id_))

    assert 404 == answer.status_code
    assert "not found" in answer.json()["error"]


@pytest.mark.parametrize(
    "query", ["q=%00", "status=a%00", "originKind=%00", "projectId=%00", "limit=%00", "%00=1", "x=%00"]
)
def test_the_character_nul_in_a_query_is_refused(api: Api, query: str):
    answer = api.request("GET", f"/companies/{api.company()}/issues?{query}")

    assert (400, "The character U+0000 is not allowed in a query") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize(
    "query", ["q=%ff", "q=%ED%A0%80", "q=%", "q=%zz", "&&&=", "status=,,,", "q=" + "x" * 4_000, "q=1&q=2", "a[b]=1"]
)
def test_odd_queries_find_nothing_or_all_but_do_no_harm(api: Api, query: str):
    assert 200 == api.request("GET", f"/companies/{api.company()}/issues?{query}").status_code


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", "x" * 201), ("title", "x" * 1_000_000), ("description", "x" * 1_000_001), ("priority", "x" * 100_000)],
)
def test_text_that_is_too_long_is_named(api: Api, field: str, value: str):
    answer = api.request("POST", f"/companies/{ID}/routines", {"title": "x", field: value})

    assert 400 == answer.status_code
    assert [[field]] == paths(answer)


def test_text_counts_characters_not_bytes(api: Api):
    company = api.company()

    assert "😀" * 200 == api.post(f"/companies/{company}/routines", {"title": "😀" * 200})["title"]


def raw(api: Api, path: str, headers: list[tuple[str, str | bytes]]) -> tuple[int, bytes]:
    """Without a client that knows better."""
    address = urlsplit(api.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    connection.putrequest("GET", f"/api{path}", skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_more_headers_than_anybody_needs_are_refused(api: Api):
    assert 200 == raw(api, "/health", [(f"X-{n}", "1") for n in range(MAX_HEADERS - 1)])[0]
    status, body = raw(api, "/health", [(f"X-{n}", "1") for n in range(MAX_HEADERS)])
    assert (431, "Too many or too large headers") == (status, json.loads(body)["error"])
    assert 431 == raw(api, "/health", [("X-A", "x" * MAX_HEADER_BYTES)])[0]


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Bearer  ",
        b"Bearer a b",
        b"Bearer \xc3\xa9",
        b"Bearer \xff\xfe",
        b"Bearer pcp_",
    ],
    ids=repr,
)
def test_a_token_that_is_none_is_an_unknown_one(api: Api, token: bytes):
    assert 401 == raw(api, "/companies", [("Authorization", token)])[0]


def test_an_altered_or_overlong_token_is_an_unknown_one(api: Api):
    flipped = api.token[:-1] + ("0" if api.token[-1] != "0" else "1")
    altered = [
        flipped,
        api.token + "x",
        api.token.upper(),
        api.token * 2,
        "x" * 20_000,
        f'"{api.token}"',
        api.token[4:],
    ]

    answers = {raw(api, "/companies", [("Authorization", f"Bearer {token}")])[0] for token in altered}

    assert {401} == answers
    assert 200 == raw(api, "/companies", [("Authorization", f"Bearer {api.token}")])[0]


def test_two_authorization_headers_are_none(api: Api):
    good = ("Authorization", f"Bearer {api.token}")

    assert 401 == raw(api, "/companies", [good, good])[0]
    assert 401 == raw(api, "/companies", [good, ("authorization", "Bearer x")])[0]
    assert 401 == raw(api, "/companies", [("Authorization", f"Bearer {api.token}, Bearer {api.token}")])[0]


@pytest.mark.parametrize("session", ["nonsense", ID[:-1], f"{ID},{ID}", "\u00e9"])
def test_a_malformed_work_session_is_named(api: Api, session: str):
    answer = api.request("GET", "/companies", headers={"X-Paperclip-Run-Id": session.encode("latin-1")})

    assert 400 == answer.status_code
    assert [["X-Paperclip-Run-Id"]] == paths(answer)


def test_after_all_this_every_read_model_still_keeps_up(api: Api):
    health = api.get("/health")

    assert {None} == {model["stopped"] for model in health["readModels"]}
    assert 201 == api.request("POST", "/companies", {"name": str(uuid4())}).status_code
