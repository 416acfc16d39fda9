from datetime import timedelta
from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE
from application.request_bodies.issues import Checkout, IssuePatch
from application.request_bodies.routines import RoutinePatch
from application.use_cases import routines, schedule_firing, slots
from application.use_cases.board import agents, issues
from domain.errors import RuleViolation
from domain.events import IssueLeaseRenewed, RunFired
from domain.identity import issue_of_run
from domain.values import Coalesced, Failed, LiveWork, Opened
from tests.application.use_cases.installation import HOUR, Installation


def live_runs(app, routine):
    return [one.run_id for one in app.executor.query(lambda work: slots.read_slot(work, routine)).live]


def test_the_slot_of_a_routine_that_never_ran_is_empty(app):
    assert [] == live_runs(app, uuid4())


def test_live_work_is_in_the_slot_until_it_ends_and_again_when_it_goes_on(app):
    routine, one = app.routine(), LiveWork(issue_id=uuid4(), run_id=uuid4())

    for is_live in (True, True, False, True):
        app.carry_out(slots.follow, routine, one, app.company, is_live=is_live)
        assert ([one.run_id] if is_live else []) == live_runs(app, routine)


def newest_run(app, routine, policy="coalesce_if_active"):
    """The run that a firing meets under a policy."""

    def find(work):
        state = work.get(ROUTINE, routine)
        settings = type(state.settings)(title="x", concurrency_policy=policy)
        return slots.newest_live_work(work, type(state)(settings=settings, revision=1), slots.read_slot(work, routine))

    live = app.executor.query(find)
    return None if live is None else live.run_id


@pytest.mark.parametrize("passed", [HOUR, timedelta(), -HOUR])
def test_of_several_live_issues_the_one_that_changed_last_counts(app, passed):
    """It is the last in the log, also of those that changed at the same time, and where the clock went back."""
    routine = app.routine(concurrency_policy="always_enqueue")
    first, second = app.fire(routine), app.fire(routine)
    app.passes(passed)
    app.ask(issues.update, issue_of_run(first), IssuePatch(title="Touched"), None)

    assert [first, second] == live_runs(app, routine)
    assert first == newest_run(app, routine)
    assert newest_run(app, routine, "always_enqueue") is None


def test_a_lease_that_goes_on_is_no_change(app):
    routine, agent, session = app.routine(concurrency_policy="always_enqueue"), app.as_agent(), uuid4()
    checkout = Checkout(agent_id=app.agent, expected_statuses=("todo",), lease_seconds=60)
    first = app.fire(routine)
    app.ask(issues.check_out, issue_of_run(first), checkout, session, caller=agent)
    app.passes(timedelta(seconds=30))
    second = app.fire(routine)
    app.passes(timedelta(seconds=1))

    app.ask(issues.check_out, issue_of_run(first), checkout, session, caller=agent)

    assert 1 == len(app.events(IssueLeaseRenewed))
    assert second == newest_run(app, routine)


@pytest.mark.parametrize("policy", ["coalesce_if_active", "skip_if_active"])
def test_behind_a_terminated_agents_open_issue_a_firing_fails_and_says_why(app, policy):
    routine = app.routine(concurrency_policy=policy)
    trigger = app.schedule(routine)
    app.fire(routine)
    app.ask(agents.terminate, app.agent)

    for _ in range(2):
        app.passes(HOUR)
        app.carry_out(schedule_firing.fire_due, [app.due(trigger, app.now.replace(minute=0, second=0))])

    reason = "Agent is not invokable in its current state: it is terminated"
    assert [Failed(reason=reason)] * 2 == [event.outcome for event in app.events(RunFired)[1:]]


@pytest.mark.parametrize("policy", ["coalesce_if_active", "skip_if_active"])
def test_another_agent_gets_an_issue_of_its_own_beside_that_of_a_terminated_one(app, policy):
    routine = app.routine(concurrency_policy=policy)
    abandoned = app.fire(routine)
    app.ask(agents.terminate, app.agent)
    app.ask(routines.update, routine, RoutinePatch(assignee_agent_id=app.another_agent()))

    second, third = app.fire(routine), app.fire(routine)

    opened, joined = (event.outcome for event in app.events(RunFired)[1:])
    assert (Opened(issue_id=issue_of_run(second)), issue_of_run(second)) == (opened, joined.issue_id)
    assert [abandoned, second] == live_runs(app, routine)
    assert third not in live_runs(app, routine)


def test_the_issue_of_a_terminated_agent_counts_again_when_somebody_else_has_it(app):
    routine = app.routine()
    run, other = app.fire(routine), app.another_agent()
    app.ask(agents.terminate, app.agent)
    app.ask(routines.update, routine, RoutinePatch(assignee_agent_id=other))
    app.ask(issues.update, issue_of_run(run), IssuePatch(assignee_agent_id=other), None)

    app.fire(routine)

    assert issue_of_run(run) == app.events(RunFired)[-1].outcome.issue_id
    assert [run] == live_runs(app, routine)


def test_a_paused_agents_open_issue_is_joined_as_before(app):
    routine = app.routine()
    trigger, run = app.schedule(routine), app.fire(routine)
    app.ask(agents.pause, app.agent, "holiday")
    app.passes(HOUR)

    app.carry_out(schedule_firing.fire_due, [app.due(trigger, app.now.replace(minute=0, second=0))])

    assert Coalesced(issue_id=issue_of_run(run), into_run_id=run) == app.events(RunFired)[-1].outcome


def test_a_routine_has_so_much_live_work_and_no_more_is_begun():
    app = Installation(max_routine_open_issues=1)
    routine = app.routine(concurrency_policy="always_enqueue")
    trigger = app.schedule(routine)
    app.fire(routine)

    with pytest.raises(RuleViolation, match="may have at most 1"):
        app.fire(routine)
    app.passes(HOUR)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, app.now.replace(minute=0, second=0))])

    last = app.events(RunFired)[-1].outcome
    assert isinstance(last, Failed)
    assert "may have at most 1" in last.reason
