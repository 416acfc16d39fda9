"""When a delivery is tried again, for how long, and what ends it: answers, lateness, private addresses."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from application.execute import Executor
from application.request_bodies.board import AgentDraft
from application.use_cases import endpoints
from application.use_cases.board import agents
from domain.delivery import retry
from domain.delivery.delivery import PendingDelivery
from domain.events import DeliveryFailed, EndpointDisabled
from processes.delivery import worker
from processes.delivery.outbound import PRIVATE
from processes.delivery.worker import DeliveryWorker
from routines import bootstrap
from tests.processes.due import NOON
from tests.waiting import wait_for
from verification.faults.receiver import Receiver, answer_slowly


def test_it_is_tried_again_under_the_same_id_with_the_same_body_until_it_arrives(
    delivery_fixture, start_delivery, short_pauses
):
    with Receiver(lambda _got, before: (None, 500, 302)[before] if before < 3 else 200) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: "delivery.delivered" in delivery_fixture.outcomes())

    assert delivery_fixture.outcomes() == ["delivery.failed"] * 3 + ["delivery.delivered"]
    assert len({got.id for got in receiver.got}) == len({got.body for got in receiver.got}) == 1
    [shown] = delivery_fixture.list_deliveries()
    assert (shown.status, [one.status for one in shown.attempts]) == ("delivered", [None, 500, 302, 200])
    assert shown.message_id == receiver.got[0].id


def test_it_is_given_up_in_the_end_and_can_be_asked_for_again(delivery_fixture, start_delivery, short_pauses):
    with Receiver(lambda _got, before: 500 if before < retry.MOST_ATTEMPTS else 200) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: "delivery.dead" in delivery_fixture.outcomes())
        [dead] = delivery_fixture.list_deliveries(status="dead")
        delivery_fixture.ask(endpoints.redeliver, delivery_fixture.company, pending_delivery_of(dead))
        wait_for(lambda: "delivery.delivered" in delivery_fixture.outcomes())

    assert len(receiver.got) == retry.MOST_ATTEMPTS + 1
    assert len({got.id for got in receiver.got}) == 1
    assert delivery_fixture.list_deliveries(status="dead") == []


def pending_delivery_of(shown):
    return PendingDelivery(
        id=shown.id,
        version=0,
        kind=shown.kind,
        target_id=shown.target_id,
        partition_key=shown.target_id,
        ordered=False,
        company_id=shown.company_id,
        position=shown.event_position,
        attempts=0,
    )


def test_retry_after_is_heeded(delivery_fixture, start_delivery):
    with Receiver(lambda _got, _before: 503) as receiver:
        receiver.headers = {"Retry-After": "3600"}
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        [failed] = wait_for(lambda: delivery_fixture.events(DeliveryFailed))

    assert timedelta(minutes=59) < failed.next_at - delivery_fixture.system.clock() <= timedelta(hours=1)


def test_410_disables_the_endpoint_and_nothing_more_is_sent(delivery_fixture, start_delivery):
    with Receiver(lambda _got, _before: 410) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: delivery_fixture.events(EndpointDisabled))
        delivery_fixture.issue("More")
        assert [one.status for one in delivery_fixture.list_deliveries()] == ["dead"]

    assert len(receiver.got) == 1


def test_410_stops_the_heartbeats_of_an_agent(delivery_fixture, start_delivery):
    with Receiver(lambda _got, _before: 410) as receiver:
        agent = delivery_fixture.ask(
            agents.create, delivery_fixture.company, AgentDraft(name="Scout", heartbeat_url=receiver.url)
        ).agent_id
        delivery_fixture.issue(assignee_agent_id=agent)
        start_delivery()
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.dead"])
        delivery_fixture.issue(assignee_agent_id=agent)

        assert [one.kind for one in delivery_fixture.list_deliveries()] == ["heartbeat"]


def test_whoever_answers_too_late_is_tried_again(delivery_fixture, start_delivery):
    with Receiver(answer_slowly(1.0)) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery(limit_s=0.2)
        [failed] = wait_for(lambda: delivery_fixture.events(DeliveryFailed))

    assert (failed.status, failed.reason) == (None, "No answer within 0.2 s")


def test_a_private_address_is_not_connected_to_and_the_record_says_why(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery(allow_private=False)
        [failed] = wait_for(lambda: delivery_fixture.events(DeliveryFailed))

    assert (failed.status, failed.reason) == (None, PRIVATE)
    assert receiver.got == []


def test_no_wait_is_prolonged_when_the_clock_is_set_back():
    waits = {uuid4(): NOON + timedelta(seconds=3), uuid4(): NOON + timedelta(hours=3), uuid4(): NOON}

    assert list(waits)[:1] == list(worker._still_waiting(waits, NOON, worker.REST))


def test_what_comes_due_after_a_look_is_not_waited_for_even_if_it_is_due_by_then(delivery_fixture):
    system = delivery_fixture.system
    delivery_fixture.endpoint("https://example.com/hook")
    delivery_fixture.issue()
    shown = {"now": system.clock() - timedelta(minutes=1)}
    executor = Executor(system.store, lambda: shown["now"], system.vault)
    delivery_worker = DeliveryWorker(executor, system.store.after, client=None)

    with bootstrap.connect(system.settings) as conn, bootstrap.connect(system.settings) as locks:
        assert 0 == asyncio.run(delivery_worker.send_due(conn, locks))
        shown["now"] += timedelta(minutes=2)

        assert 0 == delivery_worker.pause_s(conn)
