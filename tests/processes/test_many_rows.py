"""One company whose events make very many rows delays neither the schedules nor the deliveries of others."""

from contextlib import contextmanager
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from application.execute import Executor
from domain.bounds.limits import BATCH_ROWS, DEFAULT
from domain.events import EndpointCreated, RunFired
from domain.values import EndpointSettings
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.delivery.deliveries import deliveries
from projections.engine import folding_aside, isolation, positions, rebuilds
from projections.engine.folding import fold_batch
from projections.firing import triggers_due
from routines import bootstrap
from tests.processes.due import NOON, Clock, CompanyFixture
from tests.waiting import wait_for

LISTENING = DEFAULT.max_company_endpoints
ROWS_EACH = 2 * LISTENING  # a letter and a delivery for each endpoint


@pytest.fixture
def listening_company(system):
    """A company as many of whose endpoints as it may have want to be told of everything."""
    company_fixture = CompanyFixture(system.executor)
    settings = EndpointSettings(url="https://receiver.example/in", events=("*",))
    for _ in range(LISTENING):
        company_fixture.record((uuid4(), [EndpointCreated(settings=settings, secret_id=uuid4())]))
    return company_fixture


def count_waiting(conn):
    (many,) = conn.execute("SELECT count(*) FROM letter").fetchone()
    return many


def test_a_batch_ends_before_it_writes_too_many_rows(listening_company, system, conn):
    positions.advance(conn, [deliveries], system.store.after)
    before, written = count_waiting(conn), []
    listening_company.routines(100, next_at=NOON)
    lag = system.store.head() - positions.reached(conn, [deliveries])
    assert lag * ROWS_EACH > 2 * BATCH_ROWS

    while positions.advance(conn, [deliveries], system.store.after):
        written.append(count_waiting(conn) - before - sum(written))

    assert max(written) * 2 <= BATCH_ROWS
    assert lag * LISTENING == sum(written)
    assert [] == isolation.isolated_events(conn, 10)


def test_an_event_that_makes_more_rows_than_a_batch_may_is_taken_alone(listening_company, system, conn):
    positions.advance(conn, [deliveries], system.store.after)
    before, at = count_waiting(conn), system.store.head()
    listening_company.routines(1, next_at=NOON)

    fold_batch(conn, [deliveries], system.store.after(at, 1), max_rows=1)

    assert LISTENING == count_waiting(conn) - before


def test_a_rebuild_takes_events_that_make_many_rows(listening_company, system, conn, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_ROWS", 100)
    listening_company.routines(5, next_at=NOON)
    while positions.advance(conn, [deliveries], system.store.after):
        pass
    before = count_waiting(conn)

    rebuilds.rebuild(conn, deliveries, system.store.after)

    assert before == count_waiting(conn)
    assert [] == isolation.isolated_events(conn, 10)


@contextmanager
def held_read_model(system):
    """The read model of what is due, as another process holds it that is moving it."""
    with bootstrap.connect(system.settings) as other, other.transaction():
        other.execute("SELECT FROM positions WHERE name = %s FOR UPDATE", (triggers_due.triggers_due.name,))
        yield


def impatient(system):
    conn = bootstrap.connect(system.settings)
    conn.execute("SET lock_timeout = '20ms'")
    return conn


def test_a_scheduler_fires_what_it_knows_is_due_while_another_process_holds_its_read_models(system, company_fixture):
    with impatient(system) as conn:
        company_fixture.routines(3, next_at=NOON)
        while Projector(catalogue.ALL, system.store.after).step(conn):
            pass
        company_fixture.routines(2, next_at=NOON)
        scheduler = Scheduler(Executor(system.store, Clock()), system.store.after, batch=50)

        with held_read_model(system):
            assert 3 == scheduler.tick(conn)
            assert 0.0 == scheduler.pause_s(conn)
        assert 2 == scheduler.tick(conn)


def test_a_scheduler_that_is_kept_waiting_goes_on_as_soon_as_it_may(system, company_fixture, scheduler_loop, events_of):
    company_fixture.routines(2, next_at=NOON)
    scheduler = Scheduler(Executor(system.store, Clock()), system.store.after, batch=50)
    with capture_logs() as lines:
        with held_read_model(system):
            scheduler_loop(connect=lambda: impatient(system), scheduler=scheduler)
            wait_for(lambda: scheduler._follower.is_kept_waiting)
        wait_for(lambda: 2 == len(events_of(RunFired)))

    assert "database_unreachable" not in [line["event"] for line in lines]
