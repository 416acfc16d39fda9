"""
A chain: a run of one routine fires another routine when it has ended.

The link is a trigger of the second routine. The run that it fires has an id that follows from the trigger and from the run
that has ended, so that it is fired once, whoever tries how often.
"""

from uuid import UUID

from domain.board import company as companies
from domain.board.company import Company
from domain.routines.routine import Routine
from domain.routines.run import Run
from domain.routines.trigger import Trigger
from domain.values import ChainOutcome, Json, Value

MAX_DEPTH = 10  # runs of a chain after the first one
MAX_LINKED = 100  # routines that a new link looks at for a cycle


class DueChain(Value, frozen=True):
    """A run that has ended and is to fire another routine, as the read model of chains knows it."""

    id: UUID  # the id of the run that it fires
    trigger_id: UUID
    cause_run_id: UUID
    company_id: UUID


def matches(wanted_outcome: str, outcome: ChainOutcome) -> bool:
    """Return whether a link that waits for one outcome (or `any`) fires on another."""
    return wanted_outcome in ("any", outcome)


def obstacle(link: Trigger, routine: Routine, company: Company | None, cause: Run) -> str | None:
    """Return why the end of a run cannot fire the routine of a link; None if it can."""
    if companies.is_archived(company):
        return "company_archived"
    if routine.settings.status != "active":
        return f"routine_{routine.settings.status}"
    if link.deleted or not link.settings.enabled:
        return "trigger_deleted" if link.deleted else "trigger_disabled"
    return "chain_too_long" if cause.chain_depth >= MAX_DEPTH else None


def payload(cause_run_id: UUID, cause: Run, title: str, outputs: Json) -> Json:
    """Return the payload of a run that another has fired: what that run was, how it ended, and its outputs."""
    reason = getattr(cause.ended or cause.outcome, "reason", None)
    run = {
        "id": str(cause_run_id),
        "routineId": str(cause.routine_id),
        "routineTitle": title,
        "status": "completed" if reason is None else "failed",
        "failureReason": reason,
    }
    return {"run": run, "outputs": outputs}
