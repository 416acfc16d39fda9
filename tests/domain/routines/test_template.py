"""Placeholders and what is put into them: contract 2.2, and paths into the payload."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.errors import RuleViolation
from domain.routines import template, variables
from domain.values import Json
from tests.domain.routines.templates import JSON_VALUES, NAMES, TEMPLATES, VALUES

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
    assert names == template.names_in(text)


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
    assert () == template.names_in(text)
    assert text == template.interpolate(text, {"a": "!", "b": "!", "a_b": "!", "x": "!"})


def test_names_come_in_order_of_first_appearance_over_all_texts():
    assert ("b", "a", "c") == template.names_in("{{b}}{{a}}", None, "{{a}}{{c}}{{b}}")


# Into the text, contract 2.2


def test_2_2_each_placeholder_is_replaced_by_the_text_of_its_value():
    values = {"a": 7.0, "b_c": True, "d": {"k": [1, "\u00e9"]}, "e": ""}

    text = template.interpolate(r"{{a}} {{ b_c }} {{b\_c}} {{d}} [{{e}}] {{{a}}}", values)

    assert '7 true true {"k":[1,"\u00e9"]} [] {7}' == text


def test_2_2_a_placeholder_without_value_stays_as_it_is_written():
    assert r"{{ a }} {{b\_c}} x" == template.interpolate(r"{{ a }} {{b\_c}} {{d}}", {"d": "x", "a": None})


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
    assert text == template.text_of(value)


@for_all(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_is_that_number(number):
    text = template.text_of(number)

    assert number == float(text)
    assert not text.endswith(".0")


@for_all(st.text(st.characters(exclude_characters="{")), st.dictionaries(NAMES, VALUES, max_size=3))
def test_a_text_without_placeholders_is_left_alone(text, values):
    assert text == template.interpolate(text, {name: repr(value) for name, value in values.items()})


@for_all(TEMPLATES, TEMPLATES)
def test_a_value_is_never_read_as_a_template(before, value):
    text = template.interpolate(f"[{before}|{{{{zzzzzzz}}}}]", {"zzzzzzz": value, "date": "!"})

    assert f"[{template.interpolate(before, {'date': '!'})}|{value}]" == text


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

    assert f"<{injection}> {injection}" == template.interpolate("<{{a}}> {{ a }}", values)


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

    text = template.interpolate("{{a}}{{b}}" * 100_000, values)

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
    assert text == template.interpolate(text, {"a": "!"})


def test_the_search_never_goes_back_over_what_it_took():
    """Possessive repeats only, so that no text takes more than linear time."""
    repeats = template.PLACEHOLDER.pattern.replace(r"\{", "").replace(r"\}", "").replace("?_", "_")

    assert repeats.count("*") + repeats.count("{") == repeats.count("*+") + repeats.count("}+") == 3


@for_all(
    st.text(alphabet='ab{} \\_"\n\x01é\U0001f600', max_size=60),
    st.dictionaries(st.sampled_from("ab"), st.text(max_size=20)),
)
def test_what_values_add_is_known_before_it_is_made(text, values):
    text_with_values = template.interpolate(text, values)

    assert template.stored_size(text) + template.added_size(text, values) == template.stored_size(text_with_values)


def test_what_would_be_a_hundred_gigabytes_is_counted_and_not_made():
    assert 100_000 * (1_000_000 - 5) == template.added_size("{{a}}" * 100_000, {"a": "x" * 1_000_000})


# Paths into the payload, our addition

PAYLOAD: Json = {
    "repository": {"full_name": "acme/x", "stars": 7.0, "private": False, "owner": None, "topics": ["a", 1]},
    "commits": [{"message": "first"}, {"message": "second"}],
    "a-b": {"c": "dashed"},
    "7": "seven",
}


def fill_text(text: str, payload: Json | None = PAYLOAD) -> str:
    return template.interpolate(text, template.payload_values(payload, template.paths_in(text)))


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
    assert f"[{text}]" == fill_text(f"[{{{{ {path} }}}}]")


@pytest.mark.parametrize("payload", [None, {}, {"repository": "a text"}])
def test_without_a_payload_each_path_is_empty_text(payload):
    assert "[]" == fill_text("[{{payload.repository.full_name}}]", payload)


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
    assert text == fill_text(text)
    assert () == template.names_in(text)


def test_a_path_is_no_variable_and_payload_alone_is_one():
    assert ("payload",) == template.names_in("{{payload.a}} {{payload}}")


def test_what_stands_at_a_path_is_never_read_as_a_template():
    assert "{{payload.b}} {{date}}" == fill_text("{{payload.a}}", {"a": "{{payload.b}} {{date}}", "b": "!"})


def test_what_paths_name_is_bounded_before_it_is_all_there():
    large: Json = {"a": ["x" * 1_000]}

    with pytest.raises(RuleViolation, match=r"What payload\.a\.0 and|What payload\.a and the paths before it name"):
        template.payload_values(large, ("payload.a",), most=100)


@for_all(TEMPLATES, st.dictionaries(NAMES, JSON_VALUES, max_size=3))
def test_the_size_that_paths_add_is_known_before_they_are_filled_in(text, payload):
    text += "".join(f"{{{{payload.{name}}}}}" for name in payload)
    values = template.payload_values(payload, template.paths_in(text))
    added = template.added_size(text, values)

    assert added == template.stored_size(template.interpolate(text, values)) - template.stored_size(text)
