"""Cadences: the five ways in which a call of a task recurs, as cron expressions in UTC (Jetty contract 3)."""

from datetime import datetime
from uuid import UUID

from domain.errors import InvalidField
from domain.schedule import plan as plans
from domain.schedule.cron_schedule import Cron
from domain.schedule.plan import Plan
from domain.values import Cadence, CadenceType, DayOfWeek, TriggerSettings

DAYS: tuple[DayOfWeek, ...] = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # in the order of cron's numbers
NO_SEED = UUID(int=0)  # a seed only matters for jitter, and a cadence has none
AT_AN_HOUR: tuple[CadenceType, ...] = ("daily", "weekdays", "weekly")


def cadence(
    type_: CadenceType, hour_utc: int | None = None, minute_utc: int | None = None, day_of_week: DayOfWeek | None = None
) -> Cadence:
    """Return a cadence of fields that fit together; None is an absent field. Raise InvalidField, which names the field."""
    if type_ == "manual":
        _must_be_absent(type_, hour_utc=hour_utc, minute_utc=minute_utc, day_of_week=day_of_week)
    if type_ == "hourly":
        _must_be_absent(type_, hour_utc=hour_utc)
    if type_ in AT_AN_HOUR and hour_utc is None:
        raise _missing_field("hour_utc", type_)
    if type_ != "weekly":
        _must_be_absent(type_, day_of_week=day_of_week)
    elif day_of_week is None:
        raise _missing_field("day_of_week", type_)
    return Cadence(type=type_, hour_utc=hour_utc, minute_utc=minute_utc or 0, day_of_week=day_of_week)


def cron_of(recurrence: Cadence) -> str | None:
    """Return the cron expression of a cadence; None if it never fires by itself."""
    minute, hour = recurrence.minute_utc, recurrence.hour_utc
    match recurrence.type:
        case "manual":
            return None
        case "hourly":
            return f"{minute} * * * *"
        case "daily":
            return f"{minute} {hour} * * *"
        case "weekdays":
            return f"{minute} {hour} * * 1-5"
        case "weekly":
            return f"{minute} {hour} * * {DAYS.index(recurrence.day_of_week or 'sun')}"


def schedule_of(recurrence: Cadence) -> TriggerSettings | None:
    """Return the settings of the schedule trigger of a cadence; None if it never fires by itself."""
    cron = cron_of(recurrence)
    return None if cron is None else TriggerSettings(label="cadence", cron_expression=cron, timezone="UTC")


def _must_be_absent(type_: CadenceType, **fields: object) -> None:
    for name, value in fields.items():
        if value is not None:
            raise InvalidField(f"{name} is not allowed for {type_} cadence", f"cadence.{name}")


def _missing_field(name: str, type_: CadenceType) -> InvalidField:
    return InvalidField(f"{name} is required for {type_} cadence", f"cadence.{name}")


def next_after(recurrence: Cadence, moment: datetime) -> datetime | None:
    """Return when the cadence recurs next after the moment; None if it never does."""
    cron = cron_of(recurrence)
    return None if cron is None else plans.next_after(Plan(seed=NO_SEED, cron=Cron(cron, "UTC")), moment)
