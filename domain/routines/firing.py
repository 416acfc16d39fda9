"""A firing: run, execution issue and slot decided together, so that they are recorded together or not at all."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from domain.board import agent as agents
from domain.board.agent import Agent
from domain.errors import DomainError, RuleViolation
from domain.events import IssueOpened, RunFired, SlotEvent
from domain.identity import issue_of_run
from domain.routines import run as runs
from domain.routines import slot as slots
from domain.routines import variables
from domain.routines.routine import Routine
from domain.routines.slot import Slot
from domain.values import (
    Failed,
    IssueDetails,
    Json,
    LiveWork,
    Opened,
    Outcome,
    RoutineSettings,
    RunSource,
    Scalar,
    Skipped,
    Started,
    Value,
    Workspace,
)

NOT_INVOKABLE = "Agent is not invokable in its current state"
PROJECT_PAUSED = Skipped(reason="paused")
LONGEST_TITLE = 200  # characters of an issue's title
LONGEST_REASON = 1_000  # characters of why a run failed


class RenderedTemplate(Value, frozen=True):
    """A routine's title and description with its variables filled in, and the values of these."""

    title: str
    description: str
    variables: dict[str, Scalar] = {}


class FiringRequest(Value, frozen=True):
    """A request to fire a routine; the overrides are already resolved."""

    run_id: UUID
    routine_id: UUID
    source: RunSource
    assignee_agent_id: UUID | None
    project_id: UUID | None
    rendered: RenderedTemplate | Failed  # Failed: they cannot be filled in
    trigger_id: UUID | None = None
    occurrence: datetime | None = None
    next_at: datetime | None = None
    due_at: datetime | None = None
    backfill_id: UUID | None = None
    idempotency_key: str | None = None
    payload: Json | None = None
    agent_id: UUID | None = None  # who asked, for source manual
    user_id: UUID | None = None
    workspace: Workspace | None = None
    deadline: datetime | None = None


class Facts(Value, frozen=True):
    """What a firing adds to the streams of its run, its issue and its routine's slot."""

    run: RunFired
    issue: IssueOpened | None
    slot: tuple[SlotEvent, ...]


def render(
    settings: RoutineSettings, given: Sequence[Mapping[str, object]], moment: datetime, most: int = sys.maxsize
) -> RenderedTemplate:
    """
    The texts with the values given, the first that has one; `moment` fills in the date (contract 2.2, 2.3).

    A title that grows past LONGEST_TITLE is cut, and stands whole at the beginning of the description. Raises
    Unacceptable for wrong values, and for values that are, with what they add to title and description, more than
    `most` bytes: then nothing is made of them.
    """
    resolved = variables.resolve(settings.variables, given)
    values = variables.built_in_values(moment) | resolved
    title, description = settings.title, settings.description or ""
    added = variables.added_size(title, values) + variables.added_size(description, values)
    added += len(msgspec.json.encode(resolved)) if resolved else 0
    if added > most:
        raise RuleViolation(f"The variables of a run may add at most {most} bytes to it, and add {added}")
    title, description = variables.interpolate(title, values), variables.interpolate(description, values)
    if len(title) > LONGEST_TITLE:
        description = f"{title}\n\n{description}" if description else title
        title = f"{title[: LONGEST_TITLE - 1]}…"
    return RenderedTemplate(title=title, description=description, variables=resolved)


def failed(refusal: DomainError) -> Failed:
    """What becomes of a firing that nobody waits for, when it is refused."""
    message = refusal.message
    return Failed(reason=message if len(message) <= LONGEST_REASON else f"{message[: LONGEST_REASON - 1]}…")


def deadline(settings: RoutineSettings, moment: datetime) -> datetime | None:
    """When a run that is fired now has lasted too long; None: never."""
    most = settings.max_run_duration_sec
    return None if most is None else moment + timedelta(seconds=most)


def outcome(firing: FiringRequest, routine: Routine, agent: Agent | None, newest: LiveWork | None) -> Outcome:
    """What becomes of it (contract 5.2, 5.3); `newest` is the live execution issue that it meets, if any."""
    if isinstance(firing.rendered, Failed):
        return firing.rendered
    begun = Opened(issue_id=issue_of_run(firing.run_id))
    decided = runs.outcome(routine.settings.concurrency_policy, newest, begun)
    if not isinstance(decided, Opened):
        return decided
    if agent is None:
        return Failed(reason="Default agent required")
    if not agents.is_invokable(agent):
        return Failed(reason=NOT_INVOKABLE)
    return decided


def facts(firing: FiringRequest, routine: Routine, slot: Slot, outcome: Outcome) -> Facts:
    """The events of a firing with this outcome."""
    fired = fired_with(firing, routine, outcome)
    if not isinstance(outcome, Opened) or isinstance(firing.rendered, Failed):
        return Facts(run=fired, issue=None, slot=())
    live = LiveWork(issue_id=outcome.issue_id, run_id=firing.run_id)
    issue = _issue(firing, firing.rendered, routine.settings)
    return Facts(run=fired, issue=issue, slot=tuple(slots.take(slot, firing.routine_id, live)))


def fired_with(firing: FiringRequest, routine: Routine, outcome: Outcome) -> RunFired:
    """The fact that the routine fired, with this outcome."""
    return RunFired(
        routine_id=firing.routine_id,
        revision=routine.revision,
        source=firing.source,
        outcome=outcome,
        trigger_id=firing.trigger_id,
        occurrence=firing.occurrence,
        next_at=firing.next_at,
        due_at=firing.due_at,
        backfill_id=firing.backfill_id,
        idempotency_key=firing.idempotency_key,
        payload=None if outcome == PROJECT_PAUSED else _payload(firing),
        responsible_user_id=routine.responsible_user_id,
        deadline=firing.deadline if isinstance(outcome, Opened | Started) else None,
    )


def _issue(firing: FiringRequest, rendered: RenderedTemplate, settings: RoutineSettings) -> IssueOpened:
    return IssueOpened(
        details=IssueDetails(
            title=rendered.title,
            description=rendered.description,
            priority=settings.priority,
            assignee_agent_id=firing.assignee_agent_id,
            project_id=firing.project_id,
            goal_id=settings.goal_id,
            parent_id=settings.parent_issue_id,
        ),
        status="todo",
        routine_id=firing.routine_id,
        run_id=firing.run_id,
        created_by_agent_id=firing.agent_id,
        created_by_user_id=firing.user_id,
        workspace=firing.workspace,
    )


def _payload(firing: FiringRequest) -> Json | None:
    """What a run keeps of what it was fired with (contract 2.3)."""
    filled = {} if isinstance(firing.rendered, Failed) else firing.rendered.variables
    return variables.merged_payload(firing.payload, filled)
