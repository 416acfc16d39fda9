import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import ISSUE, ROUTINE, RUN, TRAJECTORY
from application.request_bodies.board import ProjectDraft
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RetryPolicyDraft, RoutinePatch, RunRequest, VariableDraft
from application.request_bodies.triggers import ApiDraft, TriggerPatch
from application.use_cases import deadlines, routines, runs, slots, triggers
from application.use_cases.board import agents, issues, projects
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.events import (
    AgentCreated,
    CommentAdded,
    IssueMoved,
    IssueOpened,
    RoutineCreated,
    RunAttemptBegun,
    RunFailed,
    RunFired,
    SlotFreed,
    SlotTaken,
    TriggerMissed,
)
from domain.identity import FIRST_USER, issue_of_run, run_of_occurrence, trajectory_of_run
from domain.routines.activity_gate import NO_ACTIVITY, Activity, Window
from domain.routines.deadline import Overdue
from domain.routines.firing import NOT_INVOKABLE, PROJECT_PAUSED
from domain.values import Coalesced, Failed, Opened, Skipped
from projections.firing.run_history import detail_of
from tests.application.use_cases.installation import DAY, HOUR, MINUTE


def outcomes(here):
    return [event.outcome for event in here.events(RunFired)]


def hour(here):
    return here.now.replace(minute=0, second=0)


def test_a_run_opens_an_issue_for_the_agent_in_the_name_of_who_fired_it(here):
    run = here.fire(here.routine(title="For {{who}}", variables=(VariableDraft(name="who"),)), variables={"who": "Zo"})

    issue = here.state(ISSUE, issue_of_run(run))
    assert ("For Zo", here.agent, "todo") == (issue.details.title, issue.details.assignee_agent_id, issue.status)
    assert [FIRST_USER] == [event.created_by_user_id for event in here.events(IssueOpened)]


@pytest.mark.parametrize(
    ("policy", "second"),
    [("coalesce_if_active", Coalesced), ("skip_if_active", Skipped), ("always_enqueue", Opened)],
)
def test_while_an_issue_is_open_the_policy_says_what_becomes_of_the_next_run(here, policy, second):
    routine = here.routine(concurrency_policy=policy)
    first = here.fire(routine)
    here.fire(routine)
    assert [Opened, second] == list(map(type, outcomes(here)))

    here.finish(first)
    if policy != "always_enqueue":
        here.fire(routine)
        assert Opened is type(outcomes(here)[-1])


def live_runs(here, routine):
    return [one.run_id for one in here.executor.query(lambda work: slots.read_slot(work, routine)).live]


def test_under_cancel_previous_the_next_run_cancels_the_live_one_in_its_own_commit(here):
    routine = here.routine(concurrency_policy="cancel_previous")
    first = here.fire(routine)
    before = here.store.head()

    second = here.fire(routine)

    assert [Opened, Opened] == list(map(type, outcomes(here)))
    assert [second] == live_runs(here, routine)
    ended = here.state(RUN, first).ended
    assert (f"Cancelled by the next run of its routine, {second}", second) == (ended.reason, ended.successor_run_id)
    assert ("cancelled", "todo") == tuple(here.state(ISSUE, issue_of_run(run)).status for run in (first, second))
    [comment] = here.events(CommentAdded)
    assert issue_of_run(first) == comment.issue_id
    assert str(second) in comment.body
    names = [type(recorded.event) for recorded in here.store.history() if recorded.position > before]
    assert [IssueMoved, RunFailed, CommentAdded, SlotFreed, RunFired, SlotTaken, IssueOpened] == names


def test_a_firing_that_opens_nothing_cancels_nothing(here):
    routine = here.routine(concurrency_policy="cancel_previous")
    first = here.fire(routine)
    here.ask(agents.pause, here.agent, "holiday")

    here.fire(routine)

    assert Failed(reason=NOT_INVOKABLE) == outcomes(here)[-1]
    assert [first] == live_runs(here, routine)


def test_under_cancel_previous_nothing_is_cancelled_that_has_ended(here):
    routine = here.routine(concurrency_policy="cancel_previous")
    here.finish(here.fire(routine))

    here.fire(routine)

    assert [] == here.events(RunFailed)
    assert [] == here.events(CommentAdded)


def test_a_change_to_cancel_previous_lets_the_next_run_cancel_all_that_is_live(here):
    routine = here.routine(concurrency_policy="always_enqueue")
    earlier = [here.fire(routine) for _ in range(3)]
    here.ask(routines.update, routine, RoutinePatch(concurrency_policy="cancel_previous"))

    last = here.fire(routine)

    assert [last] == live_runs(here, routine)
    assert [last] * 3 == [here.state(RUN, run).ended.successor_run_id for run in earlier]


def test_what_is_too_much_to_cancel_at_once_is_refused_or_recorded_as_failed(here, monkeypatch):
    monkeypatch.setattr(slots, "MOST_CANCELLED", 2)
    routine = here.routine(concurrency_policy="always_enqueue")
    trigger = here.schedule(routine)
    for _ in range(3):
        here.fire(routine)
    here.ask(routines.update, routine, RoutinePatch(concurrency_policy="cancel_previous"))

    with pytest.raises(RuleViolation, match="may have at most 2: end some first"):
        here.fire(routine)
    here.passes(HOUR)
    here.carry_out(runs.fire_due, [here.due(trigger, hour(here))])

    assert isinstance(outcomes(here)[-1], Failed)
    assert 3 == len(live_runs(here, routine))


def test_of_late_occurrences_under_cancel_previous_only_the_newest_opens_an_issue(here):
    routine = here.routine(concurrency_policy="cancel_previous", catch_up_policy="enqueue_missed_with_cap")
    trigger = here.schedule(routine)
    live = here.fire(routine)
    here.passes(3 * HOUR)

    here.carry_out(runs.fire_due, [here.due(trigger, hour(here) - 2 * HOUR)])

    latest = run_of_occurrence(trigger, hour(here))
    superseded = Skipped(into_run_id=latest, reason="superseded")
    assert [superseded, superseded, Opened(issue_id=issue_of_run(latest))] == outcomes(here)[1:]
    assert [latest] == live_runs(here, routine)
    assert latest == here.state(RUN, live).ended.successor_run_id


def test_a_run_that_waits_for_its_next_attempt_is_cancelled_by_the_next_run_and_not_tried_again(here):
    policy = RetryPolicyDraft(max_attempts=3, backoff_seconds=600)
    routine = here.routine(concurrency_policy="cancel_previous", retry_policy=policy)
    waits = here.fire(routine)
    failed = IssuePatch(status="cancelled", failure_reason="exit status 3")
    here.ask(issues.update, issue_of_run(waits), failed, None, caller=here.as_agent())
    next_at = here.state(RUN, waits).waiting.next_at

    following = here.fire(routine)
    here.now = next_at
    row = Overdue(id=waits, kind="attempt", ends_at=next_at)

    assert 0 == here.carry_out(deadlines.settle, [row])
    assert following == here.state(RUN, waits).ended.successor_run_id
    assert ("cancelled", [following]) == (here.state(ISSUE, issue_of_run(waits)).status, live_runs(here, routine))
    assert ["failed"] == [attempt.outcome for attempt in detail_of(history(here, waits)).attempts]
    assert [] == here.events(RunAttemptBegun)


def history(here, stream_id):
    return here.executor.query(lambda work: work.history(stream_id))


def test_occurrences_that_the_gate_holds_are_not_superseded_by_one_that_it_holds_too(here):
    routine = here.routine(
        concurrency_policy="cancel_previous",
        catch_up_policy="enqueue_missed_with_cap",
        activity_gate_policy="require_external_activity",
    )
    trigger = here.schedule(routine)
    here.passes(3 * HOUR)
    row = here.due(trigger, hour(here) - 2 * HOUR)

    here.carry_out(runs.fire_due, [replace(row, window=Window(since=here.now - DAY))])

    assert [NO_ACTIVITY] * 3 == outcomes(here)


def test_of_occurrences_that_the_gate_lets_through_the_newest_runs_and_the_others_are_superseded(here):
    routine = here.routine(
        concurrency_policy="cancel_previous",
        catch_up_policy="enqueue_missed_with_cap",
        activity_gate_policy="require_external_activity",
    )
    trigger = here.schedule(routine)
    here.passes(3 * HOUR)
    happened = Activity(id=trigger, event="issue.opened", at=here.now)
    row = here.due(trigger, hour(here) - 2 * HOUR)

    here.carry_out(runs.fire_due, [replace(row, window=Window(since=here.now - DAY, activity=happened))])

    latest = run_of_occurrence(trigger, hour(here))
    superseded = Skipped(into_run_id=latest, reason="superseded")
    assert [superseded, superseded, Opened(issue_id=issue_of_run(latest))] == outcomes(here)


def test_a_routine_that_calls_a_task_cancels_its_live_trajectory_under_cancel_previous(here):
    collection, _caller = here.collection()
    here.task_routine(here.task(collection))
    [routine] = [id_ for id_ in here.ids(RoutineCreated) if here.state(ROUTINE, id_).settings.call]
    here.ask(routines.update, routine, RoutinePatch(concurrency_policy="cancel_previous"))
    first = here.fire(routine)

    second = here.fire(routine)

    assert [second] == live_runs(here, routine)
    assert second == here.state(RUN, first).ended.successor_run_id
    assert "cancelled" == here.state(TRAJECTORY, trajectory_of_run(first)).status


def test_the_same_idempotency_key_gives_the_same_run(here):
    routine = here.routine(concurrency_policy="always_enqueue")

    first, again, other = (here.fire(routine, idempotency_key=key) for key in ("a", "a", "b"))

    assert first == again != other
    assert 2 == len(here.events(IssueOpened))


def test_a_variable_that_is_required_and_missing_is_refused_by_hand(here):
    routine = here.routine(title="For {{who}}", variables=(VariableDraft(name="who"),))

    with pytest.raises(RuleViolation, match="who"):
        here.fire(routine)


def test_a_routine_that_nobody_works_for_or_that_is_archived_does_not_run(here):
    with pytest.raises(RuleViolation, match="Default agent required"):
        here.fire(here.routine(assignee_agent_id=None))
    archived = here.routine()
    here.ask(routines.update, archived, RoutinePatch(status="archived"))
    with pytest.raises(Conflict):
        here.fire(archived)


def test_agents_fire_their_own_routines_for_themselves(here):
    agent, rover = here.as_agent(), here.another_agent()
    routine = here.routine()

    here.ask(runs.fire_by_hand, routine, RunRequest(), caller=agent)
    with pytest.raises(Forbidden, match="to themselves"):
        here.ask(runs.fire_by_hand, routine, RunRequest(assignee_agent_id=rover), caller=agent)
    with pytest.raises(Forbidden, match="assigned to themselves"):
        here.ask(runs.fire_by_hand, routine, RunRequest(), caller=here.as_agent(rover))


def test_a_trigger_that_is_named_is_the_routines_own_and_enabled(here):
    routine = here.routine()
    trigger = here.ask(triggers.create, routine, ApiDraft()).trigger_id
    by_code = {"source": "api", "trigger_id": trigger}

    here.fire(routine, **by_code)
    with pytest.raises(Forbidden, match="does not belong"):
        here.fire(here.routine(), **by_code)
    here.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    with pytest.raises(Conflict):
        here.fire(routine, **by_code)
    here.ask(triggers.delete, trigger)
    with pytest.raises(NotFound):
        here.fire(routine, **by_code)


def test_an_occurrence_is_settled_once_whoever_comes_second(here):
    trigger = here.schedule(here.routine())
    here.passes(HOUR)
    row = here.due(trigger, hour(here))

    assert [1, 0] == [here.carry_out(runs.fire_due, [row]) for _ in range(2)]
    assert here.state(RUN, run_of_occurrence(trigger, hour(here))) is not None


def test_what_is_too_late_is_missed_and_one_event_says_so(here):
    trigger = here.schedule(here.routine())
    first = hour(here) + HOUR
    here.passes(4 * HOUR)

    here.carry_out(runs.fire_due, [here.due(trigger, first)])

    assert [3] == [event.count for event in here.events(TriggerMissed)]
    assert 1 == len(here.events(RunFired))


def test_nothing_fires_while_the_routine_is_paused_and_what_waited_is_missed_when_it_is_archived(here):
    routine = here.routine()
    trigger = here.schedule(routine)
    here.passes(HOUR)
    row = here.due(trigger, hour(here))
    here.ask(routines.update, routine, RoutinePatch(status="paused"))

    assert 0 == here.carry_out(runs.fire_due, [row])
    here.ask(routines.update, routine, RoutinePatch(status="archived"))

    assert [] == outcomes(here)
    assert ["archived"] == [event.reason for event in here.events(TriggerMissed)]


def test_a_scheduled_run_that_cannot_open_an_issue_says_why(here):
    project = here.ask(projects.create, here.company, ProjectDraft(name="Moon"))
    paused, asleep = here.routine(project_id=project), here.routine(assignee_agent_id=here.another_agent())
    vague = here.routine(title="For {{who}}", variables=(VariableDraft(name="who", default_value="all"),))
    rows = [here.schedule(routine) for routine in (paused, asleep, vague)]
    here.ask(projects.pause, project)
    here.ask(agents.pause, here.ids(AgentCreated)[-1], "holiday")
    here.passes(HOUR)

    here.carry_out(runs.fire_due, [here.due(trigger, hour(here)) for trigger in rows])

    assert [PROJECT_PAUSED, Failed(reason=NOT_INVOKABLE), Opened] == [
        outcome if not isinstance(outcome, Opened) else Opened for outcome in outcomes(here)
    ]


def test_what_cannot_be_carried_out_is_recorded_as_failed_and_the_schedule_goes_on(here):
    trigger = here.schedule(here.routine())
    here.passes(HOUR)
    row = here.due(trigger, hour(here))

    assert [1, 0] == [here.carry_out(runs.fail_due, [row], "it breaks") for _ in range(2)]

    [fired] = here.events(RunFired)
    assert fired.outcome == Failed(reason="The occurrence could not be carried out: it breaks")
    assert hour(here) + HOUR == fired.next_at
    assert here.now - fired.occurrence < MINUTE
