from datetime import timedelta
from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RoutinePatch
from application.use_cases import routines, runs, slots
from application.use_cases.board import agents, issues
from domain.errors import RuleViolation
from domain.events import RunFired
from domain.identity import issue_of_run
from domain.values import Coalesced, Failed, LiveWork, Opened
from tests.application.use_cases.installation import HOUR, Installation


def live(here, routine):
    return [one.run_id for one in here.executor.query(lambda work: slots.read_slot(work, routine)).live]


def test_the_slot_of_a_routine_that_never_ran_is_empty(here):
    assert [] == live(here, uuid4())


def test_live_work_is_in_the_slot_until_it_ends_and_again_when_it_goes_on(here):
    routine, one = here.routine(), LiveWork(issue_id=uuid4(), run_id=uuid4())

    for is_live in (True, True, False, True):
        here.carry_out(slots.follow, routine, one, here.company, is_live=is_live)
        assert ([one.run_id] if is_live else []) == live(here, routine)


def test_of_several_live_issues_the_one_that_changed_last_counts(here):
    routine = here.routine(concurrency_policy="always_enqueue")
    first, second = here.fire(routine), here.fire(routine)
    here.passes(timedelta(seconds=1))
    here.ask(issues.update, issue_of_run(first), IssuePatch(title="Touched"), None)

    def newest(work, policy):
        of = work.get(ROUTINE, routine)
        settings = type(of.settings)(title="x", concurrency_policy=policy)
        return slots.newest(work, type(of)(settings=settings, revision=1), slots.read_slot(work, routine))

    assert [first, second] == live(here, routine)
    assert first == here.executor.query(lambda work: newest(work, "coalesce_if_active")).run_id
    assert here.executor.query(lambda work: newest(work, "always_enqueue")) is None


@pytest.mark.parametrize("policy", ["coalesce_if_active", "skip_if_active"])
def test_behind_a_terminated_agents_open_issue_a_firing_fails_and_says_why(here, policy):
    routine = here.routine(concurrency_policy=policy)
    trigger = here.schedule(routine)
    here.fire(routine)
    here.ask(agents.terminate, here.agent)

    for _ in range(2):
        here.passes(HOUR)
        here.carry_out(runs.fire_due, [here.due(trigger, here.now.replace(minute=0, second=0))])

    reason = "Agent is not invokable in its current state: it is terminated"
    assert [Failed(reason=reason)] * 2 == [event.outcome for event in here.events(RunFired)[1:]]


@pytest.mark.parametrize("policy", ["coalesce_if_active", "skip_if_active"])
def test_another_agent_gets_an_issue_of_its_own_beside_that_of_a_terminated_one(here, policy):
    routine = here.routine(concurrency_policy=policy)
    abandoned = here.fire(routine)
    here.ask(agents.terminate, here.agent)
    here.ask(routines.update, routine, RoutinePatch(assignee_agent_id=here.another_agent()))

    second, third = here.fire(routine), here.fire(routine)

    opened, joined = (event.outcome for event in here.events(RunFired)[1:])
    assert (Opened(issue_id=issue_of_run(second)), issue_of_run(second)) == (opened, joined.issue_id)
    assert [abandoned, second] == live(here, routine)
    assert third not in live(here, routine)


def test_the_issue_of_a_terminated_agent_counts_again_when_somebody_else_has_it(here):
    routine = here.routine()
    run, other = here.fire(routine), here.another_agent()
    here.ask(agents.terminate, here.agent)
    here.ask(routines.update, routine, RoutinePatch(assignee_agent_id=other))
    here.ask(issues.update, issue_of_run(run), IssuePatch(assignee_agent_id=other), None)

    here.fire(routine)

    assert issue_of_run(run) == here.events(RunFired)[-1].outcome.issue_id
    assert [run] == live(here, routine)


def test_a_paused_agents_open_issue_is_joined_as_before(here):
    routine = here.routine()
    trigger, run = here.schedule(routine), here.fire(routine)
    here.ask(agents.pause, here.agent, "holiday")
    here.passes(HOUR)

    here.carry_out(runs.fire_due, [here.due(trigger, here.now.replace(minute=0, second=0))])

    assert Coalesced(issue_id=issue_of_run(run), into_run_id=run) == here.events(RunFired)[-1].outcome


def test_a_routine_has_so_much_live_work_and_no_more_is_begun():
    here = Installation(max_routine_open_issues=1)
    routine = here.routine(concurrency_policy="always_enqueue")
    trigger = here.schedule(routine)
    here.fire(routine)

    with pytest.raises(RuleViolation, match="may have at most 1"):
        here.fire(routine)
    here.passes(HOUR)
    here.carry_out(runs.fire_due, [here.due(trigger, here.now.replace(minute=0, second=0))])

    last = here.events(RunFired)[-1].outcome
    assert isinstance(last, Failed)
    assert "may have at most 1" in last.reason
