"""The schedules of a routine in a replay: where each really was, where it is with the change, and when it is looked at."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.events import (
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerMissed,
    TriggerReplanned,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.routines import settlement
from domain.routines import trigger as triggers
from domain.routines.trigger import Trigger
from domain.schedule import plan as plans
from domain.schedule.plan import Plan
from domain.what_if.change import Change
from domain.what_if.ledger import BoundedLedger
from domain.what_if.past import Past, find_unwatched_times


class Schedule(msgspec.Struct):
    """A schedule as it was (`real`) and as it is in the replay (`own`), each with its first unsettled occurrence."""

    real: Trigger
    own: Trigger
    real_next: datetime | None
    next: datetime | None
    stopped_at: datetime  # when the schedule stopped; meaningless while `runs` is true
    runs: bool = False

    @property
    def plan(self) -> Plan | None:
        """The plan of the replay; None after the trigger is deleted."""
        return None if self.own.deleted else triggers.plan_of(self.own)

    @property
    def real_plan(self) -> Plan | None:
        """The plan that the schedule really had; None if its settings have none."""
        return triggers.plan_of(self.real)

    @property
    def is_as_it_was(self) -> bool:
        """Whether the schedule has the settings and the place that it really had."""
        return self.next == self.real_next and self.own.settings == self.real.settings


class ReplayedSchedules:
    """The schedules by the ids of their triggers. What they miss goes into the ledger, once the replay has begun."""

    def __init__(self, past: Past, change: Change, ledger: BoundedLedger) -> None:
        self._change, self._ledger = change, ledger
        self._unwatched_times = find_unwatched_times(past)
        self._schedules: dict[UUID, Schedule] = {}
        self._has_begun = False
        self._is_routine_active = False

    def __getitem__(self, trigger_id: UUID) -> Schedule:
        """Return a schedule that was created."""
        return self._schedules[trigger_id]

    def get(self, trigger_id: UUID | None) -> Schedule | None:
        """Return the schedule of a trigger; None if the trigger is none, or another kind of trigger."""
        return None if trigger_id is None else self._schedules.get(trigger_id)

    def begin_replay(self, moment: datetime) -> None:
        """Edit the schedules, as the change says, at the beginning of the range."""
        self._has_begun = True
        for trigger_id, schedule in self._schedules.items():
            new_trigger = replace(schedule.own, settings=self._change.of_schedule(trigger_id, schedule.own.settings))
            plan = triggers.plan_of(new_trigger)
            if plan is not None and plan != schedule.plan and not schedule.own.deleted:
                self._go_on(trigger_id, new_trigger, moment, "edited")

    def next_look(self, until: datetime) -> tuple[datetime, UUID] | None:
        """Return the next moment before `until` at which a schedule is looked at that is elsewhere than it really was."""
        looks = [
            (due_at, trigger_id)
            for trigger_id, schedule in self._schedules.items()
            if (due_at := self._next_look_at(trigger_id, schedule)) is not None and due_at < until
        ]
        return min(looks, default=None)

    def record_missed(self, trigger_id: UUID, now: datetime, event: TriggerMissed) -> None:
        """Let a schedule miss occurrences, and put them into the ledger."""
        schedule = self._schedules[trigger_id]
        schedule.own = triggers.evolve(schedule.own, event)
        if self._has_begun:
            self._ledger.count()
            self._ledger.miss(trigger_id, now, event)

    def miss_and_go_on(self, trigger_id: UUID, now: datetime, events: Sequence[TriggerEvent]) -> None:
        """Take the events of a schedule that misses all that is due, and goes on with the occurrence after that."""
        for event in events:
            if isinstance(event, TriggerMissed):
                self.record_missed(trigger_id, now, event)
                self._schedules[trigger_id].next = event.next_at

    def follow_routine(self, now: datetime, *, is_active: bool) -> None:
        """Let the schedules run, or stop, with their routine."""
        self._is_routine_active = is_active
        self._note_running(now)

    def follow_trigger(self, recorded: Recorded, event: TriggerEvent) -> bool:
        """Take what people, or new zone data, did to a schedule; return whether the trigger is one."""
        schedule, trigger_id, now = self._schedules.get(recorded.stream_id), recorded.stream_id, recorded.at
        if schedule is None or isinstance(event, TriggerRestored):
            if isinstance(event, TriggerCreated | TriggerRestored):
                self._create(recorded, event, schedule)
            return trigger_id in self._schedules
        was_as_it_was = schedule.is_as_it_was
        schedule.real = triggers.evolve(schedule.real, event)
        if not isinstance(event, TriggerDeleted):
            schedule.real_next = getattr(event, "next_at", schedule.real_next)
        settings = getattr(event, "settings", None)
        if settings is not None and self._has_begun:
            settings = self._change.of_schedule(trigger_id, settings)
        new_trigger = schedule.own if settings is None else replace(schedule.own, settings=settings)
        is_same_plan = triggers.plan_of(new_trigger) == schedule.real_plan
        if not self._has_begun or (was_as_it_was and is_same_plan):
            if isinstance(event, TriggerMissed) and self._has_begun:
                self._ledger.miss(trigger_id, now, event)
            schedule.own = replace(schedule.real, settings=new_trigger.settings)
            schedule.next = schedule.real_next
        else:
            self._change_own(trigger_id, new_trigger, event, now)
        self._note_running(now)
        return True

    def _create(self, recorded: Recorded, event: TriggerCreated | TriggerRestored, deleted: Schedule | None) -> None:
        if event.kind != "schedule":
            return
        real = triggers.evolve(None if deleted is None else deleted.real, event)
        own, next_at = real, event.next_at
        if self._has_begun:
            own = replace(real, settings=self._change.of_schedule(recorded.stream_id, real.settings))
            plan = triggers.plan_of(own)
            if plan is not None and plan != triggers.plan_of(real):
                next_at = plans.next_after(plan, recorded.at)
        self._schedules[recorded.stream_id] = Schedule(
            real=real, own=own, real_next=event.next_at, next=next_at, stopped_at=recorded.at
        )
        self._note_running(recorded.at)

    def _change_own(self, trigger_id: UUID, new_trigger: Trigger, event: TriggerEvent, now: datetime) -> None:
        schedule = self._schedules[trigger_id]
        match event:
            case TriggerUpdated() | TriggerRescheduled():
                reason = "edited" if isinstance(event, TriggerUpdated) else "paused"
                self._go_on(trigger_id, new_trigger, now, reason)
            case TriggerReplanned(zone_data=version) if schedule.plan is not None and schedule.next is not None:
                for replanned in settlement.replan(schedule.plan, schedule.next, now, version):
                    schedule.own = triggers.evolve(schedule.own, replanned)
                    schedule.next = schedule.own.next_unsettled_at
            case TriggerMissed(reason=reason) if schedule.plan is not None and schedule.next is not None:
                until = now if schedule.runs else schedule.stopped_at
                missed_events = settlement.miss_until(schedule.own, schedule.plan, schedule.next, until, now, reason)
                self.miss_and_go_on(trigger_id, now, missed_events)
            case TriggerDeleted():
                schedule.own = replace(schedule.own, deleted=True)

    def _go_on(self, trigger_id: UUID, new_trigger: Trigger, now: datetime, reason: str) -> None:
        """Change a schedule; what waits stays or is missed, as the rules of a schedule change say."""
        schedule, plan = self._schedules[trigger_id], triggers.plan_of(new_trigger)
        if plan is None:
            return
        runs_then = new_trigger.settings.enabled and self._is_routine_active
        until = now if schedule.runs else schedule.stopped_at
        first = schedule.next if schedule.next is not None and schedule.next <= until else None
        going_on = settlement.go_on(schedule.own, plan, first, until, now, reason, runs=runs_then)
        for missed in going_on.missed:
            self.record_missed(trigger_id, now, missed)
        schedule.own = replace(new_trigger, next_unsettled_at=going_on.next_at, over_since=None, rests_until=None)
        schedule.next = going_on.next_at

    def _note_running(self, now: datetime) -> None:
        for schedule in self._schedules.values():
            runs_now = self._is_routine_active and schedule.own.settings.enabled and not schedule.own.deleted
            if schedule.runs and not runs_now:
                schedule.stopped_at = now
            schedule.runs = runs_now

    def _next_look_at(self, trigger_id: UUID, schedule: Schedule) -> datetime | None:
        """Return when the schedule would be looked at; None if it is looked at when it really was."""
        if not schedule.runs or schedule.next is None or schedule.plan is None or schedule.is_as_it_was:
            return None
        due_at = plans.due_at(schedule.plan, schedule.next)
        begins, ends = self._unwatched_times.get(trigger_id, ((), ()))
        place = bisect_right(begins, due_at) - 1
        return None if place >= 0 and due_at < ends[place] else due_at
