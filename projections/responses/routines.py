"""Routines, their folders and revisions as clients read them."""

from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from domain.disclosure import MASK
from domain.values import (
    ActivityGatePolicy,
    ActivityGateScope,
    AlertBounds,
    Budget,
    CatchUpPolicy,
    ConcurrencyPolicy,
    Priority,
    Probe,
    RetryPolicy,
    RoutineEnvironment,
    RoutineSettings,
    RoutineStatus,
    Variable,
)
from projections.responses.board import AssigneeSummary, Project
from projections.responses.body import ResponseBody, time_or_none
from projections.responses.issues import Issue, IssueSummary
from projections.responses.runs import RunSummary
from projections.responses.triggers import TriggerDetail, TriggerSnapshot, TriggerSummary


class Folder(ResponseBody, frozen=True, kw_only=True):
    """A folder of routines; it lies in the folder `parentId`, if that is not null."""

    id: UUID
    company_id: UUID
    name: str
    parent_id: UUID | None
    created_at: str
    updated_at: str


class EnvBinding(ResponseBody, frozen=True, kw_only=True):
    """
    A variable of a routine's environment. Of a `plain` one the `value` is masked (`***`); a `secret_ref` is bound to the
    variable `name` of the company's environment.
    """

    type: Literal["plain", "secret_ref"]
    value: str | UnsetType = UNSET
    name: str | UnsetType = UNSET


class RoutineWithoutFirings(ResponseBody, frozen=True, kw_only=True):
    """The fields of a routine that every answer has."""

    id: UUID
    company_id: UUID
    title: str
    description: str | None
    project_id: UUID | None
    goal_id: UUID | None
    parent_issue_id: UUID | None
    assignee_agent_id: UUID | None
    priority: Priority
    status: RoutineStatus
    concurrency_policy: ConcurrencyPolicy
    catch_up_policy: CatchUpPolicy
    variables: tuple[Variable, ...]
    max_run_duration_sec: int | None = None
    retry_policy: RetryPolicy | None = None
    alert_bounds: AlertBounds = AlertBounds()
    budget: Budget | None = None
    probe: Probe | None = None
    pause_note: str | None = None
    resume_at: str | None = None
    latest_revision_id: UUID
    latest_revision_number: int
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    updated_by_agent_id: UUID | None
    updated_by_user_id: str | None
    responsible_user_id: str | None
    created_at: str
    updated_at: str
    folder_id: UUID | None = None
    env: dict[str, EnvBinding] | None = None
    origin_id: None = None
    origin_kind: Literal["manual"] = "manual"
    activity_gate_policy: ActivityGatePolicy = "always"
    activity_gate_scope: ActivityGateScope = "company"


class RoutineFirings(ResponseBody, frozen=True, kw_only=True):
    """What each firing changes of a routine: when it was fired last, and when that led to an issue."""

    last_triggered_at: str | None = None
    last_enqueued_at: str | None = None


class RoutineFields(RoutineWithoutFirings, frozen=True, kw_only=True):
    """A routine with what its firings change of it (RoutineFirings)."""

    last_triggered_at: str | None = None
    last_enqueued_at: str | None = None


class Routine(RoutineFields, frozen=True, kw_only=True):
    """A routine: work that recurs."""


class RoutineListItem(RoutineFields, frozen=True, kw_only=True):
    """A routine as the list shows it, with its triggers, its last run and its active issue."""

    managed_by_plugin: None = None
    triggers: list[TriggerSummary]
    last_run: RunSummary | None
    active_issue: IssueSummary | None


class RoutineSnapshot(ResponseBody, frozen=True, kw_only=True):
    """The state of a routine at a revision."""

    id: UUID
    company_id: UUID
    project_id: UUID | None
    goal_id: UUID | None
    parent_issue_id: UUID | None
    title: str
    description: str | None
    assignee_agent_id: UUID | None
    priority: Priority
    status: RoutineStatus
    concurrency_policy: ConcurrencyPolicy
    catch_up_policy: CatchUpPolicy
    activity_gate_policy: ActivityGatePolicy = "always"
    activity_gate_scope: ActivityGateScope = "company"
    folder_id: UUID | None = None
    variables: tuple[Variable, ...]
    max_run_duration_sec: int | None = None
    retry_policy: RetryPolicy | None = None
    alert_bounds: AlertBounds = AlertBounds()
    budget: Budget | None = None
    probe: Probe | None = None
    pause_note: str | None = None
    resume_at: str | None = None
    env: dict[str, EnvBinding] | None = None
    responsible_user_id: str | None


class Snapshot(ResponseBody, frozen=True, kw_only=True):
    """A routine and its triggers at a revision; it never holds a secret."""

    version: Literal[1] = 1
    routine: RoutineSnapshot
    triggers: list[TriggerSnapshot]


class Revision(ResponseBody, frozen=True, kw_only=True):
    """A revision of a routine: its state after one of its changes."""

    id: UUID
    company_id: UUID
    routine_id: UUID
    revision_number: int
    title: str
    description: str | None
    snapshot: Snapshot
    change_summary: str
    restored_from_revision_id: UUID | None
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    created_by_run_id: str | None
    responsible_user_id: str | None
    created_at: str


class RoutineDetail(RoutineFields, frozen=True, kw_only=True):
    """
    A routine with its triggers, its newest runs, and what it refers to.

    `activeIssue` is its open execution issue that changed last.
    """

    managed_by_plugin: None = None
    project: Project | None
    assignee: AssigneeSummary | None
    parent_issue: Issue | None
    triggers: list[TriggerDetail]
    recent_runs: list[RunSummary]
    active_issue: Issue | None


def routine_settings(settings: RoutineSettings) -> dict[str, Any]:
    """
    Return the settings of a routine by their names, with moments as clients read them.

    How the routine calls a task is left out: only Jetty's clients read that. So is which bulk pause has paused it.
    """
    fields = msgspec.structs.asdict(settings)
    fields |= {"resume_at": time_or_none(settings.resume_at), "env": _env_bindings(settings.env)}
    del fields["call"], fields["bulk_pause_id"]
    return fields


def _env_bindings(env: RoutineEnvironment | None) -> "dict[str, EnvBinding] | None":
    if env is None:
        return None
    names = env.sealed.names if env.sealed else ()
    own = {name: EnvBinding(type="plain", value=MASK) for name in names}
    return own | {name: EnvBinding(type="secret_ref", name=variable) for name, variable in env.references.items()}
