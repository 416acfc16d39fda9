"""Each field of every body is tried with what its type does not take: a 400 that names the field, in the form of the contract."""

import json
from collections.abc import Iterator
from typing import Any

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
from tests.api import Api
from tests.web.bad_input.requests_by_hand import ID, issue_paths, send_run
from tests.web.hooks import JSON
from web.http import validation
from web.http.validation import Invalid

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


def body_of_kind(shape: type[Body], fields: dict[str, Any]) -> dict[str, Any]:
    """With the kind that the shape is for, where there are several."""
    config = shape.__struct_config__
    return {**({config.tag_field: config.tag} if config.tag_field else {}), **fields}


def values_of_other_types(field: Any) -> Iterator[object]:
    """Those of the samples that the field's type does not take."""
    for sample in SAMPLES:
        try:
            msgspec.convert(sample.strip() if isinstance(sample, str) else sample, field.type)
        except msgspec.ValidationError:
            yield sample


def shape_of_route(shape: type[Body]) -> Any:
    """What a route reads that takes this shape, or one of several by their kind."""
    return TriggerDraft if shape is ScheduleDraft else shape


def find_issues(shape: type[Body], sent: object) -> list[dict[str, Any]]:
    """What is found wrong with a body."""
    with pytest.raises(Invalid) as caught:
        validation.parse(shape_of_route(shape), msgspec.json.decode(json.dumps(sent)))
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
        for sample in values_of_other_types(field):
            issues_found = find_issues(shape, body_of_kind(shape, {field.encode_name: sample}))

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
    sent = body_of_kind(
        shape,
        {field.encode_name: [] for field in msgspec.structs.fields(shape) if [] in list(values_of_other_types(field))},
    )

    answer = api.request(method, path, sent)

    assert [shape_of_route(shape)] == read_as
    assert (400, "Validation error") == (answer.status_code, answer.json()["error"])
    assert find_issues(shape, sent) == answer.json()["details"]
    assert sent.keys() - {"kind"} == {at[0] for at in issue_paths(answer)}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample)[:20])
def test_a_field_of_the_wrong_type_is_answered_as_it_is_found(api: Api, sample: object):
    shape, path = RoutineDraft, f"/companies/{ID}/routines"
    for field in msgspec.structs.fields(shape):
        if sample in list(values_of_other_types(field)):
            sent = {field.encode_name: sample}

            answer = api.request("POST", path, sent)

            assert (400, "Validation error") == (answer.status_code, answer.json()["error"])
            assert find_issues(shape, sent) == answer.json()["details"]


@pytest.mark.parametrize(("method", "path"), [at for at in SHAPES if not at[1].endswith(NEED_SOMETHING)])
def test_an_empty_body_is_an_empty_object(api: Api, method: str, path: str):
    empty = api.request(method, path, content=b"", headers=JSON)
    answer = api.request(method, path, content=b"")
    missing = [field.encode_name for field in msgspec.structs.fields(SHAPES[method, path]) if field.required]

    if missing:
        assert 400 == empty.status_code == answer.status_code
        assert [[name] for name in missing] == issue_paths(empty) == issue_paths(answer)
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
    assert [refused] * len(SHAPES) == [find_issues(shape, NO_OBJECTS[kind]) for shape in SHAPES.values()]


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
                "pattern": "^[A-Za-z][A-Za-z0-9_]*$",
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
    (issue,) = send_run(api, b'{"variables":{"a":[]}}', routine).json()["details"]

    assert ("invalid_union", "Invalid input", ["variables", "a"]) == (issue["code"], issue["message"], issue["path"])
    received = [inner["received"] for error in issue["unionErrors"] for inner in error["issues"]]
    assert {"array"} == set(received)
