"""Triggers as clients read them."""

from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from domain.values import ChainOutcome, SigningMode, TriggerKind, TriggerSettings
from projections.responses.body import ResponseBody, time_or_none


class LastRefusal(ResponseBody, frozen=True, kw_only=True):
    """The last call of a webhook that was refused: the status of the answer, why, and from which network."""

    at: str
    status: int
    reason: str
    sender: str


class TriggerName(ResponseBody, frozen=True, kw_only=True):
    """A trigger as a run shows it."""

    id: UUID
    kind: TriggerKind
    label: str | None


class TriggerFirings(ResponseBody, frozen=True, kw_only=True):
    """What each firing may change of a trigger: its next occurrence, and its last firing."""

    next_run_at: str | None
    due_at: str | None = None  # not in Paperclip
    last_fired_at: str | None = None
    last_result: str | None = None


class TriggerSummary(TriggerName, frozen=True, kw_only=True):
    """A trigger as the list of routines shows it."""

    enabled: bool
    cron_expression: str | None
    timezone: str | None
    next_run_at: str | None
    due_at: str | None = None
    last_fired_at: str | None = None
    last_result: str | None = None


class TriggerWithoutFirings(TriggerName, frozen=True, kw_only=True):
    """A trigger without what its firings change of it; the fields of its summary come first."""

    enabled: bool
    cron_expression: str | None
    timezone: str | None
    company_id: UUID
    routine_id: UUID
    run_at: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    excluded_dates: tuple[date, ...] = ()
    jitter_sec: int = 0
    public_id: str | None = None
    secret_id: UUID | None = None
    signing_mode: SigningMode | None = None
    replay_window_sec: int | None = None
    last_rotated_at: str | None = None
    old_secret_until: str | None = None  # not in Paperclip
    after_routine_id: UUID | None = None  # not in Paperclip
    after_outcome: ChainOutcome | None = None  # not in Paperclip
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    updated_by_agent_id: UUID | None
    updated_by_user_id: str | None
    created_at: str
    updated_at: str


class Trigger(TriggerWithoutFirings, frozen=True, kw_only=True):
    """
    A trigger of a routine. Only a schedule has a `nextRunAt`, the planned moment of its next occurrence, and a `dueAt`,
    when that comes due: later by its jitter. Only a webhook has a `publicId` and a `secretId`; the secret before the present
    one is accepted until `oldSecretUntil`, null if not at all. Only a chain has an
    `afterRoutineId` and an `afterOutcome`: it fires when a run of that routine has ended so.
    """

    next_run_at: str | None
    due_at: str | None = None
    last_fired_at: str | None = None
    last_result: str | None = None


class TriggerDetail(Trigger, frozen=True, kw_only=True):
    """A trigger as its routine shows it. `lastRefusal` (our addition) is there if a call of a webhook was refused."""

    last_refusal: LastRefusal | UnsetType = UNSET


class TriggerSnapshot(ResponseBody, frozen=True, kw_only=True):
    """The state of a trigger at a revision."""

    id: UUID
    kind: TriggerKind
    label: str | None
    enabled: bool
    cron_expression: str | None
    timezone: str | None
    run_at: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    excluded_dates: tuple[date, ...] = ()
    jitter_sec: int = 0
    public_id: str | None
    signing_mode: SigningMode | None
    replay_window_sec: int | None
    after_routine_id: UUID | None = None
    after_outcome: ChainOutcome | None = None


def trigger_settings(settings: TriggerSettings) -> dict[str, Any]:
    """Return the settings of a trigger by their names, with moments as clients read them."""
    moments = {name: time_or_none(getattr(settings, name)) for name in ("run_at", "starts_at", "ends_at")}
    return msgspec.structs.asdict(settings) | moments
