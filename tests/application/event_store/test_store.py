"""What the event store promises, over memory and over Postgres alike; then what only Postgres can break."""

import struct
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import (
    IntegrityError,
    MapperDeserialisationError,
    OperationalError,
    StoredEvent,
)
from msgspec.structs import replace
from psycopg_pool import PoolTimeout

from application.event_store.recorder import TRIES, Batch, ClockDiffers, NotRecorded, OutcomeUnknown, PostgresRecorder
from application.event_store.store import EventStore, to_stored
from domain.events import AgentPaused, AgentResumed, RunFired, SlotCounted
from domain.recorded import Recorded
from domain.values import Failed
from projections.engine import isolation
from tests.waiting import wait_for

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


def fact(stream_id, version, event=None, **more):
    envelope: dict[str, Any] = {"at": NOON, "actor": "system", "company_id": None} | more
    return Recorded(stream_id=stream_id, version=version, event=event or AgentPaused(reason=f"v{version}"), **envelope)


def stream(many, stream_id=None):
    """A stream of so many facts, not yet recorded."""
    stream_id = stream_id or uuid4()
    return [fact(stream_id, version) for version in range(1, many + 1)]


def places(recorded):
    return [(one.stream_id, one.version) for one in recorded]


def bare(streams):
    """As they were given: without their places in the log, and what they take in memory."""
    return {id_: [replace(one, position=0, size=0, memory=0) for one in events] for id_, events in streams.items()}


# Both stores


def test_an_empty_log_has_no_head_and_nothing_after_it(store):
    assert store.head() == 0
    assert list(store.after(0, 10)) == []
    assert list(store.history()) == []


def test_an_unknown_stream_has_no_events(store):
    unknown = uuid4()

    assert bare(store.load([unknown])) == {unknown: []}


def test_what_is_appended_comes_back_in_its_envelope(store):
    company, cause = uuid4(), str(uuid4())
    event = fact(uuid4(), 1, AgentPaused(reason="Ünïcode 🙂"), actor="user:1", company_id=company, cause=cause)

    store.append([event])

    assert bare(store.load([event.stream_id])) == {event.stream_id: [event]}
    (recorded,) = store.after(0, 10)
    assert recorded.position == 1
    assert (recorded.at, recorded.actor, recorded.company_id, recorded.cause, recorded.event) == (
        NOON,
        "user:1",
        company,
        cause,
        event.event,
    )


def test_a_batch_is_of_many_streams_and_its_last_position_is_returned(store):
    one, other = stream(3), stream(2)

    assert store.append([one[0], other[0], one[1]]) == 3
    assert store.append([one[2], other[1]]) == 5
    assert store.head() == 5
    streams = store.load([one[0].stream_id, other[0].stream_id])
    assert bare(streams) == {one[0].stream_id: one, other[0].stream_id: other}
    assert [event.position for events in streams.values() for event in events] == [1, 3, 4, 2, 5]


def test_appending_nothing_moves_nothing(store):
    store.append(stream(2))

    assert store.append([]) == 2
    assert store.head() == 2


@pytest.mark.parametrize(
    "versions", [[2], [1], [4], [0], [-1], [3, 5], [3, 3], [2, 3]], ids=lambda versions: f"versions {versions} after 2"
)
def test_only_the_next_version_of_a_stream_is_taken(store, versions):
    events = stream(2)
    store.append(events)

    with pytest.raises(IntegrityError):
        store.append([fact(events[0].stream_id, version, actor="another") for version in versions])

    assert bare(store.load([events[0].stream_id]))[events[0].stream_id] == events
    assert store.head() == 2


@pytest.mark.parametrize("versions", [[2], [0], [1, 3]])
def test_a_new_stream_begins_at_one_and_has_no_gap(store, versions):
    new = uuid4()

    with pytest.raises(IntegrityError):
        store.append([fact(new, version) for version in versions])

    assert store.head() == 0


def test_a_batch_is_recorded_whole_or_not_at_all(store):
    old, new = stream(1), stream(1)
    store.append(old)

    with pytest.raises(IntegrityError):
        store.append([*new, fact(old[0].stream_id, 1)])

    assert bare(store.load([new[0].stream_id])) == {new[0].stream_id: []}
    assert store.head() == 1


def test_a_guarded_stream_that_stands_still_lets_the_batch_pass(store):
    read, unknown = stream(2), uuid4()
    store.append(read)

    assert store.append(stream(1), guards=[(read[0].stream_id, 2), (unknown, 0)]) == 3


@pytest.mark.parametrize("version", [0, 1])
def test_a_guarded_stream_that_moved_on_refuses_the_batch(store, version):
    read = stream(2)
    store.append(read)

    with pytest.raises(IntegrityError):
        store.append(stream(1), guards=[(read[0].stream_id, version)])

    assert store.head() == 2


def test_a_refused_batch_leaves_no_hole_in_the_positions(store):
    one = stream(2)
    store.append(one)
    with pytest.raises(IntegrityError):
        store.append([*stream(3), one[1]])
    store.append(stream(2))

    assert [recorded.position for recorded in store.history()] == [1, 2, 3, 4]


def test_the_log_is_read_page_by_page_from_any_position(store):
    batches = [stream(3) for _ in range(4)]
    for batch in batches:
        store.append(batch)
    all_places = places([one for batch in batches for one in batch])

    assert places(store.after(0, 100)) == all_places
    assert places(store.after(5, 4)) == all_places[5:9]
    assert places(store.history(page=5)) == all_places
    assert places(store.history(after=10, page=1)) == all_places[10:]
    assert list(store.after(12, 10)) == []


@pytest.mark.parametrize(("read_from", "versions"), [(None, [1, 2, 3, 4, 5]), ("slot.counted", [4, 5])])
def test_a_stream_can_be_read_from_the_last_event_of_a_name_on(store, read_from, versions):
    event = SlotCounted(routine_id=uuid4(), live=())
    one = [replace(recorded, event=event) if recorded.version in {2, 4} else recorded for recorded in stream(5)]
    without = stream(3)
    store.append([*one, *without])

    streams = store.load([one[0].stream_id, without[0].stream_id, (unknown := uuid4())], read_from)

    assert {id_: [e.version for e in events] for id_, events in streams.items()} == {
        one[0].stream_id: versions,
        without[0].stream_id: [1, 2, 3],
        unknown: [],
    }


@pytest.mark.parametrize(
    "payload",
    [
        {"_type_": "uuid_hex", "_data_": "zz"},
        {"type": "run.fired", "__struct__": 1, "\x00": "\x00", "": {"_type_": "datetime_iso", "_data_": "never"}},
        {"deep": [[[[{"a": None}]]]], "big": 2**63, "float": 1.5, "text": "\u2028 \ud7ff 🙂"},
    ],
)
def test_a_payload_cannot_poison_the_log(store, payload):
    event = RunFired(
        routine_id=uuid4(),
        revision=1,
        source="manual",
        outcome=Failed(reason="x"),
        payload=payload,
        idempotency_key="'",
    )
    recorded = fact(uuid4(), 1, event)

    store.append([recorded])

    assert bare(store.load([recorded.stream_id])) == {recorded.stream_id: [recorded]}


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("agent.sang", b'{"at":"2026-11-22T12:00:00Z","actor":"x","event":{"type":"agent.sang"}}', "does not know"),
        ("agent.paused", b"not json", "agent.paused"),
        (
            "agent.paused",
            b'{"at":"2026-11-22T12:00:00Z","actor":"x","event":{"type":"agent.paused","reason":7}}',
            "reason",
        ),
        (
            "agent.paused",
            b'{"at":"2026-11-22T12:00:00Z","actor":"x","event":{"type":"agent.resumed"}}',
            "says that it is agent.resumed",
        ),
    ],
)
def test_bytes_that_are_no_event_of_ours_are_named(store, name, body, message):
    stream_id = uuid4()
    store.recorder.insert_events([StoredEvent(stream_id, 1, name, body)])

    with pytest.raises(MapperDeserialisationError, match=message) as unknown:
        store.load([stream_id])

    assert f"{name}" in str(unknown.value)
    assert f"stream {stream_id} version 1" in str(unknown.value)


def test_a_reader_may_leave_out_names_and_end_at_a_position(store):
    paused, resumed = stream(6), [fact(uuid4(), 1, AgentResumed()) for _ in range(3)]
    store.append([*paused[:3], resumed[0], *paused[3:], *resumed[1:]])

    def read(position, limit, **which):
        return [(one.position, one.name) for one in store.after(position, limit, **which)]

    assert [(4, "agent.resumed"), (8, "agent.resumed")] == read(0, 2, without=["agent.paused"])
    assert [(8, "agent.resumed"), (9, "agent.resumed")] == read(4, 5, without=["agent.paused"])
    assert [(4, "agent.resumed")] == read(0, 5, without=["agent.paused"], until=7)
    assert [(6, "agent.paused"), (7, "agent.paused")] == read(5, 5, until=7)
    assert [] == read(0, 5, without=["agent.paused", "agent.resumed"])


# Postgres alone


@pytest.fixture
def log(system):
    """Everything in the log as it is stored."""

    def rows():
        with system.pool.connection() as conn:
            events = conn.execute(
                "SELECT position, stream_id, version, name, body, recorded_at, hash, recorded_by FROM log.events ORDER BY position"
            ).fetchall()
            head = conn.execute("SELECT position, hash FROM log.head").fetchone()
        return events, head

    return rows


def test_a_reader_at_the_tail_sees_every_position_once_and_in_order(system):
    writers, each = 8, 40
    seen_positions, wrong = [], []

    def write():
        try:
            for number in range(each):
                system.store.append(stream(1 + number % 3))
        except Exception as error:  # noqa: BLE001 a thread tells nobody
            wrong.append(error)

    threads = [threading.Thread(target=write) for _ in range(writers)]
    total = writers * sum(1 + number % 3 for number in range(each))
    for thread in threads:
        thread.start()
    while len(seen_positions) < total and (
        any(thread.is_alive() for thread in threads) or len(seen_positions) < system.store.head()
    ):
        seen_positions += [
            recorded.position for recorded in system.store.after(len(seen_positions) and seen_positions[-1], 7)
        ]
    for thread in threads:
        thread.join()

    assert wrong == []
    assert seen_positions == list(range(1, total + 1))


def test_of_many_writers_of_one_version_one_wins(system):
    stream_id, won, refused_numbers = uuid4(), [], []
    ready = threading.Barrier(8)

    def write(number):
        ready.wait()
        try:
            won.append(system.store.append([fact(stream_id, 1, AgentPaused(reason=str(number)))]))
        except IntegrityError:
            refused_numbers.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert won == [1]
    assert len(refused_numbers) == 7


def test_every_hash_covers_its_row_and_all_before_it(system, log):
    for many in (1, 3, 2):
        system.store.append(stream(many))
    system.store.append([fact(uuid4(), 1, AgentPaused(reason="Ü")), fact(uuid4(), 1, AgentResumed())])

    rows, head = log()

    chain = b""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for position, stream_id, version, name, body, recorded_at, stored, recorded_by in rows:
        micros = (recorded_at - epoch) // timedelta(microseconds=1)
        text = name.encode()
        chain = sha256(
            chain
            + struct.pack(">q", position)
            + stream_id.bytes
            + struct.pack(">qi", version, len(text))
            + text
            + sha256(body).digest()
            + struct.pack(">q", micros)
            + struct.pack(">i", len(recorded_by))
            + recorded_by.encode()
        ).digest()
        assert chain == stored
    assert head == (len(rows), chain)
    assert len(rows) == 8


def test_the_stored_row_is_what_the_mapper_made(system, log):
    recorded = fact(UUID(int=7), 1)

    system.store.append([recorded])

    ((_, stream_id, version, name, body, *_),), _ = log()
    expected = to_stored(recorded)
    assert (stream_id, version, name, body) == (UUID(int=7), 1, "agent.paused", expected.state)


def test_the_times_of_the_log_never_go_back(system, log):
    for _ in range(5):
        system.store.append(stream(2))

    rows, _ = log()

    assert all(earlier[5] <= later[5] for earlier, later in pairwise(rows))


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

        class Losing:
            def execute(self, *args, **kwargs):
                pool.losses -= 1
                if not pool._before:
                    conn.execute(*args, **kwargs)
                pool._meanwhile()
                if pool._errors:
                    raise pool._errors.pop(0)
                raise psycopg.OperationalError("server closed the connection unexpectedly")

        return Losing()


def losing(system, losses, **kwargs):
    pool: Any = LosingPool(system.pool, losses, **kwargs)
    return EventStore(PostgresRecorder(pool))


def test_a_commit_whose_answer_was_lost_is_known_as_ones_own(system):
    events = stream(3)

    assert losing(system, 1).append(events) == 3
    assert bare(system.store.load([events[0].stream_id])) == {events[0].stream_id: events}
    assert system.store.head() == 3


def test_a_lost_answer_is_ones_own_also_when_others_wrote_meanwhile(system):
    read, written_stream = stream(1), stream(2)
    system.store.append(read)

    def meanwhile():
        system.store.append([fact(read[0].stream_id, 2)])

    assert losing(system, 1, meanwhile=meanwhile).append(written_stream, guards=[(read[0].stream_id, 1)]) == 3
    assert system.store.head() == 4


def test_an_append_that_never_arrived_is_sent_again(system):
    assert losing(system, TRIES - 1, before_commit=True).append(stream(2)) == 2


def test_a_version_that_another_took_while_the_answer_was_lost_is_a_conflict(system):
    ours = fact(uuid4(), 1, AgentPaused(reason="ours"))
    theirs = fact(ours.stream_id, 1, AgentPaused(reason="theirs"))

    def meanwhile():
        system.store.append([theirs])

    with pytest.raises(IntegrityError):
        losing(system, 1, before_commit=True, meanwhile=meanwhile).append([ours])

    assert bare(system.store.load([ours.stream_id])) == {ours.stream_id: [theirs]}


def test_an_answer_that_stays_lost_is_an_unknown_outcome(system):
    """Not "try again": the events may be recorded, and here they are."""
    with pytest.raises(OutcomeUnknown):
        losing(system, 99).append(stream(1))

    assert system.store.head() == 1


def test_a_database_that_stays_away_is_said_so(system):
    with pytest.raises(OperationalError, match="closed the connection"):
        losing(system, 99, before_commit=True).append(stream(1))

    assert system.store.head() == 0


# Several batches in one transaction


def batch(events, guards=()):
    stored = [to_stored(one) for one in events]
    return Batch(
        [one.originator_id for one in stored],
        [one.originator_version for one in stored],
        [one.topic for one in stored],
        [one.state for one in stored],
        [id_ for id_, _ in guards],
        [version for _, version in guards],
    )


def test_of_sixty_four_batches_the_one_whose_guard_has_moved_is_refused_and_all_others_are_recorded(system, log):
    read, moved = stream(1), stream(1)
    system.store.append([*read, *moved])
    system.store.append([fact(moved[0].stream_id, 2)])
    streams_of_two = [stream(2) for _ in range(64)]
    guards = [(read[0].stream_id, 1)]
    batches = [
        batch(events, [(moved[0].stream_id, 1)] if n == 20 else guards) for n, events in enumerate(streams_of_two)
    ]

    outcomes = list(system.store.recorder.append_each(batches))

    refusal = outcomes.pop(20)
    assert isinstance(refusal, IntegrityError)
    assert "a stream that was read has changed" in str(refusal)
    assert list(range(5, 5 + 2 * 63, 2)) == outcomes
    streams = system.store.load([events[0].stream_id for events in streams_of_two])
    assert [2] * 20 + [0] + [2] * 43 == [len(events) for events in streams.values()]
    rows, head = log()
    assert list(range(1, 3 + 2 * 63 + 1)) == [row[0] for row in rows]
    assert (rows[-1][0], rows[-1][6]) == head


def test_of_two_batches_for_one_version_of_a_stream_the_first_is_recorded(system):
    stream_id = uuid4()

    outcomes = system.store.recorder.append_each(
        [batch([fact(stream_id, 1, AgentPaused(reason=reason))]) for reason in ("first", "second")]
    )

    assert outcomes[0] == 1
    assert isinstance(outcomes[1], IntegrityError)
    assert [AgentPaused(reason="first")] == [one.event for one in system.store.load([stream_id])[stream_id]]


def test_a_batch_may_rest_on_what_one_before_it_records(system):
    events = stream(1)

    outcomes = system.store.recorder.append_each(
        [batch(events), batch([fact(events[0].stream_id, 2)]), batch(stream(1), [(events[0].stream_id, 1)])]
    )

    assert [1, 2] == outcomes[:2]
    assert isinstance(outcomes[2], IntegrityError)


def test_a_batch_that_was_decided_at_another_time_is_refused_alone(system, admin_url):
    with psycopg.connect(admin_url) as conn:
        conn.execute("UPDATE log.rules SET max_clock_difference = '5 minutes'")
    now = datetime.now(UTC)
    on_time, late = fact(uuid4(), 1, at=now), fact(uuid4(), 1, at=now - timedelta(hours=1))

    outcomes = system.store.recorder.append_each([batch([late]), batch([on_time])])

    assert isinstance(outcomes[0], ClockDiffers)
    assert 3_590 < -outcomes[0].difference_s < 3_700
    assert outcomes[1] == 1


def test_batches_that_do_not_concern_each_other_are_judged_together(system):
    read = stream(1)
    system.store.append(read)
    guards = [(read[0].stream_id, 1)]

    outcomes = system.store.recorder.append_each([batch(stream(2), guards), batch(stream(1), guards), batch(stream(3))])

    assert [3, 4, 7] == outcomes
    assert 2 == len(moments(system))  # those of the three are one


def test_a_batch_whose_reading_another_one_has_changed_is_refused(system):
    read = stream(1)
    system.store.append(read)
    changes, rests = batch([fact(read[0].stream_id, 2)]), batch(stream(1), [(read[0].stream_id, 1)])

    outcomes = system.store.recorder.append_each([changes, rests])
    others = system.store.recorder.append_each([batch(stream(1)), rests, batch(stream(1), [(read[0].stream_id, 2)])])

    assert 2 == outcomes[0]
    assert [3, 4] == [others[0], others[2]]
    for refusal in (outcomes[1], others[1]):
        assert "a stream that was read has changed" in str(refusal)


def moments(system):
    """The different moments at which events of the log were recorded."""
    with system.pool.connection() as conn:
        return {moment for (moment,) in conn.execute("SELECT recorded_at FROM log.events")}


def test_all_batches_of_a_transaction_are_announced_once(system):
    with psycopg.connect(system.settings.database_url, autocommit=True) as conn:
        conn.execute("LISTEN routines_log")
        system.store.recorder.append_each([batch(stream(2)) for _ in range(10)])
        system.store.append(stream(1))

        assert 2 == len(list(conn.notifies(timeout=1, stop_after=3)))


def together(store, *batches):
    """Append these batches, by a thread each; the first goes alone, and the others together. Return what becomes of them."""
    outcomes: list[Any] = [None] * len(batches)
    groups = store.recorder._groups
    commit, may_go = groups._commit, threading.Event()

    def held(items):
        assert may_go.wait(10)
        return commit(items)

    def append(number, events):
        try:
            outcomes[number] = store.append(events)
        except Exception as error:  # noqa: BLE001 a thread tells nobody
            outcomes[number] = error

    groups._commit = held
    threads = [threading.Thread(target=append, args=one) for one in enumerate(batches)]
    for number, thread in enumerate(threads):
        thread.start()
        wait_for(lambda many=number: len(groups._waiting) == many and groups._is_committing, limit_s=10)
    may_go.set()
    for thread in threads:
        thread.join()
    groups._commit = commit
    return outcomes


def test_threads_that_append_at_once_are_recorded_together_and_each_is_told_of_its_own(system):
    first_batch = stream(1)
    batches = [first_batch, stream(3), first_batch, stream(2)]

    first, second, refusal, last = together(system.store, *batches)

    assert (1, 4, 6) == (first, second, last)
    assert isinstance(refusal, IntegrityError)


def test_each_batch_of_a_group_whose_answer_was_lost_is_known_as_ones_own(system):
    batches = [stream(2) for _ in range(4)]

    assert [2, 4, 6, 8] == sorted(together(losing(system, 1, spared=1), *batches))
    streams = system.store.load([one[0].stream_id for one in batches])
    assert {one[0].stream_id: one for one in batches} == bare(streams)
    assert system.store.head() == 8


def test_each_batch_of_a_group_that_never_arrived_is_sent_again(system):
    store = losing(system, 1, spared=1, before_commit=True)

    assert [1, 2, 3, 4] == sorted(together(store, *[stream(1) for _ in range(4)]))
    assert system.store.head() == 4


def test_each_batch_of_a_group_that_postgres_has_rolled_back_is_tried_again(system):
    store = losing(system, 1, spared=1, before_commit=True, errors=[psycopg.errors.DeadlockDetected("it says so")])

    assert [1, 2, 3, 4] == sorted(together(store, *[stream(1) for _ in range(4)]))
    assert system.store.head() == 4


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
    with pytest.raises(NotRecorded) as refusal:
        losing(system, 1, before_commit=True, errors=[kind("it says so")]).append(stream(1))

    assert isinstance(refusal.value.__cause__, kind)
    assert system.store.head() == 0


@pytest.mark.parametrize("kind", PASSING)
def test_what_another_attempt_may_escape_is_tried_again(system, kind):
    errors = [kind("it says so") for _ in range(TRIES)]

    assert losing(system, TRIES - 1, before_commit=True, errors=errors).append(stream(1)) == 1
    with pytest.raises(NotRecorded):
        losing(system, TRIES, before_commit=True, errors=errors).append(stream(1))


def test_an_answer_that_was_lost_stays_unknown_whatever_postgres_reports_of_the_next_attempt(system):
    errors = [psycopg.OperationalError("server closed the connection unexpectedly"), psycopg.errors.LockNotAvailable()]

    with pytest.raises(OutcomeUnknown):
        losing(system, 2, before_commit=True, errors=errors).append(stream(1))


def test_a_lost_connection_that_something_on_the_way_reports_is_an_unknown_outcome(system):
    """As a proxy may: it does not know what Postgres has done."""
    with pytest.raises(OutcomeUnknown):
        losing(system, TRIES, errors=[psycopg.errors.ProtocolViolation()] * TRIES).append(stream(1))


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
