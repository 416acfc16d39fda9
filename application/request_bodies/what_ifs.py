"""The bodies that ask what would have become of the past under other settings."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from application.request_bodies.fields import Body, CronText, Jitter, RunDuration, Zone
from domain.values import CatchUpPolicy, ConcurrencyPolicy


class PastWithChanges(Body, frozen=True):
    """A range of the past, after `from` and until `to` (now if it is absent), and settings that would have held in it."""

    from_: datetime = msgspec.field(name="from")
    to: datetime | None = None
    timezone: Zone | UnsetType = UNSET
    jitter_sec: Jitter | UnsetType = UNSET
    concurrency_policy: ConcurrencyPolicy | UnsetType = UNSET
    catch_up_policy: CatchUpPolicy | UnsetType = UNSET
    max_run_duration_sec: RunDuration | None | UnsetType = UNSET


class WhatIf(PastWithChanges, frozen=True):
    """
    Asks what would have become of a range of the past, after `from` and until `to` (now if it is absent), under other settings.

    Fields that are absent stay as they were. `cronExpression`, `timezone` and `jitterSec` change the schedule `triggerId`, or
    all of them; the other fields change the routine. `maxRunDurationSec: null` lifts the limit. Nothing is recorded.
    """

    trigger_id: UUID | UnsetType = UNSET
    cron_expression: CronText | UnsetType = UNSET


class CompanyWhatIf(PastWithChanges, frozen=True):
    """
    Asks the same of all routines of a company that are not archived: what if all their schedules, or all of them, had these
    settings. Nothing is recorded.
    """
