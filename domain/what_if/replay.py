"""
Replays a routine's past, from a moment on with other settings, by the rules by which it came about.

Until that moment everything is taken as it was recorded. From then on the schedules settle their occurrences, and
firings meet the slot, by the functions that the scheduler uses (domain/routines). What came from outside stays as it
was: who fired the routine by hand and when, when the schedule was paused or edited, when the scheduler was away, whether agents and
projects were paused, and how long work takes. A schedule that is where it really was is looked at when it really was, so
that a replay without a change gives what happened.

`schedules.py` knows where the schedules are, `live_work.py` what is live, `outcomes.py` what becomes of a firing.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from domain.board import agent as agents
from domain.board import project as projects
from domain.board.agent import Agent
from domain.board.project import Project
from domain.events import AgentEvent, ProjectEvent, RoutineEvent, RunFired, SlotEvent, TriggerEvent, TriggerMissed
from domain.identity import run_of_occurrence
from domain.recorded import Recorded
from domain.routines import routine as routines
from domain.routines import settlement
from domain.routines import trigger as triggers
from domain.routines.routine import Routine
from domain.schedule import plan as plans
from domain.schedule.plan import INSTANT, Plan
from domain.values import Failed, Outcome
from domain.what_if import outcomes
from domain.what_if.change import UNCHANGED, Change
from domain.what_if.ledger import BoundedLedger, Firing, Ledger
from domain.what_if.live_work import ReplayedWork
from domain.what_if.past import Look, LookKind, Past
from domain.what_if.schedules import ReplayedSchedules


def replay(past: Past, change: Change, begin: datetime, end: datetime, most: int) -> tuple[Ledger, Ledger]:
    """
    Return what happened after `begin` and until `end`, and what would have if the change had been made at `begin`.

    Raises InvalidField when more than `most` firings and missed ranges would be settled.
    """
    replaying = _Replay(past, change, begin, end, most)
    replaying.run()
    return replaying.actual, replaying.ledger


class _Replay:
    """One replay on its way."""

    def __init__(self, past: Past, change: Change, begin: datetime, end: datetime, most: int) -> None:
        self.actual, self.ledger = Ledger(), BoundedLedger(most=most)
        self._past, self._change, self._begin, self._end = past, change, begin, end
        self._schedules = ReplayedSchedules(past, change, self.ledger)
        self._work = ReplayedWork(past, change, self.ledger)
        self._has_begun = False
        self._real_routine: Routine | None = None
        self._agents: dict[UUID, Agent] = {}
        self._projects: dict[UUID, Project] = {}
        self._fired_occurrences: set[tuple[UUID, datetime]] = set()

    @property
    def _routine(self) -> Routine:
        """The routine with the change, once the replay has begun."""
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

    def _begin_change(self) -> None:
        self._has_begun = True
        self._schedules.begin_replay(self._begin)
        self._work.begin_replay(self._begin, None if self._real_routine is None else self._routine.settings)

    def _advance(self, now: datetime) -> None:
        """End work, and look at the schedules that are elsewhere than they really were, until now."""
        while True:
            look, end = self._schedules.next_look(now), self._work.next_end
            if end is not None and end <= now and (look is None or end <= look[0]):
                self._work.end_next()
            elif look is not None:
                due_at, trigger_id = look
                self._settle(trigger_id, due_at, "settled")
            else:
                return

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
                if self._schedules.follow_trigger(recorded, event):
                    self._note_actual(recorded)
            case event if isinstance(event, RoutineEvent):
                self._real_routine = routines.evolve(self._real_routine, event)
                self._schedules.follow_routine(recorded.at, is_active=self._real_routine.settings.status == "active")
            case event if isinstance(event, SlotEvent):
                self._work.follow_slot(position, event, self._routine.settings)
            case event if isinstance(event, AgentEvent):
                self._agents[stream_id] = agents.evolve(self._agents.get(stream_id), event)
            case event if isinstance(event, ProjectEvent):
                self._projects[stream_id] = projects.evolve(self._projects.get(stream_id), event)

    def _note_actual(self, recorded: Recorded) -> None:
        if not self._has_begun:
            return
        match recorded.event:
            case RunFired() as event:
                self._work.note_fired(recorded.stream_id)
                self.actual.fire(recorded, event, self._real_due_at(event))
            case TriggerMissed() as event:
                self.actual.miss(recorded.stream_id, recorded.at, event)

    def _real_due_at(self, event: RunFired) -> datetime | None:
        schedule = self._schedules.get(event.trigger_id)
        plan = None if schedule is None else schedule.real_plan
        return None if plan is None or event.occurrence is None else plans.due_at(plan, event.occurrence)

    def _repeat_look(self, look: Look) -> None:
        """Look at a schedule when it really was looked at: repeat what came of it, or settle what is due now instead."""
        schedule = self._schedules[look.trigger_id]
        is_as_it_was, schedule.real_next = schedule.is_as_it_was, look.next_at
        self._note_abandoned(look.events[0])
        for recorded in look.events:
            if isinstance(recorded.event, TriggerMissed):
                schedule.real = triggers.evolve(schedule.real, recorded.event)
        if self._has_begun and not (is_as_it_was and look.kind != "settled"):
            if schedule.runs:
                self._settle(look.trigger_id, look.at, look.kind, look.asked_at if is_as_it_was else None)
            return
        for recorded in look.events:
            match recorded.event:
                case TriggerMissed() as event:
                    self._schedules.record_missed(look.trigger_id, look.at, event)
                case RunFired(occurrence=datetime() as occurrence) as event:
                    self._fired_occurrences.add((look.trigger_id, occurrence))
                    if self._has_begun:
                        self.ledger.fire(recorded, event, self._real_due_at(event))
        schedule.next = look.next_at

    def _note_abandoned(self, recorded: Recorded) -> None:
        self._work.note_abandoned(recorded, None if self._real_routine is None else self._real_routine.settings)

    def _fire_from_outside(self, recorded: Recorded, event: RunFired) -> None:
        """Take a firing by hand, by a webhook, a call, a chain or a backfill; it meets the slot of the replay."""
        self._note_abandoned(recorded)
        if event.trigger_id is not None and event.occurrence is not None:
            self._fired_occurrences.add((event.trigger_id, event.occurrence))
        if not self._has_begun:
            return
        outcome = outcomes.decide_from_outside(recorded.stream_id, event, self._routine, self._work.newest)
        self._work.begin_work(recorded.stream_id, outcome, recorded.at, self._routine.settings)
        self.ledger.count()
        self.ledger.firings.append(
            Firing(run_id=recorded.stream_id, source=event.source, at=recorded.at, outcome=outcome)
        )

    # What the replay decides

    def _settle(self, trigger_id: UUID, now: datetime, kind: LookKind, asked_at: datetime | None = None) -> None:
        """Settle what is due of a schedule, as the scheduler does (application/use_cases/schedule_firing.py)."""
        schedule = self._schedules[trigger_id]
        plan, since = schedule.plan, schedule.next
        while (
            plan is not None and since is not None and since <= now and (trigger_id, since) in self._fired_occurrences
        ):
            since = plans.next_after(plan, since)
        if plan is None or since is None:
            schedule.next = None
            return
        if kind == "company_archived":
            self._schedules.miss_and_go_on(trigger_id, now, settlement.retire(plan, since, now))
            return
        if (
            kind != "over_quota"
            and (missed_rest := settlement.record_rest_as_missed(schedule.own, plan, since, now)) is not None
        ):
            self._schedules.record_missed(trigger_id, now, missed_rest)
            if (since := missed_rest.next_at) is None:
                schedule.next = None
                return
        policy = self._routine.settings.catch_up_policy
        moment = now if asked_at is None or self._routine.settings.probe is None else asked_at
        due = settlement.due(plan, since, moment, policy)
        if due is None:
            schedule.next = since
            return
        if kind == "over_quota":
            self._schedules.miss_and_go_on(trigger_id, now, settlement.rest(schedule.own, plan, since, due, now))
            return
        if kind == "gave_up":
            due = settlement.give_up(plan, since, now, policy)
        if due.missed is not None:
            self._schedules.record_missed(trigger_id, now, due.missed)
        schedule.next = due.next_at
        self._fire_due(trigger_id, plan, due.fire, now, is_given_up=kind == "gave_up")

    def _fire_due(
        self, trigger_id: UUID, plan: Plan, due: Sequence[datetime], now: datetime, *, is_given_up: bool
    ) -> None:
        unfired = [occurrence for occurrence in due if (trigger_id, occurrence) not in self._fired_occurrences]
        cancels = self._routine.settings.concurrency_policy == "cancel_previous"
        latest = run_of_occurrence(trigger_id, unfired[-1]) if unfired else None
        for occurrence in unfired:
            self.ledger.count()
            run_id = run_of_occurrence(trigger_id, occurrence)
            self._fired_occurrences.add((trigger_id, occurrence))
            superseded_by = latest if cancels and run_id != latest else None
            outcome = Failed(reason="given up") if is_given_up else self._decide_outcome(run_id, superseded_by)
            self._work.begin_work(run_id, outcome, now, self._routine.settings)
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

    def _decide_outcome(self, run_id: UUID, superseded_by: UUID | None) -> Outcome:
        real, settings = self._past.fired.get(run_id), self._routine.settings
        return outcomes.decide_scheduled(
            run_id,
            real.outcome if real is not None and real.is_scheduled else None,
            routine=self._routine,
            agent=self._agents.get(settings.assignee_agent_id) if settings.assignee_agent_id else None,
            project=self._projects.get(settings.project_id) if settings.project_id else None,
            newest=self._work.newest,
            superseded_by=superseded_by,
        )
