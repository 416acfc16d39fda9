"""
Routines, their triggers and folders, and the zone data by which schedules are planned.

Every event of a routine is one revision, numbered by its version. `next_at` is the next occurrence of a schedule, None
when there is none; `due_at` is when it comes due, None when that is `next_at` itself.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.events.event import Event
from domain.values import ERASABLE, FolderDetails, RoutineSettings, TriggerKind, TriggerSettings, TriggerState, Webhook


class FolderCreated(Event, frozen=True, tag="folder.created"):
    """A folder for routines was created."""

    details: FolderDetails


class FolderUpdated(Event, frozen=True, tag="folder.updated"):
    """The folder got another name, or lies in another folder."""

    details: FolderDetails


class FolderDeleted(Event, frozen=True, tag="folder.deleted"):
    """The folder, in which nothing was left, is gone."""


class ZoneDataAdopted(Event, frozen=True, tag="zones.adopted"):
    """Every schedule of the installation is planned by this version of the zone data, such as `2026f`, or a newer one."""

    version: str


class RoutineCreated(Event, frozen=True, tag="routine.created"):
    """A routine was created: revision 1. The responsible user is the person who answers for what it does."""

    settings: RoutineSettings
    responsible_user_id: UUID | None = None


class RoutineUpdated(Event, frozen=True, tag="routine.updated"):
    """The settings of the routine changed."""

    settings: RoutineSettings


class RoutineRestored(Event, frozen=True, tag="routine.restored"):
    """The settings and the triggers of the routine are again what they were at an earlier revision."""

    from_revision: int
    settings: RoutineSettings
    triggers: Annotated[dict[UUID, TriggerState], ERASABLE]


class RoutineTriggerAdded(Event, frozen=True, tag="routine.trigger_added"):
    """
    The routine got a trigger. `state` is what a revision shows of the trigger; it is None in events that are older than
    revisions.
    """

    trigger_id: UUID
    kind: TriggerKind
    state: TriggerState | None = None


class RoutineTriggerChanged(Event, frozen=True, tag="routine.trigger_changed"):
    """One of the routine's triggers was edited. `state` means the same as in `routine.trigger_added`."""

    trigger_id: UUID
    kind: TriggerKind
    state: TriggerState | None = None


class RoutineSecretRotated(Event, frozen=True, tag="routine.secret_rotated"):
    """One of the routine's webhook triggers got a new secret."""

    trigger_id: UUID


class RoutineTriggerRemoved(Event, frozen=True, tag="routine.trigger_removed"):
    """The routine lost a trigger."""

    trigger_id: UUID
    kind: TriggerKind


class TriggerCreated(Event, frozen=True, tag="trigger.created"):
    """
    A trigger of the routine was created. `next_at` is the next occurrence of a schedule; `webhook` is where a webhook
    is called.
    """

    routine_id: UUID
    kind: TriggerKind
    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerUpdated(Event, frozen=True, tag="trigger.updated"):
    """
    The settings of the trigger changed, and a schedule goes on at `next_at`, which lies in the past where something still
    waits. `webhook` is set when the new signing mode keeps the secret in another record of the vault.
    """

    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerSecretRotated(Event, frozen=True, tag="trigger.secret_rotated"):
    """The webhook accepts another secret, and the old one until `old_until` (None: not any more)."""

    webhook: Webhook
    old_secret_id: UUID
    old_until: datetime | None = None


class TriggerRestored(Event, frozen=True, tag="trigger.restored"):
    """A deleted trigger is there again, because a revision was restored; a webhook has another address and secret."""

    routine_id: UUID
    kind: TriggerKind
    settings: TriggerSettings
    next_at: datetime | None = None
    due_at: datetime | None = None
    webhook: Webhook | None = None


class TriggerRescheduled(Event, frozen=True, tag="trigger.rescheduled"):
    """The routine was resumed; the schedule goes on at `next_at`. The times that came due meanwhile are no occurrences."""

    next_at: datetime | None
    due_at: datetime | None = None


class TriggerReplanned(Event, frozen=True, tag="trigger.replanned"):
    """
    By the zone data of version `zone_data` the clocks of the schedule's zone go by other rules than when its next
    occurrence was planned. It goes on by these; what had been planned after this moment is no occurrence.
    """

    zone_data: str
    next_at: datetime | None
    due_at: datetime | None = None


class TriggerMissed(Event, frozen=True, tag="trigger.missed"):
    """
    The occurrences from first to last, `count` of them, did not run: they were too late and the policy said to drop
    them, the schedule was changed before they were settled, their company is archived (reason `company_archived`), or
    it had recorded too much (`over_quota`). In that last case the schedule rests: what comes due before `rests_until` is
    settled at its end, unless the company is within its quotas sooner.
    """

    first: datetime
    last: datetime
    count: int
    reason: str
    next_at: datetime | None
    due_at: datetime | None = None
    rests_until: datetime | None = None


class TriggerDeleted(Event, frozen=True, tag="trigger.deleted"):
    """The trigger does not fire any more."""


FolderEvent = FolderCreated | FolderUpdated | FolderDeleted


RoutineEvent = (
    RoutineCreated
    | RoutineUpdated
    | RoutineRestored
    | RoutineTriggerAdded
    | RoutineTriggerChanged
    | RoutineTriggerRemoved
    | RoutineSecretRotated
)


TriggerEvent = (
    TriggerCreated
    | TriggerUpdated
    | TriggerSecretRotated
    | TriggerRestored
    | TriggerRescheduled
    | TriggerReplanned
    | TriggerMissed
    | TriggerDeleted
)
