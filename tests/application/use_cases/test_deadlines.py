from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ISSUE, ROUTINE, RUN, SLOT, TRAJECTORY
from application.request_bodies.board import ProjectDraft
from application.request_bodies.issues import Checkout, CommentDraft, IssuePatch
from application.request_bodies.routines import RetryPolicyDraft, RoutinePatch
from application.use_cases import deadlines, revisions, routines, runs
from application.use_cases.board import agents, companies, issues, projects
from application.use_cases.jetty import task_routines
from domain.events import CommentAdded, RunAttemptBegun, RunAttemptFailed, RunCompleted, RunFailed, RunFired
from domain.identity import issue_of_run, revision_of, slot_of
from domain.routines.deadline import Overdue
from domain.routines.run import CANCELLED, TIMED_OUT
from domain.values import Coalesced, Skipped
from projections.firing.run_documents import detail_of
from tests.application.use_cases.installation import DAY, HOUR, MINUTE


def overdue(app, id_, kind="run"):
    return app.carry_out(deadlines.settle, [Overdue(id=id_, company_id=app.company, kind=kind, ends_at=app.now)])


def test_a_run_that_lasts_too_long_fails_its_issue_is_cancelled_and_the_slot_is_free(app):
    routine = app.routine(max_run_duration_sec=3_600)
    run = app.fire(routine)
    app.passes(HOUR)

    assert 1 == overdue(app, run)

    assert RunFailed(reason=TIMED_OUT) == app.state(RUN, run).ended
    assert "cancelled" == app.state(ISSUE, issue_of_run(run)).status
    assert 0 == len(app.state(SLOT, slot_of(routine)).live)
    assert ["maxRunDurationSec" in event.body for event in app.events(CommentAdded)] == [True]


def test_a_run_that_has_ended_meanwhile_is_left_alone(app):
    run = app.fire(app.routine())
    app.finish(run)
    event_count = len(list(app.store.history()))

    assert 0 == overdue(app, run)
    assert event_count == len(list(app.store.history()))


def test_a_call_that_lasts_too_long_ends_with_its_trajectory(app):
    trajectory = app.ask(task_routines.run_now, app.task_routine(app.task(app.collection()[0])))
    run = app.state(TRAJECTORY, trajectory).run_id

    assert [1, 0] == [overdue(app, run) for _ in range(2)]
    assert TIMED_OUT in str(app.state(RUN, run).ended)


def paused(app, routine):
    until = app.now + DAY
    app.ask(routines.update, routine, RoutinePatch(status="paused", resume_at=until))
    app.passes(DAY)
    return Overdue(id=routine, company_id=app.company, kind="pause", ends_at=until)


def test_a_pause_that_is_over_ends_and_one_that_was_changed_does_not(app):
    routine = app.routine()
    row = paused(app, routine)
    app.ask(routines.update, routine, RoutinePatch(resume_at=app.now + HOUR))
    assert 0 == app.carry_out(deadlines.settle, [row])

    assert 1 == app.carry_out(
        deadlines.settle, [Overdue(id=routine, company_id=app.company, kind="pause", ends_at=app.now + HOUR)]
    )
    assert "active" == app.state(ROUTINE, routine).settings.status


def test_without_an_agent_that_can_work_a_routine_stays_paused_and_says_why(app):
    routine = app.routine()
    row = paused(app, routine)
    app.ask(agents.terminate, app.agent)

    assert 1 == app.carry_out(deadlines.settle, [row])

    settings = app.state(ROUTINE, routine).settings
    assert ("paused", None) == (settings.status, settings.resume_at)
    assert settings.pause_note.startswith("Could not be resumed: ")


# Further attempts


TWICE = RetryPolicyDraft(max_attempts=2, backoff_seconds=60)
THRICE = RetryPolicyDraft(max_attempts=3, backoff_seconds=60)


@pytest.fixture
def agent(app):
    return app.as_agent()


def fail(app, run, agent, reason="exit status 3"):
    """The agent takes the issue of the run and reports that its command has failed."""
    session, issue = uuid4(), issue_of_run(run)
    status = app.state(ISSUE, issue).status
    app.ask(
        issues.check_out,
        issue,
        Checkout(agent_id=app.agent, expected_statuses=(status,)),
        session,
        caller=agent,
    )
    app.ask(issues.update, issue, IssuePatch(status="cancelled", failure_reason=reason), session, caller=agent)


def begin_due_attempt(app, run):
    """The scheduler finds that the next attempt is due."""
    row = Overdue(id=run, company_id=app.company, kind="attempt", ends_at=app.state(RUN, run).waiting.next_at)
    return app.carry_out(deadlines.settle, [row])


def run_waiting_for_retry(app, agent, policy=TWICE, **fields):
    """A routine, and a run of it that waits for its second attempt."""
    routine = app.routine(retry_policy=policy, **fields)
    run = app.fire(routine)
    fail(app, run, agent)
    return routine, run


def test_after_a_failure_the_issue_waits_in_the_backlog_and_the_next_attempt_begins_at_its_time(app, agent):
    _, run = run_waiting_for_retry(app, agent)
    assert "backlog" == app.state(ISSUE, issue_of_run(run)).status
    assert app.events(RunAttemptFailed) == [
        RunAttemptFailed(attempt=1, reason="exit status 3", next_at=app.now + MINUTE)
    ]

    app.passes(MINUTE)

    assert 1 == begin_due_attempt(app, run)
    opened = app.state(ISSUE, issue_of_run(run))
    assert ("todo", app.agent) == (opened.status, opened.details.assignee_agent_id)
    assert (2, None) == (app.state(RUN, run).attempt, app.state(RUN, run).ended)


def test_an_attempt_that_was_begun_is_not_begun_again(app, agent):
    _, run = run_waiting_for_retry(app, agent)
    row = Overdue(id=run, company_id=app.company, kind="attempt", ends_at=app.state(RUN, run).waiting.next_at)
    app.passes(MINUTE)

    assert [1, 0] == [app.carry_out(deadlines.settle, [row]) for _ in range(2)]
    assert 1 == len(app.events(RunAttemptBegun))


def test_the_failure_of_the_last_attempt_is_final_and_frees_the_slot(app, agent):
    routine, run = run_waiting_for_retry(app, agent)
    app.passes(MINUTE)
    begin_due_attempt(app, run)

    fail(app, run, agent, "exit status 4")

    assert RunFailed(reason="exit status 4") == app.state(RUN, run).ended
    assert "cancelled" == app.state(ISSUE, issue_of_run(run)).status
    assert () == app.state(SLOT, slot_of(routine)).live


def test_an_attempt_that_succeeds_completes_the_run(app, agent):
    _, run = run_waiting_for_retry(app, agent)
    app.passes(MINUTE)
    begin_due_attempt(app, run)

    app.finish(run)

    assert RunCompleted() == app.state(RUN, run).ended


@pytest.mark.parametrize(("policy", "outcome"), [("skip_if_active", Skipped), ("coalesce_if_active", Coalesced)])
def test_a_firing_between_two_attempts_meets_the_run(app, agent, policy, outcome):
    routine, run = run_waiting_for_retry(app, agent, concurrency_policy=policy)

    other = app.fire(routine)

    assert isinstance(app.state(RUN, other).outcome, outcome)
    assert run == app.state(RUN, other).outcome.into_run_id


def test_a_failure_that_is_reported_again_changes_nothing(app, agent):
    _, run = run_waiting_for_retry(app, agent)
    event_count = len(list(app.store.history()))

    report = IssuePatch(status="cancelled", failure_reason="exit status 3")
    app.ask(issues.update, issue_of_run(run), report, uuid4(), caller=agent)

    assert event_count == len(list(app.store.history()))


def test_a_person_cancels_for_good_while_it_runs_and_while_it_waits(app, agent):
    running = app.fire(app.routine(retry_policy=TWICE))
    _, idle = run_waiting_for_retry(app, agent)

    patch = IssuePatch(status="cancelled", failure_reason="not needed")
    app.ask(issues.update, issue_of_run(running), patch, None)
    app.ask(issues.update, issue_of_run(idle), IssuePatch(status="cancelled"), None)

    assert [RunFailed(reason="not needed"), RunFailed(reason=CANCELLED)] == [
        app.state(RUN, run).ended for run in (running, idle)
    ]
    assert app.state(RUN, idle).waiting is None


def test_an_agent_that_cancels_without_a_reason_gives_up(app, agent):
    run = app.fire(app.routine(retry_policy=TWICE))

    app.ask(issues.update, issue_of_run(run), IssuePatch(status="cancelled"), None, caller=agent)

    assert RunFailed(reason=CANCELLED) == app.state(RUN, run).ended


def test_whoever_moves_the_issue_out_of_the_backlog_begins_the_attempt_early(app, agent):
    _, run = run_waiting_for_retry(app, agent, max_run_duration_sec=3_600)
    row = Overdue(id=run, company_id=app.company, kind="attempt", ends_at=app.state(RUN, run).waiting.next_at)

    app.ask(issues.update, issue_of_run(run), IssuePatch(status="todo"), None)
    app.passes(MINUTE)

    assert 0 == app.carry_out(deadlines.settle, [row])
    assert app.events(RunAttemptBegun) == [
        RunAttemptBegun(attempt=2, issue_id=issue_of_run(run), agent_id=app.agent, deadline=app.now - MINUTE + HOUR)
    ]


def test_the_pause_that_was_cut_short_does_not_end_the_next_one(app, agent):
    _, run = run_waiting_for_retry(app, agent, THRICE)
    row = Overdue(id=run, company_id=app.company, kind="attempt", ends_at=app.state(RUN, run).waiting.next_at)
    app.ask(issues.update, issue_of_run(run), IssuePatch(status="todo"), None)
    fail(app, run, agent)
    app.passes(MINUTE)

    assert 0 == app.carry_out(deadlines.settle, [row])
    assert 2 == app.state(RUN, run).waiting.attempt


def test_work_that_is_done_while_its_run_waits_completes_it(app, agent):
    _, run = run_waiting_for_retry(app, agent)

    app.finish(run)

    assert RunCompleted() == app.state(RUN, run).ended


def test_an_attempt_that_lasts_too_long_is_followed_by_another_with_a_deadline_of_its_own(app):
    run = app.fire(app.routine(retry_policy=TWICE, max_run_duration_sec=3_600))
    first = Overdue(id=run, company_id=app.company, kind="run", ends_at=app.state(RUN, run).deadline)
    app.passes(HOUR)

    assert 1 == app.carry_out(deadlines.settle, [first])
    assert ["tried again" in event.body for event in app.events(CommentAdded)] == [True]
    app.passes(MINUTE)
    begin_due_attempt(app, run)
    assert 0 == app.carry_out(deadlines.settle, [first]), "a row of the first attempt says nothing of the second"
    app.passes(HOUR)
    last = Overdue(id=run, company_id=app.company, kind="run", ends_at=app.state(RUN, run).deadline)

    assert 1 == app.carry_out(deadlines.settle, [last])
    assert RunFailed(reason="timed_out") == app.state(RUN, run).ended


def test_a_timeout_is_final_where_the_policy_is_for_failures_only(app):
    policy = RetryPolicyDraft(max_attempts=3, retry_on=("failure",))
    run = app.fire(app.routine(retry_policy=policy, max_run_duration_sec=3_600))
    app.passes(HOUR)

    app.carry_out(deadlines.settle, [Overdue(id=run, company_id=app.company, kind="run", ends_at=app.now)])

    assert RunFailed(reason="timed_out") == app.state(RUN, run).ended


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        (lambda app, routine: app.ask(routines.update, routine, RoutinePatch(status="paused")), "not active"),
        (lambda app, routine: app.ask(routines.update, routine, RoutinePatch(status="archived")), "not active"),
        (lambda app, _routine: app.ask(agents.pause, app.agent, "manual"), "agent cannot work"),
        (lambda app, _routine: app.ask(agents.terminate, app.agent), "agent cannot work"),
        (lambda app, _routine: app.ask(projects.pause, app.project), "project is paused"),
        (lambda app, _routine: app.ask(companies.archive, app.company), "company is archived"),
    ],
    ids=["paused", "archived", "agent-paused", "agent-terminated", "project-paused", "company-archived"],
)
def test_an_attempt_is_not_made_where_its_routine_could_not_fire_either(app, agent, obstacle, words):
    app.project = app.ask(projects.create, app.company, ProjectDraft(name="Move"))
    routine, run = run_waiting_for_retry(app, agent, project_id=app.project)
    obstacle(app, routine)
    app.passes(MINUTE)

    assert 1 == begin_due_attempt(app, run)

    reason = app.state(RUN, run).ended.reason
    assert reason.startswith("exit status 3 (attempt 2 was not made: ")
    assert words in reason
    assert "cancelled" == app.state(ISSUE, issue_of_run(run)).status
    assert () == app.state(SLOT, slot_of(routine)).live


def test_a_run_keeps_the_policy_that_it_was_fired_with(app, agent):
    routine, run = run_waiting_for_retry(app, agent, policy=THRICE)
    app.ask(routines.update, routine, RoutinePatch(retry_policy=None))
    app.passes(MINUTE)
    begin_due_attempt(app, run)

    fail(app, run, agent)

    assert app.state(RUN, run).waiting.attempt == 2
    later = app.fire(app.routine())
    assert app.state(RUN, later).retry is None


def test_a_restored_revision_has_its_policy_again(app):
    routine = app.routine(retry_policy=THRICE)
    app.ask(routines.update, routine, RoutinePatch(retry_policy=None))

    app.ask(revisions.restore, routine, revision_of(routine, 1))

    assert app.state(RUN, app.fire(routine)).retry == THRICE.value()


def test_a_run_shows_its_attempts_and_when_the_next_one_begins(app, agent):
    _, run = run_waiting_for_retry(app, agent)
    read = lambda: detail_of(app.ask(runs.read, run))  # noqa: E731
    between = read()
    app.passes(MINUTE)
    begin_due_attempt(app, run)
    app.finish(run)

    assert ("issue_created", 1, 2) == (between.status, between.attempt, between.max_attempts)
    assert between.next_attempt_at == "2026-03-02T12:01:30.000Z"
    new_state = read()
    assert ("completed", 2, None) == (new_state.status, new_state.attempt, new_state.next_attempt_at)
    assert [("failed", "exit status 3"), ("completed", None)] == [
        (attempt.outcome, attempt.reason) for attempt in new_state.attempts
    ]


def test_a_comment_and_the_status_that_it_has_do_not_begin_an_attempt(app, agent):
    _, run = run_waiting_for_retry(app, agent)

    app.ask(issues.comment, issue_of_run(run), CommentDraft(body="later"), None)
    app.ask(issues.update, issue_of_run(run), IssuePatch(status="backlog"), None)

    assert app.state(RUN, run).waiting is not None
    assert 1 == len(app.events(RunFired))
