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
def endpoint(here):
    return here.ask(endpoints.create, here.company, EndpointDraft(url=HOOK, events=("issue.*",)))


def test_an_endpoint_has_a_secret_that_is_shown_once(here, endpoint):
    assert endpoint.secret.startswith("whsec_")
    assert [endpoint.secret.encode()] == [secret.value for secret in here.vault.secrets.values()]
    assert endpoint.secret not in repr(endpoint) + str([recorded.event for recorded in here.store.history()])


@pytest.mark.parametrize(
    ("fields", "field"), [({"url": "ftp://example.com"}, "url"), ({"events": ("nonsense.*",)}, "events.0")]
)
def test_what_is_no_address_and_no_event_is_named(here, endpoint, fields, field):
    with pytest.raises(InvalidField) as created:
        here.ask(endpoints.create, here.company, EndpointDraft(**{"url": HOOK, "events": ("*",)} | fields))
    with pytest.raises(InvalidField) as updated:
        here.ask(endpoints.update, here.company, endpoint.endpoint_id, EndpointPatch(**fields))

    assert [field, field] == [created.value.field, updated.value.field]


def test_a_rotated_secret_signs_beside_the_new_one_for_a_while(here, endpoint):
    new = here.ask(endpoints.rotate, here.company, endpoint.endpoint_id, 60)

    assert {endpoint.secret.encode(), new.secret.encode()} == {secret.value for secret in here.vault.secrets.values()}


def test_what_is_deleted_is_gone_with_its_secret(here, endpoint):
    here.ask(endpoints.delete, here.company, endpoint.endpoint_id)

    assert {} == here.vault.secrets
    with pytest.raises(NotFound):
        here.ask(endpoints.may_see, here.company, endpoint.endpoint_id)


def test_a_disabled_endpoint_is_sent_no_test(here, endpoint):
    here.ask(endpoints.test, here.company, endpoint.endpoint_id)
    here.ask(endpoints.update, here.company, endpoint.endpoint_id, EndpointPatch(enabled=False))

    with pytest.raises(Conflict):
        here.ask(endpoints.test, here.company, endpoint.endpoint_id)
    assert 1 == len(here.events(EndpointTested))
    assert HOOK == here.state(ENDPOINT, endpoint.endpoint_id).settings.url


def test_a_delivery_is_sent_again_within_its_company(here, endpoint):
    letter = PendingDelivery(
        id=uuid4(),
        version=0,
        kind="webhook",
        target_id=endpoint.endpoint_id,
        partition_key=endpoint.endpoint_id,
        ordered=False,
        company_id=here.company,
        position=1,
        attempts=0,
    )

    assert letter.id == here.ask(endpoints.redeliver, here.company, letter)
    with pytest.raises(NotFound, match="Delivery not found"):
        here.ask(endpoints.redeliver, here.company, replace(letter, company_id=uuid4()))
    assert [endpoint.endpoint_id] == [event.target_id for event in here.events(DeliveryRequested)]


def test_addresses_are_for_those_who_may_write(here, endpoint):
    with pytest.raises(Forbidden, match="read-only"):
        here.ask(endpoints.may_list, here.company, caller=here.member("viewer"))
    with pytest.raises(NotFound, match="Webhook endpoint not found"):
        here.ask(endpoints.may_see, here.other_company(), endpoint.endpoint_id)
