"""A process decides on what it remembers, and never answers anything that is no longer so."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given as for_all
from hypothesis import settings as effort
from hypothesis import strategies as st

from application.access import Caller, identify
from application.commands import AgentDraft, CompanyDraft, IssuePatch, RoutineDraft, RoutinePatch, RunRequest
from application.execute import Executor
from application.memory import LONGEST, Memory, Remembered
from application.recorder import MemoryRecorder
from application.store import EventStore
from application.use_cases import agents, companies, issues, keys, routines, runs
from application.work import Work
from domain.errors import Conflict, ImpossibleHistory, Refusal, Unknown
from domain.events import GoalCreated, RunCompleted, RunFired
from domain.identity import issue_of_run
from domain.values import GoalDetails

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class CountingRecorder(MemoryRecorder):
    """Says how often streams were read."""

    reads = 0

    def select_streams(self, stream_ids, read_from=None):
        self.reads += 1
        return super().select_streams(stream_ids, read_from)


class Town:
    """Two processes over one log, each with a memory of its own, and a routine that both know."""

    def __init__(self):
        self.recorder = CountingRecorder()
        store = EventStore(self.recorder)
        self.here, self.there = (Executor(store, lambda: NOON, memory=Memory()) for _ in range(2))
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
def town():
    return Town()


def test_a_decision_on_what_is_remembered_reads_nothing(town):
    town.fire(town.here)
    before = town.recorder.reads

    town.fire(town.here)

    assert town.recorder.reads == before


def test_what_another_process_has_changed_is_read_anew(town):
    town.there.execute(town.caller, routines.update, town.routine, RoutinePatch(title="Look"))

    (fired,) = town.fire(town.here, idempotency_key="a")

    assert fired.event.revision == 2


def test_what_another_process_has_forbidden_is_refused(town):
    town.there.execute(town.caller, routines.update, town.routine, RoutinePatch(status="archived"))

    with pytest.raises(Conflict, match="archived"):
        town.fire(town.here)


def test_what_another_process_has_allowed_again_is_not_refused(town):
    paused, active = RoutinePatch(status="paused"), RoutinePatch(status="active")
    town.here.execute(town.caller, routines.update, town.routine, paused)
    town.there.execute(town.caller, routines.update, town.routine, active)

    changed = town.here.execute(town.caller, routines.update, town.routine, active)

    assert changed.position == town.here.store.head()
    assert town.fire(town.here)


def test_a_key_that_another_process_has_revoked_is_unknown_with_the_next_request(town):
    minted = town.here.attempt(lambda work: keys.mint_board_key(work, "spare")).result
    spare = Caller(token=minted.token)
    town.here.execute(spare, runs.fire_by_hand, town.routine, RunRequest())
    town.there.execute(town.caller, keys.revoke_board_key, minted.key_id)

    with pytest.raises(Unknown):
        town.here.execute(spare, runs.fire_by_hand, town.routine, RunRequest())


def test_a_run_that_is_found_again_is_shown_as_it_is_now(town):
    always = RoutinePatch(concurrency_policy="always_enqueue")
    asked = RunRequest(idempotency_key="once")
    for executor in (town.here, town.there):
        executor.execute(town.caller, routines.update, town.routine, always)
    (fired,) = town.fire(town.here, idempotency_key="once")
    done = IssuePatch(status="done")
    town.there.execute(town.caller, issues.update, issue_of_run(fired.stream_id), done, None)

    again = town.here.execute(town.caller, runs.fire_by_hand, town.routine, asked).result

    assert [RunFired, RunCompleted] == [type(recorded.event) for recorded in again]


def test_a_question_never_rests_on_memory(town):
    town.there.execute(town.caller, keys.revoke_board_key, who(town).key_id)

    with pytest.raises(Unknown):
        town.here.look(town.caller, routines.may_read, town.routine)


def who(town):
    return identify(Work(town.here.store, NOON), town.caller)


def test_a_memory_has_an_end():
    memory = Memory(most=2)
    ids = [uuid4() for _ in range(3)]

    memory.learn((id_, Remembered(recorded=[object()], state=None, folded=0)) for id_ in ids)

    assert [None] == [found for id_ in ids[:1] if (found := memory.recall(id_)) is None]
    assert all(memory.recall(id_) for id_ in ids[1:])


@pytest.mark.parametrize(("length", "is_remembered"), [(0, True), (LONGEST, True), (LONGEST + 1, False)])
def test_what_is_very_long_is_not_remembered_but_what_is_not_there_is(length, is_remembered):
    memory, id_ = Memory(), uuid4()

    memory.learn([(id_, Remembered(recorded=[object()] * length, state=None, folded=0))])

    assert is_remembered == (memory.recall(id_) is not None)


def test_what_is_read_ahead_is_as_it_is_now_and_need_not_be_read_again(town):
    town.there.execute(town.caller, routines.update, town.routine, RoutinePatch(title="Look"))
    town.here.read_ahead(lambda work: work.load([town.routine]))
    before = town.recorder.reads

    (fired,) = town.fire(town.here)

    assert fired.event.revision == 2
    assert town.recorder.reads == before


def test_what_cannot_be_read_ahead_is_left_to_the_decision(town):
    def unreadable(_work):
        raise ImpossibleHistory

    town.here.read_ahead(unreadable)

    assert town.fire(town.here)


def set_goal(work, goal_id):
    """Unless it is set."""
    work.presume_new([goal_id])
    if not work.version_of(goal_id):
        work.record(goal_id, [GoalCreated(details=GoalDetails(title="Grow"))], company_id=uuid4())


def test_a_stream_that_is_presumed_to_be_new_is_neither_looked_for_nor_remembered(town):
    goal_id, before = uuid4(), town.recorder.reads

    town.here.attempt(lambda work: set_goal(work, goal_id))
    assert town.recorder.reads == before

    town.here.ask(lambda work: work.version_of(goal_id))
    assert town.recorder.reads == before + 1


def test_who_presumes_wrongly_decides_again(town):
    goal_id = uuid4()
    town.there.attempt(lambda work: set_goal(work, goal_id))

    done = town.here.attempt(lambda work: set_goal(work, goal_id))

    assert list(done.recorded) == []
    assert town.here.ask(lambda work: work.version_of(goal_id)) == 1


OPERATIONS = {
    "fire": lambda town: (runs.fire_by_hand, town.routine, RunRequest()),
    "fire once": lambda town: (runs.fire_by_hand, town.routine, RunRequest(idempotency_key="once")),
    "pause": lambda town: (routines.update, town.routine, RoutinePatch(status="paused")),
    "activate": lambda town: (routines.update, town.routine, RoutinePatch(status="active")),
    "archive": lambda town: (routines.update, town.routine, RoutinePatch(status="archived")),
    "retitle": lambda town: (routines.update, town.routine, RoutinePatch(title="Other")),
    "terminate": lambda town: (agents.terminate, town.agent),
    "skip": lambda town: (routines.update, town.routine, RoutinePatch(concurrency_policy="skip_if_active")),
}


@effort(max_examples=150, deadline=None)
@for_all(st.lists(st.tuples(st.booleans(), st.sampled_from(sorted(OPERATIONS))), max_size=12))
def test_every_answer_is_the_one_that_fresh_state_gives(steps):
    town = Town()
    for here, name in steps:
        executor = town.here if here else town.there
        use_case, *args = OPERATIONS[name](town)
        expected = answer(lambda use_case=use_case, args=args: fresh(town, use_case, args))
        assert expected == answer(lambda e=executor, u=use_case, a=args: e.execute(town.caller, u, *a).result)


def fresh(town, use_case, args):
    """What it would give now, without recording it."""
    work = Work(town.here.store, NOON)
    return use_case(work, identify(work, town.caller), *args)


def answer(ask):
    """What tells one answer from another: the refusal's text, the outcome of a run."""
    try:
        result = ask()
    except Refusal as refusal:
        return type(refusal), refusal.message
    if isinstance(result, list):
        return [(recorded.event.revision, type(recorded.event.outcome)) for recorded in result]
    return result
