"""A trigger: a way to fire a routine. For schedules, which occurrences are due and what becomes of late ones."""

from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from msgspec.structs import replace

from domain import schedule
from domain.errors import Conflict, ImpossibleHistory, Unacceptable
from domain.events import (
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerMissed,
    TriggerRescheduled,
    TriggerRestored,
    TriggerSecretRotated,
    TriggerUpdated,
)
from domain.schedule import Cron
from domain.values import (
    CatchUpPolicy,
    RoutineStatus,
    TriggerKind,
    TriggerSettings,
    TriggerState,
    Value,
    Webhook,
)

GRACE = timedelta(seconds=60)  # an occurrence is late, but not missed, up to here
NOT_ACTIVE = "Routine trigger is not active"
CATCH_UP_CAP = 25  # missed occurrences that are made up for after one outage


class OldSecret(Value, frozen=True):
    """A secret that was rotated out and is good for a while."""

    id: UUID
    until: datetime


class Trigger(Value, frozen=True):
    routine_id: UUID
    kind: TriggerKind
    settings: TriggerSettings
    webhook: Webhook | None = None
    old_secret: OldSecret | None = None
    deleted: bool = False


class Due(Value, frozen=True):
    """What to do about a schedule now: the occurrences to run, oldest first, and those to drop."""

    fire: tuple[datetime, ...]
    missed: TriggerMissed | None
    next_at: datetime


class DueTrigger(Value, frozen=True):
    """An occurrence that waits for its outcome, as the read model of due triggers knows it."""

    trigger_id: UUID
    trigger_version: int  # of the trigger's stream when `next_at` was set; another one makes the row stale
    routine_id: UUID
    next_at: datetime


def evolve(trigger: Trigger | None, event: TriggerEvent) -> Trigger:
    match trigger, event:
        case None, TriggerCreated(routine_id=routine_id, kind=kind, settings=settings, webhook=webhook):
            return Trigger(routine_id=routine_id, kind=kind, settings=settings, webhook=webhook)
        case Trigger(deleted=True), TriggerRestored(
            routine_id=routine_id, kind=kind, settings=settings, webhook=webhook
        ):
            return Trigger(routine_id=routine_id, kind=kind, settings=settings, webhook=webhook)
        case Trigger(deleted=False), TriggerUpdated(settings=settings, webhook=None):
            return replace(trigger, settings=settings)
        case Trigger(deleted=False), TriggerUpdated(settings=settings, webhook=webhook):
            return replace(trigger, settings=settings, webhook=webhook, old_secret=None)
        case Trigger(deleted=False), TriggerSecretRotated(webhook=webhook, old_secret_id=old, old_until=until):
            return replace(trigger, webhook=webhook, old_secret=OldSecret(id=old, until=until) if until else None)
        case Trigger(deleted=False), TriggerRescheduled() | TriggerMissed():
            return trigger
        case Trigger(deleted=False), TriggerDeleted():
            return replace(trigger, deleted=True)
        case _:
            raise ImpossibleHistory(trigger, event)


def create(
    routine_id: UUID, kind: TriggerKind, settings: TriggerSettings, now: datetime, webhook: Webhook | None = None
) -> list[TriggerEvent]:
    settings, next_at = _checked(kind, settings, now)
    return [TriggerCreated(routine_id=routine_id, kind=kind, settings=settings, next_at=next_at, webhook=webhook)]


def update(
    trigger: Trigger, settings: TriggerSettings, now: datetime, webhook: Webhook | None = None
) -> list[TriggerEvent]:
    """An edit is recorded also when nothing changed (contract 3.6): a schedule starts anew from now."""
    settings, next_at = _checked(trigger.kind, settings, now)
    return [TriggerUpdated(settings=settings, next_at=next_at, webhook=webhook)]


def rotate(trigger: Trigger, webhook: Webhook, old_until: datetime | None) -> list[TriggerEvent]:
    """Another secret from now on; the one before is good until `old_until`, None: no more (contract 4)."""
    old = webhook_of(trigger).secret_id
    return [TriggerSecretRotated(webhook=webhook, old_secret_id=old, old_until=old_until)]


def restore(trigger: Trigger, state: TriggerState, now: datetime, webhook: Webhook | None = None) -> list[TriggerEvent]:
    """As an earlier revision of its routine has it, with the webhook it gets if that is another."""
    if not trigger.deleted:
        return update(trigger, state.settings, now, webhook)
    settings, next_at = _checked(state.kind, state.settings, now)
    return [
        TriggerRestored(
            routine_id=trigger.routine_id, kind=state.kind, settings=settings, next_at=next_at, webhook=webhook
        )
    ]


def webhook_of(trigger: Trigger) -> Webhook:
    if trigger.webhook is None:
        raise Unacceptable("Only webhook triggers can rotate secrets")
    return trigger.webhook


def secrets_of(trigger: Trigger) -> list[UUID]:
    """The vault's ids of its current secret, and of the one before if that was given time."""
    ids = [webhook_of(trigger).secret_id]
    return [*ids, trigger.old_secret.id] if trigger.old_secret else ids


def good_secrets_of(trigger: Trigger, now: datetime) -> list[UUID]:
    """Those of its secrets that open it now."""
    ids = secrets_of(trigger)
    return ids if trigger.old_secret is None or now < trigger.old_secret.until else ids[:1]


def state_of(trigger: Trigger) -> TriggerState:
    """What a revision shows of it."""
    public_id = trigger.webhook.public_id if trigger.webhook else None
    return TriggerState(kind=trigger.kind, settings=trigger.settings, public_id=public_id)


def must_be_active(trigger: Trigger, of: RoutineStatus) -> None:
    """A webhook or API call fires only what is enabled, of a routine that is active (contract 3.5, 6)."""
    if not trigger.settings.enabled or of != "active":
        raise Conflict(NOT_ACTIVE)


def reschedule(trigger: Trigger, now: datetime) -> list[TriggerEvent]:
    """Its routine was resumed: the schedule goes on from now."""
    cron = schedule_of(trigger)
    return [] if cron is None else [TriggerRescheduled(next_at=schedule.next_after(cron, now))]


def schedule_of(trigger: Trigger) -> Cron | None:
    """The schedule it follows; None for the other kinds."""
    settings = trigger.settings
    if trigger.kind != "schedule" or settings.cron_expression is None:
        return None
    return Cron(settings.cron_expression, settings.timezone or "UTC")


def due(cron: Cron, since: datetime, now: datetime, policy: CatchUpPolicy) -> Due | None:
    """
    What is due of the occurrences from `since` (itself one) until now; None when nothing is.

    Those no later than GRACE run. Of the others `skip_missed` drops all, `enqueue_missed_with_cap` runs the
    oldest CATCH_UP_CAP and drops the rest (contract 4.2).
    """
    if since > now:
        return None
    before = since - timedelta(minutes=1)
    in_grace = max(before, now - GRACE - timedelta(microseconds=1))
    cap = CATCH_UP_CAP if policy == "enqueue_missed_with_cap" else 0
    caught_up = tuple(islice(schedule.occurrences(cron, before, in_grace), cap))
    dropped_after = caught_up[-1] if caught_up else before
    on_time, next_at = [], since if since > in_grace else schedule.next_after(cron, in_grace)
    while next_at <= now:
        on_time.append(next_at)
        next_at = schedule.next_after(cron, next_at)
    missed = _missed(cron, dropped_after, in_grace, policy, next_at)
    return Due(fire=(*caught_up, *on_time), missed=missed, next_at=next_at)


def _missed(
    cron: Cron, after: datetime, until: datetime, policy: CatchUpPolicy, next_at: datetime
) -> TriggerMissed | None:
    last = schedule.last_until(cron, until, after)
    if last is None:
        return None
    reason = "skip_missed" if policy == "skip_missed" else "catch_up_cap"
    first = schedule.next_after(cron, after)
    return TriggerMissed(
        first=first, last=last, count=schedule.count(cron, after, until), reason=reason, next_at=next_at
    )


def _checked(kind: TriggerKind, settings: TriggerSettings, now: datetime) -> tuple[TriggerSettings, datetime | None]:
    """Fields of another kind are dropped (contract 4); a schedule must be one that can be followed."""
    if kind != "webhook":
        settings = replace(settings, signing_mode=None, replay_window_sec=None)
    if kind != "schedule":
        return replace(settings, cron_expression=None, timezone=None), None
    if settings.cron_expression is None:
        raise Unacceptable("Scheduled triggers require cronExpression")
    if settings.timezone is None:
        raise Unacceptable("Scheduled triggers require timezone")
    cron = schedule.cron(settings.cron_expression, settings.timezone)
    settings = replace(settings, cron_expression=cron.expression, timezone=cron.timezone)
    return settings, schedule.next_after(cron, now)


def delete(trigger: Trigger) -> list[TriggerEvent]:
    return [] if trigger.deleted else [TriggerDeleted()]
