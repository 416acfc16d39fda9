"""What leaves the system: at least once, in order where asked for, on the record; and one that is slow delays nobody."""

import threading
from datetime import timedelta

import psycopg
import pytest
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from application.request_bodies.endpoints import EndpointPatch
from application.use_cases import endpoints
from processes.delivery import worker
from processes.follower import Follower
from projections.delivery.deliveries import deliveries
from routines import bootstrap
from tests.processes.delivery.test_attempts import pending_delivery_of
from tests.rebuilding import rebuild_outdated
from tests.waiting import wait_for
from verification.faults.receiver import Receiver, answer_slowly

LOCK_HOLDERS = """
    SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND d.datname = current_database()"""
OTHERS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND usename = 'routines_service' AND pid <> %s"""
END = "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid"
STILL_THERE = "SELECT FROM pg_stat_activity WHERE pid = ANY(%s)"


def test_an_event_is_told_to_who_subscribes_to_it_signed_by_the_standard(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        _, secret = delivery_fixture.endpoint(receiver.url)
        delivery_fixture.endpoint(receiver.url + "/other", events=("goal.*",))
        issue = delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])

    [got] = receiver.got
    assert Webhook(secret).verify(got.body, dict(got.headers))
    assert got.path == "/in"
    assert got.json["type"] == "issue.opened"
    assert got.json["data"]["streamId"] == str(issue)
    assert got.json["data"]["event"]["details"]["title"] == "Look"


def test_what_is_due_is_sent_though_the_log_grows_faster_than_it_is_followed(
    delivery_fixture, start_delivery, monkeypatch
):
    monkeypatch.setattr(worker, "SLICE_S", 0.05)
    follow = Follower.try_step
    monkeypatch.setattr(Follower, "try_step", lambda follower, conn: max(follow(follower, conn), 1))
    with Receiver() as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])


def test_nothing_is_sent_until_read_models_of_another_version_are_rebuilt(
    delivery_fixture, start_delivery, monkeypatch
):
    monkeypatch.setattr(worker, "TROUBLE_S", 0.01)
    with Receiver() as receiver, bootstrap.connect(delivery_fixture.system.settings) as conn, capture_logs() as lines:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        conn.execute("UPDATE positions SET shape = 'other.1' WHERE name = 'deliveries'")
        start_delivery()
        wait_for(lambda: [line for line in lines if line["event"] == "read_models_outdated"])
        assert delivery_fixture.outcomes() == []
        rebuild_outdated(conn, [deliveries], delivery_fixture.system.store.after)
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])

    assert len(receiver.got) == 1


def test_what_is_sent_in_order_waits_for_the_one_before(delivery_fixture, start_delivery, short_pauses):
    def stumbling(got, before):
        return 500 if got.json["data"]["event"]["details"]["title"] == "0" and before < 2 else 200

    with Receiver(stumbling) as receiver:
        delivery_fixture.endpoint(receiver.url, ordered=True)
        delivery_fixture.issues(12)
        start_delivery()
        start_delivery()
        wait_for(lambda: len(receiver.good) == 12)

    titles = [got.json["data"]["event"]["details"]["title"] for got in receiver.got]
    assert titles == ["0", "0", *map(str, range(12))]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_asked_for_again_in_order_waits_until_the_attempt_under_way_has_ended(
    delivery_fixture, start_delivery, processes, monkeypatch
):
    monkeypatch.setattr(worker, "TAKEN", timedelta(milliseconds=10))  # or the other process does not look at it again
    lock, going_on, most = threading.Lock(), threading.Event(), [0, 0]

    def answer(_got, _before):
        with lock:
            most[0] += 1
            most[1] = max(most)
        assert going_on.wait(30)
        with lock:
            most[0] -= 1
        return 200

    with Receiver(answer) as late, Receiver() as quick:
        delivery_fixture.endpoint(late.url, ordered=True)
        for _ in range(processes):
            start_delivery()
        going_on.set()
        delivery_fixture.issue("first")
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])
        [first] = delivery_fixture.list_deliveries()
        going_on.clear()
        delivery_fixture.issue("second")
        wait_for(lambda: len(late.got) == 2)

        delivery_fixture.ask(endpoints.redeliver, delivery_fixture.company, pending_delivery_of(first))
        delivery_fixture.endpoint(quick.url)
        for looks in range(1, 6):  # what is sent to another endpoint was found by a later look
            delivery_fixture.issue("later")
            wait_for(lambda looks=looks: len(quick.good) == looks)
        going_on.set()
        wait_for(lambda: len(late.good) == 8)
        wait_for(lambda: delivery_fixture.outcomes().count("delivery.delivered") == 13)

    titles = [got.json["data"]["event"]["details"]["title"] for got in late.got]
    assert (1, ["first", "second", "first", *["later"] * 5]) == (most[1], titles)


def test_an_attempt_keeps_its_lock_when_the_other_connections_of_its_process_are_ended(
    delivery_fixture, start_delivery, admin_url
):
    going_on = threading.Event()
    with (
        Receiver(lambda _got, _before: 200 if going_on.wait(30) else 500) as late,
        Receiver() as quick,
        psycopg.connect(admin_url, autocommit=True) as admin,
    ):
        delivery_fixture.endpoint(late.url)
        start_delivery()
        delivery_fixture.issue("first")
        wait_for(lambda: late.got)
        [holder] = admin.execute(LOCK_HOLDERS).fetchall()

        others = [pid for (pid,) in admin.execute(OTHERS, holder)]
        admin.execute(END, (others,))
        wait_for(lambda: not admin.execute(STILL_THERE, (others,)).fetchall())
        delivery_fixture.endpoint(quick.url)
        delivery_fixture.issue("second")
        wait_for(lambda: quick.good)

        assert holder in admin.execute(LOCK_HOLDERS).fetchall()
        going_on.set()
        wait_for(lambda: len(late.good) == 2)
        assert ["first", "second"] == [got.json["data"]["event"]["details"]["title"] for got in late.got]


def test_without_an_order_one_that_fails_holds_up_no_other(delivery_fixture, start_delivery):
    with Receiver(lambda got, _before: 500 if b'"title":"0"' in got.body else 200) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issues(12)
        start_delivery()
        wait_for(lambda: len(receiver.good) == 11)


def test_two_processes_send_each_delivery_once(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issues(60)
        start_delivery()
        start_delivery()
        wait_for(lambda: len(delivery_fixture.outcomes()) == 60)

    assert len(receiver.got) == len({got.id for got in receiver.got}) == 60


def test_a_test_message_goes_to_its_endpoint_whatever_that_subscribes_to(delivery_fixture, start_delivery):
    with Receiver() as receiver, Receiver() as other:
        endpoint, _ = delivery_fixture.endpoint(receiver.url, events=("goal.*",))
        delivery_fixture.endpoint(other.url, events=("goal.*",))
        delivery_fixture.ask(endpoints.test, delivery_fixture.company, endpoint)
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    assert got.json["type"] == "endpoint.tested"
    assert other.got == []


def test_what_is_on_its_way_to_a_deleted_or_disabled_endpoint_is_given_up(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        deleted, disabled = (delivery_fixture.endpoint(receiver.url)[0] for _ in range(2))
        delivery_fixture.issue()
        delivery_fixture.list_deliveries()
        delivery_fixture.ask(endpoints.delete, delivery_fixture.company, deleted)
        delivery_fixture.ask(endpoints.update, delivery_fixture.company, disabled, EndpointPatch(enabled=False))
        start_delivery()
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.dead"] * 2)

    assert receiver.got == []
    reasons = {one.attempts[0].reason for one in delivery_fixture.list_deliveries()}
    assert reasons == {"There is no receiver any more", "The endpoint is disabled"}


def test_a_process_that_is_told_to_stop_finishes_what_is_on_its_way(delivery_fixture, start_delivery):
    with Receiver(answer_slowly(0.5)) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        thread, stop = start_delivery()
        wait_for(lambda: receiver.got)
        stop.set()
        thread.join()

    assert delivery_fixture.outcomes() == ["delivery.delivered"]
