from uuid import uuid4

import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import ENDPOINT
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.use_cases import endpoints
from domain.delivery.delivery import PendingDelivery
from domain.errors import Conflict, Forbidden, InvalidField, NotFound
from domain.events import DeliveryRequested, EndpointTested

HOOK = "https://example.com/hook"


@pytest.fixture
def endpoint(app):
    return app.ask(endpoints.create, app.company, EndpointDraft(url=HOOK, events=("issue.*",)))


def test_an_endpoint_has_a_secret_that_is_shown_once(app, endpoint):
    assert endpoint.secret.startswith("whsec_")
    assert [endpoint.secret.encode()] == [secret.value for secret in app.vault.secrets.values()]
    assert endpoint.secret not in repr(endpoint) + str([recorded.event for recorded in app.store.history()])


@pytest.mark.parametrize(
    ("fields", "field"), [({"url": "ftp://example.com"}, "url"), ({"events": ("nonsense.*",)}, "events.0")]
)
def test_what_is_no_address_and_no_event_is_named(app, endpoint, fields, field):
    with pytest.raises(InvalidField) as created:
        app.ask(endpoints.create, app.company, EndpointDraft(**{"url": HOOK, "events": ("*",)} | fields))
    with pytest.raises(InvalidField) as updated:
        app.ask(endpoints.update, app.company, endpoint.endpoint_id, EndpointPatch(**fields))

    assert [field, field] == [created.value.field, updated.value.field]


def test_a_rotated_secret_signs_beside_the_new_one_for_a_while(app, endpoint):
    new = app.ask(endpoints.rotate, app.company, endpoint.endpoint_id, 60)

    assert {endpoint.secret.encode(), new.secret.encode()} == {secret.value for secret in app.vault.secrets.values()}


def test_what_is_deleted_is_gone_with_its_secret(app, endpoint):
    app.ask(endpoints.delete, app.company, endpoint.endpoint_id)

    assert {} == app.vault.secrets
    with pytest.raises(NotFound):
        app.ask(endpoints.may_see, app.company, endpoint.endpoint_id)


def test_a_disabled_endpoint_is_sent_no_test(app, endpoint):
    app.ask(endpoints.test, app.company, endpoint.endpoint_id)
    app.ask(endpoints.update, app.company, endpoint.endpoint_id, EndpointPatch(enabled=False))

    with pytest.raises(Conflict):
        app.ask(endpoints.test, app.company, endpoint.endpoint_id)
    assert 1 == len(app.events(EndpointTested))
    assert HOOK == app.state(ENDPOINT, endpoint.endpoint_id).settings.url


def test_a_delivery_is_sent_again_within_its_company(app, endpoint):
    letter = PendingDelivery(
        id=uuid4(),
        version=0,
        kind="webhook",
        target_id=endpoint.endpoint_id,
        partition_key=endpoint.endpoint_id,
        ordered=False,
        company_id=app.company,
        position=1,
        attempts=0,
    )

    assert letter.id == app.ask(endpoints.redeliver, app.company, letter)
    with pytest.raises(NotFound, match="Delivery not found"):
        app.ask(endpoints.redeliver, app.company, replace(letter, company_id=uuid4()))
    assert [endpoint.endpoint_id] == [event.target_id for event in app.events(DeliveryRequested)]


def test_addresses_are_for_those_who_may_write(app, endpoint):
    with pytest.raises(Forbidden, match="read-only"):
        app.ask(endpoints.may_list, app.company, caller=app.member("viewer"))
    with pytest.raises(NotFound, match="Webhook endpoint not found"):
        app.ask(endpoints.may_see, app.other_company(), endpoint.endpoint_id)
