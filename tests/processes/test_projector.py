import threading
from functools import partial

import psycopg
import pytest
from structlog.testing import capture_logs

from application.outage import Outage
from processes import projector as projectors
from processes.projector import Projector
from projections import catalogue
from projections.engine import isolation, positions, shares
from projections.engine.read_model import ReadModel
from routines import bootstrap
from tests import waiting
from tests.processes.due import NOON, CompanyFixture

LIMIT_S = 10.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)
NAMES = [model.name for model in catalogue.ALL]


@pytest.fixture
def company_fixture(system):
    return CompanyFixture(system.executor)


@pytest.fixture
def projector_loop(system, in_thread):
    """The projector's loop in a thread."""

    def start(models=catalogue.ALL, connect=lambda: bootstrap.connect(system.settings)):
        return in_thread(partial(projectors.run, outage=Outage()), Projector(models, system.store.after), connect)

    return start


def append(company_fixture):
    """An event more in the log; False while the pool still hands out a connection that was killed."""
    try:
        return company_fixture.routines(next_at=NOON)
    except Exception:  # noqa: BLE001 whatever the driver calls it
        return False


def test_the_loop_brings_every_read_model_to_the_head(company_fixture, conn, system, projector_loop):
    company_fixture.routines(3, next_at=NOON)

    projector_loop()

    assert system.store.head() == positions.wait(conn, NAMES, LIMIT_S)
    assert (3,) == conn.execute("SELECT count(*) FROM routine").fetchone()


ACTED_ON = {
    "scheduler": {"triggers_due", "deadlines", "chains", "troubles", "backfills"},
    "delivery": {"deliveries", "pending_probes"},
}


@pytest.mark.parametrize("who", [None, *ACTED_ON])
def test_what_a_process_acts_on_is_moved_apart_from_all_others(who, company_fixture, conn, system):
    """So a scheduler that looks what is due does not wait until all deliveries of others are noted."""
    company_fixture.routines(3, next_at=NOON)
    acted_on = [model.name for model in catalogue.ALL if model.polled_by not in (None, who)]
    slow = ReadModel(
        name="slow",
        tables=(),
        schema="",
        fold=lambda *_: is_locked(system, acted_on),
        keys_to_prefetch=lambda _: (),
        polled_by=who,
    )
    with bootstrap.connect(system.settings) as own:
        own.execute("INSERT INTO positions (name, shape) VALUES ('slow', %s)", (slow.schema_hash,))
        Projector([*catalogue.ALL, slow], system.store.after).step(own)

    assert set(acted_on) == {name for other, names in ACTED_ON.items() if other != who for name in names}
    assert 0 == positions.gap(conn, acted_on)[1]
    assert 0 == positions.gap(conn, ["slow"])[1]
    assert [] == isolation.isolated_events(conn, 10, "slow")


@pytest.mark.parametrize("share", [shares.ALL, shares.Share(0, 2)])
def test_what_postgres_has_most_to_do_with_is_written_first(share, system):
    projector = Projector(catalogue.ALL, system.store.after)
    projector.take(share)

    assert "event_index" == projector.taken[0].name


def is_locked(system, names):
    """Fails if another connection could not take these positions now."""
    with bootstrap.connect(system.settings) as other, other.transaction():
        other.execute("SELECT FROM positions WHERE name = ANY(%s) FOR UPDATE NOWAIT", (names,))


def test_an_append_wakes_it_without_waiting_for_the_poll(company_fixture, conn, system, projector_loop, monkeypatch):
    monkeypatch.setattr(projectors, "POLL_S", 100 * LIMIT_S)
    projector_loop()
    positions.wait(conn, NAMES, LIMIT_S)

    for _ in range(10):
        company_fixture.routines(next_at=NOON)
        assert system.store.head() == positions.wait(conn, NAMES, LIMIT_S)


def test_a_killed_backend_is_replaced(company_fixture, admin_url, system, projector_loop, monkeypatch):
    monkeypatch.setattr(projectors, "TROUBLE_S", 0.01)
    company_fixture.routines(next_at=NOON)
    projector_loop()
    with bootstrap.connect(system.settings) as doomed:
        positions.wait(doomed, NAMES, LIMIT_S)

    with capture_logs() as logs:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'routines'")
        wait_for(lambda: append(company_fixture))
        with bootstrap.connect(system.settings) as fresh:
            reached = positions.wait(fresh, NAMES, LIMIT_S)
        wait_for(lambda: "database_reached" in [line["event"] for line in logs])

    assert system.store.head() == reached
    assert {"database_unreachable", "database_reached"} == {line["event"] for line in logs}


def test_a_database_that_is_away_is_waited_for(company_fixture, conn, system, projector_loop, monkeypatch):
    monkeypatch.setattr(projectors, "TROUBLE_S", 0.01)
    company_fixture.routines(next_at=NOON)
    refusals = []

    def connect():
        if len(refusals) < 3:
            refusals.append("no route to Postgres")
            raise psycopg.OperationalError(refusals[-1])
        return bootstrap.connect(system.settings)

    with capture_logs() as logs:
        projector_loop(connect=connect)
        positions.wait(conn, NAMES, LIMIT_S)
        wait_for(lambda: 1 < len(logs))

    assert 3 == len(refusals)
    assert ["database_unreachable", "database_reached"] == [line["event"] for line in logs]


def failing(at_position):
    """A read model that cannot take the event at this position."""

    def fold(recorded, rows):
        if recorded.position == at_position:
            raise ValueError(recorded.position)

    return ReadModel(name="failing", tables=(), schema="", fold=fold, keys_to_prefetch=lambda _: ())


def test_an_event_that_a_read_model_cannot_take_keeps_nobody_waiting(company_fixture, conn, system, projector_loop):
    company_fixture.routines(300, next_at=NOON)
    conn.execute("INSERT INTO positions (name, shape) VALUES ('failing', %s)", (failing(500).schema_hash,))

    with capture_logs() as logs:
        projector_loop([*catalogue.ALL, failing(500)])
        reached = positions.wait(conn, [*NAMES, "failing"], LIMIT_S)

    assert system.store.head() == reached
    (isolated,) = isolation.isolated_events(conn, 10)
    assert ("failing", 500, "ValueError") == (isolated.read_model, isolated.position, isolated.reason)
    assert [500] == [line["position"] for line in logs if line["event"] == "event_isolated"]


def test_two_projectors_apply_every_event_once(company_fixture, conn, projector_loop):
    projector_loop()
    projector_loop()

    for _ in range(20):
        company_fixture.routines(5, next_at=NOON)

    positions.wait(conn, NAMES, LIMIT_S)
    assert (100, 100) == conn.execute("SELECT count(*), count(DISTINCT id) FROM routine").fetchone()


def test_a_projector_takes_over_the_share_of_one_that_ends(company_fixture, conn, projector_loop, monkeypatch):
    monkeypatch.setattr(shares, "LOOK_S", 0.01)
    thread, stop = projector_loop()
    projector_loop()
    company_fixture.routines(3, next_at=NOON)
    positions.wait(conn, NAMES, LIMIT_S)

    stop.set()
    thread.join()
    company_fixture.routines(3, next_at=NOON)

    positions.wait(conn, NAMES, LIMIT_S)
    assert (6, 6) == conn.execute("SELECT count(*), count(DISTINCT id) FROM routine").fetchone()


def test_a_stop_ends_the_loop(projector_loop):
    thread, stop = projector_loop()

    stop.set()
    thread.join(3)

    assert not thread.is_alive()


def test_an_error_that_nobody_foresaw_ends_the_process_with_its_thread(system, monkeypatch):
    stop, others = threading.Event(), set(threading.enumerate())  # the projector of a running API may be among them
    broken = Projector(catalogue.ALL, system.store.after)
    monkeypatch.setattr(broken, "step", lambda _conn: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        projectors.run(broken, lambda: bootstrap.connect(system.settings), stop, outage=Outage())

    assert [] == [thread for thread in set(threading.enumerate()) - others if thread.name == "rebuilder"]
