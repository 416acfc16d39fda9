"""The JSON objects that Jetty's clients read (Jetty contract 2 to 7). Times: ISO 8601, UTC, whole seconds, Z."""

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from domain.values import Cadence, CadenceType, DayOfWeek, TrajectoryStatus


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True):
    """Every field is always there."""


def time(moment: datetime) -> str:
    """As Jetty's clients read it: `2026-05-04T09:00:00Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def time_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else time(moment)


class CadenceRead(ResponseBody, frozen=True, kw_only=True):
    type: CadenceType
    hour_utc: int | None
    minute_utc: int
    day_of_week: DayOfWeek | None

    @classmethod
    def of(cls, cadence: Cadence) -> "CadenceRead":
        return cls(**msgspec.structs.asdict(cadence))


class Collection(ResponseBody, frozen=True, kw_only=True):
    id: int
    name: str
    description: str | None
    owner_identifier: str
    company_id: UUID  # ours: by which the Paperclip API knows it
    created_at: str
    updated_at: str


class CollectionEnvironment(Collection, frozen=True, kw_only=True):
    """The values are never shown."""

    environment_variables: dict[str, str]


class ApiKey(ResponseBody, frozen=True, kw_only=True):
    id: UUID
    collection_id: int
    collection_name: str
    name: str
    key_prefix: str
    created_at: str
    is_active: bool
    expires_at: str | None = None  # ours


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """The key is shown here and never again."""

    api_key: str

    def __repr__(self) -> str:
        return f"NewApiKey({self.id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class TaskFields(ResponseBody, frozen=True, kw_only=True):
    id: int
    name: str
    description: str | None
    workflow: dict[str, Any]
    version: int
    created_at: str
    updated_at: str


class Task(TaskFields, frozen=True, kw_only=True):
    collection_id: int
    collection_name: str
    is_private: bool = True
    has_file_uploads: bool = False


class ParameterKey(ResponseBody, frozen=True, kw_only=True):
    name: str
    default: Any
    type_hint: Literal["string", "integer", "number", "boolean", "array", "object"]


class InitParamsSchema(ResponseBody, frozen=True, kw_only=True):
    keys: list[ParameterKey]


class RoutineRead(ResponseBody, frozen=True, kw_only=True):
    """Secrets are masked; `warnings` is there only when there is something to warn about."""

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
    trajectory_id: int
    workflow_id: str
    status: TrajectoryStatus
    created_at: str
    error: str | None
    run_id: UUID


class Label(ResponseBody, frozen=True, kw_only=True):
    key: str
    value: str
    created: str
    author: str


class Step(ResponseBody, frozen=True, kw_only=True):
    activity: str | None
    status: TrajectoryStatus
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class TrajectoryFields(ResponseBody, frozen=True, kw_only=True):
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


class Trajectory(TrajectoryFields, frozen=True, kw_only=True):
    triggered_by_routine_id: int | None


class Trajectories(ResponseBody, frozen=True, kw_only=True):
    """A page of them, newest first."""

    trajectories: list[Trajectory]
    total: int
    page: int
    limit: int
    has_more: bool
