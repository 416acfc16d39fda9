"""What is read of a JSON body that is not quite one, and what is not."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.http import json_body


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (rb'"\ud800"', "\ufffd"),
        (rb'"\uDC00 and \uD800"', "\ufffd and \ufffd"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud800\ud83d\ude00\udc00"', "\ufffd\U0001f600\ufffd"),
        (rb'"\ud83d\u0041"', "\ufffdA"),
        (rb'"\\ud800 \ud800"', "\\ud800 \ufffd"),
        (rb'"\\\ud800\\"', "\\\ufffd\\"),
        (rb'{"\udfff": "\""}', {"\ufffd": '"'}),
    ],
)
def test_a_byte_order_mark_is_skipped_and_half_a_surrogate_pair_becomes_the_replacement_character(body, value):
    assert value == json_body.read(body)


def test_of_random_escapes_the_same_is_read_as_by_python():
    seeded = random.Random(7)
    parts = [rb"\ud83d", rb"\ude00", rb"\\", rb"\"", b"u", b"d83d", rb"\u00e9", rb"\uD800", rb"\uDFFF", "é".encode()]
    for _ in range(2_000):
        body = b'"' + b"".join(seeded.choices(parts, k=seeded.randrange(8))) + b'"'
        with_halves = json.loads(body)
        whole = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in with_halves)
        assert whole == json_body.read(body), body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'"',
        rb'"\ud8"',
        rb'"\ud800',
        b'"\xed\xa0\x80"',
        b"\xff\xfe{\x00}\x00",
        b'"\xff\xff \\ud800"',
        b"\xef\xbb\xbf",
    ],
)
def test_what_is_no_json_in_utf_8_is_malformed(body):
    with pytest.raises(json_body.Malformed, match="Invalid JSON body"):
        json_body.read(body)


def test_there_are_so_many_half_pairs_and_no_more():
    half = rb"\ud800"

    assert "\ufffd" * json_body.MOST_SURROGATES == json_body.read(b'"%s"' % (half * json_body.MOST_SURROGATES))
    with pytest.raises(json_body.Malformed):
        json_body.read(b'"%s"' % (half * (json_body.MOST_SURROGATES + 1)))


TEXTS = st.text() | st.sampled_from(['"', "\\", "é", "\ud83d\ude00", "a:b", '{"a":1,"a":2}'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_has_each_name_once_is_read_as_python_reads_it(value, is_ascii, indent):
    body = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode(errors="surrogatepass")
    try:
        last = json_body.read(body, takes_last=True)
    except json_body.Unsound:
        return

    assert last == json_body.read(body)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a": 1, "a": 1}', "a"),
        (b'[[], {"b": {"c": [], "": {}, "": 0}}]', ""),
        (rb'{"\u0061": 1, "a": 2}', "a"),
        (rb'{"\ud800": 1, "\udfff": 2}', "\ufffd"),
        (b'{"n": %s, "d": 1.5e3, "n": 1}' % (b"9" * 300), "n"),
    ],
)
def test_a_name_that_an_object_has_twice_is_refused_unless_the_last_one_is_to_count(body, name):
    json_body.read(body, takes_last=True)

    with pytest.raises(json_body.Unsound, match=f"'{name}' is given again") as refusal:
        json_body.read(body)
    assert not isinstance(refusal.value, json_body.Malformed)


@pytest.mark.parametrize("depth", [100, 900, *range(980, 1_000), 2_000])
def test_a_deep_value_that_another_one_of_the_same_name_hides_is_refused_as_well(depth):
    with pytest.raises(json_body.Unsound):
        json_body.read(b'{"a":' + b"[" * depth + b"]" * depth + b',"a":1}')
    with pytest.raises(json_body.Unsound):
        json_body.read(b'{"b":{"c":1,"c":2},"a":' + b"[" * depth + b"]" * depth + b',"a":1}')
