"""A run: one firing of a routine, from the moment it was received to its end (contract 5.3)."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import asdict, replace

from domain.errors import Conflict, ImpossibleHistory
from domain.events import RunAttemptBegun, RunAttemptFailed, RunCompleted, RunEvent, RunFailed, RunFired, RunReported
from domain.identity import issue_of_run
from domain.routines import retry
from domain.values import (
    Coalesced,
    ConcurrencyPolicy,
    FailureCause,
    IssueStatus,
    LiveWork,
    Opened,
    Outcome,
    RetryPolicy,
    Skipped,
    Started,
    TrajectoryStatus,
    Value,
)

CANCELLED = "Execution issue moved to cancelled"
TIMED_OUT: FailureCause = "timed_out"


class Run(Value, frozen=True):
    """The state of a run: the outcome of its firing, which attempt it has come to, and how it ended if it has."""

    routine_id: UUID
    outcome: Outcome
    ended: RunCompleted | RunFailed | None = None
    retry: RetryPolicy | None = None
    attempt: int = 1
    deadline: datetime | None = None  # when the present attempt is to have ended
    waiting: RunAttemptFailed | None = None  # the failure after which it waits for the next attempt
    chain_depth: int = 0
    report: RunReported = RunReported()  # for each field, the newest value that was reported


def evolve(run: Run | None, event: RunEvent) -> Run:
    """Fold an event into the state of a run. Raise ImpossibleHistory if the event cannot follow."""
    match run, event:
        case None, RunFired(routine_id=routine_id, outcome=outcome, retry=policy, deadline=deadline, chain_depth=depth):
            return Run(routine_id=routine_id, outcome=outcome, retry=policy, deadline=deadline, chain_depth=depth)
        case Run(outcome=Opened() | Started()), RunCompleted() | RunFailed():
            return replace(run, ended=event, waiting=None, deadline=None)
        case Run(outcome=Opened(), ended=None, waiting=None, attempt=attempt), RunAttemptFailed(
            attempt=failed_attempt
        ) if failed_attempt == attempt:
            return replace(run, waiting=event, deadline=None)
        case Run(waiting=RunAttemptFailed(), attempt=attempt), RunAttemptBegun(
            attempt=begun_attempt, deadline=deadline
        ) if begun_attempt == attempt + 1:
            return replace(run, attempt=begun_attempt, waiting=None, deadline=deadline)
        case Run(outcome=Opened() | Started()), RunReported():
            return replace(run, report=_merge_report(run.report, event))
        case _:
            raise ImpossibleHistory(run, event)


def outcome(policy: ConcurrencyPolicy, newest: LiveWork | None, opening: Opened | Started) -> Outcome:
    """
    Return the outcome of a firing that would open `opening`, given the newest live work of its routine (contract 5.2).

    Under cancel_previous it opens too: what is live is cancelled in the same commit.
    """
    if newest is None or policy in ("always_enqueue", "cancel_previous"):
        return opening
    if policy == "skip_if_active":
        return Skipped(issue_id=newest.issue_id, into_run_id=newest.run_id)
    return Coalesced(issue_id=newest.issue_id, into_run_id=newest.run_id)


def report(run: Run, new: RunReported) -> list[RunEvent]:
    """Record what was reported of a run; nothing if all of it is known. Raise Conflict for a run that began no work."""
    if not isinstance(run.outcome, Opened | Started):
        raise Conflict("The run began no work, so there is nothing to report of it")
    old_report = replace(run.report, routine_id=new.routine_id, agent_id=new.agent_id)
    return [] if _merge_report(old_report, new) == old_report else [new]


def _merge_report(old: RunReported, new: RunReported) -> RunReported:
    return replace(old, **{name: value for name, value in asdict(new).items() if value is not None})


def end(run: Run, status: IssueStatus, reason: str | None = None) -> list[RunEvent]:
    """
    Record what its issue's new status means for the run that opened it; a later end replaces an earlier one.

    `reason` is why whoever cancelled the issue did so, if they said it.
    """
    match status, run.ended:
        case "done", None | RunFailed():
            return [RunCompleted()]
        case "cancelled", None | RunCompleted():
            return [RunFailed(reason=reason or CANCELLED)]
        case _:
            return []


def follow(run: Run, status: TrajectoryStatus, error: str | None) -> list[RunEvent]:
    """Record what its trajectory's new status means for the run; a later end replaces an earlier one."""
    match status, run.ended:
        case "completed", None | RunFailed():
            return [RunCompleted()]
        case "failed", None | RunCompleted():
            return [RunFailed(reason=error or "The trajectory failed")]
        case "cancelled", None | RunCompleted():
            return [RunFailed(reason="The trajectory was cancelled")]
        case "archived", None:
            return [RunFailed(reason="The trajectory was archived before its end")]
        case _:
            return []


def postpone(run: Run, cause: FailureCause, reason: str, now: datetime) -> list[RunEvent] | None:
    """
    Record that the attempt failed and when the next one begins; nothing if the run waits for it already.

    Return None if the failure is the run's last: it has ended, its policy allows no more attempts, or not for this cause.
    """
    if run.waiting is not None:
        return []
    if run.ended is not None or run.retry is None:
        return None
    next_at = retry.next_at(run.retry, run.attempt, cause, now)
    return None if next_at is None else [RunAttemptFailed(attempt=run.attempt, reason=reason, next_at=next_at)]


def begin_attempt(run: Run, run_id: UUID, agent_id: UUID | None, deadline: datetime | None) -> list[RunEvent]:
    """Record that the next attempt begins; nothing if the run waits for none."""
    if run.waiting is None:
        return []
    issue_id, attempt = issue_of_run(run_id), run.attempt + 1
    return [RunAttemptBegun(attempt=attempt, issue_id=issue_id, agent_id=agent_id, deadline=deadline)]


def give_up(run: Run, obstacle: str) -> list[RunEvent]:
    """Record that the next attempt is not made, for this reason, so that the failure before it is the run's last."""
    if run.waiting is None:
        return []
    return [RunFailed(reason=f"{run.waiting.reason} (attempt {run.attempt + 1} was not made: {obstacle})")]


def supersede(run: Run, successor_run_id: UUID) -> list[RunEvent]:
    """Record that the routine's next run takes the place of this one; nothing if it has failed already."""
    if isinstance(run.ended, RunFailed):
        return []
    reason = f"Cancelled by the next run of its routine, {successor_run_id}"
    return [RunFailed(reason=reason, successor_run_id=successor_run_id)]


def time_out(run: Run) -> list[RunEvent]:
    """Record that the run lasted longer than its routine allows; nothing if it has ended."""
    return [] if run.ended else [RunFailed(reason=TIMED_OUT)]
