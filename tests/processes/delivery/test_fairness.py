"""Receivers that are slow, hang or fail, and names that are not answered, delay nobody else; what is on its way is bounded."""

import socket
import threading
from uuid import uuid4

import pytest

from application.request_bodies.board import CompanyDraft
from application.request_bodies.jetty import CollectionCreate, RunCreate, TaskCreate
from application.use_cases.board import companies
from application.use_cases.jetty import collections, tasks, trajectories
from application.use_cases.names import TaskPath
from domain.events import DeliveryFailed
from domain.values import Callback
from projections.delivery import pending_deliveries, receivers
from tests.processes.delivery.conftest import ECHO, TASK
from tests.waiting import wait_for
from verification.faults.receiver import Receiver


def test_a_receiver_that_is_slow_delays_nobody_else(delivery_fixture, start_delivery):
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(20) and 200) as late, Receiver() as quick:
        delivery_fixture.endpoint(late.url)
        delivery_fixture.endpoint(quick.url)
        delivery_fixture.issues(40)
        start_delivery()
        wait_for(lambda: len(quick.good) == 40)
        assert late.good == []
        done.set()
        wait_for(lambda: len(delivery_fixture.outcomes()) == 80)


@pytest.fixture
def hanging_lookups(monkeypatch):
    """Names of hang.example are not answered until the end of the test; any other leads here."""
    is_over, urls = threading.Event(), []

    def getaddrinfo(host, port, **_):
        if host.endswith("hang.example"):
            urls.append(host)
            is_over.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield urls
    is_over.set()


def test_names_that_are_not_answered_delay_no_other_company(delivery_fixture, start_delivery, hanging_lookups):
    neighbour = delivery_fixture.ask(companies.create, CompanyDraft(name="Neighbour"))
    with Receiver() as receiver:
        for number in range(12):
            delivery_fixture.endpoint(f"https://a{number}.hang.example/")
        delivery_fixture.endpoint(receiver.url.replace("127.0.0.1", "quick.example"), company=neighbour)
        delivery_fixture.issues(20)
        start_delivery()
        wait_for(lambda: len(hanging_lookups) == 8)
        delivery_fixture.issues(20, company=neighbour)
        wait_for(lambda: len(receiver.good) == 20)

        assert len(hanging_lookups) == 8  # none of them has been answered
        [failed, *_] = wait_for(lambda: delivery_fixture.events(DeliveryFailed))
    assert failed.reason == "The name of the host cannot be resolved in time"


def test_a_process_ends_although_names_are_not_answered(delivery_fixture, start_delivery, hanging_lookups):
    delivery_fixture.limit(lookup_limit_s=0.2)
    delivery_fixture.endpoint("https://a.hang.example/")
    delivery_fixture.issue()
    thread, stop = start_delivery()
    wait_for(lambda: hanging_lookups)

    stop.set()
    thread.join(30)

    assert not thread.is_alive()


def test_receivers_that_hang_leave_places_for_other_companies(delivery_fixture, start_delivery):
    delivery_fixture.limit(max_deliveries_at_once=16, max_host_deliveries_at_once=100)
    neighbour = delivery_fixture.ask(companies.create, CompanyDraft(name="Neighbour"))
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(30) and 200) as late, Receiver() as quick:
        for number in range(6):
            delivery_fixture.endpoint(f"{late.url}/{number}")
        delivery_fixture.endpoint(quick.url, company=neighbour)
        delivery_fixture.issues(8)
        start_delivery()
        wait_for(lambda: len(late.got) == 8)
        delivery_fixture.issues(30, company=neighbour)
        wait_for(lambda: len(quick.good) == 30)

        assert len(late.got) == 8  # half of the places
        done.set()
        wait_for(lambda: len(late.good) == 48)


def test_whose_receivers_fail_too_often_is_slowed_down_and_those_that_answer_are_not(delivery_fixture, start_delivery):
    delivery_fixture.limit(max_company_failed_attempts_per_minute=10)
    with Receiver(lambda _got, _before: 500) as failing, Receiver() as answering:
        delivery_fixture.endpoint(failing.url)
        delivery_fixture.endpoint(answering.url)
        delivery_fixture.issues(60)
        start_delivery()
        wait_for(lambda: 60 == len(answering.got))

        assert len(failing.got) < 10 + 2 * delivery_fixture.system.store.limits.max_receiver_deliveries_at_once


def test_a_host_that_hangs_leaves_places_for_others_of_its_company(delivery_fixture, start_delivery):
    delivery_fixture.limit(max_deliveries_at_once=24, max_host_deliveries_at_once=3)
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(30) and 200) as late, Receiver() as quick:
        for number in range(4):
            delivery_fixture.endpoint(f"{late.url}/{number}")
        delivery_fixture.endpoint(quick.url.replace("127.0.0.1", "localhost"))
        delivery_fixture.issues(10)
        start_delivery()
        wait_for(lambda: len(quick.good) == 10)

        assert len(late.got) == 3
        done.set()
        wait_for(lambda: len(late.good) == 40)


def test_bodies_on_their_way_are_bounded_by_their_bytes(delivery_fixture, start_delivery):
    delivery_fixture.limit(max_delivery_bytes_at_once=8 * 1024)
    lock, now, most = threading.Lock(), [0], [0]

    def answer(got, _before):
        with lock:
            now[0] += len(got.body)
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.02)
        with lock:
            now[0] -= len(got.body)
        return 200

    with Receiver(answer) as receiver:
        for number in range(4):
            delivery_fixture.endpoint(f"{receiver.url}/{number}")
        delivery_fixture.issues(6, title="x" * 200, description="y" * 1_000)
        start_delivery()
        wait_for(lambda: len(receiver.good) == 24)
        wait_for(lambda: len(delivery_fixture.outcomes()) == 24)

    assert 1_200 < most[0] <= 8 * 1024
    assert delivery_fixture.outcomes() == ["delivery.delivered"] * 24


def test_what_waits_for_one_company_does_not_hide_what_waits_for_another(delivery_fixture):
    neighbour = delivery_fixture.ask(companies.create, CompanyDraft(name="Neighbour"))
    for number in range(3):
        delivery_fixture.endpoint(f"https://example.com/{number}")
    delivery_fixture.endpoint("https://example.org/", company=neighbour)
    delivery_fixture.issues(8)
    delivery_fixture.issue(company=neighbour)
    delivery_fixture.list_deliveries()

    with delivery_fixture.system.pool.connection() as conn:
        now = delivery_fixture.system.clock()
        due = pending_deliveries.due(conn, now, of_lane=8, limit=4)
        rest = pending_deliveries.due(
            conn,
            now,
            of_lane=8,
            limit=100,
            left_out=[due[0].id],
            without_lanes=[due[1].partition_key, due[2].partition_key],
        )

    assert [pending.company_id == neighbour for pending in due].count(True) == 1
    assert due[0].id not in {pending.id for pending in rest}
    assert {due[1].partition_key, due[2].partition_key}.isdisjoint({pending.partition_key for pending in rest})


def test_callbacks_of_two_companies_to_one_address_do_not_wait_for_each_other(delivery_fixture):
    delivery_fixture.task()
    other = delivery_fixture.ask(collections.create, CollectionCreate(name="other"))
    delivery_fixture.ask(tasks.create, "other", TaskCreate(name="say", workflow=ECHO))
    for path in (TASK, TASK, TaskPath(collection="other", task="say")):
        delivery_fixture.ask(trajectories.run, path, RunCreate(webhook_url="https://example.com/"))
    delivery_fixture.list_deliveries()

    with delivery_fixture.system.pool.connection() as conn:
        due = pending_deliveries.due(conn, delivery_fixture.system.clock(), of_lane=8, limit=100)

    assert len({pending.partition_key for pending in due if pending.company_id != other}) == 1
    assert len({pending.partition_key for pending in due}) == 2


def test_callbacks_to_however_many_hosts_have_a_bounded_number_of_partitions():
    company, other = uuid4(), uuid4()
    urls = [f"https://h{number}.example/{number}" for number in range(1_000)]
    partitions = {receivers.callback_partition(company, Callback(url=url)) for url in urls}

    assert 32 < len(partitions) <= receivers.CALLBACK_PARTITIONS
    assert partitions.isdisjoint({receivers.callback_partition(other, Callback(url=url)) for url in urls})
    assert (
        len({receivers.callback_partition(company, Callback(url=f"https://h.example/{number}")) for number in range(9)})
        == 1
    )
