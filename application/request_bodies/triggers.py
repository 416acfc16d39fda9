"""The bodies about triggers and their schedules."""

from base64 import b64decode
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.request_bodies.fields import (
    REQUIRED,
    Body,
    CronText,
    ExcludedDates,
    Jitter,
    Label,
    ReplayWindow,
    SampleHeaders,
    Zone,
)
from domain.values import ChainOutcome, SigningMode


class ScheduleDraft(Body, frozen=True, tag_field="kind", tag="schedule"):
    """
    Fires at the times of a cron expression, or once at `runAt`. Beyond the contract: `startsAt` and `endsAt` limit it,
    it does not fire on the `excludedDates` of its time zone, and `jitterSec` spreads its firings.
    """

    cron_expression: CronText | None = None
    timezone: Zone = "UTC"
    label: Label | None = None
    enabled: bool = True
    run_at: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    excluded_dates: ExcludedDates = ()
    jitter_sec: Jitter = 0

    def faults(self) -> list[tuple[str, str]]:
        """Report a schedule that has neither a cron expression nor `runAt`."""
        return _schedule_faults(self.cron_expression, self.run_at)


class WebhookDraft(Body, frozen=True, tag_field="kind", tag="webhook"):
    """Fires when somebody who knows its secret calls its public address."""

    label: Label | None = None
    enabled: bool = True
    signing_mode: SigningMode = "bearer"
    replay_window_sec: ReplayWindow = 300


class ApiDraft(Body, frozen=True, tag_field="kind", tag="api"):
    """Fires when a request for a run names it."""

    label: Label | None = None
    enabled: bool = True


class ChainDraft(Body, frozen=True, tag_field="kind", tag="chain"):
    """
    Fires when a run of `afterRoutineId`, another routine of the company, has ended as `afterOutcome` says (beyond the
    contract). The payload is that run and its outputs; a variable that is named like an output gets its value.
    """

    after_routine_id: UUID
    after_outcome: ChainOutcome = "succeeded"
    label: Label | None = None
    enabled: bool = True


TriggerDraft = ScheduleDraft | WebhookDraft | ApiDraft | ChainDraft


class TriggerPatch(Body, frozen=True):
    """
    Changes a trigger. Fields that are absent stay as they are, and fields of another kind are ignored, but for those of
    a chain: `afterRoutineId` and `afterOutcome` are refused for a trigger that is none.
    """

    label: Label | None | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    cron_expression: CronText | None | UnsetType = UNSET
    timezone: Zone | None | UnsetType = UNSET
    run_at: datetime | None | UnsetType = UNSET
    starts_at: datetime | None | UnsetType = UNSET
    ends_at: datetime | None | UnsetType = UNSET
    excluded_dates: ExcludedDates | UnsetType = UNSET
    jitter_sec: Jitter | UnsetType = UNSET
    signing_mode: SigningMode | UnsetType = UNSET
    replay_window_sec: ReplayWindow | UnsetType = UNSET
    after_routine_id: UUID | UnsetType = UNSET
    after_outcome: ChainOutcome | UnsetType = UNSET


class SecretRotation(Body, frozen=True):
    """Replaces a secret. The old one stays valid for `overlapSec` seconds (our addition)."""

    overlap_sec: Annotated[int, Meta(ge=0, le=86_400)] = 0


class WebhookSample(Body, frozen=True):
    """A call of a webhook as its sender would make it: its headers, and its body as text or in base64."""

    headers: SampleHeaders = {}
    body: Annotated[str, Meta(max_length=1_000_000)] = ""
    encoding: Literal["text", "base64"] = "text"

    def faults(self) -> list[tuple[str, str]]:
        """Report a body that is not in base64 though it says so."""
        try:
            if self.encoding == "base64":
                b64decode(self.body, validate=True)
        except ValueError:
            return [("body", "Invalid base64")]
        return []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.body)} characters)"  # a header may be the secret itself

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("body", f"{len(self.body)} characters")]


class SchedulePreview(Body, frozen=True):
    """
    Asks for the next `count` times of a schedule that is not saved, from `from` on (now if it is absent).

    Where jitter moves an occurrence depends on the routine, so it is known only with `routineId`.
    """

    cron_expression: CronText | None = None
    timezone: Zone = "UTC"
    run_at: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    excluded_dates: ExcludedDates = ()
    jitter_sec: Jitter = 0
    routine_id: UUID | None = None
    count: Annotated[int, Meta(ge=1, le=1_000)] = 10
    from_: datetime | None = msgspec.field(default=None, name="from")

    def faults(self) -> list[tuple[str, str]]:
        """Report a schedule that has neither a cron expression nor `runAt`."""
        return _schedule_faults(self.cron_expression, self.run_at)


def _schedule_faults(cron_expression: str | None, run_at: datetime | None) -> list[tuple[str, str]]:
    return [("cronExpression", REQUIRED)] if cron_expression is None and run_at is None else []
