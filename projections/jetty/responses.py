"""The JSON objects that Jetty's clients read (Jetty contract 2 to 7). Times are ISO 8601 in UTC, in seconds, Z."""

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from domain.values import Cadence, CadenceType, DayOfWeek, TrajectoryStatus


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object in which every field is always there."""


def time(moment: datetime) -> str:
    """Return a moment as Jetty's clients read it: `2026-05-04T09:00:00Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def time_or_none(moment: datetime | None) -> str | None:
    """Return a moment as `time` does, and None for None."""
    return None if moment is None else time(moment)


class CadenceRead(ResponseBody, frozen=True, kw_only=True):
    """When a routine recurs. `hour_utc` and `minute_utc` are in UTC."""

    type: CadenceType
    hour_utc: int | None
    minute_utc: int
    day_of_week: DayOfWeek | None

    @classmethod
    def of(cls, cadence: Cadence) -> "CadenceRead":
        """Return a cadence as clients read it."""
        return cls(**msgspec.structs.asdict(cadence))


class Collection(ResponseBody, frozen=True, kw_only=True):
    """A collection: a company as Jetty's clients know it. The Paperclip API knows it by `company_id`."""

    id: int
    name: str
    description: str | None
    owner_identifier: str
    company_id: UUID  # not in Jetty; the Paperclip API knows it by this id
    created_at: str
    updated_at: str


class CollectionEnvironment(Collection, frozen=True, kw_only=True):
    """A collection with the names of its environment variables. Their values are never shown."""

    environment_variables: dict[str, str]


class ApiKey(ResponseBody, frozen=True, kw_only=True):
    """A key that is bound to a collection. It is active unless it was revoked or has expired."""

    id: UUID
    collection_id: int
    collection_name: str
    name: str
    key_prefix: str
    created_at: str
    is_active: bool
    expires_at: str | None = None  # not in Jetty


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """A key that was just issued. The key itself is shown here and never again."""

    api_key: str

    def __repr__(self) -> str:
        return f"NewApiKey({self.id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class TaskFields(ResponseBody, frozen=True, kw_only=True):
    """The fields of a task without those of its collection. Each update raises `version` by one."""

    id: int
    name: str
    description: str | None
    workflow: dict[str, Any]
    version: int
    created_at: str
    updated_at: str


class Task(TaskFields, frozen=True, kw_only=True):
    """A task of a collection. It is always private and without file uploads."""

    collection_id: int
    collection_name: str
    is_private: bool = True
    has_file_uploads: bool = False


class ParameterKey(ResponseBody, frozen=True, kw_only=True):
    """A parameter of a task, with its default and the type that follows from it."""

    name: str
    default: Any
    type_hint: Literal["string", "integer", "number", "boolean", "array", "object"]


class InitParamsSchema(ResponseBody, frozen=True, kw_only=True):
    """The parameters that a task declares."""

    keys: list[ParameterKey]


class RoutineRead(ResponseBody, frozen=True, kw_only=True):
    """
    A routine that calls a task.

    Secrets are masked; `warnings` is there only when there is something to warn about.
    """

    id: int
    name: str
    task_name: str
    collection_name: str
    cadence: CadenceRead
    init_params_overrides: dict[str, Any]
    secret_params: dict[str, str]
    webhook_url: str | None
    webhook_secret: str | None
    paused: bool
    last_run_at: str | None
    next_run_at: str | None
    overlap_policy: str = "skip"
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET


class RunSummary(ResponseBody, frozen=True, kw_only=True):
    """A run of a routine, by the trajectory that it has started."""

    trajectory_id: int
    workflow_id: str
    status: TrajectoryStatus
    created_at: str
    error: str | None
    run_id: UUID


class Label(ResponseBody, frozen=True, kw_only=True):
    """A label of a trajectory; setting the same key again replaces it."""

    key: str
    value: str
    created: str
    author: str


class Step(ResponseBody, frozen=True, kw_only=True):
    """What a worker has reported of a step. `activity` is the one that the task's workflow names for it, or null."""

    activity: str | None
    status: TrajectoryStatus
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class TrajectoryFields(ResponseBody, frozen=True, kw_only=True):
    """
    The fields of a trajectory without that of its routine. `cost_micros` (in millionths), `input_tokens` and
    `output_tokens` are what all work on it has used; they are there only when they were reported.
    """

    name: str
    trajectory_id: int
    workflow_id: str
    run_id: UUID
    storage_path: str
    status: TrajectoryStatus
    created: str
    created_at: str
    updated: str
    author: str | None
    source: str
    steps: dict[str, Step]
    labels: list[Label]
    total_steps: list[str]
    completed_steps: list[str]
    init_params: dict[str, Any]
    step_configs: dict[str, Any]
    error: str | None
    webhook_url: str | None
    metadata: dict[str, Any]
    worker: str | None
    cost_micros: int | msgspec.UnsetType = msgspec.UNSET  # these three are not in Jetty
    input_tokens: int | msgspec.UnsetType = msgspec.UNSET
    output_tokens: int | msgspec.UnsetType = msgspec.UNSET


class Trajectory(TrajectoryFields, frozen=True, kw_only=True):
    """A trajectory: one call of a task. `triggered_by_routine_id` is null unless a routine has started it."""

    triggered_by_routine_id: int | None


class Trajectories(ResponseBody, frozen=True, kw_only=True):
    """A page of trajectories, newest first."""

    trajectories: list[Trajectory]
    total: int
    page: int
    limit: int
    has_more: bool
