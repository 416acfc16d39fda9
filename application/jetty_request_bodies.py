"""
What Jetty's clients can ask: the JSON bodies of the Jetty contract, sections 2, 3 and 7.

Absent fields are UNSET where a patch must tell "leave it" from "clear it"; unknown fields are ignored. `whole` marks
numbers that must be written as integers.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.request_bodies import TRIM
from domain.values import CadenceType, DayOfWeek, TrajectoryStatus

WHOLE = {"whole": True}
SLUG = r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$"

Slug = Annotated[str, Meta(pattern=SLUG, min_length=1, max_length=64)]
PathName = Annotated[str, Meta(pattern=NAME, min_length=1, max_length=120, extra=TRIM)]
KeyName = Annotated[str, Meta(min_length=1, max_length=120, extra=TRIM)]
Text = Annotated[str, Meta(max_length=100_000)]
Word = Annotated[str, Meta(min_length=1, max_length=200)]
Url = Annotated[str, Meta(min_length=1, max_length=2_048)]
SecretText = Annotated[str, Meta(min_length=1, max_length=1_024)]
Hour = Annotated[int, Meta(ge=0, le=23, extra=WHOLE)]
Minute = Annotated[int, Meta(ge=0, le=59, extra=WHOLE)]
Object = Annotated[dict[str, object], Meta(extra={"max_bytes": 1024 * 1024})]
SecretObject = Annotated[dict[str, object], Meta(extra={"max_bytes": 64 * 1024})]
Environment = Annotated[dict[str, str | None], Meta(extra={"max_bytes": 64 * 1024})]


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON body of the Jetty API."""


class Secretive(Body, frozen=True):
    """One that holds secrets, which are for nobody to see."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class CadenceConfig(Body, frozen=True):
    type: CadenceType
    hour_utc: Hour | None = None
    minute_utc: Minute | None = None
    day_of_week: DayOfWeek | None = None


class RoutineCreate(Secretive, frozen=True):
    name: Slug
    cadence: CadenceConfig
    init_params_overrides: Object = {}
    secret_params: SecretObject = {}
    webhook_url: Url | None = None
    webhook_secret: SecretText | None = None
    paused: bool = False


class RoutineChange(Secretive, frozen=True):
    name: Slug | UnsetType = UNSET
    cadence: CadenceConfig | UnsetType = UNSET
    init_params_overrides: Object | UnsetType = UNSET
    secret_params: SecretObject | UnsetType = UNSET
    webhook_url: Url | None | UnsetType = UNSET
    webhook_secret: SecretText | None | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class CollectionCreate(Body, frozen=True):
    name: PathName
    description: Text | None = None


class EnvironmentChange(Secretive, frozen=True):
    """The variables are merged with those that there are; null deletes one, or all of them."""

    environment_variables: Environment | None


class ApiKeyCreate(Body, frozen=True):
    name: KeyName
    collection_name: Word
    expires_at: datetime | None | UnsetType = UNSET  # None: never; UNSET: as long as the key that asks for it


class TaskCreate(Body, frozen=True):
    name: PathName
    description: Text | None = None
    workflow: Object = {}


class TaskChange(Body, frozen=True):
    name: PathName | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    workflow: Object | UnsetType = UNSET


class RunCreate(Secretive, frozen=True):
    init_params: Object = {}
    secret_params: SecretObject = {}
    webhook_url: Url | None = None
    webhook_secret: SecretText | None = None
    use_trial_keys: bool = False  # taken, and of no effect: there are none


class LabelCreate(Body, frozen=True):
    key: Word
    value: Annotated[str, Meta(max_length=10_000)]
    author: Word


class IngestCreate(Body, frozen=True):
    """A run that is over already; pushed again under its `trajectory_id` it is the same."""

    input: object = None
    output: object = None
    status: TrajectoryStatus = "completed"
    scores: Annotated[dict[str, str | int | float | bool], Meta(extra={"max_bytes": 64 * 1024})] = {}
    labels: Annotated[dict[str, str | int | float | bool], Meta(extra={"max_bytes": 64 * 1024})] = {}
    cost_usd: float | None = None
    trajectory_id: Word | None = None
    source: Word | None = None
    metadata: Object = {}
    author: Word = "ingest"
    error: Text | None = None


class ClaimRequest(Body, frozen=True):
    worker: Word = "worker"
    task: Word | None = None  # of this task only


class StepReport(Body, frozen=True):
    step: Word
    status: TrajectoryStatus = "completed"
    inputs: Object = {}
    outputs: Object = {}


class FinishRequest(Body, frozen=True):
    status: TrajectoryStatus = "completed"
    error: Text | None = None
