"""The settings that a replay changes, as if somebody had edited the routine at the beginning of the range."""

from uuid import UUID

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain.errors import InvalidField
from domain.routines.routine import Routine
from domain.schedule import cron_schedule, zones
from domain.values import CatchUpPolicy, ConcurrencyPolicy, TriggerSettings, Value


class Change(Value, frozen=True):
    """What is changed; what is UNSET stays as it was. `trigger_id` is the only schedule to change, None: all of them."""

    trigger_id: UUID | None = None
    cron_expression: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    jitter_s: int | UnsetType = UNSET
    concurrency_policy: ConcurrencyPolicy | UnsetType = UNSET
    catch_up_policy: CatchUpPolicy | UnsetType = UNSET
    max_run_duration_s: int | None | UnsetType = UNSET  # None: no limit

    def of_schedule(self, trigger_id: UUID, settings: TriggerSettings) -> TriggerSettings:
        """Return the settings of a schedule with the change; those of one moment keep their moment."""
        if self.trigger_id not in (None, trigger_id) or settings.cron_expression is None:
            return settings
        fields = {
            "cron_expression": self.cron_expression,
            "timezone": self.timezone,
            "jitter_sec": self.jitter_s,
        }
        return replace(settings, **{name: value for name, value in fields.items() if value is not UNSET})

    def of_routine(self, routine: Routine) -> Routine:
        """Return the routine with the change."""
        fields = {
            "concurrency_policy": self.concurrency_policy,
            "catch_up_policy": self.catch_up_policy,
            "max_run_duration_sec": self.max_run_duration_s,
        }
        changed_fields = {name: value for name, value in fields.items() if value is not UNSET}
        return replace(routine, settings=replace(routine.settings, **changed_fields)) if changed_fields else routine

    def check(self, settings: TriggerSettings) -> "Change":
        """Return the change as it would be stored for a schedule. Raise BadSchedule or InvalidField if it cannot be followed."""
        zone = zones.spell_zone(self.timezone) if isinstance(self.timezone, str) else settings.timezone or "UTC"
        in_zone = self if self.timezone is UNSET else replace(self, timezone=zone)
        cron = self.cron_expression if isinstance(self.cron_expression, str) else settings.cron_expression
        if cron is None:
            raise InvalidField("The schedule runs at one moment, so it has nothing to change", "triggerId")
        schedule = cron_schedule.parse_cron(cron, zone)
        return replace(in_zone, cron_expression=schedule.expression) if self.cron_expression is not UNSET else in_zone


UNCHANGED = Change()
