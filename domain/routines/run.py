"""A run: one firing of a routine, from the moment it was received to its end (contract 5.3)."""

from uuid import UUID

from msgspec.structs import asdict, replace

from domain.errors import Conflict, ImpossibleHistory
from domain.events import RunCompleted, RunEvent, RunFailed, RunFired, RunReported
from domain.values import (
    Coalesced,
    ConcurrencyPolicy,
    IssueStatus,
    LiveWork,
    Opened,
    Outcome,
    Skipped,
    Started,
    TrajectoryStatus,
    Value,
)

CANCELLED = "Execution issue moved to cancelled"
TIMED_OUT = "timed_out"


class Run(Value, frozen=True):
    """The state of a run: the outcome of its firing, and how it ended if it has."""

    routine_id: UUID
    outcome: Outcome
    ended: RunCompleted | RunFailed | None = None
    chain_depth: int = 0
    report: RunReported = RunReported()  # of all that was reported, the newest of each field


def evolve(run: Run | None, event: RunEvent) -> Run:
    """Fold an event into the state of a run. Raise ImpossibleHistory if the event cannot follow."""
    match run, event:
        case None, RunFired(routine_id=routine_id, outcome=outcome, chain_depth=depth):
            return Run(routine_id=routine_id, outcome=outcome, chain_depth=depth)
        case Run(outcome=Opened() | Started()), RunCompleted() | RunFailed():
            return replace(run, ended=event)
        case Run(outcome=Opened() | Started()), RunReported():
            return replace(run, report=_updated(run.report, event))
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
    known = replace(run.report, routine_id=new.routine_id, agent_id=new.agent_id)
    return [] if _updated(known, new) == known else [new]


def _updated(old: RunReported, new: RunReported) -> RunReported:
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


def supersede(run: Run, successor_run_id: UUID) -> list[RunEvent]:
    """Record that the routine's next run takes the place of this one; nothing if it has failed already."""
    if isinstance(run.ended, RunFailed):
        return []
    reason = f"Cancelled by the next run of its routine, {successor_run_id}"
    return [RunFailed(reason=reason, successor_run_id=successor_run_id)]


def time_out(run: Run) -> list[RunEvent]:
    """Record that the run lasted longer than its routine allows; nothing if it has ended."""
    return [] if run.ended else [RunFailed(reason=TIMED_OUT)]
