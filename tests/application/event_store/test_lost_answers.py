"""An append whose answer is lost, or that Postgres refuses, is known for what it was, or said to be unknown."""

from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, OperationalError
from psycopg_pool import PoolTimeout

from application.event_store.postgres_errors import NotRecorded, OutcomeUnknown
from application.event_store.recorder import TRIES, PostgresRecorder
from application.event_store.store import EventStore
from domain.events import AgentPaused
from projections.engine import isolation
from tests.application.event_store.facts import append_together, fact, stream, without_places


class LosingPool:
    """A pool whose next connections carry out the statement and then lose the answer."""

    def __init__(self, pool, losses, *, spared=0, before_commit=False, meanwhile=lambda: None, errors=()):
        self._pool, self.losses, self._before, self._meanwhile = pool, losses, before_commit, meanwhile
        self._spared = spared  # how many connections work before those that do not
        self._errors = list(errors)  # raised one after the other; a broken connection once there is none

    @contextmanager
    def connection(self):
        with self._pool.connection() as conn:
            is_spared = self._spared > 0
            self._spared -= is_spared
            yield self._losing_connection(conn) if self.losses and not is_spared else conn

    def _losing_connection(self, conn):
        pool = self

        class LosingConnection:
            def execute(self, *args, **kwargs):
                pool.losses -= 1
                if not pool._before:
                    conn.execute(*args, **kwargs)
                pool._meanwhile()
                if pool._errors:
                    raise pool._errors.pop(0)
                raise psycopg.OperationalError("server closed the connection unexpectedly")

        return LosingConnection()


def store_that_loses_answers(system, losses, **kwargs):
    pool: Any = LosingPool(system.pool, losses, **kwargs)
    return EventStore(PostgresRecorder(pool))


@pytest.fixture
def system(shared_system):
    return shared_system


def test_a_commit_whose_answer_was_lost_is_known_as_ones_own(system):
    events, head = stream(3), system.store.head()

    assert store_that_loses_answers(system, 1).append(events) == head + 3
    assert without_places(system.store.load([events[0].stream_id])) == {events[0].stream_id: events}
    assert system.store.head() == head + 3


def test_a_lost_answer_is_ones_own_also_when_others_wrote_meanwhile(system):
    read, written_stream, head = stream(1), stream(2), system.store.head()
    system.store.append(read)

    def meanwhile():
        system.store.append([fact(read[0].stream_id, 2)])

    assert (
        store_that_loses_answers(system, 1, meanwhile=meanwhile).append(written_stream, guards=[(read[0].stream_id, 1)])
        == head + 3
    )
    assert system.store.head() == head + 4


def test_an_append_that_never_arrived_is_sent_again(system):
    head = system.store.head()

    assert store_that_loses_answers(system, TRIES - 1, before_commit=True).append(stream(2)) == head + 2


def test_a_version_that_another_took_while_the_answer_was_lost_is_a_conflict(system):
    ours = fact(uuid4(), 1, AgentPaused(reason="ours"))
    theirs = fact(ours.stream_id, 1, AgentPaused(reason="theirs"))

    def meanwhile():
        system.store.append([theirs])

    with pytest.raises(IntegrityError):
        store_that_loses_answers(system, 1, before_commit=True, meanwhile=meanwhile).append([ours])

    assert without_places(system.store.load([ours.stream_id])) == {ours.stream_id: [theirs]}


def test_an_answer_that_stays_lost_is_an_unknown_outcome(system):
    """Not "try again": the events may be recorded, and here they are."""
    head = system.store.head()
    with pytest.raises(OutcomeUnknown):
        store_that_loses_answers(system, 99).append(stream(1))

    assert system.store.head() == head + 1


def test_a_database_that_stays_away_is_said_so(system):
    head = system.store.head()
    with pytest.raises(OperationalError, match="closed the connection"):
        store_that_loses_answers(system, 99, before_commit=True).append(stream(1))

    assert system.store.head() == head


def test_each_batch_of_a_group_whose_answer_was_lost_is_known_as_ones_own(system):
    batches, head = [stream(2) for _ in range(4)], system.store.head()

    assert [head + many for many in (2, 4, 6, 8)] == sorted(
        append_together(store_that_loses_answers(system, 1, spared=1), *batches)
    )
    streams = system.store.load([one[0].stream_id for one in batches])
    assert {one[0].stream_id: one for one in batches} == without_places(streams)
    assert system.store.head() == head + 8


def test_each_batch_of_a_group_that_never_arrived_is_sent_again(system):
    store, head = store_that_loses_answers(system, 1, spared=1, before_commit=True), system.store.head()

    assert [head + many for many in (1, 2, 3, 4)] == sorted(append_together(store, *[stream(1) for _ in range(4)]))
    assert system.store.head() == head + 4


def test_each_batch_of_a_group_that_postgres_has_rolled_back_is_tried_again(system):
    store = store_that_loses_answers(
        system, 1, spared=1, before_commit=True, errors=[psycopg.errors.DeadlockDetected("it says so")]
    )
    head = system.store.head()

    assert [head + many for many in (1, 2, 3, 4)] == sorted(append_together(store, *[stream(1) for _ in range(4)]))
    assert system.store.head() == head + 4


PERMANENT = [
    psycopg.errors.DiskFull,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.OutOfMemory,
    psycopg.errors.TransactionTimeout,
]
PASSING = [
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.AdminShutdown,
]


@pytest.mark.parametrize("kind", PERMANENT)
def test_what_postgres_reports_is_known_not_to_be_recorded(system, kind):
    head = system.store.head()
    with pytest.raises(NotRecorded) as refusal:
        store_that_loses_answers(system, 1, before_commit=True, errors=[kind("it says so")]).append(stream(1))

    assert isinstance(refusal.value.__cause__, kind)
    assert system.store.head() == head


@pytest.mark.parametrize("kind", PASSING)
def test_what_another_attempt_may_escape_is_tried_again(system, kind):
    errors, head = [kind("it says so") for _ in range(TRIES)], system.store.head()

    assert store_that_loses_answers(system, TRIES - 1, before_commit=True, errors=errors).append(stream(1)) == head + 1
    with pytest.raises(NotRecorded):
        store_that_loses_answers(system, TRIES, before_commit=True, errors=errors).append(stream(1))


def test_an_answer_that_was_lost_stays_unknown_whatever_postgres_reports_of_the_next_attempt(system):
    errors = [psycopg.OperationalError("server closed the connection unexpectedly"), psycopg.errors.LockNotAvailable()]

    with pytest.raises(OutcomeUnknown):
        store_that_loses_answers(system, 2, before_commit=True, errors=errors).append(stream(1))


def test_a_lost_connection_that_something_on_the_way_reports_is_an_unknown_outcome(system):
    """As a proxy may: it does not know what Postgres has done."""
    with pytest.raises(OutcomeUnknown):
        store_that_loses_answers(system, TRIES, errors=[psycopg.errors.ProtocolViolation()] * TRIES).append(stream(1))


def test_a_pool_without_connections_has_recorded_nothing(system):
    """The error has a cause, and is not its own: others follow the causes to their end."""

    class Exhausted:
        def connection(self):
            raise PoolTimeout

    pool: Any = Exhausted()
    with pytest.raises(OperationalError) as refusal:
        EventStore(PostgresRecorder(pool)).append(stream(1))

    assert not isinstance(refusal.value, OutcomeUnknown)
    assert isolation.is_away(refusal.value)
