"""
The JSON bodies of requests to the Jetty API (Jetty contract 2, 3 and 7). Their docstrings are part of its description.

Absent fields are UNSET where a patch must tell "leave it" from "clear it"; other fields are refused, but for those that
web/http/tolerated_fields.py lists. `whole` marks numbers that must be written as integers.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.request_bodies.fields import TRIM, Micros, Tokens
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
    """A body that may hold secrets, so it does not show its fields when it is printed."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class CadenceConfig(Body, frozen=True):
    """Says when a routine recurs."""

    type: CadenceType
    hour_utc: Hour | None = None
    minute_utc: Minute | None = None
    day_of_week: DayOfWeek | None = None


class RoutineCreate(Secretive, frozen=True):
    """Describes a routine to create for a task."""

    name: Slug
    cadence: CadenceConfig
    init_params_overrides: Object = {}
    secret_params: SecretObject = {}
    webhook_url: Url | None = None
    webhook_secret: SecretText | None = None
    paused: bool = False


class RoutineChange(Secretive, frozen=True):
    """Changes a routine. Fields that are absent stay as they are."""

    name: Slug | UnsetType = UNSET
    cadence: CadenceConfig | UnsetType = UNSET
    init_params_overrides: Object | UnsetType = UNSET
    secret_params: SecretObject | UnsetType = UNSET
    webhook_url: Url | None | UnsetType = UNSET
    webhook_secret: SecretText | None | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class CollectionCreate(Body, frozen=True):
    """Describes a collection to create."""

    name: PathName
    description: Text | None = None


class EnvironmentChange(Secretive, frozen=True):
    """Merges the variables with the existing ones. Null deletes one variable, or all when it replaces the object."""

    environment_variables: Environment | None


class ApiKeyCreate(Body, frozen=True):
    """Describes a key to create for a collection."""

    name: KeyName
    collection_name: Word
    expires_at: datetime | None | UnsetType = (
        UNSET  # None: it never expires; UNSET: it expires with the key of the request
    )


class TaskCreate(Body, frozen=True):
    """Describes a task to create."""

    name: PathName
    description: Text | None = None
    workflow: Object = {}


class TaskChange(Body, frozen=True):
    """Changes a task. Fields that are absent stay as they are."""

    name: PathName | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    workflow: Object | UnsetType = UNSET


class RunCreate(Secretive, frozen=True):
    """Asks for a run of the task."""

    init_params: Object = {}
    secret_params: SecretObject = {}
    webhook_url: Url | None = None
    webhook_secret: SecretText | None = None
    use_trial_keys: bool = False  # accepted without effect: there are no trial keys


class LabelCreate(Body, frozen=True):
    """Holds a label for a trajectory."""

    key: Word
    value: Annotated[str, Meta(max_length=10_000)]
    author: Word


class IngestCreate(Body, frozen=True):
    """Stores a run that is over already. Sent again with the same `trajectory_id` it is the same run."""

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
    """Asks for a trajectory that waits for a worker."""

    worker: Word = "worker"
    task: Word | None = None  # None: a trajectory of any task


class StepReport(Body, frozen=True):
    """Reports a step of a trajectory, with what the step was given and what it gave."""

    step: Word
    status: TrajectoryStatus = "completed"
    inputs: Object = {}
    outputs: Object = {}


class TrajectoryUsage(Body, frozen=True):
    """
    Says what the work on a trajectory has used so far, in total: a later report replaces an earlier one, and what it does
    not mention stays. `cost_micros` is in millionths of a currency unit.
    """

    cost_micros: Micros | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class FinishRequest(Body, frozen=True):
    """Ends the work on a trajectory. The status `pending` hands it back."""

    status: TrajectoryStatus = "completed"
    error: Text | None = None
