from uuid import uuid4

import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import AGENT, ENDPOINT
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import AgentPatch
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.request_bodies.jetty import RunCreate
from application.use_cases import delivery_attempts, endpoints
from application.use_cases.board import agents, companies
from application.use_cases.delivery_attempts import GivenUp
from application.use_cases.jetty import trajectories
from domain.board.company import ARCHIVED
from domain.delivery.delivery import Answer, PendingDelivery
from domain.erasure import ERASED
from domain.events import DeliveryDead, DeliveryDelivered, DeliveryFailed, EndpointUpdated, TrajectoryOpened

HOOK = "https://example.com/hook"


def pending_delivery(app, target, kind="webhook"):
    return PendingDelivery(
        id=uuid4(),
        version=0,
        kind=kind,
        target_id=target,
        partition_key=target,
        ordered=False,
        company_id=app.company,
        position=1,
        attempts=0,
    )


def address(app, one):
    return app.executor.query(lambda work: delivery_attempts.address(work, one))


@pytest.fixture
def endpoint(app):
    return app.ask(endpoints.create, app.company, EndpointDraft(url=HOOK, events=("*",)))


def test_a_message_goes_to_its_endpoint_signed_with_every_good_secret(app, endpoint):
    new = app.ask(endpoints.rotate, app.company, endpoint.endpoint_id, 60)

    destination = address(app, pending_delivery(app, endpoint.endpoint_id))

    assert (HOOK, {endpoint.secret.encode(), new.secret.encode()}) == (
        destination.url,
        {one.value for one in destination.secrets},
    )
    assert "whsec" not in repr(destination)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("disabled", delivery_attempts.DISABLED),
        ("deleted", delivery_attempts.NO_RECEIVER),
        ("erased", delivery_attempts.ADDRESS_ERASED),
        ("without its secret", delivery_attempts.SECRET_GONE),
    ],
)
def test_a_message_that_can_go_nowhere_is_given_up_with_the_reason(app, endpoint, change, reason):
    match change:
        case "disabled":
            app.ask(endpoints.update, app.company, endpoint.endpoint_id, EndpointPatch(enabled=False))
        case "deleted":
            app.ask(endpoints.delete, app.company, endpoint.endpoint_id)
        case "erased":
            settings = replace(app.state(ENDPOINT, endpoint.endpoint_id).settings, url=ERASED)
            app.carry_out(UnitOfWork.record, endpoint.endpoint_id, [EndpointUpdated(settings=settings)])
        case _:
            app.vault.secrets.clear()

    with pytest.raises(GivenUp, match=reason):
        address(app, pending_delivery(app, endpoint.endpoint_id))


def test_a_heartbeat_goes_to_its_agent_until_that_is_terminated(app):
    app.ask(agents.update, app.agent, AgentPatch(heartbeat_url=HOOK))
    one = pending_delivery(app, app.agent, "heartbeat")
    assert HOOK == address(app, one).url

    app.ask(agents.terminate, app.agent)

    for given_up in (one, pending_delivery(app, uuid4(), "heartbeat")):
        with pytest.raises(GivenUp, match=delivery_attempts.NO_RECEIVER):
            address(app, given_up)


def test_an_archived_company_has_no_heartbeats(app):
    app.ask(agents.update, app.agent, AgentPatch(heartbeat_url=HOOK))
    app.ask(companies.archive, app.company)

    with pytest.raises(GivenUp, match=ARCHIVED):
        address(app, pending_delivery(app, app.agent, "heartbeat"))


def test_a_callback_is_signed_if_its_call_has_a_secret(app):
    task = app.task(app.collection()[0])
    app.ask(trajectories.run, task, RunCreate(webhook_url=HOOK))
    app.ask(trajectories.run, task, RunCreate(webhook_url=HOOK, webhook_secret="signs"))

    app.ask(trajectories.run, task, RunCreate())

    *opened, without_callback = app.ids(TrajectoryOpened)
    with pytest.raises(GivenUp, match=delivery_attempts.NO_RECEIVER):
        address(app, pending_delivery(app, without_callback, "callback"))
    destinations = [address(app, pending_delivery(app, id_, "callback")) for id_ in opened]
    assert [(), (b"signs",)] == [tuple(secret.value for secret in one.secrets) for one in destinations]


def test_an_attempt_that_fails_is_made_again_and_what_is_delivered_is_done_with(app, endpoint):
    one = pending_delivery(app, endpoint.endpoint_id)

    assert app.carry_out(delivery_attempts.record, one, HOOK, Answer(status=503))
    assert not app.executor.query(lambda work: delivery_attempts.is_due(work, one))
    assert not app.carry_out(delivery_attempts.record, one, HOOK, Answer(status=200))
    assert app.carry_out(
        delivery_attempts.record, pending_delivery(app, endpoint.endpoint_id), HOOK, Answer(status=200)
    )

    [failed] = app.events(DeliveryFailed)
    assert failed.next_at > app.now
    assert [1] == [event.attempt for event in app.events(DeliveryDelivered)]


def test_a_receiver_that_is_gone_gets_nothing_more(app, endpoint):
    app.ask(agents.update, app.agent, AgentPatch(heartbeat_url=HOOK))

    app.carry_out(delivery_attempts.record, pending_delivery(app, endpoint.endpoint_id), HOOK, Answer(status=410))
    app.carry_out(delivery_attempts.record, pending_delivery(app, app.agent, "heartbeat"), HOOK, Answer(status=410))

    assert 2 == len(app.events(DeliveryDead))
    assert not app.state(ENDPOINT, endpoint.endpoint_id).settings.enabled
    assert app.state(AGENT, app.agent).profile.heartbeat_url is None


def test_a_receiver_that_was_gone_at_another_url_gets_what_goes_to_the_new_one(app, endpoint):
    app.ask(agents.update, app.agent, AgentPatch(heartbeat_url=HOOK))

    for target, kind in ((endpoint.endpoint_id, "webhook"), (app.agent, "heartbeat")):
        app.carry_out(delivery_attempts.record, pending_delivery(app, target, kind), f"{HOOK}/old", Answer(status=410))

    assert app.state(ENDPOINT, endpoint.endpoint_id).settings.enabled
    assert HOOK == app.state(AGENT, app.agent).profile.heartbeat_url


def test_what_is_given_up_is_dead_once(app, endpoint):
    one = pending_delivery(app, endpoint.endpoint_id)

    assert [True, False] == [app.carry_out(delivery_attempts.give_up, one, "no") for _ in range(2)]
    assert ["no"] == [event.reason for event in app.events(DeliveryDead)]
