"""The executor of an event loop records what that of threads would, by the same attempt, and holds no thread for it."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError
from msgspec.structs import replace
from psycopg_pool import PoolTimeout

from application.event_store.at_hand import HEAVY_BYTES
from application.event_store.codec import UnreadableEvent
from application.event_store.data_keys import DataKeys
from application.event_store.loop_recorder import LoopRecorder
from application.event_store.recorder import MOST_BATCHES
from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.event_store.stream_kinds import AGENT, GOAL, ISSUE
from application.execute import Executor
from application.execute_on_loop import LoopExecutor
from domain.errors import Conflict
from domain.events import AgentCreated, AgentPaused, GoalCreated, IssueOpened
from domain.recorded import Recorded
from domain.values import AgentProfile, GoalDetails, IssueDetails
from routines import bootstrap

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LIMIT_S = 60.0
COMPANY = uuid4()
CACHED = [StreamCache, lambda: None]


def agent(work, stream_id, name="Scout"):
    work.record(stream_id, [AgentCreated(profile=AgentProfile(name=name), url_key=name.lower())], COMPANY)


def note(stream_id, reason="by hand"):
    """A decision that rests on the stream and adds to it."""

    def decide(work):
        work.version_of(stream_id)
        work.record(stream_id, [AgentPaused(reason=reason)], COMPANY)
        return reason

    return decide


class Desk:
    """The executor of a loop over a system, and the decisions that it left to threads."""

    def __init__(self, system, make_cache=StreamCache):
        self.threads = Executor(system.store, lambda: NOON, system.vault, make_cache())
        self.in_threads = []
        self.recorder = LoopRecorder(system.pool)
        self.loop = LoopExecutor(self.threads, self.recorder, self._in_thread)

    async def _in_thread(self, fn, *args, **kwargs):
        self.in_threads.append(fn)
        return await asyncio.to_thread(fn, *args, **kwargs)

    def elsewhere(self, stream_id, *events):
        """Another process adds to a stream."""
        version = self.threads.store.versions([stream_id])[stream_id]
        self.threads.store.append(
            [
                Recorded(
                    stream_id=stream_id, version=version + number, at=NOON, actor="x", company_id=COMPANY, event=event
                )
                for number, event in enumerate(events or (AgentPaused(reason="elsewhere"),), 1)
            ]
        )

    def reasons(self, stream_id):
        return [recorded.event.reason for recorded in self.threads.store.load([stream_id])[stream_id]]


def run_on_loop(scenario):
    return asyncio.run(asyncio.wait_for(scenario, LIMIT_S))


@pytest.mark.parametrize("make_cache", CACHED)
def test_a_decision_loads_what_it_misses_and_is_recorded_without_a_thread(system, make_cache):
    desk, stream_ids = Desk(system, make_cache), [uuid4() for _ in range(3)]
    desk.elsewhere(stream_ids[0])

    def decide(work):
        for id_ in stream_ids:
            note(id_, str(work.version_of(id_)))(work)
        return "result"

    attempt = run_on_loop(desk.loop.attempt(decide))

    assert ("result", 3) == (attempt.result, len(attempt.recorded))
    assert ["elsewhere", "1"] == desk.reasons(stream_ids[0])
    assert attempt.position == system.store.head()
    assert [] == desk.in_threads


@pytest.mark.parametrize("make_cache", CACHED)
def test_what_is_refused_is_raised_and_what_records_nothing_has_the_position_of_the_log(system, make_cache):
    desk, stream_id = Desk(system, make_cache), uuid4()
    desk.elsewhere(stream_id)

    def refuse(work):
        work.version_of(stream_id)
        raise Conflict("no")

    with pytest.raises(Conflict):
        run_on_loop(desk.loop.attempt(refuse))
    desk = Desk(system, make_cache)
    attempt = run_on_loop(desk.loop.attempt(lambda work: work.version_of(stream_id)))

    assert (1, [], system.store.head()) == (attempt.result, list(attempt.recorded), attempt.position)


@pytest.mark.parametrize("make_cache", CACHED)
def test_of_a_group_in_which_one_guard_has_moved_the_others_are_recorded_and_that_one_is_decided_again(
    system, make_cache
):
    desk, guarded, own, seen = Desk(system, make_cache), uuid4(), uuid4(), []
    ids = [uuid4() for _ in range(MOST_BATCHES - 1)]
    desk.elsewhere(guarded)

    def rests_on_guarded(work):
        agent(work, own)
        seen.append(work.version_of(guarded))
        if seen == [1]:
            desk.elsewhere(guarded)

    async def run_scenario():
        await asyncio.gather(*(desk.loop.attempt(note(id_)) for id_ in ids), desk.loop.attempt(rests_on_guarded))

    run_on_loop(run_scenario())

    assert all(["by hand"] == desk.reasons(id_) for id_ in ids)
    assert [1, 2] == seen
    assert [] == desk.in_threads


@pytest.mark.parametrize("make_cache", CACHED)
def test_many_commands_of_one_stream_all_come_through(system, make_cache):
    desk, stream_id, many = Desk(system, make_cache), uuid4(), 100

    async def run_scenario():
        return await asyncio.gather(*(desk.loop.attempt(note(stream_id, str(number))) for number in range(many)))

    attempt = run_on_loop(run_scenario())

    assert sorted(map(str, range(many))) == sorted(desk.reasons(stream_id))
    assert many == len({one.position for one in attempt})
    assert [] == desk.in_threads


def test_a_decision_on_what_is_no_longer_so_is_taken_again(system):
    desk, stream_id = Desk(system), uuid4()

    async def run_scenario():
        await desk.loop.attempt(lambda work: agent(work, stream_id))
        await asyncio.to_thread(desk.elsewhere, stream_id)
        return await desk.loop.attempt(note(stream_id))

    run_on_loop(run_scenario())

    assert 3 == system.store.versions([stream_id])[stream_id]


def test_a_race_that_is_lost_for_good_is_raised_and_leaves_no_turn(system):
    desk, stream_id = Desk(system), uuid4()

    def decide(work):
        note(stream_id)(work)
        desk.elsewhere(stream_id)

    async def run_scenario():
        with pytest.raises(IntegrityError):
            await desk.loop.attempt(decide, tries=2)
        return desk.loop._steps._turns.find_busy([stream_id])

    assert frozenset() == run_on_loop(run_scenario())


def test_a_decision_that_needs_other_streams_each_time_it_is_taken_is_left_to_a_thread(system):
    desk = Desk(system)

    run_on_loop(desk.loop.attempt(lambda work: agent(work, uuid4())))

    assert 1 == system.store.head() == len(desk.in_threads)


def test_whoever_reads_what_was_sealed_under_a_key_that_is_lost_is_told_so_and_makes_no_other(system, owner):
    stream_id = uuid4()
    Desk(system).elsewhere(stream_id)
    with bootstrap.connect_as_owner(owner.settings) as conn:
        conn.execute("DELETE FROM vault.data_keys")
        desk = Desk(replace(system, store=EventStore(system.store.recorder, keys=DataKeys(system.pool))))

        with pytest.raises(UnreadableEvent, match="no data key"):
            run_on_loop(desk.loop.attempt(note(stream_id)))

        assert [(0,)] == conn.execute("SELECT count(*) FROM vault.data_keys").fetchall()


def test_what_is_heavy_or_has_secrets_is_left_to_a_thread(system, tmp_path):
    desk, heavy, light = Desk(system), uuid4(), uuid4()
    desk.elsewhere(heavy, AgentPaused(reason="x" * HEAVY_BYTES))

    async def run_scenario():
        await desk.loop.attempt(note(heavy))
        many = len(desk.in_threads)
        await desk.loop.attempt(lambda work: work.drop([uuid4()]) or agent(work, light))
        return many, len(desk.in_threads)

    assert (1, 2) == run_on_loop(run_scenario())
    assert 2 == system.store.versions([heavy])[heavy]
    assert 1 == system.store.versions([light])[light]


def test_an_append_whose_connection_ended_is_done_by_a_thread_once(system):
    desk, stream_id = Desk(system), UUID(int=7)

    async def run_scenario():
        await desk.loop.attempt(note(uuid4()))
        for session in system.pool._on_loop:
            session.pgconn.finish()
        return await desk.loop.attempt(note(stream_id))

    run_on_loop(run_scenario())

    assert ["by hand"] == desk.reasons(stream_id)


def test_an_answer_says_on_which_versions_it_rests_and_is_refused_on_fresh_state_only(system):
    desk, stream_id = Desk(system), uuid4()
    desk.elsewhere(stream_id, AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout"))

    def question(work):
        state = work.get(AGENT, stream_id)
        if state.status != "paused":
            raise Conflict("not paused")
        return state.status

    async def run_scenario():
        with pytest.raises(Conflict):
            await desk.loop.answer(question)
        await asyncio.to_thread(desk.elsewhere, stream_id)
        return await desk.loop.answer(question)

    assert ("paused", {stream_id: 2}) == run_on_loop(run_scenario())
    assert [] == desk.in_threads


class ClockAway:
    """The clock of a database that is away."""

    is_outdated = True

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        raise PoolTimeout


def test_all_who_decide_while_the_database_is_away_wait_for_it_once(system):
    desk, many = Desk(system), 20
    clock = desk.threads.clock = ClockAway()

    async def run_scenario():
        decisions = [desk.loop.attempt(note(uuid4())) for _ in range(many)]
        answers = [desk.loop.answer(lambda work: work.now) for _ in range(many)]
        return await asyncio.gather(*decisions, *answers, return_exceptions=True)

    outcomes = run_on_loop(run_scenario())

    assert {PoolTimeout} == {type(outcome) for outcome in outcomes}
    assert 1 == clock.calls
    assert [] == desk.in_threads


def test_the_loop_caches_what_its_decisions_have_missed_of_the_kinds_that_it_decides_on_again_and_again(system):
    desk, company_id = Desk(system), uuid4()
    agent_id, issue_id, goal_id = uuid4(), uuid4(), uuid4()
    event = IssueOpened(details=IssueDetails(title="Look"), status="todo", created_by_agent_id=None)
    desk.elsewhere(agent_id, AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout"))
    desk.elsewhere(issue_id, event)
    desk.elsewhere(goal_id, GoalCreated(details=GoalDetails(title="Grow")))

    def look(work):
        return work.get(AGENT, agent_id), work.get(ISSUE, issue_id), work.get(GOAL, goal_id), company_id

    (scout, issue, _, _), _ = run_on_loop(desk.loop.answer(look))

    cache = desk.threads.cache
    assert [(scout, 1), (issue, 1)] == [(cache.get(id_).state, cache.get(id_).folded) for id_ in (agent_id, issue_id)]
    assert None is cache.get(goal_id)


def test_reading_what_a_lost_data_key_has_sealed_makes_no_new_key(system, admin_url):
    desk, stream_id = Desk(system), uuid4()
    desk.elsewhere(stream_id)
    with psycopg.connect(admin_url, autocommit=True) as conn:
        assert 1 == conn.execute("DELETE FROM vault.data_keys WHERE subject_id = %s", (COMPANY,)).rowcount
        desk.threads.store.keys = DataKeys(system.pool)

        with pytest.raises(UnreadableEvent):
            run_on_loop(desk.loop.attempt(note(stream_id)))

        assert [] == conn.execute("SELECT FROM vault.data_keys WHERE subject_id = %s", (COMPANY,)).fetchall()
