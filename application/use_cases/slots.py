"""The slot of a routine: its live work, which a firing meets, and which the end of the work takes out of it."""

from uuid import UUID

from application.event_store.stream_kinds import AGENT, ISSUE, SLOT
from application.event_store.unit_of_work import UnitOfWork
from domain.errors import RuleViolation
from domain.events import IssueLeaseRenewed, TrajectoryLeaseExtended
from domain.identity import slot_of
from domain.routines import slot
from domain.routines.routine import Routine
from domain.routines.slot import Slot
from domain.values import Failed, LiveWork, Opened, Outcome, Started

MOST_CANCELLED = 100  # pieces of live work that one firing cancels under cancel_previous, all in its own commit
LEASES = (IssueLeaseRenewed, TrajectoryLeaseExtended)
HEAD = 2**63  # comes after each position of the log


def read_slot(work: UnitOfWork, routine_id: UUID) -> Slot:
    """Return the slot of a routine; it is empty for one that never had live work."""
    return work.get(SLOT, slot_of(routine_id)) or slot.EMPTY


def follow(work: UnitOfWork, routine_id: UUID, live: LiveWork, company_id: UUID, *, is_live: bool) -> None:
    """Record in the slot that the work has begun (again), or is over."""
    guard = read_slot(work, routine_id)
    events = slot.take_slot(guard, routine_id, live) if is_live else slot.free_slot(guard, routine_id, live.issue_id)
    work.record(slot_of(routine_id), events, company_id)


def limit_live(work: UnitOfWork, routine: Routine, guard: Slot, outcome: Outcome, *, is_awaited: bool) -> Outcome:
    """
    Return the outcome of a firing, or Failed if it would begin more work than a routine may have, or has to cancel more
    than one firing may.

    Raises RuleViolation instead of that when somebody waits for the outcome.
    """
    cancels = routine.settings.concurrency_policy == "cancel_previous"
    most = MOST_CANCELLED if cancels else work.limits.max_routine_open_issues
    if not isinstance(outcome, Opened | Started) or len(guard.live) < most + cancels:
        return outcome
    reason = (
        f"The routine has {len(guard.live)} open issues or trajectories, and may have at most {most}: end some first"
    )
    if is_awaited:
        raise RuleViolation(reason)
    return Failed(reason=reason)


def newest_live_work(work: UnitOfWork, routine: Routine, guard: Slot) -> LiveWork | None:
    """
    Return the live work that changed last (contract 5.2); None when there is none, or where the policy opens anyway.

    What is not attended does not count. The order is that of the log, whatever the clock said, so it is what clients see as the
    `activeIssue`.
    """
    if routine.settings.concurrency_policy in ("always_enqueue", "cancel_previous"):
        return None
    return max(reversed(attended_work(work, guard)), key=lambda live: _find_last_change(work, live), default=None)


def _find_last_change(work: UnitOfWork, live: LiveWork) -> int:
    """Return where in the log the work changed last. A lease that goes on is no change of it."""
    changes = (one for one in reversed(work.history(live.issue_id)) if not isinstance(one.event, LEASES))
    return next(changes).position or HEAD


def attended_work(work: UnitOfWork, guard: Slot) -> list[LiveWork]:
    """Return the live work without the issues of terminated agents, on which nobody works, so that nothing waits for them."""
    work.load(live.issue_id for live in guard.live)
    return [live for live in guard.live if not _is_abandoned(work, live)]


def _is_abandoned(work: UnitOfWork, live: LiveWork) -> bool:
    issue = work.get(ISSUE, live.issue_id)
    assignee = None if issue is None else work.get(AGENT, issue.details.assignee_agent_id)
    return assignee is not None and assignee.status == "terminated"
