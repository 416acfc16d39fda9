"""What the event store promises, over memory and over Postgres alike; then what only Postgres can break."""

import struct
import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import IntegrityError, MapperDeserialisationError, StoredEvent
from msgspec.structs import replace

from application.event_store.codec import encode
from domain.events import AgentPaused, AgentResumed, RunFired, SlotCounted
from domain.values import Failed
from tests.application.event_store.facts import NOON, fact, places, stream, without_places

# Both stores


def test_an_empty_log_has_no_head_and_nothing_after_it(store):
    assert store.head() == 0
    assert list(store.after(0, 10)) == []
    assert list(store.history()) == []


def test_an_unknown_stream_has_no_events(store):
    unknown = uuid4()

    assert without_places(store.load([unknown])) == {unknown: []}


def test_what_is_appended_comes_back_in_its_envelope(store):
    company, cause = uuid4(), str(uuid4())
    event = fact(uuid4(), 1, AgentPaused(reason="Ünïcode 🙂"), actor="user:1", company_id=company, cause=cause)

    store.append([event])

    assert without_places(store.load([event.stream_id])) == {event.stream_id: [event]}
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
    assert without_places(streams) == {one[0].stream_id: one, other[0].stream_id: other}
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

    assert without_places(store.load([events[0].stream_id]))[events[0].stream_id] == events
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

    assert without_places(store.load([new[0].stream_id])) == {new[0].stream_id: []}
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

    assert without_places(store.load([recorded.stream_id])) == {recorded.stream_id: [recorded]}


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
    expected = encode(recorded).stored
    assert (stream_id, version, name, body) == (UUID(int=7), 1, "agent.paused", expected.state)


def test_the_times_of_the_log_never_go_back(system, log):
    for _ in range(5):
        system.store.append(stream(2))

    rows, _ = log()

    assert all(earlier[5] <= later[5] for earlier, later in pairwise(rows))
