from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain.errors import ImpossibleHistory, RuleViolation
from domain.events import RunAttemptBegun, RunAttemptFailed, RunCompleted, RunFailed, RunFired
from domain.identity import issue_of_run
from domain.routines import retry, routine, run
from domain.routines.routine import Routine
from domain.values import Cadence, Opened, RetryPolicy, RoutineSettings, TaskCall

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RUN = uuid4()
POLICY = RetryPolicy(max_attempts=3, backoff_seconds=60)


def state_after(*events, policy=POLICY, deadline=None):
    outcome = Opened(issue_id=issue_of_run(RUN))
    fired = RunFired(routine_id=uuid4(), revision=1, source="manual", outcome=outcome, retry=policy, deadline=deadline)
    state = run.evolve(None, fired)
    for event in events:
        state = run.evolve(state, event)
    return state


def attempt_failed(attempt):
    return RunAttemptFailed(attempt=attempt, reason="exit status 3", next_at=NOW)


def attempt_begun(attempt):
    return RunAttemptBegun(attempt=attempt, issue_id=issue_of_run(RUN))


def test_each_pause_is_longer_by_the_factor_up_to_the_longest_one():
    policy = RetryPolicy(max_attempts=6, backoff_seconds=60, backoff_factor=3, max_backoff_seconds=1_000)

    pauses = [retry.next_at(policy, attempt, "failure", NOW) for attempt in range(1, 7)]

    seconds = [None if moment is None else (moment - NOW) / timedelta(seconds=1) for moment in pauses]
    assert seconds == [60, 180, 540, 1_000, 1_000, None]


def test_only_the_causes_that_the_policy_names_are_followed_by_another_attempt():
    policy = RetryPolicy(max_attempts=3, backoff_seconds=60, retry_on=("timed_out",))

    assert retry.next_at(policy, 1, "failure", NOW) is None
    assert retry.next_at(policy, 1, "timed_out", NOW) == NOW + timedelta(minutes=1)


def test_without_a_policy_a_failure_is_final():
    assert run.postpone(state_after(policy=None), "failure", "exit status 3", NOW) is None


def test_a_failure_that_is_reported_twice_is_one():
    waiting = state_after(attempt_failed(1))

    assert [] == run.postpone(waiting, "failure", "exit status 3", NOW)
    assert [attempt_failed(1)] == [waiting.waiting]


def test_the_last_attempt_has_no_successor():
    last = state_after(attempt_failed(1), attempt_begun(2), attempt_failed(2), attempt_begun(3))

    assert 3 == last.attempt
    assert run.postpone(last, "failure", "exit status 3", NOW) is None


def test_a_run_that_does_not_wait_begins_no_attempt_and_gives_none_up():
    assert [] == run.begin_attempt(state_after(), RUN, None, None)
    assert [] == run.give_up(state_after(), "the routine is not active")


def test_an_attempt_that_is_not_made_says_why_and_what_had_failed():
    events = run.give_up(state_after(attempt_failed(1)), "the routine is not active")

    assert events == [RunFailed(reason="exit status 3 (attempt 2 was not made: the routine is not active)")]


def test_a_run_that_ended_while_it_waited_is_not_tried_again():
    ended = state_after(attempt_failed(1), RunCompleted())

    assert ended.waiting is None
    assert [] == run.begin_attempt(ended, RUN, None, None)


def test_a_run_that_waits_for_its_next_attempt_or_has_ended_has_no_deadline():
    assert NOW == state_after(deadline=NOW).deadline
    for event in (attempt_failed(1), RunCompleted(), RunFailed(reason="exit status 3")):
        assert state_after(event, deadline=NOW).deadline is None


@pytest.mark.parametrize(
    "events",
    [
        (attempt_begun(2),),
        (attempt_failed(2),),
        (attempt_failed(1), attempt_failed(1)),
        (attempt_failed(1), attempt_begun(3)),
    ],
)
def test_attempts_follow_each_other_without_gaps(events):
    with pytest.raises(ImpossibleHistory):
        state_after(*events)


def test_a_routine_that_calls_a_task_has_no_policy():
    call = TaskCall(task_id=uuid4(), name="nightly", cadence=Cadence(type="manual"))
    settings = RoutineSettings(title="Check", call=call)

    with pytest.raises(RuleViolation, match="retryPolicy"):
        routine.update(Routine(settings=settings), RoutineSettings(title="Check", call=call, retry_policy=POLICY))
