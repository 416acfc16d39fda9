"""Bodies against their shapes (contract 1.1)."""

from datetime import UTC, datetime
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from application import request_bodies
from application.request_bodies import jetty as jetty_request_bodies
from application.request_bodies.board import AgentPatch, MemberDraft
from application.request_bodies.fields import Body
from application.request_bodies.issues import IssueDraft
from application.request_bodies.routines import (
    BackfillDraft,
    BulkPause,
    BulkResume,
    RoutineDraft,
    RoutinePatch,
    RunRequest,
)
from application.request_bodies.triggers import ScheduleDraft, TriggerPatch
from tests.api import Api
from web.http.tolerated_fields import TOLERATED
from web.http.validation import Invalid, parse

ID = "11111111-1111-4111-8111-111111111111"
MODULES = [import_module(f"{request_bodies.__name__}.{found.name}") for found in iter_modules(request_bodies.__path__)]
BODIES = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Body) and kind.__module__ == module.__name__ and kind != Body
]
JETTY_BODIES = [
    kind
    for kind in vars(jetty_request_bodies).values()
    if isinstance(kind, type) and issubclass(kind, jetty_request_bodies.Body)
]
TEXT = st.text("aZ1- \n\u00e9\U0001f600", max_size=4)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.just(ID),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


class Inner(Body, frozen=True):
    count: Annotated[int, Meta(ge=30, le=86_400)] = 300


class Shape(Body, frozen=True):
    title: Annotated[str, Meta(min_length=1, max_length=5, extra={"trim": True})]
    raw_text: Annotated[str, Meta(max_length=3)] | None = None
    kind: Literal["a", "b"] = "a"
    owner_id: UUID | None | UnsetType = UNSET
    items: Annotated[tuple[Inner, ...], Meta(min_length=1)] = (Inner(),)
    price: float = 0.5
    ready: bool = False
    until: datetime | None = None
    free: dict[str, object] = {}
    mixed: str | int | bool | None = None


class Range(Body, frozen=True):
    low: int = 0
    high_end: int = 0

    def faults(self) -> list[tuple[str, str]]:
        return [("highEnd", "Must not be below low")] if self.high_end < self.low else []


class Ranges(Body, frozen=True):
    ranges: tuple[Range, ...] = ()
    title: str = ""


def issues(value: object, shape: type[msgspec.Struct] = Shape) -> list[dict[str, object]]:
    with pytest.raises(Invalid) as caught:
        parse(shape, value)
    return caught.value.issues


def test_a_body_that_fits_is_its_shape_with_defaults():
    assert Shape(title="x") == parse(Shape, {"title": "x"})


def test_absent_null_and_given_are_told_apart():
    owner_ids = [parse(Shape, {"title": "x", **more}).owner_id for more in ({}, {"ownerId": None}, {"ownerId": ID})]

    assert [UNSET, None, UUID(ID)] == owner_ids


def test_only_what_is_marked_is_trimmed():
    parsed = parse(Shape, {"title": "  x  ", "rawText": " x "})

    assert ("x", " x ") == (parsed.title, parsed.raw_text)


def test_an_unknown_field_is_refused_with_the_nearest_known_one():
    (near,) = issues({"title": "x", "raw_text": 7})
    (far,) = issues({"title": "x", "zzzzzz": 1})

    assert ("Unknown field 'raw_text': did you mean 'rawText'?", ["raw_text"]) == (near["message"], near["path"])
    assert ("unrecognized_keys", ["zzzzzz"], "Unknown field 'zzzzzz'") == (far["code"], far["keys"], far["message"])


def test_of_many_unknown_fields_and_long_names_only_so_much_is_said():
    said_issues = issues({"title": "x", **{f"f{number}": 1 for number in range(1_000)}})
    (long,) = issues({"title": "x", "n" * 100_000: 1})

    assert 10 == len(said_issues)
    assert len(str(long)) < 400


@pytest.mark.parametrize("shape", [*BODIES, *JETTY_BODIES], ids=lambda shape: f"{shape.__module__}.{shape.__name__}")
def test_every_body_refuses_what_it_does_not_know(shape: type[msgspec.Struct]):
    """The table of all bodies: none of them ignores a misspelt field."""
    body = {"misspeltField": "x", "id": "only copies have one"}
    with pytest.raises(Invalid) as caught:
        parse(shape, body)

    assert "misspeltField" in [
        issue["path"][0] for issue in caught.value.issues if issue["code"] == "unrecognized_keys"
    ]


@pytest.mark.parametrize(
    ("shape", "body", "said"),
    [
        (
            MemberDraft,
            {"role": "viewer", "name": "x"},
            "Unknown field 'role': did you mean 'membershipRole'?",
        ),
        (BulkPause, {"routineIDs": [ID]}, "Unknown field 'routineIDs': did you mean 'routineIds'?"),
        (ScheduleDraft, {"cron": "0 9 * * *"}, "Unknown field 'cron': did you mean 'cronExpression'?"),
        (RoutineDraft, {"title": "x", "deadlineSec": 60}, "Unknown field 'deadlineSec'"),  # `variables` is not near
        (BulkPause, {}, "Say which routines are meant, or all: true for every one"),
        (BulkResume, {"q": None}, "Say which routines are meant, or all: true for every one"),
        (
            BulkPause,
            {"all": True, "q": "x"},
            "all selects every routine, so no condition may stand beside it",
        ),
        (BackfillDraft, {"from": "2026-01-01T00:00:00Z", "till": None}, "Unknown field 'till'"),
        (RoutineDraft, {"title": "x", "nextRunAt": None}, "Unknown field 'nextRunAt'"),
        (TriggerPatch, {"nextRunAt": None}, "Unknown field 'nextRunAt'"),
        (AgentPatch, {"status": "paused"}, "Unknown field 'status'"),
        (RunRequest, {"id": ID}, "Unknown field 'id'"),
    ],
)
def test_what_would_be_misunderstood_in_silence_is_said(shape: type[msgspec.Struct], body: Any, said: str):
    (issue,) = issues(body, shape)

    assert str(issue["message"]).startswith(said)


@pytest.mark.parametrize(
    ("field", "usual", "wish"),
    [
        ("triggers", [], [{"kind": "api"}]),
    ],
)
@pytest.mark.parametrize("shape", [RoutinePatch])
def test_what_is_not_supported_yet_is_accepted_only_as_it_is_answered(
    shape: type[msgspec.Struct], field: str, usual: Any, wish: Any
):
    (issue,) = issues({"title": "x", field: wish}, shape)

    assert parse(shape, {"title": "x", field: usual}) == parse(shape, {"title": "x"})
    assert ([field], True) == (issue["path"], "is not supported yet" in str(issue["message"]))


def test_what_is_unused_is_told_by_type_and_value():
    assert issues({"title": "x", "requestDepth": False}, IssueDraft)
    assert parse(IssueDraft, {"title": "x", "requestDepth": 0})


def test_a_changed_copy_of_an_answer_is_a_body():
    copy = {"id": ID, "title": "x", "latestRevisionNumber": 7, "recentRuns": [], "originId": None}

    assert parse(RoutinePatch, copy) == parse(RoutinePatch, {"title": "x"})
    (issue,) = issues({**copy, "titel": "y"}, RoutinePatch)
    assert "Unknown field 'titel': did you mean 'title'?" == issue["message"]


def test_what_is_tolerated_is_no_field_of_the_body():
    for shape, tolerated in TOLERATED.items():
        own = {field.encode_name for field in msgspec.structs.fields(shape)}
        assert not own & tolerated.unused.keys()
        assert not tolerated.unused.keys() & tolerated.ignored


def test_the_place_of_an_issue_is_a_path_of_names_and_numbers():
    (issue,) = issues({"title": "x", "items": [{}, {"count": 29}]})

    assert {
        "code": "too_small",
        "minimum": 30,
        "type": "number",
        "inclusive": True,
        "exact": False,
        "message": "Number must be greater than or equal to 30",
        "path": ["items", 1, "count"],
    } == issue


@pytest.mark.parametrize(
    ("field", "value", "code", "message"),
    [
        ("title", None, "invalid_type", "Expected string, received null"),
        ("title", [], "invalid_type", "Expected string, received array"),
        ("title", {}, "invalid_type", "Expected string, received object"),
        ("title", "   ", "too_small", "String must contain at least 1 character(s)"),
        ("title", "123456", "too_big", "String must contain at most 5 character(s)"),
        ("kind", "c", "invalid_enum_value", "Invalid enum value. Expected 'a' | 'b', received 'c'"),
        ("kind", 1, "invalid_type", "Expected 'a' | 'b', received number"),
        ("ownerId", "x", "invalid_string", "Invalid uuid"),
        ("ownerId", 1, "invalid_type", "Expected string, received number"),
        ("items", [], "too_small", "Array must contain at least 1 element(s)"),
        ("items", {}, "invalid_type", "Expected array, received object"),
        ("items", None, "invalid_type", "Expected array, received null"),
        ("price", True, "invalid_type", "Expected number, received boolean"),
        ("price", "1", "invalid_type", "Expected number, received string"),
        ("price", 10**400, "invalid_type", "Expected number, received number"),
        ("ready", 1, "invalid_type", "Expected boolean, received number"),
        ("ready", "true", "invalid_type", "Expected boolean, received string"),
        ("until", "soon", "invalid_string", "Invalid datetime: ISO 8601 with a zone is expected"),
        ("until", "2026-01-01T00:00:00", "invalid_string", "Invalid datetime: ISO 8601 with a zone is expected"),
        ("until", "9999-12-31T23:59:59-01:00", "invalid_string", "Invalid datetime: ISO 8601 with a zone is expected"),
        ("free", [], "invalid_type", "Expected object, received array"),
        ("mixed", [], "invalid_union", "Invalid input"),
    ],
)
def test_each_wrong_value_has_its_code_and_message(field: str, value: object, code: str, message: str):
    (issue,) = issues({"title": "x", field: value})

    assert (code, message, [field]) == (issue["code"], issue["message"], issue["path"])


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (1.5, "Expected integer, received float"),
        (True, "Expected number, received boolean"),
        (86_401, "Number must be less than or equal to 86400"),
        (10**30, "Number must be less than or equal to 86400"),
        (1e300, "Number must be less than or equal to 86400"),
    ],
)
def test_a_whole_number_is_one_within_its_bounds(count: object, message: str):
    (issue,) = issues({"title": "x", "items": [{"count": count}]})

    assert message == issue["message"]


def test_a_whole_number_may_be_written_with_a_fraction_of_nothing():
    assert 300 == parse(Shape, {"title": "x", "items": [{"count": 300.0}]}).items[0].count


def test_a_moment_keeps_its_time():
    moment = parse(Shape, {"title": "x", "until": "2026-01-01T01:00:00+01:00"}).until

    assert datetime(2026, 1, 1, tzinfo=UTC) == moment


def test_everything_wrong_is_reported_in_the_order_of_the_shape():
    reported = issues({"title": 1, "ready": 1, "items": [{"count": "a"}, {"count": None}], "kind": None})

    assert [["title"], ["kind"], ["items", 0, "count"], ["items", 1, "count"], ["ready"]] == [
        at["path"] for at in reported
    ]


def test_what_is_wrong_with_fields_together_is_reported_at_its_place():
    reported = issues({"ranges": [{"low": 1, "highEnd": 1}, {"low": 1}], "title": 1}, Ranges)

    assert {"code": "custom", "message": "Must not be below low", "path": ["ranges", 1, "highEnd"]} == reported[0]
    assert [["ranges", 1, "highEnd"], ["title"]] == [at["path"] for at in reported]


def test_fields_are_judged_together_only_when_each_is_right():
    reported = issues({"ranges": [{"low": 1, "highEnd": "x"}, {"low": 1}]}, Ranges)

    assert [["ranges", 0, "highEnd"], ["ranges", 1, "highEnd"]] == [at["path"] for at in reported]
    assert ["invalid_type", "custom"] == [at["code"] for at in reported]


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_body_is_an_object(value: object):
    (issue,) = issues(value)

    assert ("invalid_type", "object", []) == (issue["code"], issue["expected"], issue["path"])


@given(st.data())
def test_whatever_json_comes_it_is_either_taken_or_every_issue_names_a_field(data: st.DataObject):
    shape = data.draw(st.sampled_from(BODIES))
    names = [field.encode_name for field in msgspec.structs.fields(shape)]
    body = data.draw(st.dictionaries(st.sampled_from(names), ANY_JSON, max_size=len(names)))

    try:
        taken, reported = parse(shape, body), []
    except Invalid as error:
        taken, reported = None, error.issues

    assert isinstance(taken, shape) or reported
    assert all(issue["path"][0] in names and issue["message"] and issue["code"] for issue in reported)


def test_a_variable_that_contradicts_itself_is_a_bad_request_that_names_the_field(api: Api):
    """Contract 2.1."""
    declared = [
        {"name": "a", "type": "select"},
        {"name": "b", "options": ["x"]},
        {"name": "c", "type": "select", "options": ["x", "y"], "defaultValue": "z"},
        {"name": "d", "type": "date", "defaultValue": "2026-02-30"},
        {"name": "e", "type": "select", "options": ["x"], "defaultValue": "x"},
    ]
    company = api.company()
    routine = api.routine(company, None)

    for method, path in (("POST", f"/companies/{company}/routines"), ("PATCH", f"/routines/{routine}")):
        answer = api.request(method, path, {"title": "x", "variables": declared})

        assert (400, "Validation error") == (answer.status_code, answer.json()["error"])
        assert [
            ("custom", ["variables", 0, "options"], "Select variables require at least one option"),
            ("custom", ["variables", 1, "options"], "Only select variables can define options"),
            ("custom", ["variables", 2, "defaultValue"], 'Variable "c" must match one of: x, y'),
            ("custom", ["variables", 3, "defaultValue"], 'Variable "d" must be a date (YYYY-MM-DD)'),
        ] == [(issue["code"], issue["path"], issue["message"]) for issue in answer.json()["details"]]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400, "-" + "1" * 400, "NaN", "Infinity"])
def test_a_default_that_is_no_finite_number_is_a_bad_request(api: Api, number: str):
    """Contract 2.1."""
    path, json = f"/companies/{api.company()}/routines", {"Content-Type": "application/json"}
    body = f'{{"title":"x","variables":[{{"name":"a","type":"number","defaultValue":{number}}}]}}'

    answer = api.request("POST", path, content=body, headers=json)

    said = [answer.json()["error"], *(issue["message"] for issue in answer.json().get("details", []))]
    assert 400 == answer.status_code
    assert said in (["Validation error", "Number must be finite"], ["Invalid JSON body"])
