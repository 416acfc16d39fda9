"""What is read of a JSON body that is not quite one, and what is not."""

import json
import random

import pytest

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
