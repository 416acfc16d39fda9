import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import ISSUE, ROUTINE, RUN, TRAJECTORY
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RetryPolicyDraft, RoutinePatch, RunRequest, VariableDraft
from application.request_bodies.triggers import ApiDraft, TriggerPatch
from application.use_cases import deadlines, routines, runs, schedule_firing, slots, triggers
from application.use_cases.board import agents, issues
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.events import (
    CommentAdded,
    IssueMoved,
    IssueOpened,
    RoutineCreated,
    RunAttemptBegun,
    RunFailed,
    RunFired,
    SlotFreed,
    SlotTaken,
)
from domain.identity import FIRST_USER, issue_of_run, run_of_occurrence, trajectory_of_run
from domain.routines.activity_gate import NO_ACTIVITY, Activity, Window
from domain.routines.deadline import Overdue
from domain.routines.firing import NOT_INVOKABLE
from domain.routines.slot import COUNT_EVERY
from domain.values import Coalesced, Failed, Opened, Skipped
from projections.firing.run_documents import detail_of
from tests.application.use_cases.installation import DAY, HOUR


def outcomes(app):
    return [event.outcome for event in app.events(RunFired)]


def hour(app):
    return app.now.replace(minute=0, second=0)


def test_a_run_opens_an_issue_for_the_agent_in_the_name_of_who_fired_it(app):
    run = app.fire(app.routine(title="For {{who}}", variables=(VariableDraft(name="who"),)), variables={"who": "Zo"})

    issue = app.state(ISSUE, issue_of_run(run))
    assert ("For Zo", app.agent, "todo") == (issue.details.title, issue.details.assignee_agent_id, issue.status)
    assert [FIRST_USER] == [event.created_by_user_id for event in app.events(IssueOpened)]


@pytest.mark.parametrize(
    ("policy", "second"),
    [("coalesce_if_active", Coalesced), ("skip_if_active", Skipped), ("always_enqueue", Opened)],
)
def test_while_an_issue_is_open_the_policy_says_what_becomes_of_the_next_run(app, policy, second):
    routine = app.routine(concurrency_policy=policy)
    first = app.fire(routine)
    app.fire(routine)
    assert [Opened, second] == list(map(type, outcomes(app)))

    app.finish(first)
    if policy != "always_enqueue":
        app.fire(routine)
        assert Opened is type(outcomes(app)[-1])


def live_runs(app, routine):
    return [one.run_id for one in app.executor.query(lambda work: slots.read_slot(work, routine)).live]


def test_under_cancel_previous_the_next_run_cancels_the_live_one_in_its_own_commit(app):
    routine = app.routine(concurrency_policy="cancel_previous")
    first = app.fire(routine)
    old_head = app.store.head()

    second = app.fire(routine)

    assert [Opened, Opened] == list(map(type, outcomes(app)))
    assert [second] == live_runs(app, routine)
    ended = app.state(RUN, first).ended
    assert (f"Cancelled by the next run of its routine, {second}", second) == (ended.reason, ended.successor_run_id)
    assert ("cancelled", "todo") == tuple(app.state(ISSUE, issue_of_run(run)).status for run in (first, second))
    [comment] = app.events(CommentAdded)
    assert issue_of_run(first) == comment.issue_id
    assert str(second) in comment.body
    names = [type(recorded.event) for recorded in app.store.history() if recorded.position > old_head]
    assert [IssueMoved, RunFailed, CommentAdded, SlotFreed, RunFired, SlotTaken, IssueOpened] == names


def test_under_cancel_previous_one_run_is_live_after_any_number_of_firings(app):
    """Also after those with which the slot is counted."""
    routine = app.routine(concurrency_policy="cancel_previous")

    for _ in range(2 * COUNT_EVERY):
        assert [app.fire(routine)] == live_runs(app, routine)


def test_a_firing_that_opens_nothing_cancels_nothing(app):
    routine = app.routine(concurrency_policy="cancel_previous")
    first = app.fire(routine)
    app.ask(agents.pause, app.agent, "holiday")

    app.fire(routine)

    assert Failed(reason=NOT_INVOKABLE) == outcomes(app)[-1]
    assert [first] == live_runs(app, routine)


def test_under_cancel_previous_nothing_is_cancelled_that_has_ended(app):
    routine = app.routine(concurrency_policy="cancel_previous")
    app.finish(app.fire(routine))

    app.fire(routine)

    assert [] == app.events(RunFailed)
    assert [] == app.events(CommentAdded)


def test_a_change_to_cancel_previous_lets_the_next_run_cancel_all_that_is_live(app, monkeypatch):
    monkeypatch.setattr(slots, "MOST_CANCELLED", 3)
    routine = app.routine(concurrency_policy="always_enqueue")
    earlier = [app.fire(routine) for _ in range(3)]
    app.ask(routines.update, routine, RoutinePatch(concurrency_policy="cancel_previous"))

    last = app.fire(routine)

    assert [last] == live_runs(app, routine)
    assert [last] * 3 == [app.state(RUN, run).ended.successor_run_id for run in earlier]


def test_what_is_too_much_to_cancel_at_once_is_refused_or_recorded_as_failed(app, monkeypatch):
    monkeypatch.setattr(slots, "MOST_CANCELLED", 2)
    routine = app.routine(concurrency_policy="always_enqueue")
    trigger = app.schedule(routine)
    for _ in range(3):
        app.fire(routine)
    app.ask(routines.update, routine, RoutinePatch(concurrency_policy="cancel_previous"))

    with pytest.raises(RuleViolation, match="may have at most 2: end some first"):
        app.fire(routine)
    app.passes(HOUR)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, hour(app))])

    assert isinstance(outcomes(app)[-1], Failed)
    assert 3 == len(live_runs(app, routine))


def test_of_late_occurrences_under_cancel_previous_only_the_newest_opens_an_issue(app):
    routine = app.routine(concurrency_policy="cancel_previous", catch_up_policy="enqueue_missed_with_cap")
    trigger = app.schedule(routine)
    live = app.fire(routine)
    app.passes(3 * HOUR)

    app.carry_out(schedule_firing.fire_due, [app.due(trigger, hour(app) - 2 * HOUR)])

    latest = run_of_occurrence(trigger, hour(app))
    superseded = Skipped(into_run_id=latest, reason="superseded")
    assert [superseded, superseded, Opened(issue_id=issue_of_run(latest))] == outcomes(app)[1:]
    assert [latest] == live_runs(app, routine)
    assert latest == app.state(RUN, live).ended.successor_run_id


def test_a_run_that_waits_for_its_next_attempt_is_cancelled_by_the_next_run_and_not_tried_again(app):
    policy = RetryPolicyDraft(max_attempts=3, backoff_seconds=600)
    routine = app.routine(concurrency_policy="cancel_previous", retry_policy=policy)
    waits = app.fire(routine)
    failed = IssuePatch(status="cancelled", failure_reason="exit status 3")
    app.ask(issues.update, issue_of_run(waits), failed, None, caller=app.as_agent())
    next_at = app.state(RUN, waits).waiting.next_at

    following = app.fire(routine)
    app.now = next_at
    row = Overdue(id=waits, company_id=app.company, kind="attempt", ends_at=next_at)

    assert 0 == app.carry_out(deadlines.settle, [row])
    assert following == app.state(RUN, waits).ended.successor_run_id
    assert ("cancelled", [following]) == (app.state(ISSUE, issue_of_run(waits)).status, live_runs(app, routine))
    assert ["failed"] == [attempt.outcome for attempt in detail_of(history(app, waits)).attempts]
    assert [] == app.events(RunAttemptBegun)


def history(app, stream_id):
    return app.executor.query(lambda work: work.history(stream_id))


def test_occurrences_that_the_gate_holds_are_not_superseded_by_one_that_it_holds_too(app):
    routine = app.routine(
        concurrency_policy="cancel_previous",
        catch_up_policy="enqueue_missed_with_cap",
        activity_gate_policy="require_external_activity",
    )
    trigger = app.schedule(routine)
    app.passes(3 * HOUR)
    row = app.due(trigger, hour(app) - 2 * HOUR)

    app.carry_out(schedule_firing.fire_due, [replace(row, window=Window(since=app.now - DAY))])

    assert [NO_ACTIVITY] * 3 == outcomes(app)


def test_of_occurrences_that_the_gate_lets_through_the_newest_runs_and_the_others_are_superseded(app):
    routine = app.routine(
        concurrency_policy="cancel_previous",
        catch_up_policy="enqueue_missed_with_cap",
        activity_gate_policy="require_external_activity",
    )
    trigger = app.schedule(routine)
    app.passes(3 * HOUR)
    happened = Activity(id=trigger, event="issue.opened", at=app.now)
    row = app.due(trigger, hour(app) - 2 * HOUR)

    app.carry_out(schedule_firing.fire_due, [replace(row, window=Window(since=app.now - DAY, activity=happened))])

    latest = run_of_occurrence(trigger, hour(app))
    superseded = Skipped(into_run_id=latest, reason="superseded")
    assert [superseded, superseded, Opened(issue_id=issue_of_run(latest))] == outcomes(app)


def test_a_routine_that_calls_a_task_cancels_its_live_trajectory_under_cancel_previous(app):
    collection, _caller = app.collection()
    app.task_routine(app.task(collection))
    [routine] = [id_ for id_ in app.ids(RoutineCreated) if app.state(ROUTINE, id_).settings.call]
    app.ask(routines.update, routine, RoutinePatch(concurrency_policy="cancel_previous"))
    first = app.fire(routine)

    second = app.fire(routine)

    assert [second] == live_runs(app, routine)
    assert second == app.state(RUN, first).ended.successor_run_id
    assert "cancelled" == app.state(TRAJECTORY, trajectory_of_run(first)).status


def test_the_same_idempotency_key_gives_the_same_run(app):
    routine = app.routine(concurrency_policy="always_enqueue")

    first, again, other = (app.fire(routine, idempotency_key=key) for key in ("a", "a", "b"))

    assert first == again != other
    assert 2 == len(app.events(IssueOpened))


def test_a_variable_that_is_required_and_missing_is_refused_by_hand(app):
    routine = app.routine(title="For {{who}}", variables=(VariableDraft(name="who"),))

    with pytest.raises(RuleViolation, match="who"):
        app.fire(routine)


def test_a_routine_that_nobody_works_for_or_that_is_archived_does_not_run(app):
    with pytest.raises(RuleViolation, match="Default agent required"):
        app.fire(app.routine(assignee_agent_id=None))
    archived = app.routine()
    app.ask(routines.update, archived, RoutinePatch(status="archived"))
    with pytest.raises(Conflict):
        app.fire(archived)


def test_agents_fire_their_own_routines_for_themselves(app):
    agent, rover = app.as_agent(), app.another_agent()
    routine = app.routine()

    app.ask(runs.fire_by_hand, routine, RunRequest(), caller=agent)
    with pytest.raises(Forbidden, match="to themselves"):
        app.ask(runs.fire_by_hand, routine, RunRequest(assignee_agent_id=rover), caller=agent)
    with pytest.raises(Forbidden, match="assigned to themselves"):
        app.ask(runs.fire_by_hand, routine, RunRequest(), caller=app.as_agent(rover))


def test_a_trigger_that_is_named_is_the_routines_own_and_enabled(app):
    routine = app.routine()
    trigger = app.ask(triggers.create, routine, ApiDraft()).trigger_id
    by_code = {"source": "api", "trigger_id": trigger}

    app.fire(routine, **by_code)
    with pytest.raises(Forbidden, match="does not belong"):
        app.fire(app.routine(), **by_code)
    app.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    with pytest.raises(Conflict):
        app.fire(routine, **by_code)
    app.ask(triggers.delete, trigger)
    with pytest.raises(NotFound):
        app.fire(routine, **by_code)
