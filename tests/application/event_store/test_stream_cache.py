"""A process decides on what it has cached, and never answers anything that is no longer so."""

import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from eventsourcing.persistence import Notification
from hypothesis import given as for_all
from hypothesis import settings as effort
from hypothesis import strategies as st

from application.access import Caller, identify
from application.event_store.codec import by_stream, encode
from application.event_store.in_memory import MemoryRecorder
from application.event_store.store import EventStore
from application.event_store.stream_cache import TEXT_FACTOR, CachedStream, StreamCache, size_of
from application.event_store.stream_cache import memory_of as memory_of_event
from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from application.request_bodies.board import AgentDraft, CompanyDraft
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RoutineDraft, RoutinePatch, RunRequest
from application.use_cases import routines, runs
from application.use_cases.board import agents, companies, issues, keys
from domain.bounds.limits import Limits
from domain.errors import Conflict, DomainError, ImpossibleHistory, Unauthenticated
from domain.events import GoalCreated, RunCompleted, RunFired, TaskCreated
from domain.identity import issue_of_run, slot_of
from domain.recorded import Recorded
from domain.routines.slot import COUNT_EVERY
from domain.values import GoalDetails, TaskDetails
from tests.examples import examples

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class CountingRecorder(MemoryRecorder):
    """Says how often streams were read."""

    reads = 0

    def select_streams(self, *args):
        self.reads += 1
        return super().select_streams(*args)


class CacheFixture:
    """Two processes over one log, each with a cache of its own, and a routine that both know."""

    def __init__(self):
        self.recorder = CountingRecorder()
        store = EventStore(self.recorder)
        self.caches = [StreamCache(), StreamCache()]
        self.here, self.there = (Executor(store, lambda: NOON, cache=cache) for cache in self.caches)
        self.token = self.here.attempt(keys.mint_first).result.token
        self.caller = Caller(token=self.token)
        company = self.here.execute(self.caller, companies.create, CompanyDraft(name="Acme")).result
        self.agent = self.here.execute(self.caller, agents.create, company, AgentDraft(name="Scout")).result.agent_id
        draft = RoutineDraft(title="Check", assignee_agent_id=self.agent)
        self.routine = self.here.execute(self.caller, routines.create, company, draft).result
        self.fire(self.here)
        self.fire(self.there)

    def fire(self, executor, **fields):
        return executor.execute(self.caller, runs.fire_by_hand, self.routine, RunRequest(**fields)).result


@pytest.fixture
def cache_fixture():
    return CacheFixture()


def test_a_decision_on_what_is_cached_reads_only_what_is_not(cache_fixture):
    cache_fixture.fire(cache_fixture.here)
    old_reads = cache_fixture.recorder.reads

    cache_fixture.fire(cache_fixture.here)

    assert cache_fixture.recorder.reads == old_reads + 1  # the live issue that it meets, which is not cached


def test_what_another_process_has_changed_is_read_anew(cache_fixture):
    cache_fixture.there.execute(
        cache_fixture.caller, routines.update, cache_fixture.routine, RoutinePatch(title="Look")
    )

    (fired,) = cache_fixture.fire(cache_fixture.here, idempotency_key="a")

    assert fired.event.revision == 2


def test_what_another_process_has_forbidden_is_refused(cache_fixture):
    cache_fixture.there.execute(
        cache_fixture.caller, routines.update, cache_fixture.routine, RoutinePatch(status="archived")
    )

    with pytest.raises(Conflict, match="archived"):
        cache_fixture.fire(cache_fixture.here)


def test_what_another_process_has_allowed_again_is_not_refused(cache_fixture):
    paused, active = RoutinePatch(status="paused"), RoutinePatch(status="active")
    cache_fixture.here.execute(cache_fixture.caller, routines.update, cache_fixture.routine, paused)
    cache_fixture.there.execute(cache_fixture.caller, routines.update, cache_fixture.routine, active)

    changed = cache_fixture.here.execute(cache_fixture.caller, routines.update, cache_fixture.routine, active)

    assert changed.position == cache_fixture.here.store.head()
    assert cache_fixture.fire(cache_fixture.here)


def test_a_key_that_another_process_has_revoked_is_unknown_with_the_next_request(cache_fixture):
    minted = cache_fixture.here.attempt(lambda work: keys.mint_board_key(work, "spare")).result
    spare = Caller(token=minted.token)
    cache_fixture.here.execute(spare, runs.fire_by_hand, cache_fixture.routine, RunRequest())
    cache_fixture.there.execute(cache_fixture.caller, keys.revoke_board_key, minted.key_id)

    with pytest.raises(Unauthenticated):
        cache_fixture.here.execute(spare, runs.fire_by_hand, cache_fixture.routine, RunRequest())


def test_a_run_that_is_found_again_is_shown_as_it_is_now(cache_fixture):
    always = RoutinePatch(concurrency_policy="always_enqueue")
    request = RunRequest(idempotency_key="once")
    for executor in (cache_fixture.here, cache_fixture.there):
        executor.execute(cache_fixture.caller, routines.update, cache_fixture.routine, always)
    (fired,) = cache_fixture.fire(cache_fixture.here, idempotency_key="once")
    patch = IssuePatch(status="done")
    cache_fixture.there.execute(cache_fixture.caller, issues.update, issue_of_run(fired.stream_id), patch, None)

    again = cache_fixture.here.execute(cache_fixture.caller, runs.fire_by_hand, cache_fixture.routine, request).result

    assert [RunFired, RunCompleted] == [type(recorded.event) for recorded in again]


def test_after_a_commit_only_what_has_changed_is_cached_again(cache_fixture, monkeypatch):
    cache, again = cache_fixture.caches[0], []
    put = cache.put
    monkeypatch.setattr(cache, "put", lambda streams: put(again.append(one) or one for one in streams))

    for title in ("Second", "Third"):
        again.clear()
        cache_fixture.here.execute(
            cache_fixture.caller, routines.update, cache_fixture.routine, RoutinePatch(title=title)
        )

    assert [cache_fixture.routine] == [id_ for id_, _ in again]
    assert cache.get(cache_fixture.routine).recorded[-1].event.settings.title == "Third"


def test_a_question_never_rests_on_the_cache(cache_fixture):
    cache_fixture.there.execute(cache_fixture.caller, keys.revoke_board_key, identify_caller(cache_fixture).key_id)

    with pytest.raises(Unauthenticated):
        cache_fixture.here.query_as(cache_fixture.caller, routines.may_read, cache_fixture.routine)


def identify_caller(cache_fixture):
    return identify(UnitOfWork(cache_fixture.here.store, NOON), cache_fixture.caller)


def cached(size):
    anything: Any = object()
    return CachedStream(recorded=[anything], state=None, folded=0, size=size)


def test_the_cache_ends_where_its_memory_does_and_what_was_put_first_leaves_first():
    cache = StreamCache(Limits(max_cache_bytes=20_000, max_cached_stream_bytes=10_000))
    ids = [uuid4() for _ in range(3)]

    cache.put((id_, cached(8_000)) for id_ in ids)

    assert [cache.get(id_) is not None for id_ in ids] == [False, True, True]
    assert cache.size <= 20_000


def test_what_is_put_again_takes_the_place_of_what_was_there():
    cache, id_ = StreamCache(), uuid4()
    cache.put([(id_, cached(1_000))])
    once = cache.size

    cache.put([(id_, cached(1_000))])

    assert cache.size == once


def test_a_stream_that_would_push_out_all_others_is_forgotten():
    cache, id_ = StreamCache(Limits(max_cached_stream_bytes=10_000)), uuid4()
    cache.put([(id_, cached(10_000))])

    cache.put([(id_, cached(10_001))])

    assert cache.get(id_) is None
    assert cache.size == 0


STORED = {path.stem: path.read_bytes() for path in (Path(__file__).parents[2] / "stored").glob("*.json")}
FREE_JSON = {
    "empty objects": [{}] * 5_000,
    "objects of one": [{"a": 1}] * 5_000,
    "empty arrays": [[]] * 5_000,
    "short texts": ["ab"] * 5_000,
    "numbers": list(range(300, 9_000)),
    "many names": {f"name{number}": number for number in range(5_000)},
    "text": "x" * 50_000,
    "one wide letter": "x" * 50_000 + "\N{GRINNING FACE}",
}


def read_event(name, body):
    id_ = uuid4()
    (recorded,) = by_stream([id_], [Notification(id_, 1, name, body, 1)])[id_]
    return recorded


def memory_of(name, body):
    """What one of many such events takes, measured."""
    many = 20
    tracemalloc.start()
    try:
        old_bytes = tracemalloc.get_traced_memory()[0]
        events = [read_event(name, body) for _ in range(many)]
        return (tracemalloc.get_traced_memory()[0] - old_bytes) / many, events[:1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", STORED)
def test_the_memory_of_an_event_is_guessed_within_bounds(name):
    takes, event = memory_of(name.partition("~")[0], STORED[name])

    assert takes / 3 < size_of(event) < takes * 4


@pytest.mark.parametrize("workflow", FREE_JSON.values(), ids=FREE_JSON)
def test_json_that_is_small_on_the_wire_and_large_in_memory_counts_by_its_memory(workflow):
    details = TaskDetails(name="a", description=None, workflow={"w": workflow})
    stored = encode(
        Recorded(
            stream_id=uuid4(), version=1, at=NOON, actor="x", company_id=uuid4(), event=TaskCreated(details=details)
        )
    ).stored

    takes, event = memory_of(stored.topic, stored.state)

    assert takes * 0.8 < size_of(event)


def test_a_comma_or_a_bracket_in_a_text_counts_as_text():
    text = 'say "12,34", [{ or \\\n' * 10_000
    workflow = {"steps": [text, text], "more": list(range(100))}
    event = TaskCreated(details=TaskDetails(name="a", description=text, workflow=workflow))
    body = msgspec.json.encode(event)

    assert TEXT_FACTOR * len(body) < memory_of_event(event, body) < TEXT_FACTOR * len(body) + 50_000


def test_runs_issues_and_comments_are_not_kept(cache_fixture):
    issue_id = cache_fixture.fire(cache_fixture.here)[0].event.outcome.issue_id
    patch = IssuePatch(description="x" * 10_000, comment="y" * 10_000)
    cache_fixture.here.execute(cache_fixture.caller, issues.update, issue_id, patch, None)
    cache, log = cache_fixture.caches[0], cache_fixture.here.store.history()

    cached = {recorded.name.partition(".")[0] for recorded in log if cache.get(recorded.stream_id) is not None}

    assert cached == {"key", "user", "name", "company", "member", "agent", "routine", "slot"}


def test_calls_of_a_megabyte_leave_nothing_behind(cache_fixture):
    cache_fixture.here.execute(
        cache_fixture.caller, routines.update, cache_fixture.routine, RoutinePatch(concurrency_policy="always_enqueue")
    )
    cache_fixture.fire(cache_fixture.here)
    old_size = cache_fixture.caches[0].size

    for _ in range(20):
        cache_fixture.fire(cache_fixture.here, payload={"text": "x" * 100_000})

    assert cache_fixture.caches[0].size - old_size < 100_000


def test_of_a_slot_only_what_a_reader_would_read_is_kept(cache_fixture):
    for _ in range(40):
        issue_id = cache_fixture.fire(cache_fixture.here)[0].event.outcome.issue_id
        cache_fixture.here.execute(cache_fixture.caller, issues.update, issue_id, IssuePatch(status="done"), None)

    cached = cache_fixture.caches[0].get(slot_of(cache_fixture.routine))

    assert cached.recorded[-1].version > 40
    assert len(cached.recorded) <= COUNT_EVERY + 2
    assert size_of(cached.recorded) == cached.size


def test_what_is_read_ahead_is_as_it_is_now_and_need_not_be_read_again(cache_fixture):
    cache_fixture.there.execute(
        cache_fixture.caller, routines.update, cache_fixture.routine, RoutinePatch(title="Look")
    )
    cache_fixture.here.read_ahead(lambda work: work.load([cache_fixture.routine]))
    old_reads = cache_fixture.recorder.reads

    (fired,) = cache_fixture.fire(cache_fixture.here)

    assert fired.event.revision == 2
    assert cache_fixture.recorder.reads == old_reads + 1  # the live issue that it meets, which is not cached


def test_what_cannot_be_read_ahead_is_left_to_the_decision(cache_fixture):
    def unreadable(_work):
        raise ImpossibleHistory(None, None)

    cache_fixture.here.read_ahead(unreadable)

    assert cache_fixture.fire(cache_fixture.here)


def set_goal(work, goal_id):
    """Unless it is set."""
    work.assume_new([goal_id])
    if not work.version_of(goal_id):
        work.record(goal_id, [GoalCreated(details=GoalDetails(title="Grow"))], company_id=uuid4())


def test_a_stream_that_is_presumed_to_be_new_is_neither_looked_for_nor_cached(cache_fixture):
    goal_id, old_reads = uuid4(), cache_fixture.recorder.reads

    cache_fixture.here.attempt(lambda work: set_goal(work, goal_id))
    assert cache_fixture.recorder.reads == old_reads

    cache_fixture.here.query(lambda work: work.version_of(goal_id))
    assert cache_fixture.recorder.reads == old_reads + 1


def test_who_presumes_wrongly_decides_again(cache_fixture):
    goal_id = uuid4()
    cache_fixture.there.attempt(lambda work: set_goal(work, goal_id))

    attempt = cache_fixture.here.attempt(lambda work: set_goal(work, goal_id))

    assert list(attempt.recorded) == []
    assert cache_fixture.here.query(lambda work: work.version_of(goal_id)) == 1


OPERATIONS = {
    "fire": lambda cache_fixture: (runs.fire_by_hand, cache_fixture.routine, RunRequest()),
    "fire once": lambda cache_fixture: (runs.fire_by_hand, cache_fixture.routine, RunRequest(idempotency_key="once")),
    "pause": lambda cache_fixture: (routines.update, cache_fixture.routine, RoutinePatch(status="paused")),
    "activate": lambda cache_fixture: (routines.update, cache_fixture.routine, RoutinePatch(status="active")),
    "archive": lambda cache_fixture: (routines.update, cache_fixture.routine, RoutinePatch(status="archived")),
    "retitle": lambda cache_fixture: (routines.update, cache_fixture.routine, RoutinePatch(title="Other")),
    "terminate": lambda cache_fixture: (agents.terminate, cache_fixture.agent),
    "skip": lambda cache_fixture: (
        routines.update,
        cache_fixture.routine,
        RoutinePatch(concurrency_policy="skip_if_active"),
    ),
}


@effort(max_examples=examples(suite=60, campaign=150))
@for_all(st.lists(st.tuples(st.booleans(), st.sampled_from(sorted(OPERATIONS))), max_size=12))
def test_every_answer_is_the_one_that_fresh_state_gives(steps):
    cache_fixture = CacheFixture()
    for here, name in steps:
        executor = cache_fixture.here if here else cache_fixture.there
        use_case, *args = OPERATIONS[name](cache_fixture)
        expected = answer(lambda use_case=use_case, args=args: decide_without_cache(cache_fixture, use_case, args))
        assert expected == answer(lambda e=executor, u=use_case, a=args: e.execute(cache_fixture.caller, u, *a).result)


def decide_without_cache(cache_fixture, use_case, args):
    """What it would give now, without recording it."""
    work = UnitOfWork(cache_fixture.here.store, NOON)
    return use_case(work, identify(work, cache_fixture.caller), *args)


def answer(ask):
    """What tells one answer from another: the refusal's text, the outcome of a run."""
    try:
        result = ask()
    except DomainError as refusal:
        return type(refusal), refusal.message
    if isinstance(result, list):
        return [(recorded.event.revision, type(recorded.event.outcome)) for recorded in result]
    return result
