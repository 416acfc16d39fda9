import hashlib
import hmac

import pytest

from application.request_bodies.routines import RoutinePatch, VariableDraft
from application.request_bodies.triggers import TriggerPatch, WebhookDraft
from application.use_cases import routines, triggers, webhooks
from application.use_cases.webhooks import WebhookCall
from domain.errors import Conflict, NotFound, Unauthenticated
from domain.events import IssueOpened, RunFired
from domain.webhooks.verification import WebhookRequest
from tests.application.use_cases.installation import HOUR


def bearer(minted):
    return WebhookRequest(headers=(("authorization", f"Bearer {minted.secret}"),), body=b"")


def signed(here, minted, body=b"{}"):
    stamp = str(int(here.now.timestamp()))
    mac = hmac.new(minted.secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = (("x-paperclip-timestamp", stamp), ("x-paperclip-signature", mac))
    return WebhookRequest(headers=headers, body=body)


def fire(here, minted, request, payload=None, key=None):
    """The id of the run that a call of the webhook makes, or made before."""

    def decide(work):
        webhook = webhooks.authenticate(work, minted.public_id, request)
        webhooks.must_be_active(work, webhook)
        return webhooks.fire(work, webhook, WebhookCall(payload=payload, idempotency_key=key))

    return here.carry_out(decide)[0].stream_id


@pytest.fixture
def routine(here):
    return here.routine(concurrency_policy="always_enqueue")


@pytest.fixture
def minted(here, routine):
    return here.ask(triggers.create, routine, WebhookDraft()).minted


def test_whoever_knows_the_secret_fires_the_routine_in_the_webhooks_name(here, minted):
    fire(here, minted, bearer(minted), payload={"a": 1})

    [fired] = here.events(RunFired)
    assert ("webhook", minted.trigger_id, {"a": 1}) == (fired.source, fired.trigger_id, fired.payload)
    assert f"trigger:{minted.trigger_id}" == list(here.store.history())[-1].actor


@pytest.mark.parametrize("headers", [(), (("authorization", "Bearer nonsense"),)])
def test_whoever_does_not_is_unknown(here, minted, headers):
    request = WebhookRequest(headers=headers, body=b"")

    with pytest.raises(Unauthenticated):
        here.carry_out(webhooks.authenticate, minted.public_id, request)


def test_no_webhook_answers_at_an_address_that_nobody_has(here, minted):
    with pytest.raises(NotFound):
        here.carry_out(webhooks.authenticate, "nobodys", bearer(minted))


def test_a_signed_call_counts_once(here, routine):
    minted = here.ask(triggers.create, routine, WebhookDraft(signing_mode="hmac_sha256")).minted
    request = signed(here, minted)
    fire(here, minted, request)

    with pytest.raises(Conflict, match="Webhook replay detected"):
        fire(here, minted, request)
    here.passes(HOUR)
    with pytest.raises(Unauthenticated):
        fire(here, minted, request)
    fire(here, minted, signed(here, minted))

    assert 2 == len(here.events(RunFired))


def test_an_idempotency_key_gives_the_same_run_again(here, minted):
    first, again, other = (fire(here, minted, bearer(minted), key=key) for key in ("a", "a", "b"))

    assert first == again != other


def test_a_rotated_secret_fires_as_long_as_it_overlaps(here, minted):
    new = here.ask(triggers.rotate_secret, minted.trigger_id, 60).minted

    fire(here, minted, bearer(minted))
    fire(here, minted, bearer(new))
    here.passes(HOUR)
    with pytest.raises(Unauthenticated):
        fire(here, minted, bearer(minted))


def test_a_webhook_that_is_disabled_or_whose_routine_is_paused_does_not_fire(here, routine, minted):
    here.ask(triggers.update, minted.trigger_id, TriggerPatch(enabled=False))
    with pytest.raises(Conflict):
        fire(here, minted, bearer(minted))
    here.ask(triggers.update, minted.trigger_id, TriggerPatch(enabled=True))
    here.ask(routines.update, routine, RoutinePatch(status="paused"))
    with pytest.raises(Conflict):
        fire(here, minted, bearer(minted))


def test_variables_come_with_the_payload(here):
    routine = here.routine(title="For {{who}}", variables=(VariableDraft(name="who"),))
    minted = here.ask(triggers.create, routine, WebhookDraft()).minted

    fire(here, minted, bearer(minted), payload={"variables": {"who": "Zo"}})

    assert ["For Zo"] == [event.details.title for event in here.events(IssueOpened)]
