"""What is read of a call of a webhook, without a server: the edges of its bounds, and what is no handshake."""

import gzip
import tracemalloc

import msgspec
import pytest

from domain.bounds.limits import MIB
from domain.webhooks.verification import WebhookRequest
from web.http import gzip_body, json_body
from web.http.validation import Invalid
from web.paperclip.webhook_requests import MOST_FIELDS, Handshake, handshake_of, parse_call, size_of

FORM, GZIP = ("content-type", "application/x-www-form-urlencoded"), ("content-encoding", "GZIP")
PING = ("x-github-event", "ping")


def webhook_request(body, *headers):
    return WebhookRequest(headers=headers, body=body)


def test_the_payload_of_a_form_is_among_a_hundred_fields_at_most():
    fields = [b"payload=%7B%22a%22%3A1%7D", *[b"b=2"] * (MOST_FIELDS - 1)]

    assert {"a": 1} == parse_call(webhook_request(b"&".join(fields), FORM), 1_000).payload
    assert parse_call(webhook_request(b"&".join([*fields, b"b=2"]), FORM), 1_000).payload is None


@pytest.mark.parametrize("header", [FORM, ("content-type", "text/plain")])
def test_json_that_is_not_accepted_is_refused_also_where_it_is_not_announced(header):
    """What is no JSON is no payload there, and no error."""
    begin = b"payload=" if header == FORM else b""

    with pytest.raises(Invalid):
        parse_call(webhook_request(begin + b'{"a": "\\u0000"}', header), 1_000)
    assert parse_call(webhook_request(begin + b'{"a": ', header), 1_000).payload is None


def test_a_packed_body_may_be_as_large_as_the_bound_when_it_is_unpacked_and_counts_as_such():
    whole = b'{"a":"%s"}' % (b"b" * 992)
    packed = webhook_request(gzip.compress(whole), GZIP)

    assert {"a": "b" * 992} == parse_call(packed, len(whole)).payload
    assert parse_call(packed, len(whole)).digest == parse_call(webhook_request(whole), 0).digest
    assert len(whole) == size_of(packed) > len(packed.body)
    assert {} == parse_call(webhook_request(b"", GZIP), 0).payload


def test_a_packed_body_that_announces_no_bytes_is_unpacked_to_no_more():
    forged = gzip.compress(bytes(4 * MIB))[:-4] + bytes(4)
    tracemalloc.start()

    with pytest.raises(gzip_body.Broken):
        gzip_body.unpack(forged)

    assert tracemalloc.get_traced_memory()[1] < MIB
    tracemalloc.stop()


def test_only_a_small_body_and_a_ping_alone_are_a_handshake():
    challenge = {"type": "url_verification", "challenge": "c"}
    large = msgspec.json.encode(challenge | {"rest": "x" * json_body.SMALL})

    assert Handshake(challenge="c") == handshake_of(webhook_request(msgspec.json.encode(challenge)))
    assert handshake_of(webhook_request(large)) is None
    assert Handshake(message="pong") == handshake_of(webhook_request(b"{}", PING))
    assert handshake_of(webhook_request(b"{}", PING, ("x-github-event", "push"))) is None
