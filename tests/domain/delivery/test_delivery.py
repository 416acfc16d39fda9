"""Deliveries: what becomes of attempts, when the next is made, who is told what, and how it is signed."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from domain.delivery import delivery, endpoint, retry
from domain.delivery.delivery import Answer
from domain.errors import Conflict, ImpossibleHistory, InvalidField, NotFound
from domain.events import (
    DeliveryDead,
    DeliveryDelivered,
    DeliveryFailed,
    DeliveryRequested,
    EndpointCreated,
    EndpointDeleted,
    EndpointDisabled,
    EndpointSecretRotated,
    EndpointTested,
    EndpointUpdated,
)
from domain.values import EndpointSettings
from domain.webhooks import signatures, signing_keys, verification
from domain.webhooks.secret import Secret
from tests.given import given

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
ID = UUID(int=7)
SETTINGS = EndpointSettings(url="https://example.com/in", events=("run.*",))
CREATED = EndpointCreated(settings=SETTINGS, secret_id=UUID(int=1))
ASKED_AGAIN = DeliveryRequested(kind="webhook", target_id=UUID(int=2), position=5)


def delivery_failed(attempt):
    return DeliveryFailed(attempt=attempt, reason="x", next_at=NOW)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_2xx_has_arrived(status):
    assert delivery.record_attempt(ID, 0, Answer(status=status, took_ms=5), NOW) == [
        DeliveryDelivered(attempt=1, status=status, took_ms=5)
    ]


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 400, 404, 429, 500, 503, None])
def test_anything_else_is_tried_again(status):
    answer = Answer(status=status, reason=None if status else "No answer", took_ms=7)
    [attempt] = delivery.record_attempt(ID, 0, answer, NOW)

    assert isinstance(attempt, DeliveryFailed)
    assert (attempt.status, attempt.took_ms) == (status, 7)
    assert attempt.reason == (f"The receiver answered {status}" if status else "No answer")
    assert NOW + timedelta(seconds=5) <= attempt.next_at <= NOW + timedelta(seconds=6)


def test_410_is_the_end():
    assert delivery.record_attempt(ID, 0, Answer(status=410, took_ms=7), NOW) == [
        DeliveryDead(attempt=1, reason="The receiver answered 410", status=410, took_ms=7)
    ]


def test_the_last_attempt_is_the_end_and_whoever_asks_for_it_again_begins_anew():
    last = given(delivery.evolve, delivery_failed(retry.MOST_ATTEMPTS - 1))
    [dead] = delivery.record_attempt(ID, last.attempts, Answer(status=500), NOW)

    assert isinstance(dead, DeliveryDead)
    anew = given(delivery.evolve, delivery_failed(1), dead, ASKED_AGAIN)
    assert anew == delivery.Delivery(requests=1)


def test_nothing_follows_the_end_unless_somebody_asks():
    with pytest.raises(ImpossibleHistory):
        given(delivery.evolve, DeliveryDelivered(attempt=1, status=200), delivery_failed(2))


@pytest.mark.parametrize(
    ("patterns", "name", "is_wanted"),
    [
        (("*",), "run.fired", True),
        (("*",), "delivery.failed", False),
        (("*",), "key.issued", False),
        (("run.*",), "run.fired", True),
        (("run.*",), "routine.created", False),
        (("run.fired", "issue.*"), "issue.moved", True),
        (("run.fired",), "run.completed", False),
    ],
)
def test_an_endpoint_is_told_what_it_asked_for_and_never_of_deliveries_and_keys(patterns, name, is_wanted):
    settings = EndpointSettings(url="https://x", events=patterns)

    assert endpoint.wants(settings, name) is is_wanted
    assert not endpoint.wants(EndpointSettings(url="https://x", events=patterns, enabled=False), name)


@pytest.mark.parametrize("pattern", ["run", "run.nothing", "nothing.*", "delivery.*", "r*", "run.fired ", "*.*", ""])
def test_events_that_there_are_not_cannot_be_asked_for(pattern):
    with pytest.raises(InvalidField) as refusal:
        endpoint.check_patterns(EndpointSettings(url="https://x", events=("run.fired", pattern)))

    assert refusal.value.field == "events.1"


def test_an_endpoint_that_is_gone_is_disabled_once_and_may_be_enabled_again():
    current = given(endpoint.evolve, CREATED)

    assert endpoint.disable(current, "gone") == [EndpointDisabled(reason="gone")]
    disabled = given(endpoint.evolve, CREATED, EndpointDisabled(reason="gone"))
    assert endpoint.disable(disabled, "gone") == []
    assert endpoint.update(disabled, SETTINGS) == [EndpointUpdated(settings=SETTINGS)]
    with pytest.raises(Conflict):
        endpoint.test(disabled)
    assert endpoint.test(current) == [EndpointTested()]


def test_a_deleted_endpoint_is_not_there_and_is_not_changed_any_more():
    with pytest.raises(NotFound):
        endpoint.must_be_there(given(endpoint.evolve, CREATED, EndpointDeleted()))
    with pytest.raises(ImpossibleHistory):
        given(endpoint.evolve, CREATED, EndpointDeleted(), EndpointUpdated(settings=SETTINGS))


def test_a_group_of_events_is_named_by_its_whole_word():
    assert endpoint.matches("run.*", "run.fired")
    assert not endpoint.matches("run.*", "runner.fired")


def test_while_a_rotation_overlaps_both_secrets_sign():
    rotated = given(endpoint.evolve, CREATED, EndpointSecretRotated(secret_id=UUID(int=2), old_until=NOW))

    old_ids = signing_keys.signing_secret_ids(rotated.signing, NOW - timedelta(seconds=1))
    assert old_ids == [UUID(int=2), UUID(int=1)]
    assert signing_keys.signing_secret_ids(rotated.signing, NOW) == [UUID(int=2)]


def test_what_we_send_is_what_the_standard_webhooks_library_takes_for_good():
    old, new = (verification.mint("standard_webhooks") for _ in range(2))
    body, now = b'{"type":"run.fired"}', datetime.now(UTC)
    headers = signatures.standard_headers(ID, [Secret(new.encode()), Secret(old.encode())], body, now)

    for secret in (old, new):
        assert Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()}) == {
            "type": "run.fired"
        }
    assert headers["webhook-id"] == f"msg_{ID.hex}"


def test_a_callbacks_secret_of_any_form_signs_by_the_standard_too():
    body, now = b"{}", datetime.now(UTC)
    headers = signatures.standard_headers(ID, [Secret(b"any text")], body, now)

    Webhook(base64.b64encode(b"any text").decode()).verify(body, {k.lower(): v for k, v in headers.items()})


def test_a_callback_is_signed_as_the_contract_says():
    headers = signatures.callback_headers(9876, Secret(b"shh"), b'{"a":1}', NOW)

    timestamp = headers["X-Mise-Timestamp"]
    assert timestamp == str(int(NOW.timestamp()))
    assert headers["X-Mise-Trajectory-Id"] == "9876"
    text = f"{timestamp}.".encode() + b'{"a":1}'
    assert headers["X-Mise-Signature"] == hmac.new(b"shh", text, hashlib.sha256).hexdigest()


def test_without_a_secret_nothing_is_signed():
    assert "X-Mise-Signature" not in signatures.callback_headers(1, None, b"", NOW)
    assert "webhook-signature" not in signatures.standard_headers(ID, [], b"", NOW)
