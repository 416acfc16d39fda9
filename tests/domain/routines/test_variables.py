"""The variables of a template: contract 2.1 (declaring), 2.3 (values of a firing), 9 D14."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.errors import RuleViolation
from domain.routines import template, variables
from domain.values import Json, Variable
from tests.domain.routines.templates import NAMES, TEMPLATES, VALUES

A = Variable(name="a")
B = Variable(name="b")
COUNT = Variable(name="n", type="number")
READY = Variable(name="ready", type="boolean")
DAY = Variable(name="day", type="date")
SIZE = Variable(name="size", type="select", options=("small", "5", "true"))
HUGE = 10**400  # an integer that JSON can spell and no float can hold

TYPES = st.sampled_from(["text", "textarea", "number", "boolean", "date"])
VARIABLES = st.builds(
    Variable,
    name=NAMES | st.sampled_from(["a", "b", *variables.BUILT_IN]),
    type=TYPES,
    required=st.booleans(),
    default_value=st.none() | st.booleans() | st.integers() | TEMPLATES,
)


def refusal(call, *arguments):
    with pytest.raises(RuleViolation) as caught:
        call(*arguments)
    return caught.value.message


# The declared ones and the template, contract 2.1 and 9 D14


def test_2_1_a_name_that_is_not_declared_is_added():
    assert (Variable(name="a"),) == variables.sync_declarations((), "{{a}}", None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("startDate", "date"), ("aDate", "date"), ("a_Date", "date"), ("DateDate", "date")),
        *(("Date", "text"), ("startdate", "text"), ("DateOf", "text"), ("update", "text")),
    ],
)
def test_2_1_an_added_name_that_ends_in_date_is_one(name, kind):
    assert (Variable(name=name, type=kind),) == variables.sync_declarations((), "x", f"{{{{{name}}}}}")


def test_2_1_the_order_is_title_then_description_then_the_others_as_given():
    declared = [replace(A, name=name) for name in ("z", "y", "d", "t")]

    synced = variables.sync_declarations(declared, "{{t}} {{u}}", "{{d}} {{t}}")

    assert ["t", "u", "d", "z", "y"] == [variable.name for variable in synced]


def test_2_1_of_two_entries_of_one_name_the_later_wins():
    later = replace(A, label="later")

    assert (B, later) == variables.sync_declarations((A, B, later), "{{b}}", None)


def test_2_1_what_is_declared_stays_as_declared():
    declared = Variable(name="dueDate", label="Due", type="text", default_value="soon", required=False)

    assert (declared,) == variables.sync_declarations((declared,), "{{dueDate}}", "")


def test_2_2_a_built_in_name_is_never_listed():
    declared = (replace(A, name="date"), A, replace(A, name="timestamp"))

    assert (A,) == variables.sync_declarations(declared, "{{date}}", "{{timestamp}}")


@for_all(st.lists(VARIABLES, max_size=6), TEMPLATES, TEMPLATES)
def test_syncing_twice_is_syncing_once(declared, title, description):
    once = variables.sync_declarations(declared, title, description)

    assert once == variables.sync_declarations(once, title, description)
    assert {*template.names_in(title, description), *(variable.name for variable in declared)} - {
        *variables.BUILT_IN
    } == {variable.name for variable in once}


# What is wrong with a declaration, contract 2.1


@pytest.mark.parametrize(
    ("variable", "faults"),
    [
        (Variable(name="v", type="select"), [("options", "Select variables require at least one option")]),
        (
            Variable(name="v", type="select", default_value="x"),
            [("options", "Select variables require at least one option")],
        ),
        (replace(SIZE, default_value="big"), [("defaultValue", 'Variable "size" must match one of: small, 5, true')]),
        (replace(SIZE, default_value=""), [("defaultValue", 'Variable "size" must match one of: small, 5, true')]),
        (replace(A, options=("x",)), [("options", "Only select variables can define options")]),
        (replace(READY, options=("x",)), [("options", "Only select variables can define options")]),
        (
            replace(DAY, default_value="soon", options=("x",)),
            [
                ("defaultValue", 'Variable "day" must be a date (YYYY-MM-DD)'),
                ("options", "Only select variables can define options"),
            ],
        ),
        (replace(COUNT, default_value=HUGE), [("defaultValue", "Number must be finite")]),
        (replace(A, default_value=-HUGE), [("defaultValue", "Number must be finite")]),
        (replace(A, default_value=float("inf")), [("defaultValue", "Number must be finite")]),
        (replace(A, default_value=float("nan")), [("defaultValue", "Number must be finite")]),
    ],
)
def test_2_1_what_is_malformed_names_its_field(variable, faults):
    assert faults == variables.faults(variable)


@pytest.mark.parametrize(
    "default",
    [
        *("2026-02-29", "2026-13-01", "2026-00-10", "2026-1-1", "20260101", "2026-W01-1", "2026-01-01T00:00:00"),
        *("", "today", " 2026-01-01", "2026-01-01\n", "0000-01-01", "\u0662026-01-01", 20260101, 1, True),
    ],
)
def test_2_1_the_default_of_a_date_is_a_day_of_the_calendar(default):
    assert ["defaultValue"] == [field for field, _ in variables.faults(replace(DAY, default_value=default))]


@pytest.mark.parametrize(
    "variable",
    [
        *(A, COUNT, READY, DAY, SIZE, replace(A, default_value=""), replace(A, default_value=1e308)),
        *(replace(SIZE, default_value=default) for default in ("small", "5", 5, True)),
        *(replace(DAY, default_value=default) for default in ("2026-01-01", "2024-02-29", "9999-12-31")),
        *(replace(COUNT, default_value="x"), replace(READY, default_value="x")),  # not malformed: refused later
    ],
)
def test_2_1_a_sound_declaration_has_no_fault(variable):
    assert [] == variables.faults(variable)


@pytest.mark.parametrize(
    ("variable", "default", "message"),
    [
        *((COUNT, default, 'Variable "n" must be a number') for default in ("x", "", "1x", "0x10", True, HUGE)),
        *((READY, default, 'Variable "ready" must be a boolean') for default in ("x", "", "2", 2, 0.5)),
        (DAY, "soon", 'Variable "day" must be a date (YYYY-MM-DD)'),
        (SIZE, "big", 'Variable "size" must match one of: small, 5, true'),
    ],
)
def test_2_1_a_default_of_another_type_is_refused(variable, default, message):
    assert message == refusal(variables.check_defaults, [A, replace(variable, default_value=default)])


def test_2_1_a_default_that_can_be_read_is_accepted_as_it_is_written():
    variables.check_defaults(
        [
            *(A, COUNT, READY, DAY, SIZE, replace(A, default_value=""), replace(A, default_value=True)),
            *(replace(COUNT, default_value=default) for default in ("12", " 1e3 ", 1.5, 0)),
            *(replace(READY, default_value=default) for default in ("YES", "off", 1, 0.0, False)),
        ]
    )


# What a schedule can fill, contract 4


@pytest.mark.parametrize("default", [None, "", " ", "\t\n\u00a0"])
def test_4_a_required_variable_without_a_usable_default_has_no_value(default):
    empty = replace(A, default_value=default)

    assert ["a"] == variables.without_value([empty, replace(B, required=False), replace(COUNT, default_value="x")])


@pytest.mark.parametrize("default", [0, 0.0, False, "0", "false"])
def test_4_a_default_that_is_false_is_a_default(default):
    assert [] == variables.without_value([replace(A, default_value=default)])


# The values of a firing, contract 2.3


def test_2_3_the_first_that_has_a_value_wins_and_the_default_comes_last():
    declared = [replace(A, name=name, default_value="default") for name in ("a", "b", "c", "d")]
    request, payload, top = {"a": "request"}, {"a": "payload", "b": "payload"}, {"a": "top", "b": "top", "c": "top"}

    values = variables.resolve(declared, [request, payload, top])

    assert {"a": "request", "b": "payload", "c": "top", "d": "default"} == values


@pytest.mark.parametrize("nothing", [None, "", "  ", "\n\t"])
def test_2_3_null_and_blank_text_are_missing(nothing):
    kinds = [replace(A, type=kind, default_value=nothing) for kind in ("text", "textarea", "number", "boolean", "date")]

    for variable in [*kinds, replace(SIZE, name="a")]:
        assert "Missing routine variables: a" == refusal(variables.resolve, [variable], [{"a": nothing}])
        assert {} == variables.resolve([replace(variable, required=False)], [{"a": nothing}])
    assert {"a": "x"} == variables.resolve([A], [{"a": nothing}, {"a": "x"}])
    assert {"a": "x"} == variables.resolve([replace(A, default_value="x")], [{"a": nothing}])


def test_2_3_all_missing_ones_are_named_as_declared():
    declared = [B, replace(COUNT, required=False), A, replace(READY, default_value=False)]

    assert "Missing routine variables: b, a" == refusal(variables.resolve, declared, [{"n": 1}, {}])


def test_2_3_what_is_not_declared_is_dropped():
    assert {"a": "1"} == variables.resolve([A], [{"a": "1", "b": "2"}, {"date": "3"}])


@pytest.mark.parametrize(
    ("raw_value", "number"),
    [
        *((7, 7), (7.0, 7), (1.5, 1.5), (-0.0, 0), (0, 0), (1e21, 10**21), (2**53 + 1, 2**53 + 1)),
        *(("7", 7), (" 7\n", 7), ("+7", 7), ("-7", -7), ("007", 7), ("7.", 7), ("7.0", 7), (".5", 0.5), ("-.5e1", -5)),
        *(("1.5", 1.5), ("1e3", 1000), ("1E+3", 1000), ("25e-1", 2.5), ("1e-999999999", 0), ("-0", 0)),
        *(("9007199254740993", 9007199254740993), ("1" * 300, int("1" * 300)), ("0" * 399 + "1", 1)),
    ],
)
def test_2_3_a_number_is_one_or_its_decimal_text(raw_value, number):
    (value,) = variables.resolve([COUNT], [{"n": raw_value}]).values()

    assert (number, type(number)) == (value, type(value))


@pytest.mark.parametrize(
    "raw_value",
    [
        *("x", "1x", "1 2", "--1", "+", ".", "e5", "1e", "1.2.3", "1,5", "0x10", "0b1", "0o7", "1_000", "1n"),
        *(
            "NaN",
            "nan",
            "inf",
            "Infinity",
            "-Infinity",
            "1e999",
            "-1e309",
            "\u0661",
            "\u00bd",
            "\uff11",
            "1" * 309 + "9",
        ),
        *("1" * 401, "1e" + "9" * 390, True, False, [], [1], {}, {"n": 1}, HUGE, -HUGE),
        *(float("inf"), float("-inf"), float("nan")),
    ],
)
def test_2_3_what_is_no_finite_number_is_refused(raw_value):
    assert 'Variable "n" must be a number' == refusal(variables.resolve, [COUNT], [{"n": raw_value}])


def test_a_megabyte_of_digits_is_refused_before_it_is_read():
    assert 'Variable "n" must be a number' == refusal(variables.resolve, [COUNT], [{"n": "1" * 1_000_000}])


@pytest.mark.parametrize(
    ("raw_value", "truth"),
    [
        *((raw_value, True) for raw_value in (True, 1, 1.0, "true", "1", "yes", "y", "on", "TRUE", "Yes", " oN ")),
        *(
            (raw_value, False)
            for raw_value in (False, 0, 0.0, -0.0, "false", "0", "no", "n", "off", "FALSE", "No", " oFf ")
        ),
    ],
)
def test_2_3_a_boolean_is_one_or_a_word_for_it(raw_value, truth):
    assert variables.resolve([READY], [{"ready": raw_value}])["ready"] is truth


@pytest.mark.parametrize(
    "raw_value", ["x", "2", 2, -1, 0.5, "t", "f", "ja", "truefalse", "1.0", [], [True], {}, {"a": 1}]
)
def test_2_3_what_is_no_boolean_is_refused(raw_value):
    assert 'Variable "ready" must be a boolean' == refusal(variables.resolve, [READY], [{"ready": raw_value}])


@pytest.mark.parametrize("raw_value", ["2026-02-29", "2026-2-1", "20260101", 20260101, " 2026-01-01", True, [], {}])
def test_2_3_what_is_no_day_of_the_calendar_is_refused(raw_value):
    assert {"day": "2024-02-29"} == variables.resolve([DAY], [{"day": "2024-02-29"}])
    assert 'Variable "day" must be a date (YYYY-MM-DD)' == refusal(variables.resolve, [DAY], [{"day": raw_value}])


@pytest.mark.parametrize(
    ("raw_value", "option"), [("small", "small"), ("5", "5"), (5, "5"), (5.0, "5"), (True, "true")]
)
def test_2_3_a_choice_is_the_text_of_an_option(raw_value, option):
    assert {"size": option} == variables.resolve([SIZE], [{"size": raw_value}])


@pytest.mark.parametrize("raw_value", ["Small", "small ", "big", 6, False, [], ["small"], {}])
def test_2_3_what_is_no_option_is_refused_with_the_options(raw_value):
    message = 'Variable "size" must match one of: small, 5, true'

    assert message == refusal(variables.resolve, [SIZE], [{"size": raw_value}])


@pytest.mark.parametrize(
    ("raw_value", "text"),
    [(" x ", " x "), (7, "7"), (7.0, "7"), (True, "true"), ([1, None], "[1,null]"), ({"k": "v"}, '{"k":"v"}')],
)
@pytest.mark.parametrize("kind", ["text", "textarea"])
def test_2_3_a_text_takes_anything_as_text(kind, raw_value, text):
    assert {"a": text} == variables.resolve([replace(A, type=kind)], [{"a": raw_value}])


def test_2_3_a_default_is_read_as_any_value_is():
    declared = [replace(COUNT, default_value="12"), replace(READY, default_value="off"), replace(A, default_value=1.0)]

    assert {"n": 12, "ready": False, "a": "1"} == variables.resolve(declared, [])


def test_an_integer_without_bounds_is_refused_whatever_the_type():
    assert "Number must be finite" == refusal(variables.resolve, [A], [{"a": HUGE}])
    assert "Number must be finite" == refusal(variables.resolve, [SIZE], [{"size": HUGE}])


@for_all(
    st.lists(VARIABLES, max_size=5), st.lists(st.dictionaries(NAMES | st.just("a"), VALUES, max_size=4), max_size=3)
)
def test_the_values_of_a_firing_are_of_declared_names_and_none_required_is_left_out(declared, candidates):
    try:
        values = variables.resolve(declared, candidates)
    except RuleViolation as refusal:
        assert any(variable.name in refusal.message for variable in declared) or "finite" in refusal.message  # noqa: PT017
    else:
        assert {variable.name for variable in declared if variable.required} <= values.keys()
        assert values.keys() <= {variable.name for variable in declared}
        assert all(isinstance(value, str | int | float | bool) for value in values.values())


# The stored payload, contract 2.3


@pytest.mark.parametrize(
    ("payload", "resolved", "stored"),
    [
        (None, {}, None),
        ({}, {}, {}),
        ({"variables": {"b": 1}}, {}, {"variables": {"b": 1}}),
        (None, {"a": 1}, {"variables": {"a": 1}}),
        ({}, {"a": 1}, {"variables": {"a": 1}}),
        ({"k": [1]}, {"a": 1}, {"k": [1], "variables": {"a": 1}}),
        ({"variables": {"a": "1", "b": None}}, {"a": 1}, {"variables": {"a": 1, "b": None}}),
        ({"variables": [1]}, {"a": 1}, {"variables": {"a": 1}}),
        ({"variables": None}, {"a": 1}, {"variables": {"a": 1}}),
    ],
)
def test_2_3_the_stored_payload_is_the_given_one_with_the_values(payload, resolved, stored):
    assert stored == variables.merged_payload(payload, resolved)


def test_the_given_payload_is_left_as_it_was():
    payload: Json = {"variables": {"a": "1"}}

    variables.merged_payload(payload, {"a": 2})

    assert {"variables": {"a": "1"}} == payload


# The built-in ones, contract 2.2


@pytest.mark.parametrize(
    ("now", "date", "timestamp"),
    [
        (datetime(2026, 11, 22, 1, 5, 39, tzinfo=UTC), "2026-11-22", "November 22, 2026 at 1:05 AM UTC"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02", "January 2, 2026 at 12:00 AM UTC"),
        (datetime(2026, 5, 31, 11, 59, tzinfo=UTC), "2026-05-31", "May 31, 2026 at 11:59 AM UTC"),
        (datetime(2026, 7, 4, 12, 0, tzinfo=UTC), "2026-07-04", "July 4, 2026 at 12:00 PM UTC"),
        (datetime(2026, 12, 31, 23, 9, tzinfo=UTC), "2026-12-31", "December 31, 2026 at 11:09 PM UTC"),
        (
            datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))),
            "2026-02-28",
            "February 28, 2026 at 11:30 PM UTC",
        ),
    ],
)
def test_2_2_date_and_timestamp_are_those_of_the_firing_in_utc(now, date, timestamp):
    assert {"date": date, "timestamp": timestamp} == variables.built_in_values(now)


def test_there_is_a_value_for_each_built_in_name():
    assert {*variables.BUILT_IN} == variables.built_in_values(datetime(2026, 1, 1, tzinfo=UTC)).keys()
