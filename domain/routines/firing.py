"""A firing: its run, execution issue and slot are decided together, so that they are recorded together or not at all."""

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
from domain.routines import activity_gate, probe, template, variables
from domain.routines import run as runs
from domain.routines import slot as slots
from domain.routines.activity_gate import Window
from domain.routines.routine import Routine
from domain.routines.slot import Slot
from domain.values import (
    Failed,
    IssueDetails,
    Json,
    LiveWork,
    Opened,
    Outcome,
    ProbeFinding,
    RoutineSettings,
    RunSource,
    Scalar,
    Skipped,
    Started,
    Value,
    Workspace,
)

BY_CALLERS = ("manual", "api")  # the sources whose callers always get a trajectory of a task, or hear why not
NOT_INVOKABLE = "Agent is not invokable in its current state"
TERMINATED = f"{NOT_INVOKABLE}: it is terminated"
PROJECT_PAUSED = Skipped(reason="paused")
SUPERSEDED = "superseded"  # the reason for which a firing is skipped under cancel_previous
LONGEST_TITLE = 200  # characters of an issue's title
LONGEST_REASON = 1_000  # characters of the reason why a run failed


class RenderedTemplate(Value, frozen=True):
    """A routine's title and description with the variables filled in, and the values of the variables."""

    title: str
    description: str
    variables: dict[str, Scalar] = {}


class FiringRequest(Value, frozen=True):
    """A request to fire a routine; overrides of the routine's settings are resolved already."""

    run_id: UUID
    routine_id: UUID
    source: RunSource
    assignee_agent_id: UUID | None
    project_id: UUID | None
    rendered: RenderedTemplate | Failed  # Failed: the variables cannot be filled in
    trigger_id: UUID | None = None
    occurrence: datetime | None = None
    next_at: datetime | None = None
    due_at: datetime | None = None
    backfill_id: UUID | None = None
    idempotency_key: str | None = None
    request_digest: str | None = None
    payload: Json | None = None
    agent_id: UUID | None = None  # who requested it, if the source is `manual`
    user_id: UUID | None = None
    workspace: Workspace | None = None
    deadline: datetime | None = None
    window: Window | None = None  # what the routine's activity gate looks at; None if it does not look
    finding: ProbeFinding | None = None  # what the routine's probe has found; None if it was not asked
    cause_run_id: UUID | None = None
    chain_depth: int = 0
    superseded_by: UUID | None = None  # the run of a later occurrence that is due as well, if that takes its place

    @property
    def is_automatic(self) -> bool:
        """Whether the service fires by itself: nobody waits for the answer, and a paused project stops it."""
        return self.source in ("schedule", "chain")


class Facts(Value, frozen=True):
    """What a firing adds to the streams of its run, its issue and its routine's slot."""

    run: RunFired
    issue: IssueOpened | None
    slot: tuple[SlotEvent, ...]


def render(
    settings: RoutineSettings,
    candidates: Sequence[Mapping[str, object]],
    moment: datetime,
    most: int = sys.maxsize,
    payload: Json | None = None,
) -> RenderedTemplate:
    """
    Return the title and description with the variables filled in; the first candidate that has a value gives it.

    An optional variable without a value is empty text, and so is a path into the payload that leads nowhere. A title of
    which nothing would be left stays as it is written. `moment` fills in the built-in date and timestamp (contract 2.2, 2.3); for a schedule it is the planned one. A title
    that grows past LONGEST_TITLE is cut, and the whole title is put before the description. Raise RuleViolation for values that are not allowed, or if the
    values, with what they add to title and description, take more than `most` bytes; the texts are not built then.
    """
    variable_values = variables.resolve(settings.variables, candidates)
    title, description = settings.title, settings.description or ""
    values: dict[str, object] = {}
    if template.has_placeholder(title) or template.has_placeholder(description):
        values |= variables.unset_values(settings.variables) | variables.built_in_values(moment) | variable_values
        values |= template.payload_values(payload, template.paths_in(title, description)[: template.MOST_PATHS], most)
    added_bytes = template.added_size(title, values) + template.added_size(description, values)
    added_bytes += len(msgspec.json.encode(variable_values)) if variable_values else 0
    if added_bytes > most:
        raise RuleViolation(f"The variables of a run may add at most {most} bytes to it, and add {added_bytes}")
    title, description = template.interpolate(title, values), template.interpolate(description, values)
    title = title if title.strip() else settings.title
    if len(title) > LONGEST_TITLE:
        description = f"{title}\n\n{description}" if description else title
        title = f"{title[: LONGEST_TITLE - 1]}…"
    return RenderedTemplate(title=title, description=description, variables=variable_values)


def refused_outcome(refusal: DomainError) -> Failed:
    """
    Return the outcome of a refused firing that no client waits for; its reason is the refusal's message, cut at
    LONGEST_REASON.
    """
    message = refusal.message
    return Failed(reason=message if len(message) <= LONGEST_REASON else f"{message[: LONGEST_REASON - 1]}…")


def superseded_outcome(run_id: UUID) -> Skipped:
    """Return the outcome of a firing whose place is taken, before it opened anything, by a later one that is due as well."""
    return Skipped(into_run_id=run_id, reason=SUPERSEDED)


def deadline(settings: RoutineSettings, moment: datetime) -> datetime | None:
    """Return when a run that is fired at `moment` has lasted too long; None if it may last for ever."""
    most = settings.max_run_duration_sec
    return None if most is None else moment + timedelta(seconds=most)


def held_outcome(firing: FiringRequest, settings: RoutineSettings) -> Skipped | None:
    """Return the outcome of a firing that the activity gate or the probe holds back; None if neither does."""
    if firing.window is not None and activity_gate.holds(firing.window):
        return activity_gate.NO_ACTIVITY
    if firing.finding is not None and settings.probe is not None:
        return probe.skip_by_probe(settings.probe, firing.finding)
    return None


def outcome(firing: FiringRequest, routine: Routine, agent: Agent | None, newest: LiveWork | None) -> Outcome:
    """
    Return the outcome of a firing (contract 5.2, 5.3); `newest` is the newest live work of the routine, if any.

    A terminated agent fails it whatever is live: nobody would ever do the work that it joined.
    """
    if isinstance(firing.rendered, Failed):
        return firing.rendered
    if agent is not None and agent.status == "terminated":
        return Failed(reason=TERMINATED)
    opening = Opened(issue_id=issue_of_run(firing.run_id))
    result = runs.outcome(routine.settings.concurrency_policy, newest, opening)
    if not isinstance(result, Opened):
        return result
    if agent is None:
        return Failed(reason="Default agent required")
    if not agents.is_invokable(agent):
        return Failed(reason=NOT_INVOKABLE)
    return result


def facts(firing: FiringRequest, routine: Routine, slot: Slot, outcome: Outcome) -> Facts:
    """Return the events of a firing with this outcome: the run, and the issue and slot if an issue is opened."""
    run = fired_with(firing, routine, outcome)
    if not isinstance(outcome, Opened) or isinstance(firing.rendered, Failed):
        return Facts(run=run, issue=None, slot=())
    live = LiveWork(issue_id=outcome.issue_id, run_id=firing.run_id)
    issue = _open_issue(firing, firing.rendered, routine.settings)
    return Facts(run=run, issue=issue, slot=tuple(slots.take_slot(slot, firing.routine_id, live)))


def fired_with(firing: FiringRequest, routine: Routine, outcome: Outcome) -> RunFired:
    """Return the event that the routine fired with this outcome."""
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
        request_digest=firing.request_digest if firing.idempotency_key is not None else None,
        payload=None if outcome == PROJECT_PAUSED else _payload_to_keep(firing),
        responsible_user_id=routine.responsible_user_id,
        deadline=firing.deadline if isinstance(outcome, Opened | Started) else None,
        retry=routine.settings.retry_policy if isinstance(outcome, Opened) else None,
        cause_run_id=firing.cause_run_id,
        chain_depth=firing.chain_depth,
        probe=firing.finding,
    )


def _open_issue(firing: FiringRequest, rendered: RenderedTemplate, settings: RoutineSettings) -> IssueOpened:
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
        occurrence=firing.occurrence,
        created_by_agent_id=firing.agent_id,
        created_by_user_id=firing.user_id,
        workspace=firing.workspace,
    )


def _payload_to_keep(firing: FiringRequest) -> Json | None:
    """Return the payload that a run keeps, with the values of the variables (contract 2.3)."""
    variable_values = {} if isinstance(firing.rendered, Failed) else firing.rendered.variables
    payload = firing.payload
    if firing.window is not None:
        payload = {**(payload or {}), activity_gate.EVIDENCE: activity_gate.evidence(firing.window)}
    return variables.merged_payload(payload, variable_values)
