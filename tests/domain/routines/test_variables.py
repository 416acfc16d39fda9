"""Template variables: contract 2.1 (declaring), 2.2 (interpolation), 2.3 (values of a firing), 9 D14."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.errors import RuleViolation
from domain.routines import variables
from domain.values import Json, Variable

A = Variable(name="a")
B = Variable(name="b")
COUNT = Variable(name="n", type="number")
READY = Variable(name="ready", type="boolean")
DAY = Variable(name="day", type="date")
SIZE = Variable(name="size", type="select", options=("small", "5", "true"))
HUGE = 10**400  # an integer that JSON can spell and no float can hold

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,5}", fullmatch=True)
TEMPLATES = st.lists(
    st.text("{} a_\\1\n", max_size=8) | NAMES.map("{{{{{}}}}}".format) | NAMES.map("{{{{ {} }}}}".format), max_size=6
).map("".join)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEMPLATES | st.lists(st.integers(), max_size=2)
JSON_VALUES = VALUES.filter(lambda value: not isinstance(value, float) or math.isfinite(value))
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


# Placeholders, contract 2.2


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{a}}", ("a",)),
        ("{{ a }} {{   b}} {{c   }}", ("a", "b", "c")),
        ("{{b}} {{a}} {{b}}", ("b", "a")),
        ("{{A1_x}}", ("A1_x",)),
        (r"{{a\_b}} {{a_b}} {{a\_}}", ("a_b", "a_")),
        ("{{date}} {{timestamp}}", ("date", "timestamp")),
        ("{{{a}}}", ("a",)),
        ("{{{{a}}}}", ("a",)),
        ("{{a{{b}}}}", ("b",)),
        ("{{" + "x" * 200 + "}}", ("x" * 200,)),
    ],
)
def test_2_2_a_placeholder_is_two_braces_around_a_name(text, names):
    assert names == variables.names_in(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "{a}", "{{}}", "{{ }}", "{{a}", "{a}}", "{ {a} }", "{{a }  }", "{{1x}}", "{{_a}}", "{{a.b}}"),
        *("{{a-b}}", "{{a b}}", "{{a|b}}", "{{a()}}", "{{$a}}", "{{\ta}}", "{{a\n}}", "{{\u00a0a}}", r"{{a\b}}"),
        *(r"{{\_a}}", r"{{a\\_b}}", "{{\u00e9}}", "{{a\u00e9}}", "{{a\u0661}}", "{{\uff41}}", "{{a\u200b}}"),
        "{{" + "x" * 201 + "}}",
    ],
)
def test_2_2_anything_else_is_text(text):
    assert () == variables.names_in(text)
    assert text == variables.interpolate(text, {"a": "!", "b": "!", "a_b": "!", "x": "!"})


def test_names_come_in_order_of_first_appearance_over_all_texts():
    assert ("b", "a", "c") == variables.names_in("{{b}}{{a}}", None, "{{a}}{{c}}{{b}}")


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
    assert {*variables.names_in(title, description), *(variable.name for variable in declared)} - {
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


# Into the text, contract 2.2


def test_2_2_each_placeholder_is_replaced_by_the_text_of_its_value():
    values = {"a": 7.0, "b_c": True, "d": {"k": [1, "\u00e9"]}, "e": ""}

    text = variables.interpolate(r"{{a}} {{ b_c }} {{b\_c}} {{d}} [{{e}}] {{{a}}}", values)

    assert '7 true true {"k":[1,"\u00e9"]} [] {7}' == text


def test_2_2_a_placeholder_without_value_stays_as_it_is_written():
    assert r"{{ a }} {{b\_c}} x" == variables.interpolate(r"{{ a }} {{b\_c}} {{d}}", {"d": "x", "a": None})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(("x", "x"), ("", ""), (True, "true"), (False, "false"), (7, "7"), (-7, "-7"), (7.0, "7"), (1.5, "1.5")),
        *((0, "0"), (-0.0, "0"), (0.1 + 0.2, "0.30000000000000004"), (100, "100"), (1e16, "10000000000000000")),
        *((1e20, "100000000000000000000"), (1e21, "1e+21"), (10**21, "1e+21"), (-1.5e300, "-1.5e+300")),
        *((123456789012345680000.0, "123456789012345680000"), (2**53 + 1, "9007199254740993")),
        *((1e-6, "0.000001"), (1.5e-5, "0.000015"), (1e-7, "1e-7"), (-1.25e-10, "-1.25e-10"), (5e-324, "5e-324")),
        *((None, "null"), ([], "[]"), ({}, "{}"), ([1, "a", None, True], '[1,"a",null,true]')),
        ({"b": {"a": '"\\\n'}}, '{"b":{"a":"\\"\\\\\\n"}}'),
    ],
)
def test_2_2_a_value_is_written_as_javascript_writes_it(value, text):
    assert text == variables.text_of(value)


@for_all(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_is_that_number(number):
    text = variables.text_of(number)

    assert number == float(text)
    assert not text.endswith(".0")


@for_all(st.text(st.characters(exclude_characters="{")), st.dictionaries(NAMES, VALUES, max_size=3))
def test_a_text_without_placeholders_is_left_alone(text, values):
    assert text == variables.interpolate(text, {name: repr(value) for name, value in values.items()})


@for_all(TEMPLATES, TEMPLATES)
def test_a_value_is_never_read_as_a_template(before, value):
    text = variables.interpolate(f"[{before}|{{{{zzzzzzz}}}}]", {"zzzzzzz": value, "date": "!"})

    assert f"[{variables.interpolate(before, {'date': '!'})}|{value}]" == text


INJECTIONS = (
    *(
        "{{a}}",
        "{{b}}",
        "{{date}}",
        "{{ timestamp }}",
        "{{{{a}}}}",
        "{{a}}{{a}}",
        "{{",
        "}}",
        "{{b",
        "b}}",
        "}}{{b}}{{",
    ),
    *("{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{%if 1%}x{%endif%}", "{{= 7*7 }}", "@(7*7)", "*{7*7}", "[[7*7]]"),
    *("{{constructor.constructor('x')()}}", "{{''.__class__.__mro__}}", "{{config}}", "{{self}}", "{{request.args}}"),
    *("{0}", "{a}", "{a.__class__}", "{a!r}", "{{a!r}}", "%s", "%(a)s", "%n", "$a", "${a}", "$$", "$&", "$1", "$`"),
    *(r"\1", r"\g<0>", r"\g<a>", r"\0", r"{{b\_c}}", "\\", "`id`", "$(id)", "; rm -rf ~", "' OR 1=1 --"),
    *("<script>alert(1)</script>", "javascript:alert(1)", "{{b|safe}}", "{{#b}}x{{/b}}", "{{>b}}", "{{{b}}}", "{{&b}}"),
)


def test_there_are_fifty_injections_at_least():
    assert len(set(INJECTIONS)) >= 50


@pytest.mark.parametrize("injection", INJECTIONS)
def test_an_injection_is_rendered_as_it_is_written(injection):
    values = variables.built_in_values(datetime(2026, 1, 1, tzinfo=UTC)) | {"b": "!", "b_c": "!", "a": injection}

    assert f"<{injection}> {injection}" == variables.interpolate("<{{a}}> {{ a }}", values)


# Limits


class Counted(Mapping):
    """Values that count how often they are asked for."""

    def __init__(self, values):
        self.values_, self.calls = values, 0

    def __getitem__(self, name):
        self.calls += 1
        return self.values_[name]

    def __len__(self):
        return len(self.values_)

    def __iter__(self):
        return iter(self.values_)


def test_each_value_is_asked_for_once_however_long_the_template():
    values = Counted({"a": "12345", "b": "12345"})

    text = variables.interpolate("{{a}}{{b}}" * 100_000, values)

    assert ("12345" * 200_000, 2) == (text, values.calls)


@pytest.mark.parametrize(
    "text",
    [
        *("{" * 1_000_000, "{{a" * 333_333, "{{" + " " * 999_998, "{{a" + " " * 999_997, "{{ " * 333_333),
        *("{{" + "a" * 999_998, "{{a" + "\\_" * 499_998, "{{" + "a " * 499_999, "{{a}" * 250_000, "}" * 1_000_000),
    ],
    ids=range(10),
)
def test_a_megabyte_that_never_becomes_a_placeholder_is_gone_through_and_left_alone(text):
    assert text == variables.interpolate(text, {"a": "!"})


def test_the_search_never_goes_back_over_what_it_took():
    """Possessive repeats only, so that no text takes more than linear time."""
    repeats = variables.PLACEHOLDER.pattern.replace(r"\{", "").replace(r"\}", "").replace("?_", "_")

    assert repeats.count("*") + repeats.count("{") == repeats.count("*+") + repeats.count("}+") == 3


@for_all(
    st.text(alphabet='ab{} \\_"\n\x01é\U0001f600', max_size=60),
    st.dictionaries(st.sampled_from("ab"), st.text(max_size=20)),
)
def test_what_values_add_is_known_before_it_is_made(text, values):
    text_with_values = variables.interpolate(text, values)

    assert variables.stored_size(text) + variables.added_size(text, values) == variables.stored_size(text_with_values)


def test_what_would_be_a_hundred_gigabytes_is_counted_and_not_made():
    assert 100_000 * (1_000_000 - 5) == variables.added_size("{{a}}" * 100_000, {"a": "x" * 1_000_000})


# Paths into the payload, our addition

PAYLOAD: Json = {
    "repository": {"full_name": "acme/x", "stars": 7.0, "private": False, "owner": None, "topics": ["a", 1]},
    "commits": [{"message": "first"}, {"message": "second"}],
    "a-b": {"c": "dashed"},
    "7": "seven",
}


def filled(text: str, payload: Json | None = PAYLOAD) -> str:
    return variables.interpolate(text, variables.payload_values(payload, variables.paths_in(text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("payload.repository.full_name", "acme/x"),
        (r"payload.repository.full\_name", "acme/x"),
        ("payload.repository.stars", "7"),
        ("payload.repository.private", "false"),
        ("payload.commits.1.message", "second"),
        ("payload.a-b.c", "dashed"),
        ("payload.7", "seven"),
        ("payload.repository.topics", '["a",1]'),
        ("payload.commits.0", '{"message":"first"}'),
        *((path, "") for path in ("payload.repository.owner", "payload.gone", "payload.gone.too", "payload.commits.2")),
        *((path, "") for path in ("payload.commits.message", "payload.repository.full_name.x", "payload.commits.-1")),
    ],
)
def test_a_path_gives_what_the_payload_has_there_and_nothing_where_it_leads_nowhere(path, text):
    assert f"[{text}]" == filled(f"[{{{{ {path} }}}}]")


@pytest.mark.parametrize("payload", [None, {}, {"repository": "a text"}])
def test_without_a_payload_each_path_is_empty_text(payload):
    assert "[]" == filled("[{{payload.repository.full_name}}]", payload)


@pytest.mark.parametrize(
    "text",
    [
        "{{a.b}}",
        "{{payload.}}",
        "{{payload..a}}",
        "{{Payload.a}}",
        "{{payload.a b}}",
        "{{payload.a[0]}}",
        "{{.payload.a}}",
    ],
)
def test_2_2_no_other_path_is_a_placeholder(text):
    assert text == filled(text)
    assert () == variables.names_in(text)


def test_a_path_is_no_variable_and_payload_alone_is_one():
    assert ("payload",) == variables.names_in("{{payload.a}} {{payload}}")


def test_what_stands_at_a_path_is_never_read_as_a_template():
    assert "{{payload.b}} {{date}}" == filled("{{payload.a}}", {"a": "{{payload.b}} {{date}}", "b": "!"})


def test_what_paths_name_is_bounded_before_it_is_all_there():
    large: Json = {"a": ["x" * 1_000]}

    with pytest.raises(RuleViolation, match=r"What payload\.a\.0 and|What payload\.a and the paths before it name"):
        variables.payload_values(large, ("payload.a",), most=100)


@for_all(TEMPLATES, st.dictionaries(NAMES, JSON_VALUES, max_size=3))
def test_the_size_that_paths_add_is_known_before_they_are_filled_in(text, payload):
    text += "".join(f"{{{{payload.{name}}}}}" for name in payload)
    values = variables.payload_values(payload, variables.paths_in(text))
    added = variables.added_size(text, values)

    assert added == variables.stored_size(variables.interpolate(text, values)) - variables.stored_size(text)
