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
from projections.firing.run_history import detail_of
from tests.application.use_cases.installation import DAY, HOUR, MINUTE


def overdue(here, id_, kind="run"):
    return here.carry_out(deadlines.settle, [Overdue(id=id_, kind=kind, ends_at=here.now)])


def test_a_run_that_lasts_too_long_fails_its_issue_is_cancelled_and_the_slot_is_free(here):
    routine = here.routine(max_run_duration_sec=3_600)
    run = here.fire(routine)
    here.passes(HOUR)

    assert 1 == overdue(here, run)

    assert RunFailed(reason=TIMED_OUT) == here.state(RUN, run).ended
    assert "cancelled" == here.state(ISSUE, issue_of_run(run)).status
    assert 0 == len(here.state(SLOT, slot_of(routine)).live)
    assert ["maxRunDurationSec" in event.body for event in here.events(CommentAdded)] == [True]


def test_a_run_that_has_ended_meanwhile_is_left_alone(here):
    run = here.fire(here.routine())
    here.finish(run)
    before = len(list(here.store.history()))

    assert 0 == overdue(here, run)
    assert before == len(list(here.store.history()))


def test_a_call_that_lasts_too_long_ends_with_its_trajectory(here):
    trajectory = here.ask(task_routines.run_now, here.task_routine(here.task(here.collection()[0])))
    run = here.state(TRAJECTORY, trajectory).run_id

    assert [1, 0] == [overdue(here, run) for _ in range(2)]
    assert TIMED_OUT in str(here.state(RUN, run).ended)


def paused(here, routine):
    until = here.now + DAY
    here.ask(routines.update, routine, RoutinePatch(status="paused", resume_at=until))
    here.passes(DAY)
    return Overdue(id=routine, kind="pause", ends_at=until)


def test_a_pause_that_is_over_ends_and_one_that_was_changed_does_not(here):
    routine = here.routine()
    row = paused(here, routine)
    here.ask(routines.update, routine, RoutinePatch(resume_at=here.now + HOUR))
    assert 0 == here.carry_out(deadlines.settle, [row])

    assert 1 == here.carry_out(deadlines.settle, [Overdue(id=routine, kind="pause", ends_at=here.now + HOUR)])
    assert "active" == here.state(ROUTINE, routine).settings.status


def test_without_an_agent_that_can_work_a_routine_stays_paused_and_says_why(here):
    routine = here.routine()
    row = paused(here, routine)
    here.ask(agents.terminate, here.agent)

    assert 1 == here.carry_out(deadlines.settle, [row])

    settings = here.state(ROUTINE, routine).settings
    assert ("paused", None) == (settings.status, settings.resume_at)
    assert settings.pause_note.startswith("Could not be resumed: ")


# Further attempts


TWICE = RetryPolicyDraft(max_attempts=2, backoff_seconds=60)
THRICE = RetryPolicyDraft(max_attempts=3, backoff_seconds=60)


@pytest.fixture
def agent(here):
    return here.as_agent()


def fail(here, run, agent, reason="exit status 3"):
    """The agent takes the issue of the run and reports that its command has failed."""
    session, issue = uuid4(), issue_of_run(run)
    status = here.state(ISSUE, issue).status
    here.ask(
        issues.check_out,
        issue,
        Checkout(agent_id=here.agent, expected_statuses=(status,)),
        session,
        caller=agent,
    )
    here.ask(issues.update, issue, IssuePatch(status="cancelled", failure_reason=reason), session, caller=agent)


def due(here, run):
    """The scheduler finds that the next attempt is due."""
    row = Overdue(id=run, kind="attempt", ends_at=here.state(RUN, run).waiting.next_at)
    return here.carry_out(deadlines.settle, [row])


def waiting(here, agent, policy=TWICE, **fields):
    """A routine, and a run of it that waits for its second attempt."""
    routine = here.routine(retry_policy=policy, **fields)
    run = here.fire(routine)
    fail(here, run, agent)
    return routine, run


def test_after_a_failure_the_issue_waits_in_the_backlog_and_the_next_attempt_begins_at_its_time(here, agent):
    _, run = waiting(here, agent)
    assert "backlog" == here.state(ISSUE, issue_of_run(run)).status
    assert here.events(RunAttemptFailed) == [
        RunAttemptFailed(attempt=1, reason="exit status 3", next_at=here.now + MINUTE)
    ]

    here.passes(MINUTE)

    assert 1 == due(here, run)
    opened = here.state(ISSUE, issue_of_run(run))
    assert ("todo", here.agent) == (opened.status, opened.details.assignee_agent_id)
    assert (2, None) == (here.state(RUN, run).attempt, here.state(RUN, run).ended)


def test_an_attempt_that_was_begun_is_not_begun_again(here, agent):
    _, run = waiting(here, agent)
    row = Overdue(id=run, kind="attempt", ends_at=here.state(RUN, run).waiting.next_at)
    here.passes(MINUTE)

    assert [1, 0] == [here.carry_out(deadlines.settle, [row]) for _ in range(2)]
    assert 1 == len(here.events(RunAttemptBegun))


def test_the_failure_of_the_last_attempt_is_final_and_frees_the_slot(here, agent):
    routine, run = waiting(here, agent)
    here.passes(MINUTE)
    due(here, run)

    fail(here, run, agent, "exit status 4")

    assert RunFailed(reason="exit status 4") == here.state(RUN, run).ended
    assert "cancelled" == here.state(ISSUE, issue_of_run(run)).status
    assert () == here.state(SLOT, slot_of(routine)).live


def test_an_attempt_that_succeeds_completes_the_run(here, agent):
    _, run = waiting(here, agent)
    here.passes(MINUTE)
    due(here, run)

    here.finish(run)

    assert RunCompleted() == here.state(RUN, run).ended


@pytest.mark.parametrize(("policy", "outcome"), [("skip_if_active", Skipped), ("coalesce_if_active", Coalesced)])
def test_a_firing_between_two_attempts_meets_the_run(here, agent, policy, outcome):
    routine, run = waiting(here, agent, concurrency_policy=policy)

    other = here.fire(routine)

    assert isinstance(here.state(RUN, other).outcome, outcome)
    assert run == here.state(RUN, other).outcome.into_run_id


def test_a_failure_that_is_reported_again_changes_nothing(here, agent):
    _, run = waiting(here, agent)
    before = len(list(here.store.history()))

    report = IssuePatch(status="cancelled", failure_reason="exit status 3")
    here.ask(issues.update, issue_of_run(run), report, uuid4(), caller=agent)

    assert before == len(list(here.store.history()))


def test_a_person_cancels_for_good_while_it_runs_and_while_it_waits(here, agent):
    running = here.fire(here.routine(retry_policy=TWICE))
    _, idle = waiting(here, agent)

    patch = IssuePatch(status="cancelled", failure_reason="not needed")
    here.ask(issues.update, issue_of_run(running), patch, None)
    here.ask(issues.update, issue_of_run(idle), IssuePatch(status="cancelled"), None)

    assert [RunFailed(reason="not needed"), RunFailed(reason=CANCELLED)] == [
        here.state(RUN, run).ended for run in (running, idle)
    ]
    assert here.state(RUN, idle).waiting is None


def test_an_agent_that_cancels_without_a_reason_gives_up(here, agent):
    run = here.fire(here.routine(retry_policy=TWICE))

    here.ask(issues.update, issue_of_run(run), IssuePatch(status="cancelled"), None, caller=agent)

    assert RunFailed(reason=CANCELLED) == here.state(RUN, run).ended


def test_whoever_moves_the_issue_out_of_the_backlog_begins_the_attempt_early(here, agent):
    _, run = waiting(here, agent, max_run_duration_sec=3_600)
    row = Overdue(id=run, kind="attempt", ends_at=here.state(RUN, run).waiting.next_at)

    here.ask(issues.update, issue_of_run(run), IssuePatch(status="todo"), None)
    here.passes(MINUTE)

    assert 0 == here.carry_out(deadlines.settle, [row])
    assert here.events(RunAttemptBegun) == [
        RunAttemptBegun(attempt=2, issue_id=issue_of_run(run), agent_id=here.agent, deadline=here.now - MINUTE + HOUR)
    ]


def test_work_that_is_done_while_its_run_waits_completes_it(here, agent):
    _, run = waiting(here, agent)

    here.finish(run)

    assert RunCompleted() == here.state(RUN, run).ended


def test_an_attempt_that_lasts_too_long_is_followed_by_another_with_a_deadline_of_its_own(here):
    run = here.fire(here.routine(retry_policy=TWICE, max_run_duration_sec=3_600))
    first = Overdue(id=run, kind="run", ends_at=here.state(RUN, run).deadline)
    here.passes(HOUR)

    assert 1 == here.carry_out(deadlines.settle, [first])
    assert ["tried again" in event.body for event in here.events(CommentAdded)] == [True]
    here.passes(MINUTE)
    due(here, run)
    assert 0 == here.carry_out(deadlines.settle, [first]), "a row of the first attempt says nothing of the second"
    here.passes(HOUR)
    last = Overdue(id=run, kind="run", ends_at=here.state(RUN, run).deadline)

    assert 1 == here.carry_out(deadlines.settle, [last])
    assert RunFailed(reason="timed_out") == here.state(RUN, run).ended


def test_a_timeout_is_final_where_the_policy_is_for_failures_only(here):
    policy = RetryPolicyDraft(max_attempts=3, retry_on=("failure",))
    run = here.fire(here.routine(retry_policy=policy, max_run_duration_sec=3_600))
    here.passes(HOUR)

    here.carry_out(deadlines.settle, [Overdue(id=run, kind="run", ends_at=here.now)])

    assert RunFailed(reason="timed_out") == here.state(RUN, run).ended


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        (lambda here, routine: here.ask(routines.update, routine, RoutinePatch(status="paused")), "not active"),
        (lambda here, routine: here.ask(routines.update, routine, RoutinePatch(status="archived")), "not active"),
        (lambda here, _routine: here.ask(agents.pause, here.agent, "manual"), "agent cannot work"),
        (lambda here, _routine: here.ask(agents.terminate, here.agent), "agent cannot work"),
        (lambda here, _routine: here.ask(projects.pause, here.project), "project is paused"),
        (lambda here, _routine: here.ask(companies.archive, here.company), "company is archived"),
    ],
    ids=["paused", "archived", "agent-paused", "agent-terminated", "project-paused", "company-archived"],
)
def test_an_attempt_is_not_made_where_its_routine_could_not_fire_either(here, agent, obstacle, words):
    here.project = here.ask(projects.create, here.company, ProjectDraft(name="Move"))
    routine, run = waiting(here, agent, project_id=here.project)
    obstacle(here, routine)
    here.passes(MINUTE)

    assert 1 == due(here, run)

    reason = here.state(RUN, run).ended.reason
    assert reason.startswith("exit status 3 (attempt 2 was not made: ")
    assert words in reason
    assert "cancelled" == here.state(ISSUE, issue_of_run(run)).status
    assert () == here.state(SLOT, slot_of(routine)).live


def test_a_run_keeps_the_policy_that_it_was_fired_with(here, agent):
    routine, run = waiting(here, agent, policy=THRICE)
    here.ask(routines.update, routine, RoutinePatch(retry_policy=None))
    here.passes(MINUTE)
    due(here, run)

    fail(here, run, agent)

    assert here.state(RUN, run).waiting.attempt == 2
    later = here.fire(here.routine())
    assert here.state(RUN, later).retry is None


def test_a_restored_revision_has_its_policy_again(here):
    routine = here.routine(retry_policy=THRICE)
    here.ask(routines.update, routine, RoutinePatch(retry_policy=None))

    here.ask(revisions.restore, routine, revision_of(routine, 1))

    assert here.state(RUN, here.fire(routine)).retry == THRICE.value()


def test_a_run_shows_its_attempts_and_when_the_next_one_begins(here, agent):
    _, run = waiting(here, agent)
    read = lambda: detail_of(here.ask(runs.read, run))  # noqa: E731
    between = read()
    here.passes(MINUTE)
    due(here, run)
    here.finish(run)

    assert ("issue_created", 1, 2) == (between.status, between.attempt, between.max_attempts)
    assert between.next_attempt_at == "2026-03-02T12:01:30.000Z"
    after = read()
    assert ("completed", 2, None) == (after.status, after.attempt, after.next_attempt_at)
    assert [("failed", "exit status 3"), ("completed", None)] == [
        (attempt.outcome, attempt.reason) for attempt in after.attempts
    ]


def test_a_comment_does_not_begin_an_attempt(here, agent):
    _, run = waiting(here, agent)

    here.ask(issues.comment, issue_of_run(run), CommentDraft(body="later"), None)

    assert here.state(RUN, run).waiting is not None
    assert 1 == len(here.events(RunFired))
