"""A trigger: a way to fire a routine. What becomes of the occurrences of a schedule: settlement.py."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from domain.errors import BadSchedule, Conflict, ImpossibleHistory, InvalidField, RuleViolation
from domain.events import (
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerMissed,
    TriggerReplanned,
    TriggerRescheduled,
    TriggerRestored,
    TriggerSecretRotated,
    TriggerUpdated,
)
from domain.routines.activity_gate import Window
from domain.schedule import cron_schedule, zones
from domain.schedule import plan as plans
from domain.schedule.cron_schedule import Cron
from domain.schedule.plan import Plan
from domain.values import (
    RoutineStatus,
    TriggerKind,
    TriggerSettings,
    TriggerState,
    Value,
    Webhook,
)
from domain.webhooks import signing_keys
from domain.webhooks.signing_keys import OldSecret, Signing

EARLIEST, TOO_FAR = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)  # far from the calendar's ends
NOT_ACTIVE = "Routine trigger is not active"
COMMON = ("label", "enabled")
OF_WEBHOOKS = ("signing_mode", "replay_window_sec")
OF_CHAINS = ("after_routine_id", "after_outcome")
OWN: dict[TriggerKind, tuple[str, ...]] = {"webhook": OF_WEBHOOKS, "chain": OF_CHAINS}


class Trigger(Value, frozen=True):
    """The state of a trigger: its settings, its webhook and secrets, and how far its schedule is settled."""

    routine_id: UUID
    kind: TriggerKind
    settings: TriggerSettings
    webhook: Webhook | None = None
    old_secret: OldSecret | None = None
    next_unsettled_at: datetime | None = None  # every earlier occurrence already has an outcome
    over_since: datetime | None = None  # nothing from here to `next_unsettled_at` ran: the company was over a quota
    rests_until: datetime | None = None  # until then the schedule is not looked at again, because of that quota
    deleted: bool = False


class DueTrigger(Value, frozen=True):
    """An occurrence that waits for its outcome, as the read model of due triggers knows it."""

    trigger_id: UUID
    trigger_version: int  # when `next_at` was set; if the stream has another version now, this is stale
    routine_id: UUID
    company_id: UUID
    next_at: datetime
    is_gated: bool = False  # whether its routine has an activity gate
    window: Window | None = None  # what the gate looks at; None if that is not known, and the gate then stays open

    @property
    def id(self) -> UUID:
        """The id by which the scheduler tells due work apart: the trigger's."""
        return self.trigger_id


def evolve(trigger: Trigger | None, event: TriggerEvent) -> Trigger:
    """Fold an event into the state of a trigger. Raise ImpossibleHistory if the event cannot follow."""
    match trigger, event:
        case None, TriggerCreated():
            return _new_trigger(event)
        case Trigger(deleted=True), TriggerRestored():
            return _new_trigger(event)
        case Trigger(deleted=False), TriggerUpdated(settings=settings, webhook=None, next_at=since):
            return _going_on(trigger, since, settings=settings)
        case Trigger(deleted=False), TriggerUpdated(settings=settings, webhook=webhook, next_at=since):
            return _going_on(trigger, since, settings=settings, webhook=webhook, old_secret=None)
        case Trigger(deleted=False), TriggerSecretRotated(webhook=webhook, old_secret_id=old, old_until=until):
            return replace(trigger, webhook=webhook, old_secret=OldSecret(id=old, until=until) if until else None)
        case Trigger(deleted=False), TriggerMissed(rests_until=datetime() as rests_until, first=first, next_at=since):
            over_since = trigger.over_since if first == trigger.next_unsettled_at and trigger.over_since else first
            return replace(trigger, next_unsettled_at=since, over_since=over_since, rests_until=rests_until)
        case (
            Trigger(deleted=False),
            TriggerRescheduled(next_at=since) | TriggerReplanned(next_at=since) | TriggerMissed(next_at=since),
        ):
            return _going_on(trigger, since)
        case Trigger(deleted=False), TriggerDeleted():
            return replace(trigger, deleted=True)
        case _:
            raise ImpossibleHistory(trigger, event)


def _going_on(trigger: Trigger, since: datetime | None, **changes: Any) -> Trigger:
    """Let the schedule go on from an occurrence. It does not rest any more, unless that is the one for which it rests."""
    if since is not None and since == trigger.next_unsettled_at:
        return replace(trigger, **changes)
    return replace(trigger, next_unsettled_at=since, over_since=None, rests_until=None, **changes)


def _new_trigger(event: TriggerCreated | TriggerRestored) -> Trigger:
    return Trigger(
        routine_id=event.routine_id,
        kind=event.kind,
        settings=event.settings,
        webhook=event.webhook,
        next_unsettled_at=event.next_at,
    )


def create(
    routine_id: UUID, kind: TriggerKind, settings: TriggerSettings, now: datetime, webhook: Webhook | None = None
) -> list[TriggerEvent]:
    """Create a trigger. Raise RuleViolation or BadSchedule for a schedule that cannot be followed."""
    settings, next_at, due_at = _check_settings(routine_id, kind, settings, now)
    if (plan := _plan_of(routine_id, kind, settings)) is not None:
        plans.must_have_an_occurrence(plan, now)
    event = TriggerCreated(routine_id=routine_id, kind=kind, settings=settings, next_at=next_at, due_at=due_at)
    return [replace(event, webhook=webhook)]


def field_of(refusal: RuleViolation) -> str | None:
    """Return the field, by its name in JSON, for which a trigger was refused; None if it is none alone."""
    match refusal:
        case InvalidField(field=field):
            return field
        case BadSchedule(message=message):
            return "timezone" if message.startswith(zones.INVALID) else "cronExpression"
        case _:
            return None


def update(
    trigger: Trigger,
    settings: TriggerSettings,
    now: datetime,
    webhook: Webhook | None = None,
    *,
    may_be_over: bool = False,
) -> list[TriggerEvent]:
    """
    Change the settings; nothing is recorded when they are the same. A schedule goes on after now, unless more stays (`go_on`).

    Raise RuleViolation or BadSchedule as `create` does; a schedule with no occurrence left is refused unless it was so
    before, or `may_be_over`.
    """
    old = plan_of(trigger)
    settings, next_at, due_at = _check_settings(trigger.routine_id, trigger.kind, settings, now)
    if settings == trigger.settings and webhook is None:
        return []
    plan = _plan_of(trigger.routine_id, trigger.kind, settings)
    if plan is not None and plan != old and not may_be_over:
        plans.must_have_an_occurrence(plan, now)
    return [TriggerUpdated(settings=settings, next_at=next_at, due_at=due_at, webhook=webhook)]


def rotate(trigger: Trigger, webhook: Webhook, old_until: datetime | None) -> list[TriggerEvent]:
    """
    Give a webhook another secret; the previous one is accepted until `old_until`, None: not any more (contract 4).

    Raise RuleViolation for a trigger that is no webhook.
    """
    old = webhook_of(trigger).secret_id
    return [TriggerSecretRotated(webhook=webhook, old_secret_id=old, old_until=old_until)]


def restore(trigger: Trigger, state: TriggerState, now: datetime, webhook: Webhook | None = None) -> list[TriggerEvent]:
    """
    Restore a deleted trigger as an earlier revision of its routine has it; `webhook` is its new address and secret.

    A schedule that is over is restored as one: it has no further occurrence.
    """
    settings, next_at, due_at = _check_settings(trigger.routine_id, state.kind, state.settings, now)
    event = TriggerRestored(routine_id=trigger.routine_id, kind=state.kind, settings=settings, next_at=next_at)
    return [replace(event, due_at=due_at, webhook=webhook)]


def webhook_of(trigger: Trigger) -> Webhook:
    """Return the address and secret of a webhook trigger. Raise RuleViolation for other kinds."""
    if trigger.webhook is None:
        raise RuleViolation("Only webhook triggers can rotate secrets")
    return trigger.webhook


def secrets_of(trigger: Trigger) -> list[UUID]:
    """Return the vault's ids of the current secret and of the previous one, if that was given time."""
    return signing_keys.ids(signing_of(trigger))


def good_secrets_of(trigger: Trigger, now: datetime) -> list[UUID]:
    """Return the vault's ids of the secrets that are accepted now."""
    return signing_keys.signing_secret_ids(signing_of(trigger), now)


def signing_of(trigger: Trigger) -> Signing:
    """Return the current secret of a webhook with the previous one, if that was given time."""
    return Signing(secret_id=webhook_of(trigger).secret_id, old=trigger.old_secret)


def state_of(trigger: Trigger) -> TriggerState:
    """Return what a revision shows of the trigger."""
    public_id = trigger.webhook.public_id if trigger.webhook else None
    return TriggerState(kind=trigger.kind, settings=trigger.settings, public_id=public_id)


def must_be_active(trigger: Trigger, routine_status: RoutineStatus) -> None:
    """
    Raise Conflict unless the trigger is enabled and its routine active: a webhook or API call needs both (contract 3.5,
    6).
    """
    if not trigger.settings.enabled or routine_status != "active":
        raise Conflict(NOT_ACTIVE)


def reschedule(trigger: Trigger, next_at: datetime | None) -> list[TriggerEvent]:
    """Let the schedule go on from an occurrence, since its routine was resumed; nothing for other kinds of trigger."""
    if (plan := plan_of(trigger)) is None:
        return []
    return [TriggerRescheduled(next_at=next_at, due_at=due_at_or_none(plan, next_at))]


def plan_of(trigger: Trigger) -> Plan | None:
    """Return the plan of a schedule; None for the other kinds of trigger."""
    return _plan_of(trigger.routine_id, trigger.kind, trigger.settings)


def owed_from(trigger: Trigger, routine_status: RoutineStatus) -> datetime | None:
    """Return the first occurrence that the schedule settles itself or has settled; None if it settles nothing."""
    return trigger.next_unsettled_at if trigger.settings.enabled and routine_status == "active" else None


def due_at_or_none(plan: Plan, next_at: datetime | None) -> datetime | None:
    """Return when an occurrence with jitter comes due; None if that is its own moment."""
    return plans.due_at(plan, next_at) if next_at is not None and plan.jitter_s else None


def _plan_of(routine_id: UUID, kind: TriggerKind, settings: TriggerSettings) -> Plan | None:
    if kind != "schedule" or (settings.cron_expression is None and settings.run_at is None):
        return None
    return _plan_for(routine_id, settings)


def _plan_for(routine_id: UUID, settings: TriggerSettings) -> Plan:
    zone = settings.timezone or "UTC"
    return Plan(
        seed=routine_id,
        cron=Cron(settings.cron_expression, zone) if settings.cron_expression is not None else None,
        once=settings.run_at,
        starts_at=settings.starts_at,
        ends_at=settings.ends_at,
        excluded=settings.excluded_dates,
        jitter_s=settings.jitter_sec,
    )


def _check_settings(
    routine_id: UUID, kind: TriggerKind, settings: TriggerSettings, now: datetime
) -> tuple[TriggerSettings, datetime | None, datetime | None]:
    """
    Return the settings with when the schedule fires next and comes due; raise RuleViolation if it cannot be followed.

    Fields that belong to another kind of trigger are dropped (contract 4), but for those of a chain, which are refused.
    """
    if kind != "chain" and any(getattr(settings, name) is not None for name in OF_CHAINS):
        raise RuleViolation("Only chain triggers have afterRoutineId and afterOutcome")
    if kind != "schedule":
        fields = {name: getattr(settings, name) for name in COMMON + OWN.get(kind, ())}
        return TriggerSettings(**fields), None, None
    settings = replace(settings, signing_mode=None, replay_window_sec=None)
    settings = _checked_times(settings)
    plan = _plan_for(routine_id, settings)
    next_at = plans.next_after(plan, now)
    return settings, next_at, due_at_or_none(plan, next_at)


def _checked_times(settings: TriggerSettings) -> TriggerSettings:
    """
    Return the settings of a schedule, the excluded dates in order and each once.

    Raise RuleViolation unless it has either a cron expression in a zone or one moment.
    """
    if settings.timezone is None:
        raise RuleViolation("Scheduled triggers require timezone")
    zone = zones.spell_zone(settings.timezone)
    settings = replace(settings, timezone=zone)
    moments = (settings.run_at, settings.starts_at, settings.ends_at)
    if not all(moment is None or EARLIEST <= moment < TOO_FAR for moment in moments):
        raise RuleViolation(
            f"runAt, startsAt and endsAt must not lie before the year {EARLIEST.year} or after {TOO_FAR.year - 1}"
        )
    if settings.run_at is not None:
        if settings.cron_expression is not None:
            raise RuleViolation("A schedule has a cronExpression or a runAt, not both")
        if settings.excluded_dates or settings.starts_at or settings.ends_at:
            raise RuleViolation("A schedule with runAt has no startsAt, endsAt or excludedDates")
        return settings
    if settings.cron_expression is None:
        raise RuleViolation("Scheduled triggers require cronExpression")
    if settings.starts_at and settings.ends_at and settings.ends_at < settings.starts_at:
        raise RuleViolation("endsAt must not be before startsAt")
    cron = cron_schedule.parse_cron(settings.cron_expression, zone)
    excluded_dates = tuple(sorted(set(settings.excluded_dates)))
    return replace(settings, cron_expression=cron.expression, excluded_dates=excluded_dates)


def delete(trigger: Trigger) -> list[TriggerEvent]:
    """Record that the trigger fires no more; nothing if it is deleted already."""
    return [] if trigger.deleted else [TriggerDeleted()]
