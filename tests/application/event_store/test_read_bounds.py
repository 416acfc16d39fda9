"""A unit of work reads and records no more than a process and the database can bear."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from application.event_store.store import EventStore, ReadBudget
from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from domain.bounds.limits import KIB, Limits
from domain.errors import Oversized
from domain.events import AgentPaused, SlotCounted
from domain.recorded import Recorded

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LIMITS = Limits(max_read_bytes=20 * KIB, max_transaction_events=50)
TOO_MUCH = r"read more than 20,480 bytes of history at once: do it in parts"


def stream(*events):
    """The id of a stream, and its events as they are recorded."""
    id_ = uuid4()
    return id_, [
        Recorded(stream_id=id_, version=version, at=datetime.now(UTC), actor="system", company_id=None, event=event)
        for version, event in enumerate(events, 1)
    ]


def text(kib):
    return AgentPaused(reason="x" * kib * KIB)


@pytest.fixture
def system(shared_system):
    return shared_system


@pytest.fixture
def bounded_store(store):
    return EventStore(store.recorder, LIMITS)


def record_stream(store, *events):
    id_, facts = stream(*events)
    store.append(facts)
    return id_


def test_what_fits_is_read_whole(bounded_store):
    ids = [record_stream(bounded_store, text(4), text(4)) for _ in range(2)]

    assert [2, 2] == [len(events) for events in bounded_store.load(ids).values()]


def test_what_is_more_than_a_unit_of_work_may_read_is_refused(bounded_store):
    ids = [record_stream(bounded_store, text(4), text(4)) for _ in range(3)]

    with pytest.raises(Oversized, match=TOO_MUCH):
        bounded_store.load(ids)


def test_all_loads_of_a_unit_of_work_count_together(bounded_store):
    ids = [record_stream(bounded_store, text(8)) for _ in range(3)]
    work = UnitOfWork(bounded_store, NOON)

    work.load(ids[:2])
    with pytest.raises(Oversized, match=TOO_MUCH):
        work.load(ids[2:])
    with pytest.raises(Oversized, match=TOO_MUCH):
        work.version_of(ids[2])


def test_a_stream_that_is_read_from_its_last_count_counts_from_there(bounded_store):
    event = SlotCounted(routine_id=uuid4(), live=())
    ids = [record_stream(bounded_store, text(12), event, text(4)) for _ in range(4)]

    assert {2} == {len(events) for events in bounded_store.load(ids, "slot.counted").values()}
    with pytest.raises(Oversized):
        bounded_store.load([*ids, record_stream(bounded_store, event, text(4))], "slot.counted")


def test_of_what_is_too_much_postgres_sends_no_more_than_the_event_that_goes_beyond(system):
    ids = [record_stream(system.store, *[text(100)] * 5) for _ in range(4)]

    for read_from in (None, "slot.counted"):
        events = system.store.recorder.select_streams(ids, read_from, 250 * KIB)
        assert [(event.originator_id, event.originator_version) for event in events] == [
            (min(ids), version) for version in (1, 2, 3)
        ]


def test_an_executor_refuses_what_reads_too_much(bounded_store):
    ids = [record_stream(bounded_store, text(8)) for _ in range(3)]

    with pytest.raises(Oversized, match=TOO_MUCH):
        Executor(bounded_store, lambda: NOON).attempt(lambda work: work.load(ids))


def test_more_events_than_may_be_recorded_at_once_are_refused(bounded_store):
    (_, facts), head = stream(*[AgentPaused(reason="x")] * 51), bounded_store.head()

    with pytest.raises(Oversized, match="record 51 events at once, and at most 50 may be: do it in parts"):
        bounded_store.append(facts)
    bounded_store.append(facts[:50])

    assert head + 50 == bounded_store.head()


def test_a_budget_that_is_overdrawn_refuses_all_further_reads():
    budget = ReadBudget(10)

    with pytest.raises(Oversized):
        budget.spend(11)
    with pytest.raises(Oversized):
        budget.spend(0)
