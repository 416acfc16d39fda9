"""What becomes of a firing in a replay: what the rules of firings say, and what no setting of the routine decides as it was."""

from uuid import UUID

from domain.board import project as projects
from domain.board.agent import Agent
from domain.board.project import Project
from domain.events import RunFired
from domain.identity import issue_of_run, trajectory_of_run
from domain.routines import activity_gate, firing, probe
from domain.routines import run as runs
from domain.routines.firing import FiringRequest, RenderedTemplate
from domain.routines.routine import Routine
from domain.values import Failed, LiveWork, Opened, Outcome, Skipped, Started

ASKS_AGENT = (firing.NOT_INVOKABLE, "Default agent required")  # failure reasons that come from the agent begin so
HELD = (activity_gate.NO_ACTIVITY.reason, probe.FAILED, probe.UNANSWERED)
NO_TEXT = RenderedTemplate(title="", description="")


def decide_scheduled(  # noqa: PLR0913 the firing, and what it meets
    run_id: UUID,
    recorded: Outcome | None,
    *,
    routine: Routine,
    agent: Agent | None,
    project: Project | None,
    newest: LiveWork | None,
    superseded_by: UUID | None,
) -> Outcome:
    """
    Return what becomes of a firing of a schedule that meets the live work `newest`.

    `recorded` is what really became of it, None if it did not really fire. `superseded_by` is the run of a later
    occurrence that fires at the same time and cancels this one.
    """
    if projects.is_paused(project):
        return firing.PROJECT_PAUSED
    if recorded is not None and _is_held(recorded):
        return recorded
    if superseded_by is not None:
        return firing.superseded_outcome(superseded_by)
    if routine.settings.call is not None:
        opening = Started(trajectory_id=trajectory_of_run(run_id))
        outcome = runs.outcome(routine.settings.concurrency_policy, newest, opening)
    else:
        request = FiringRequest(
            run_id=run_id,
            routine_id=UUID(int=0),
            source="schedule",
            assignee_agent_id=routine.settings.assignee_agent_id,
            project_id=routine.settings.project_id,
            rendered=recorded if _is_failed_by_text(recorded) else NO_TEXT,  # type: ignore[arg-type]
        )
        outcome = firing.outcome(request, routine, agent, newest)
    return recorded if _is_of_limit(recorded) and recorded and isinstance(outcome, Opened | Started) else outcome


def decide_from_outside(run_id: UUID, event: RunFired, routine: Routine, newest: LiveWork | None) -> Outcome:
    """Return what becomes of a firing by hand, by a webhook, a call, a chain or a backfill that meets the live work `newest`."""
    outcome = event.outcome
    has_met_work = isinstance(outcome, Skipped) and outcome.reason is None and outcome.issue_id is not None
    always_begins = routine.settings.call is not None and event.source in firing.BY_CALLERS
    if always_begins or (isinstance(outcome, Failed | Skipped) and not has_met_work):
        return outcome
    return runs.outcome(routine.settings.concurrency_policy, newest, _opening_outcome(run_id, outcome, routine))


def _opening_outcome(run_id: UUID, recorded: Outcome, routine: Routine) -> Opened | Started:
    if isinstance(recorded, Opened | Started):
        return recorded
    if routine.settings.call is not None:
        return Started(trajectory_id=trajectory_of_run(run_id))
    return Opened(issue_id=issue_of_run(run_id))


def _is_held(recorded: Outcome) -> bool:
    """Return whether the activity gate or the probe held a firing back."""
    return isinstance(recorded, Skipped) and recorded.reason in HELD


def _is_of_limit(recorded: Outcome | None) -> bool:
    """Return whether a firing was refused by a budget, or by a limit that only comes after its slot."""
    match recorded:
        case Skipped(budget=budget):
            return budget is not None
        case Failed(reason=reason):
            return not reason.startswith(ASKS_AGENT)
        case _:
            return False


def _is_failed_by_text(recorded: Outcome | None) -> bool:
    """Return whether a firing failed before it looked at its agent and its slot: its variables had no value."""
    return isinstance(recorded, Failed) and not recorded.reason.startswith((*ASKS_AGENT, "The routine has "))
