import hashlib
import hmac
from datetime import timedelta

import pytest
from standardwebhooks import Webhook

from application.request_bodies.routines import RoutinePatch, VariableDraft
from application.request_bodies.triggers import TriggerPatch, WebhookDraft
from application.use_cases import routines, triggers, webhooks
from application.use_cases.webhooks import WebhookCall
from domain.errors import Conflict, NotFound, Unauthenticated
from domain.events import IssueOpened, RunFired
from domain.webhooks.verification import WebhookRequest
from tests.application.use_cases.installation import HOUR

DIGEST = "0" * 64


def bearer(mint_webhook):
    return WebhookRequest(headers=(("authorization", f"Bearer {mint_webhook.secret}"),), body=b"")


def sign_request(app, mint_webhook, body=b"{}"):
    stamp = str(int(app.now.timestamp()))
    mac = hmac.new(mint_webhook.secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = (("x-paperclip-timestamp", stamp), ("x-paperclip-signature", mac))
    return WebhookRequest(headers=headers, body=body)


def fire(app, mint_webhook, request, payload=None, key=None):
    """The id of the run that a call of the webhook makes, or made before."""

    def decide(work):
        webhook = webhooks.authenticate(work, mint_webhook.public_id, request)
        webhooks.must_be_active(work, webhook)
        return webhooks.fire(work, webhook, WebhookCall(payload=payload, idempotency_key=key, digest=DIGEST))

    return app.carry_out(decide)[0].stream_id


def check_headers(app, mint_webhook, request):
    app.executor.query(lambda work: webhooks.check_headers(work, mint_webhook.public_id, request))


@pytest.fixture
def routine(app):
    return app.routine(concurrency_policy="always_enqueue")


@pytest.fixture
def mint_webhook(app, routine):
    return app.ask(triggers.create, routine, WebhookDraft()).new_secret


def test_whoever_knows_the_secret_fires_the_routine_in_the_webhooks_name(app, mint_webhook):
    fire(app, mint_webhook, bearer(mint_webhook), payload={"a": 1})

    [fired] = app.events(RunFired)
    assert ("webhook", mint_webhook.trigger_id, {"a": 1}) == (fired.source, fired.trigger_id, fired.payload)
    assert fired.request_digest is None, "nobody asks whether the body of a call without a key was the same"
    assert f"trigger:{mint_webhook.trigger_id}" == list(app.store.history())[-1].actor


@pytest.mark.parametrize("headers", [(), (("authorization", "Bearer nonsense"),)])
def test_whoever_does_not_is_unknown(app, mint_webhook, headers):
    request = WebhookRequest(headers=headers, body=b"")

    with pytest.raises(Unauthenticated):
        app.carry_out(webhooks.authenticate, mint_webhook.public_id, request)


def test_no_webhook_answers_at_an_address_that_nobody_has(app, mint_webhook):
    with pytest.raises(NotFound):
        app.carry_out(webhooks.authenticate, "nobodys", bearer(mint_webhook))


def test_a_signed_call_counts_once(app, routine):
    mint_webhook = app.ask(triggers.create, routine, WebhookDraft(signing_mode="hmac_sha256")).new_secret
    request = sign_request(app, mint_webhook)
    fire(app, mint_webhook, request)

    with pytest.raises(Conflict, match="Webhook replay detected"):
        fire(app, mint_webhook, request)
    app.passes(HOUR)
    with pytest.raises(Unauthenticated):
        fire(app, mint_webhook, request)
    fire(app, mint_webhook, sign_request(app, mint_webhook))

    assert 2 == len(app.events(RunFired))


def test_an_idempotency_key_gives_the_same_run_again(app, mint_webhook):
    first, again, other = (fire(app, mint_webhook, bearer(mint_webhook), key=key) for key in ("a", "a", "b"))

    assert first == again != other
    assert [("a", DIGEST), ("b", DIGEST)] == [(one.idempotency_key, one.request_digest) for one in app.events(RunFired)]


def test_the_id_of_a_signed_message_gives_the_same_run_again(app, routine):
    mint_webhook = app.ask(triggers.create, routine, WebhookDraft(signing_mode="standard_webhooks")).new_secret

    def call(message_id):
        headers = Webhook(mint_webhook.secret).sign(message_id, app.now, "{}")
        sent = (("webhook-id", message_id), ("webhook-timestamp", str(int(app.now.timestamp()))))
        return fire(app, mint_webhook, WebhookRequest(headers=(*sent, ("webhook-signature", headers)), body=b"{}"))

    first, again, other = call("msg_1"), call("msg_1"), call("msg_2")

    assert first == again != other
    assert ["webhook-id:msg_1", "webhook-id:msg_2"] == [fired.idempotency_key for fired in app.events(RunFired)]


def test_headers_that_cannot_be_genuine_are_refused_before_the_body_is_read(app, routine, mint_webhook):
    signed = app.ask(triggers.create, routine, WebhookDraft(signing_mode="hmac_sha256")).new_secret

    check_headers(app, mint_webhook, bearer(mint_webhook))
    check_headers(app, signed, sign_request(app, mint_webhook))  # only the body shows that the secret is another
    with pytest.raises(Unauthenticated):
        check_headers(app, mint_webhook, bearer(signed))
    with pytest.raises(Unauthenticated):
        check_headers(app, signed, bearer(signed))


def test_a_rotated_secret_fires_as_long_as_it_overlaps(app, mint_webhook):
    new = app.ask(triggers.rotate_secret, mint_webhook.trigger_id, 60).new_secret

    for known in (mint_webhook, new):
        check_headers(app, mint_webhook, bearer(known))
        fire(app, mint_webhook, bearer(known))
    app.passes(timedelta(seconds=60))
    for use in (check_headers, fire):
        with pytest.raises(Unauthenticated):
            use(app, mint_webhook, bearer(mint_webhook))


def test_a_webhook_that_is_disabled_or_whose_routine_is_paused_does_not_fire(app, routine, mint_webhook):
    app.ask(triggers.update, mint_webhook.trigger_id, TriggerPatch(enabled=False))
    with pytest.raises(Conflict):
        fire(app, mint_webhook, bearer(mint_webhook))
    app.ask(triggers.update, mint_webhook.trigger_id, TriggerPatch(enabled=True))
    app.ask(routines.update, routine, RoutinePatch(status="paused"))
    with pytest.raises(Conflict):
        fire(app, mint_webhook, bearer(mint_webhook))


def test_variables_come_with_the_payload(app):
    routine = app.routine(title="For {{who}}", variables=(VariableDraft(name="who"),))
    mint_webhook = app.ask(triggers.create, routine, WebhookDraft()).new_secret

    fire(app, mint_webhook, bearer(mint_webhook), payload={"variables": {"who": "Zo"}})

    assert ["For Zo"] == [event.details.title for event in app.events(IssueOpened)]
