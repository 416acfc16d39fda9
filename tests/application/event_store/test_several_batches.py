"""Several batches in one transaction, each by its own verdict."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
from eventsourcing.persistence import IntegrityError

from application.event_store.postgres_errors import ClockDiffers
from domain.events import AgentPaused
from tests.application.event_store.facts import append_together, batch, fact, stream


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


def test_threads_that_append_at_once_are_recorded_together_and_each_is_told_of_its_own(system):
    first_batch = stream(1)
    batches = [first_batch, stream(3), first_batch, stream(2)]

    first, second, refusal, last = append_together(system.store, *batches)

    assert (1, 4, 6) == (first, second, last)
    assert isinstance(refusal, IntegrityError)
