"""
Replays a routine's past, from a moment on with other settings, by the rules by which it came about.

Until that moment everything is taken as it was recorded. From then on the schedules settle their occurrences, and
firings meet the slot, by the functions that the scheduler uses (domain/routines). What came from outside stays as it
was: who fired the routine by hand and when, when the schedule was paused or edited, when the scheduler was away, whether agents and
projects were paused, and how long work takes. A schedule that is where it really was is looked at when it really was, so
that a replay without a change gives what happened.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from uuid import UUID

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from domain.board import agent as agents
from domain.board import project as projects
from domain.board.agent import Agent
from domain.board.project import Project
from domain.errors import InvalidField
from domain.events import (
    AgentEvent,
    ProjectEvent,
    RoutineEvent,
    RunFired,
    SlotEvent,
    SlotFreed,
    SlotTaken,
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerMissed,
    TriggerReplanned,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
)
from domain.identity import issue_of_run, run_of_occurrence, trajectory_of_run
from domain.recorded import Recorded
from domain.routines import activity_gate, firing, probe, settlement
from domain.routines import routine as routines
from domain.routines import run as runs
from domain.routines import slot as slots
from domain.routines import trigger as triggers
from domain.routines.firing import FiringRequest, RenderedTemplate
from domain.routines.routine import Routine
from domain.routines.settlement import Due
from domain.routines.trigger import Trigger
from domain.schedule import plan as plans
from domain.schedule.plan import INSTANT, Plan
from domain.values import Failed, LiveWork, Opened, Outcome, Skipped, Started
from domain.what_if.change import UNCHANGED, Change
from domain.what_if.ledger import Firing, Ledger
from domain.what_if.past import Lasted, Look, LookKind, Past

BY_CALLERS = ("manual", "api")  # sources of firings that open a trajectory under any concurrency policy
ASKS_AGENT = (firing.NOT_INVOKABLE, "Default agent required")  # failure reasons that come from the agent begin so
HELD = (activity_gate.NO_ACTIVITY.reason, probe.FAILED, probe.UNANSWERED)
NO_TEXT = RenderedTemplate(title="", description="")


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
    def is_as_it_was(self) -> bool:
        """Whether the schedule has the settings and the place that it really had."""
        return self.next == self.real_next and self.own.settings == self.real.settings


def replay(past: Past, change: Change, begin: datetime, end: datetime, most: int) -> tuple[Ledger, Ledger]:
    """
    Return what happened after `begin` and until `end`, and what would have if the change had been made at `begin`.

    Raises InvalidField when more than `most` occurrences would be settled.
    """
    replaying = _Replay(past, change, begin, end, most)
    replaying.run()
    return replaying.actual, replaying.ledger


class _Replay:
    """One replay on its way."""

    def __init__(self, past: Past, change: Change, begin: datetime, end: datetime, most: int) -> None:
        self.actual, self.ledger = Ledger(), Ledger()
        self._past, self._change, self._begin, self._end, self._most = past, change, begin, end, most
        self._has_begun = False
        self._real_routine: Routine | None = None
        self._schedules: dict[UUID, Schedule] = {}
        self._agents: dict[UUID, Agent] = {}
        self._projects: dict[UUID, Project] = {}
        self._real_slot = self._slot = slots.EMPTY
        # Runs whose work no longer counts as live, because its agent was terminated.
        self._abandoned_runs: set[UUID] = set()
        self._as_it_was: set[UUID] = set()  # issues that end in the replay at the moment at which they really ended
        self._elsewhere: set[UUID] = set()  # issues that end in the replay at another moment than they really did
        self._begun_since: set[UUID] = set()  # runs that were really fired since the beginning of the range
        self._ends: list[tuple[datetime, UUID]] = []  # when the work of the others is over
        self._fired_occurrences: set[tuple[UUID, datetime]] = set()
        self._blind = _blind_times(past)
        self._settled_count = 0

    @property
    def _changed_routine(self) -> Routine:
        if self._real_routine is None:
            raise LookupError("a routine without a beginning")
        return (self._change if self._has_begun else UNCHANGED).of_routine(self._real_routine)

    def run(self) -> None:
        """Go through the past, event by event."""
        now: datetime | None = None
        for recorded in self._past.events:
            now = recorded.at if now is None else max(now, recorded.at)
            if now > self._begin and not self._has_begun:
                self._begin_change()
            if now > self._end:
                break
            if self._has_begun:
                self._advance(now)
            self._take_event(recorded)
        if not self._has_begun:
            self._begin_change()
        self._advance(self._end + INSTANT)

    # The change

    def _begin_change(self) -> None:
        """Edit the schedules, as the change says, at the beginning of the range."""
        self._has_begun = True
        if self._real_routine is None:
            return
        self._slot = self._real_slot
        for trigger_id, schedule in self._schedules.items():
            new_trigger = replace(schedule.own, settings=self._change.of_schedule(trigger_id, schedule.own.settings))
            plan = triggers.plan_of(new_trigger)
            if plan is not None and plan != schedule.plan and not schedule.own.deleted:
                self._go_on(trigger_id, schedule, new_trigger, self._begin, "edited")
        for live in self._slot.live:
            duration = self._past.lasted.get(live.run_id)
            self._let_last(live, self._begin if duration is None else duration.begin, self._begin)

    def _go_on(self, trigger_id: UUID, schedule: Schedule, new_trigger: Trigger, now: datetime, reason: str) -> None:
        plan = triggers.plan_of(new_trigger)
        if plan is None:
            return
        runs_then = new_trigger.settings.enabled and self._is_active
        until = now if schedule.runs else schedule.stopped_at
        first = schedule.next if schedule.next is not None and schedule.next <= until else None
        going_on = settlement.go_on(schedule.own, plan, first, until, now, reason, runs=runs_then)
        for missed in going_on.missed:
            self._record_miss(trigger_id, schedule, now, missed)
        schedule.own = replace(new_trigger, next_unsettled_at=going_on.next_at, over_since=None, rests_until=None)
        schedule.next = going_on.next_at

    @property
    def _is_active(self) -> bool:
        return self._real_routine is not None and self._real_routine.settings.status == "active"

    # Between two events of the past

    def _advance(self, now: datetime) -> None:
        """End work, and look at the schedules that are elsewhere than they really were, until now."""
        while True:
            due_at, trigger_id = min(
                (
                    (due_at, trigger_id)
                    for trigger_id, schedule in self._schedules.items()
                    if (due_at := self._next_look(trigger_id, schedule)) is not None and due_at < now
                ),
                default=(None, None),
            )
            if self._ends and self._ends[0][0] <= now and (due_at is None or self._ends[0][0] <= due_at):
                _, issue_id = heappop(self._ends)
                self._free_work(issue_id)
            elif due_at is not None and trigger_id is not None:
                self._settle(trigger_id, self._schedules[trigger_id], due_at, "settled")
            else:
                return

    def _next_look(self, trigger_id: UUID, schedule: Schedule) -> datetime | None:
        """Return when the schedule would be looked at; None if it is looked at when it really was."""
        if not schedule.runs or schedule.next is None or schedule.plan is None or schedule.is_as_it_was:
            return None
        due_at = plans.due_at(schedule.plan, schedule.next)
        begins, ends = self._blind.get(trigger_id, ((), ()))
        place = bisect_right(begins, due_at) - 1
        return None if place >= 0 and due_at < ends[place] else due_at

    # The events of the past

    def _take_event(self, recorded: Recorded) -> None:
        position, stream_id = recorded.position, recorded.stream_id
        if position in self._past.looks:
            if (look := self._past.looks[position]) is not None:
                self._repeat_look(look)
            self._note_actual(recorded)
            return
        match recorded.event:
            case RunFired() as event:
                self._note_actual(recorded)
                self._fire_from_outside(recorded, event)
            case event if isinstance(event, TriggerEvent):
                if self._follow_trigger(recorded, event):
                    self._note_actual(recorded)
            case event if isinstance(event, RoutineEvent):
                self._real_routine = routines.evolve(self._real_routine, event)
                self._note_running(recorded.at)
            case event if isinstance(event, SlotEvent):
                self._follow_slot(position, event)
            case event if isinstance(event, AgentEvent):
                self._agents[stream_id] = agents.evolve(self._agents.get(stream_id), event)
            case event if isinstance(event, ProjectEvent):
                self._projects[stream_id] = projects.evolve(self._projects.get(stream_id), event)

    def _note_actual(self, recorded: Recorded) -> None:
        if not self._has_begun:
            return
        match recorded.event:
            case RunFired() as event:
                self._begun_since.add(recorded.stream_id)
                self.actual.fire(recorded, event, self._real_due_at(event))
            case TriggerMissed() as event:
                self.actual.miss(recorded.stream_id, recorded.at, event)

    def _real_due_at(self, event: RunFired) -> datetime | None:
        schedule = self._schedules.get(event.trigger_id) if event.trigger_id else None
        plan = None if schedule is None else triggers.plan_of(schedule.real)
        return None if plan is None or event.occurrence is None else plans.due_at(plan, event.occurrence)

    def _repeat_look(self, look: Look) -> None:
        schedule = self._schedules[look.trigger_id]
        is_as_it_was, schedule.real_next = schedule.is_as_it_was, look.next_at
        self._note_abandoned(look.events[0])
        for recorded in look.events:
            if isinstance(recorded.event, TriggerMissed):
                schedule.real = triggers.evolve(schedule.real, recorded.event)
        if self._has_begun and not (is_as_it_was and look.kind != "settled"):
            if schedule.runs:
                self._settle(look.trigger_id, schedule, look.at, look.kind, look.asked_at if is_as_it_was else None)
            return
        for recorded in look.events:
            match recorded.event:
                case TriggerMissed() as event:
                    self._record_miss(look.trigger_id, schedule, look.at, event)
                case RunFired(occurrence=datetime() as occurrence) as event:
                    self._fired_occurrences.add((look.trigger_id, occurrence))
                    if self._has_begun:
                        self.ledger.fire(recorded, event, self._real_due_at(event))
        schedule.next = look.next_at

    def _note_abandoned(self, recorded: Recorded) -> None:
        """Note what an opening beside live work shows that its policy would have met: nobody works on that any more."""
        match recorded.event:
            case RunFired(outcome=Opened()) if self._real_routine is not None and (
                self._real_routine.settings.concurrency_policy in ("coalesce_if_active", "skip_if_active")
            ):
                self._abandoned_runs |= {live.run_id for live in self._real_slot.live}

    def _follow_trigger(self, recorded: Recorded, event: TriggerEvent) -> bool:
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
        is_same = triggers.plan_of(new_trigger) == triggers.plan_of(schedule.real)
        if not self._has_begun or (was_as_it_was and is_same):
            if isinstance(event, TriggerMissed) and self._has_begun:
                self.ledger.miss(trigger_id, now, event)
            schedule.own = replace(schedule.real, settings=new_trigger.settings)
            schedule.next = schedule.real_next
        else:
            self._change_own(trigger_id, schedule, new_trigger, event, now)
        self._note_running(now)
        return True

    def _create(self, recorded: Recorded, event: TriggerCreated | TriggerRestored, before: Schedule | None) -> None:
        if event.kind != "schedule":
            return
        real = triggers.evolve(None if before is None else before.real, event)
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

    def _change_own(
        self, trigger_id: UUID, schedule: Schedule, new_trigger: Trigger, event: TriggerEvent, now: datetime
    ) -> None:
        match event:
            case TriggerUpdated() | TriggerRescheduled():
                reason = "edited" if isinstance(event, TriggerUpdated) else "paused"
                self._go_on(trigger_id, schedule, new_trigger, now, reason)
            case TriggerReplanned(zone_data=version) if schedule.plan is not None and schedule.next is not None:
                for replanned in settlement.replan(schedule.plan, schedule.next, now, version):
                    schedule.own = triggers.evolve(schedule.own, replanned)
                    schedule.next = schedule.own.next_unsettled_at
            case TriggerMissed(reason=reason) if schedule.plan is not None and schedule.next is not None:
                until = now if schedule.runs else schedule.stopped_at
                for missed in settlement.miss_until(schedule.own, schedule.plan, schedule.next, until, now, reason):
                    self._record_miss(trigger_id, schedule, now, missed)
                    schedule.next = missed.next_at
            case TriggerDeleted():
                schedule.own = replace(schedule.own, deleted=True)

    def _note_running(self, now: datetime) -> None:
        for schedule in self._schedules.values():
            runs_now = self._is_active and schedule.own.settings.enabled and not schedule.own.deleted
            if schedule.runs and not runs_now:
                schedule.stopped_at = now
            schedule.runs = runs_now

    def _follow_slot(self, position: int, event: SlotEvent) -> None:
        self._real_slot = slots.evolve(self._real_slot, event)
        if not self._has_begun:
            return
        match event:
            case SlotTaken(live=live) if not self._is_of_firing(live.run_id, position):  # it was opened again
                is_of_before = live.run_id not in self._begun_since and live.issue_id not in self._elsewhere
                if is_of_before or live.issue_id in self._as_it_was:
                    self._as_it_was.add(live.issue_id)
                    self._slot = slots.evolve(self._slot, event)
            case SlotFreed(issue_id=issue_id) if issue_id in self._as_it_was:
                self._end_as_it_did(issue_id)

    def _end_as_it_did(self, issue_id: UUID) -> None:
        """End work that really ended now, unless its successor ended it, which the routine's policy would not do now."""
        run_id = next((live.run_id for live in self._slot.live if live.issue_id == issue_id), None)
        duration = None if run_id is None else self._past.lasted.get(run_id)
        is_kept = self._changed_routine.settings.concurrency_policy != "cancel_previous"
        if duration is not None and duration.is_cut == "superseded" and is_kept:
            end = duration.begin + self._assume_duration(duration)
            self._end_at(issue_id, [end], end)
        else:
            self._free_work(issue_id)

    def _is_of_firing(self, run_id: UUID, position: int) -> bool:
        return run_id in self._past.fired and self._past.taken_at_positions.get(run_id) == position

    # What the replay decides

    def _settle(
        self,
        trigger_id: UUID,
        schedule: Schedule,
        now: datetime,
        kind: LookKind,
        asked_at: datetime | None = None,
    ) -> None:
        """Settle what is due of a schedule, as the scheduler does (application/use_cases/runs.py)."""
        plan, since = schedule.plan, schedule.next
        while (
            plan is not None and since is not None and since <= now and (trigger_id, since) in self._fired_occurrences
        ):
            since = plans.next_after(plan, since)
        if plan is None or since is None:
            schedule.next = None
            return
        if kind == "company_archived":
            for retired in settlement.retire(plan, since, now):
                self._miss_or_go_on(trigger_id, schedule, now, retired)
            return
        if (
            kind != "over_quota"
            and (missed_rest := settlement.record_rest_as_missed(schedule.own, plan, since, now)) is not None
        ):
            self._record_miss(trigger_id, schedule, now, missed_rest)
            if (since := missed_rest.next_at) is None:
                schedule.next = None
                return
        policy = self._changed_routine.settings.catch_up_policy
        moment = now if asked_at is None or self._changed_routine.settings.probe is None else asked_at
        due = settlement.due(plan, since, moment, policy)
        if due is None:
            schedule.next = since
            return
        if kind == "over_quota":
            for resting in settlement.rest(schedule.own, plan, since, due, now):
                self._miss_or_go_on(trigger_id, schedule, now, resting)
            return
        if kind == "gave_up":
            due = settlement.give_up(plan, since, now, policy)
        if due.missed is not None:
            self._record_miss(trigger_id, schedule, now, due.missed)
        schedule.next = due.next_at
        self._fire_due(trigger_id, plan, due, now, is_given_up=kind == "gave_up")

    def _fire_due(self, trigger_id: UUID, plan: Plan, due: Due, now: datetime, *, is_given_up: bool) -> None:
        fresh = [occurrence for occurrence in due.fire if (trigger_id, occurrence) not in self._fired_occurrences]
        cancels = self._changed_routine.settings.concurrency_policy == "cancel_previous"
        latest = run_of_occurrence(trigger_id, fresh[-1]) if fresh else None
        for occurrence in fresh:
            self._count()
            run_id = run_of_occurrence(trigger_id, occurrence)
            self._fired_occurrences.add((trigger_id, occurrence))
            real = self._past.fired.get(run_id)
            real = real if real is not None and real.is_scheduled else None
            superseded_by = latest if cancels and run_id != latest else None
            outcome = Failed(reason="given up") if is_given_up else self._outcome_of_firing(run_id, real, superseded_by)
            self._begin_work(run_id, outcome, now)
            self.ledger.firings.append(
                Firing(
                    run_id=run_id,
                    source="schedule",
                    at=now,
                    outcome=outcome,
                    trigger_id=trigger_id,
                    occurrence=occurrence,
                    due_at=plans.due_at(plan, occurrence),
                )
            )

    def _outcome_of_firing(self, run_id: UUID, real: RunFired | None, superseded_by: UUID | None) -> Outcome:
        """Return what becomes of a firing of a schedule; what no rule of the routine decides stays as it was."""
        routine, recorded = self._changed_routine, None if real is None else real.outcome
        project_id, agent_id = routine.settings.project_id, routine.settings.assignee_agent_id
        if projects.is_paused(self._projects.get(project_id) if project_id else None):
            return firing.PROJECT_PAUSED
        if recorded is not None and _is_held(recorded):
            return recorded
        if superseded_by is not None:
            return firing.superseded_outcome(superseded_by)
        if routine.settings.call is not None:
            opening = Started(trajectory_id=trajectory_of_run(run_id))
            outcome = runs.outcome(routine.settings.concurrency_policy, self._newest_live_work(), opening)
        else:
            request = FiringRequest(
                run_id=run_id,
                routine_id=UUID(int=0),
                source="schedule",
                assignee_agent_id=agent_id,
                project_id=project_id,
                rendered=recorded if _is_failed_by_text(recorded) else NO_TEXT,  # type: ignore[arg-type]
            )
            outcome = firing.outcome(
                request, routine, self._agents.get(agent_id) if agent_id else None, self._newest_live_work()
            )
        return recorded if _is_of_limit(recorded) and recorded and isinstance(outcome, Opened | Started) else outcome

    def _fire_from_outside(self, recorded: Recorded, event: RunFired) -> None:
        """Take a firing by hand, by a webhook, a call, a chain or a backfill; it meets the slot of the replay."""
        self._note_abandoned(recorded)
        if event.trigger_id is not None and event.occurrence is not None:
            self._fired_occurrences.add((event.trigger_id, event.occurrence))
        if not self._has_begun:
            return
        outcome, routine = event.outcome, self._changed_routine
        is_met = isinstance(outcome, Skipped) and outcome.reason is None and outcome.issue_id is not None
        always_begins = routine.settings.call is not None and event.source in BY_CALLERS
        if (not isinstance(outcome, Failed | Skipped) or is_met) and not always_begins:
            outcome = runs.outcome(
                routine.settings.concurrency_policy,
                self._newest_live_work(),
                self._opening_outcome(recorded.stream_id, event.outcome),
            )
        self._begin_work(recorded.stream_id, outcome, recorded.at)
        self._count()
        self.ledger.firings.append(
            Firing(run_id=recorded.stream_id, source=event.source, at=recorded.at, outcome=outcome)
        )

    def _opening_outcome(self, run_id: UUID, recorded: Outcome) -> Opened | Started:
        if isinstance(recorded, Opened | Started):
            return recorded
        if self._changed_routine.settings.call is not None:
            return Started(trajectory_id=trajectory_of_run(run_id))
        return Opened(issue_id=issue_of_run(run_id))

    def _newest_live_work(self) -> LiveWork | None:
        live_work = (live for live in reversed(self._slot.live) if live.run_id not in self._abandoned_runs)
        return next(live_work, None)

    def _begin_work(self, run_id: UUID, outcome: Outcome, now: datetime) -> None:
        match outcome:
            case Opened(issue_id=issue_id) | Started(trajectory_id=issue_id):
                pass
            case _:
                return
        real = self._past.fired.get(run_id)
        was_begun = real is not None and isinstance(real.outcome, Started)
        if was_begun and isinstance(outcome, Started) and run_id not in self._past.lasted:
            return  # it could not be begun, and was over at once
        if self._changed_routine.settings.concurrency_policy == "cancel_previous":
            for live in self._slot.live:
                self._free_work(live.issue_id)
        live = LiveWork(issue_id=issue_id, run_id=run_id)
        for event in slots.take(self._slot, UUID(int=0), live):
            self._slot = slots.evolve(self._slot, event)
        self._let_last(live, now, now)

    def _let_last(self, live: LiveWork, begin: datetime, now: datetime) -> None:
        """Decide when this work is over: when it really was, or after the time that it took or is assumed to take."""
        real_duration, real = self._past.lasted.get(live.run_id), self._past.fired.get(live.run_id)
        limit_s = self._changed_routine.settings.max_run_duration_sec
        limit = None if limit_s is None else timedelta(seconds=limit_s)
        is_limit_kept = (
            self._change.max_run_duration_s is UNSET
            or real is None
            or real.deadline == firing.deadline(self._changed_routine.settings, begin)
        )
        if real_duration is not None and real_duration.begin == begin and is_limit_kept:
            self._as_it_was.add(live.issue_id)
            return
        is_known = real_duration is not None and (real_duration.end is None or real_duration.duration is not None)
        duration = (
            real_duration.duration if real_duration is not None and is_known else self._assume_duration(real_duration)
        )
        self._end_at(live.issue_id, [begin + length for length in (duration, limit) if length is not None], now)

    def _assume_duration(self, duration: Lasted | None) -> timedelta:
        """Return how long work is assumed to take of which only the least is known, if anything."""
        self.ledger.assumed_durations += 1
        least = timedelta() if duration is None or duration.end is None else duration.end - duration.begin + INSTANT
        return max(least, self._past.typical)

    def _end_at(self, issue_id: UUID, ends: Sequence[datetime], now: datetime) -> None:
        self._as_it_was.discard(issue_id)
        self._elsewhere.add(issue_id)
        if ends:
            heappush(self._ends, (max(min(ends), now), issue_id))

    def _free_work(self, issue_id: UUID) -> None:
        for event in slots.free(self._slot, UUID(int=0), issue_id):
            self._slot = slots.evolve(self._slot, event)

    def _record_miss(self, trigger_id: UUID, schedule: Schedule, now: datetime, event: TriggerMissed) -> None:
        schedule.own = triggers.evolve(schedule.own, event)
        if self._has_begun:
            self._count()
            self.ledger.miss(trigger_id, now, event)

    def _miss_or_go_on(self, trigger_id: UUID, schedule: Schedule, now: datetime, event: object) -> None:
        if isinstance(event, TriggerMissed):
            self._record_miss(trigger_id, schedule, now, event)
            schedule.next = event.next_at

    def _count(self) -> None:
        self._settled_count += 1
        if self._settled_count > self._most:
            message = f"More than {self._most:,} firings and missed ranges would be replayed: take a shorter range"
            raise InvalidField(message, "from")


def _is_held(recorded: Outcome) -> bool:
    """Return whether the activity gate or the probe held a firing back."""
    return isinstance(recorded, Skipped) and recorded.reason in HELD


def _is_of_limit(recorded: Outcome | None) -> bool:
    """Return whether a firing was refused by a budget, or by a limit that only comes after its slot."""
    match recorded:
        case Skipped(budget=budget):
            return budget is not None
        case Failed(reason=reason):
            return not reason.startswith(ASKS_AGENT)
        case _:
            return False


def _is_failed_by_text(recorded: Outcome | None) -> bool:
    """Return whether a firing failed before it looked at its agent and its slot: its variables had no value."""
    return isinstance(recorded, Failed) and not recorded.reason.startswith((*ASKS_AGENT, "The routine has "))


def _blind_times(past: Past) -> dict[UUID, tuple[Sequence[datetime], Sequence[datetime]]]:
    """
    Return for each schedule when nobody looked at it: from when something was due until it was settled.

    These are the beginnings and the ends of such times, in order.
    """
    plans_by_trigger: dict[UUID, Trigger] = {}
    times = defaultdict[UUID, list[tuple[datetime, datetime]]](list)
    for recorded in past.events:
        event = recorded.event
        if isinstance(event, TriggerEvent):
            plans_by_trigger[recorded.stream_id] = triggers.evolve(plans_by_trigger.get(recorded.stream_id), event)
        look = past.looks.get(recorded.position)
        if look is not None and (plan := triggers.plan_of(plans_by_trigger[look.trigger_id])) is not None:
            times[look.trigger_id].append((plans.due_at(plan, look.first), look.at))
    return {
        trigger_id: tuple(zip(*sorted(pairs), strict=True))  # type: ignore[misc]
        for trigger_id, pairs in times.items()
    }
