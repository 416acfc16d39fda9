"""Who has lost a race on a stream is not overtaken there, and holds up nobody elsewhere."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event, Thread
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import IntegrityError

from application.event_store.in_memory import MemoryRecorder
from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.event_store.turns import Turns
from application.execute import Executor
from domain.events import AgentPaused
from domain.recorded import Recorded
from tests.waiting import wait_for

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LIMIT_S = 30.0


@pytest.fixture(params=["with a cache", "without"])
def executor(request):
    cache = StreamCache() if request.param == "with a cache" else None
    return Executor(EventStore(MemoryRecorder()), lambda: NOON, cache=cache)


def note(stream_id, reason="by hand"):
    """A decision that rests on the stream and adds to it."""

    def decide(work):
        work.version_of(stream_id)
        work.record(stream_id, [AgentPaused(reason=reason)], uuid4())

    return decide


def overtake(executor, stream_id):
    """Another process adds to the stream."""
    version = executor.store.versions([stream_id])[stream_id] + 1
    event = AgentPaused(reason="elsewhere")
    executor.store.append(
        [Recorded(stream_id=stream_id, version=version, at=NOON, actor="x", company_id=uuid4(), event=event)]
    )


class WatchedTurns(Turns):
    """Says who asked for a turn."""

    def __init__(self):
        super().__init__()
        self.questions = []

    def take(self, stream_ids):
        if stream_ids:
            self.questions.append(set(stream_ids))
        return super().take(stream_ids)


class Loser:
    """Loses a race on a stream, and then decides again until it is let go."""

    def __init__(self, executor, stream_id):
        self._executor, self._stream_id = executor, stream_id
        self._tries, self.decides, self.go = 0, Event(), Event()
        self._lost = 2 if executor.cache is not None else 1  # the first is the cache's, which is no race
        self._thread = Thread(target=executor.attempt, args=(self._decide_after_overtaking,))

    def __enter__(self):
        self._thread.start()
        assert self.decides.wait(LIMIT_S)
        return self

    def __exit__(self, *_):
        self.go.set()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _decide_after_overtaking(self, work):
        note(self._stream_id, "lost")(work)
        self._tries += 1
        if self._tries <= self._lost:
            overtake(self._executor, self._stream_id)
        else:
            self.decides.set()
            assert self.go.wait(LIMIT_S)


def test_another_stream_is_written_while_a_lost_race_is_made_good(executor):
    contended, *others = map(UUID, (f"{number:032x}" for number in range(1, 52)))  # streams that share no lock
    with Loser(executor, contended):
        for other in others:
            assert executor.attempt(note(other)).recorded


def test_a_decision_that_only_rests_on_the_stream_does_not_wait(executor):
    contended, own = UUID(int=1), UUID(int=2)  # streams that share no lock

    def decide(work):
        work.version_of(contended)
        note(own)(work)

    with Loser(executor, contended):
        assert executor.attempt(decide).recorded


def test_nobody_overtakes_who_has_lost_a_race(executor):
    contended = uuid4()
    executor._steps.turns = turns = WatchedTurns()

    with Loser(executor, contended) as loser, ThreadPoolExecutor() as pool:
        late = pool.submit(executor.attempt, note(contended, "late"))
        wait_for(lambda: turns.questions == [{contended}, {contended}])
        assert not late.done()
        loser.go.set()
        late.result(LIMIT_S)

    reasons = [recorded.event.reason for recorded in executor.store.load([contended])[contended]]
    assert reasons[-2:] == ["lost", "late"]


def test_a_race_that_is_lost_on_what_a_decision_only_rests_on_has_its_turn_there_too(executor):
    rests_on, own, turns = UUID(int=1), UUID(int=2), []  # streams that share no lock

    def decide(work):
        work.version_of(rests_on)
        note(own)(work)
        turns.append(executor._steps.turns.find_busy([rests_on, own]))
        if len(turns) <= 2:
            overtake(executor, rests_on)

    executor.attempt(decide)

    assert turns[-1] == {rests_on}


def test_many_writers_of_one_stream_all_come_through(executor):
    stream_id, writers, rounds = uuid4(), 16, 20

    with ThreadPoolExecutor(writers) as pool:
        attempts = [pool.submit(executor.attempt, note(stream_id)) for _ in range(writers * rounds)]
        assert all(one.result(LIMIT_S).recorded for one in attempts)

    versions = [recorded.version for recorded in executor.store.load([stream_id])[stream_id]]
    assert versions == list(range(1, writers * rounds + 1))


def test_writers_of_several_streams_do_not_wait_in_a_circle(executor):
    ids = [uuid4() for _ in range(3)]

    def decide(first):
        def all_of_them(work):
            for id_ in (*ids[first:], *ids[:first]):
                note(id_)(work)

        return all_of_them

    with ThreadPoolExecutor(12) as pool:
        attempts = [pool.submit(executor.attempt, decide(number % 3)) for number in range(120)]
        assert all(one.result(LIMIT_S).recorded for one in attempts)


def test_the_turn_is_given_back_when_the_race_is_lost_for_good(executor):
    stream_id = uuid4()

    def decide(work):
        note(stream_id)(work)
        overtake(executor, stream_id)

    with pytest.raises(IntegrityError):
        executor.attempt(decide, tries=2)

    assert not executor._steps.turns.find_busy([stream_id])


def test_one_who_waits_for_a_turn_takes_it_when_it_is_free():
    turns, id_, waits, took = Turns(), uuid4(), Event(), Event()

    def take():
        waits.set()
        with turns.take([id_]):
            took.set()

    with turns.take([id_]):
        thread = Thread(target=take)
        thread.start()
        assert waits.wait(LIMIT_S)
        assert not took.is_set()

    assert took.wait(LIMIT_S)
    thread.join(LIMIT_S)
    assert not turns.find_busy([id_])
