from uuid import uuid4

import pytest

from application.event_store.stream_kinds import AGENT, ENDPOINT
from application.request_bodies.board import AgentPatch
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.request_bodies.jetty import RunCreate
from application.use_cases import delivery_attempts, endpoints
from application.use_cases.board import agents
from application.use_cases.delivery_attempts import GivenUp
from application.use_cases.jetty import trajectories
from domain.delivery.delivery import Answer, PendingDelivery
from domain.events import DeliveryDead, DeliveryDelivered, DeliveryFailed, TrajectoryOpened

HOOK = "https://example.com/hook"


def letter(here, target, kind="webhook"):
    return PendingDelivery(
        id=uuid4(),
        version=0,
        kind=kind,
        target_id=target,
        partition_key=target,
        ordered=False,
        company_id=here.company,
        position=1,
        attempts=0,
    )


def address(here, one):
    return here.executor.query(lambda work: delivery_attempts.address(work, one))


@pytest.fixture
def endpoint(here):
    return here.ask(endpoints.create, here.company, EndpointDraft(url=HOOK, events=("*",)))


def test_a_message_goes_to_its_endpoint_signed_with_every_good_secret(here, endpoint):
    new = here.ask(endpoints.rotate, here.company, endpoint.endpoint_id, 60)

    destination = address(here, letter(here, endpoint.endpoint_id))

    assert (HOOK, {endpoint.secret.encode(), new.secret.encode()}) == (
        destination.url,
        {one.value for one in destination.secrets},
    )
    assert "whsec" not in repr(destination)


@pytest.mark.parametrize("change", ["disabled", "deleted", "without its secret"])
def test_a_message_that_can_go_nowhere_is_given_up(here, endpoint, change):
    match change:
        case "disabled":
            here.ask(endpoints.update, here.company, endpoint.endpoint_id, EndpointPatch(enabled=False))
        case "deleted":
            here.ask(endpoints.delete, here.company, endpoint.endpoint_id)
        case _:
            here.vault.secrets.clear()

    with pytest.raises(GivenUp):
        address(here, letter(here, endpoint.endpoint_id))


def test_a_heartbeat_goes_to_its_agent_until_that_is_terminated(here):
    here.ask(agents.update, here.agent, AgentPatch(heartbeat_url=HOOK))
    one = letter(here, here.agent, "heartbeat")
    assert HOOK == address(here, one).url

    here.ask(agents.terminate, here.agent)

    with pytest.raises(GivenUp, match="no receiver"):
        address(here, one)


def test_a_callback_is_signed_if_its_call_has_a_secret(here):
    task = here.task(here.collection()[0])
    here.ask(trajectories.run, task, RunCreate(webhook_url=HOOK))
    here.ask(trajectories.run, task, RunCreate(webhook_url=HOOK, webhook_secret="signs"))

    destinations = [address(here, letter(here, id_, "callback")) for id_ in here.ids(TrajectoryOpened)]

    assert [(), (b"signs",)] == [tuple(secret.value for secret in one.secrets) for one in destinations]


def test_an_attempt_that_fails_is_made_again_and_what_is_delivered_is_done_with(here, endpoint):
    one = letter(here, endpoint.endpoint_id)

    assert here.carry_out(delivery_attempts.record, one, Answer(status=503))
    assert not here.executor.query(lambda work: delivery_attempts.is_due(work, one))
    assert not here.carry_out(delivery_attempts.record, one, Answer(status=200))
    assert here.carry_out(delivery_attempts.record, letter(here, endpoint.endpoint_id), Answer(status=200))

    [failed] = here.events(DeliveryFailed)
    assert failed.next_at > here.now
    assert [1] == [event.attempt for event in here.events(DeliveryDelivered)]


def test_a_receiver_that_is_gone_gets_nothing_more(here, endpoint):
    here.ask(agents.update, here.agent, AgentPatch(heartbeat_url=HOOK))

    here.carry_out(delivery_attempts.record, letter(here, endpoint.endpoint_id), Answer(status=410))
    here.carry_out(delivery_attempts.record, letter(here, here.agent, "heartbeat"), Answer(status=410))

    assert 2 == len(here.events(DeliveryDead))
    assert not here.state(ENDPOINT, endpoint.endpoint_id).settings.enabled
    assert here.state(AGENT, here.agent).profile.heartbeat_url is None


def test_what_is_given_up_is_dead_once(here, endpoint):
    one = letter(here, endpoint.endpoint_id)

    assert [True, False] == [here.carry_out(delivery_attempts.give_up, one, "no") for _ in range(2)]
    assert ["no"] == [event.reason for event in here.events(DeliveryDead)]
