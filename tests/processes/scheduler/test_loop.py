"""The loop sleeps until something is due, and wakes for what is new."""

import time
from datetime import timedelta
from functools import partial

import psycopg
from structlog.testing import capture_logs

from domain.events import RunFired
from processes.scheduler import quarantine
from processes.scheduler import scheduler as schedulers
from processes.wakeup import Wakeup
from projections import catalogue
from routines import bootstrap
from tests import waiting
from tests.processes.due import NOON
from tests.rebuilding import rebuild_outdated

MINUTE = timedelta(minutes=1)
LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)


def test_what_is_due_is_fired_though_the_log_grows_faster_than_it_is_followed(
    company_fixture, scheduler, conn, monkeypatch
):
    monkeypatch.setattr(schedulers, "FOLLOW_S", 0.05)
    follow = scheduler._follower.try_step
    monkeypatch.setattr(scheduler._follower, "try_step", lambda conn: max(follow(conn), 1))
    company_fixture.routines(3, next_at=NOON)

    assert 3 == scheduler.tick(conn)
    assert 0 == scheduler.pause_s(conn)


def test_it_sleeps_until_the_next_schedule_is_due(company_fixture, scheduler, conn, clock):
    assert schedulers.LONGEST_SLEEP_S == scheduler.pause_s(conn)

    company_fixture.routines(next_at=NOON + timedelta(seconds=12.5))
    company_fixture.routines(next_at=NOON + timedelta(minutes=9))
    scheduler.tick(conn)

    assert 7.5 == scheduler.pause_s(conn)  # to read ahead
    clock.now += timedelta(seconds=7.5)
    scheduler.tick(conn)
    assert 5 == scheduler.pause_s(conn)
    clock.now = NOON + timedelta(seconds=13)
    assert 0 == scheduler.pause_s(conn)


def test_the_loop_fires_at_the_moment_and_not_before(company_fixture, executor, scheduler_loop, events_of, monkeypatch):
    monkeypatch.setattr(schedulers, "LONGEST_SLEEP_S", 600.0)
    began = time.monotonic()
    executor.clock = lambda: NOON - timedelta(seconds=0.6) + timedelta(seconds=time.monotonic() - began)
    company_fixture.routines(5, next_at=NOON)

    scheduler_loop()
    wait_for(lambda: len(events_of(RunFired)) == 5)

    assert min(run.at for run in events_of(RunFired)) >= NOON


def test_the_loop_sees_a_new_schedule_at_once(company_fixture, scheduler_loop, events_of):
    scheduler_loop()

    company_fixture.routines(next_at=NOON)

    wait_for(lambda: events_of(RunFired))


def test_the_loop_sleeps_while_nothing_is_due(company_fixture, scheduler_loop, monkeypatch):
    pauses_s = []

    class Noting(Wakeup):
        def wait(self, timeout_s, stop):
            pauses_s.append(timeout_s)
            super().wait(0.01, stop)

    monkeypatch.setattr(schedulers, "Wakeup", Noting)
    company_fixture.routines(next_at=NOON - MINUTE, zone="Atlantis/Capital")
    company_fixture.routines(next_at=NOON + 5 * MINUTE)

    with capture_logs():
        scheduler_loop()
        wait_for(lambda: len(pauses_s) > 5)  # the first few plan by the zone data

    assert quarantine.REST.total_seconds() == pauses_s[5]


def test_a_database_that_is_away_is_waited_for(company_fixture, system, scheduler_loop, events_of, monkeypatch):
    monkeypatch.setattr(schedulers, "TROUBLE_S", 0.01)
    company_fixture.routines(next_at=NOON)
    refusals = []

    def connect():
        if len(refusals) < 3:
            refusals.append("no route to Postgres")
            raise psycopg.OperationalError(refusals[-1])
        return bootstrap.connect(system.settings)

    scheduler_loop(connect=connect)

    wait_for(lambda: events_of(RunFired))
    assert 3 == len(refusals)


def test_killed_connections_are_made_again(company_fixture, admin_url, scheduler_loop, events_of, monkeypatch):
    monkeypatch.setattr(schedulers, "TROUBLE_S", 0.01)
    company_fixture.routines(next_at=NOON)
    scheduler_loop()
    wait_for(lambda: events_of(RunFired))

    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'routines'")
    monkeypatch.setattr("application.event_store.recorder.TRIES", 5)
    wait_for(lambda: make_schedule(company_fixture))

    wait_for(lambda: len(events_of(RunFired)) == 2)


def make_schedule(company_fixture):
    """Another schedule; False while the pool still hands out a connection that was killed."""
    try:
        return company_fixture.routines(next_at=NOON)
    except Exception:  # noqa: BLE001 whatever the driver calls it
        return False


def test_a_stop_ends_the_loop(scheduler_loop):
    thread, stop = scheduler_loop()

    stop.set()
    thread.join(3)

    assert not thread.is_alive()


def test_a_scheduler_whose_read_models_are_of_another_version_waits_until_they_are_rebuilt(
    company_fixture, system, conn, scheduler_loop, events_of
):
    """It would act on rows that do not mean what it takes them for."""
    company_fixture.routines(2, next_at=NOON)
    conn.execute("UPDATE positions SET shape = 'other.1' WHERE name = 'triggers_due'")

    with capture_logs() as lines:
        scheduler_loop()
        wait_for(lambda: [line for line in lines if line["event"] == "read_models_outdated"])
        assert [] == events_of(RunFired)
        assert ["triggers_due"] == rebuild_outdated(conn, catalogue.ALL, system.store.after)
        wait_for(lambda: len(events_of(RunFired)) == 2)
