"""A ledger that reads the log with plain sets and a walk over minutes, and knows neither the scheduler nor the rules of the domain."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from application.event_store import stream_kinds
from domain.events import (
    AgentPaused,
    AgentResumed,
    CommentAdded,
    IssueCheckedOut,
    IssueMoved,
    IssueOpened,
    ProjectPaused,
    ProjectResumed,
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunFired,
    SlotCounted,
    TriggerCreated,
    TriggerDeleted,
    TriggerMissed,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
    stored_name,
)
from domain.identity import issue_of_run, slot_of
from domain.routines import slot
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger
from domain.values import Coalesced, Opened, Skipped
from tests.given import given

MINUTE = timedelta(minutes=1)
GRACE = timedelta(seconds=60)
MATCHES = {
    "* * * * *": lambda _wall: True,
    "*/5 * * * *": lambda wall: wall.minute % 5 == 0,
    "0 * * * *": lambda wall: wall.minute == 0,
    "30 2 * * *": lambda wall: (wall.hour, wall.minute) == (2, 30),
}
CHANGES = ("edited", "deleted", "paused", "archived")  # why an occurrence may be missed though it was on time
CLOSED = ("done", "cancelled")
KINDS = {kind.prefix: kind for kind in vars(stream_kinds).values() if isinstance(kind, stream_kinds.Kind)}


def walk(text, begin, end):
    """The minutes in (begin, end] that a schedule names."""
    minute = begin.replace(second=0, microsecond=0) + MINUTE
    while minute <= end:
        if MATCHES[text](minute):
            yield minute
        minute += MINUTE


def first_after(text, moment):
    return next(walk(text, moment, moment + timedelta(days=2)))


class Schedule:
    """What the log says about one schedule trigger."""

    def __init__(self, routine_id, text, since):
        self.routine_id, self.text, self.enabled, self.deleted, self.version = routine_id, text, True, False, 1
        self.outcomes = set()  # occurrences that have one
        self.unchecked = set()  # those of them since the last check
        self.stopped_at = since  # when it ceased to run; None while it runs
        self.begin(text, since)

    def begin(self, text, since):
        """From now on occurrences count."""
        self.text, self.checked, self.next_at, self.unchecked = text, since, first_after(text, since), set()

    def find_waiting(self, moment):
        """What was planned while it ran and has no outcome."""
        return set(walk(self.text, self.checked, self.stopped_at or moment)) - self.unchecked

    def assert_settled(self, moment):
        """It is changed for good: everything until now, or until it stopped, has its outcome."""
        assert self.find_waiting(moment) == set(), "a change hides an occurrence"

    def go_on(self, moment, next_at, *, is_starting):
        """It is changed and keeps its plan: what waits stays, unless more passed while it stood still."""
        waiting = self.find_waiting(moment)
        is_overtaken = self.stopped_at is not None and any(walk(self.text, self.stopped_at, moment))
        if waiting and not (is_starting and is_overtaken):
            assert next_at == min(waiting), "what waits stays"
            self.next_at = next_at
        else:
            self.assert_settled(moment)
            self.begin(self.text, max(moment, self.checked))
            assert next_at == self.next_at

    def settle(self, occurrence):
        assert occurrence > self.checked, f"{occurrence} was planned while it stood still"
        assert occurrence not in self.outcomes, f"{occurrence} has two outcomes"
        self.outcomes.add(occurrence)
        self.unchecked.add(occurrence)

    def assert_complete(self):
        """Everything before `next_at` has its outcome, nothing else has."""
        until = self.next_at - MINUTE if self.stopped_at is None else min(self.next_at - MINUTE, self.stopped_at)
        assert set(walk(self.text, self.checked, until)) == self.unchecked
        self.checked, self.unchecked = max(self.checked, until), set()


class Settlement(NamedTuple):
    """What was settled of one trigger at one moment."""

    trigger_id: UUID
    at: datetime


class Ledger:
    """The log, read event by event; whatever breaks a law fails here."""

    def __init__(self):
        self.routines, self.schedules, self.states, self.run_streams = {}, {}, {}, Counter()
        self.open, self.routine_of = defaultdict(set), {}
        self.paused = set()  # agents and projects
        self.reopened = set()  # routines with an execution issue that was opened again
        self.enqueued = set()  # routines that ever were always_enqueue
        self.slots = defaultdict(list)
        self.attempts, self.waiting = defaultdict(lambda: 1), {}  # by run: the newest attempt, the failure of it
        self.catch_up_counts, self.capped_settlements = Counter(), set()

    def read(self, recorded):
        event, id_ = recorded.event, recorded.stream_id
        if isinstance(event, CommentAdded):
            return  # a comment has no state
        kind = KINDS[stored_name(event).split(".")[0] + "."]
        self.states[id_] = kind.evolve(self.states.get(id_), event)  # raises when evolve is not total
        match event:
            case RoutineCreated(settings=new) | RoutineUpdated(settings=new) | RoutineRestored(settings=new):
                old_settings = self.routines.get(id_)
                assert old_settings is None or old_settings.status != "archived" or new.status == "archived", (
                    "archived is terminal"
                )
                self.routines[id_] = new
                for schedule in [one for one in self.schedules.values() if one.routine_id == id_ and not one.deleted]:
                    if new.status == "archived":
                        schedule.assert_settled(recorded.at)
                    self.follow(schedule, recorded.at)
                self.enqueued |= {id_} if new.concurrency_policy == "always_enqueue" else set()
            case AgentPaused() | ProjectPaused():
                self.paused.add(id_)
            case AgentResumed() | ProjectResumed():
                self.paused.discard(id_)
            case RunFired():
                self.read_firing(recorded)
            case RunAttemptFailed():
                assert id_ not in self.waiting, "an attempt fails once"
                assert event.attempt == self.attempts[id_] < 3, "no more attempts than the policy allows"
                assert event.next_at > recorded.at
                self.waiting[id_] = event
            case RunAttemptBegun():
                failed = self.waiting.pop(id_)
                self.attempts[id_] += 1
                assert event.attempt == self.attempts[id_] == failed.attempt + 1
                assert recorded.at >= failed.next_at or recorded.actor != "scheduler", "begun early"
                settings = self.routines[self.states[id_].routine_id]
                assert settings.status == "active" or recorded.actor != "scheduler", (
                    "begun though the routine could not fire"
                )
            case RunCompleted() | RunFailed():
                assert isinstance(self.states[id_].outcome, Opened)
                self.waiting.pop(id_, None)
            case IssueOpened(routine_id=UUID() as routine_id):
                self.routine_of[id_] = routine_id
                self.open[routine_id].add(id_)
            case IssueMoved() | IssueCheckedOut():
                self.read_move(id_, "in_progress" if isinstance(event, IssueCheckedOut) else event.status)
            case _ if kind is stream_kinds.SLOT:
                self.slots[event.routine_id].append(event)
            case _ if kind is stream_kinds.TRIGGER:
                self.read_trigger(recorded)

    def read_trigger(self, recorded):
        event, id_ = recorded.event, recorded.stream_id
        if isinstance(event, TriggerCreated):
            self.schedules[id_] = Schedule(event.routine_id, event.settings.cron_expression, recorded.at)
        schedule = self.schedules[id_]
        schedule.version = recorded.version
        match event:
            case TriggerUpdated(settings=new) if new.cron_expression == schedule.text:
                is_starting = new.enabled and self.routines[schedule.routine_id].status == "active"
                schedule.go_on(recorded.at, event.next_at, is_starting=is_starting)
                schedule.enabled = new.enabled
            case TriggerCreated(settings=new) | TriggerUpdated(settings=new) | TriggerRestored(settings=new):
                schedule.assert_settled(recorded.at)
                schedule.begin(new.cron_expression, recorded.at)
                schedule.enabled, schedule.deleted = new.enabled, False
                assert event.next_at == schedule.next_at
            case TriggerRescheduled(next_at=next_at):
                schedule.go_on(recorded.at, next_at, is_starting=schedule.enabled)
            case TriggerDeleted():
                schedule.assert_settled(recorded.at)
                schedule.deleted = True
            case TriggerMissed():
                self.read_missed(recorded, schedule)
        self.follow(schedule, recorded.at)

    def follow(self, schedule, moment):
        """Note when the schedule ceases to run, or runs again."""
        is_running = schedule.enabled and not schedule.deleted and self.routines[schedule.routine_id].status == "active"
        schedule.stopped_at = None if is_running else schedule.stopped_at or moment

    def read_missed(self, recorded, schedule):
        event = recorded.event
        dropped = list(walk(schedule.text, event.first - MINUTE, event.last))
        assert (dropped[0], dropped[-1], len(dropped)) == (event.first, event.last, event.count)
        if event.reason in CHANGES:
            assert event.last <= recorded.at
        else:
            self.read_missed_by_policy(recorded, schedule)
        for occurrence in dropped:
            schedule.settle(occurrence)
        self.assert_next(schedule, recorded.at, event.next_at)

    def read_missed_by_policy(self, recorded, schedule):
        event = recorded.event
        assert recorded.at - event.last > GRACE, "dropped though it was on time"
        policy = self.routines[schedule.routine_id].catch_up_policy
        assert event.reason == ("skip_missed" if policy == "skip_missed" else "catch_up_cap")
        if policy != "skip_missed":
            self.capped_settlements.add(Settlement(recorded.stream_id, recorded.at))

    def assert_next(self, schedule, moment, next_at):
        assert next_at == first_after(schedule.text, moment)
        schedule.next_at = next_at

    def read_firing(self, recorded):
        event = recorded.event
        self.run_streams[recorded.stream_id] += 1
        assert self.run_streams[recorded.stream_id] == 1, "a run is fired once"
        settings, live = self.routines[event.routine_id], self.open[event.routine_id]
        assert settings.status != "archived", "nothing fires an archived routine"
        if event.source == "schedule":
            self.read_scheduled(recorded, settings)
        match event.outcome:
            case Skipped(reason="paused"):
                assert event.source == "schedule"
                assert settings.project_id in self.paused
            case Skipped(reason="superseded", into_run_id=latest):
                assert settings.concurrency_policy == "cancel_previous"
                assert latest not in self.run_streams, "what takes its place comes after it"
            case Opened():
                assert not live or settings.concurrency_policy == "always_enqueue"
                assert settings.assignee_agent_id not in self.paused
            case Coalesced(issue_id=issue_id):
                assert issue_id in live
                assert settings.concurrency_policy == "coalesce_if_active"
            case Skipped(issue_id=issue_id):
                assert issue_id in live
                assert settings.concurrency_policy == "skip_if_active"
            case outcome:
                assert settings.assignee_agent_id is None or settings.assignee_agent_id in self.paused, outcome

    def read_scheduled(self, recorded, settings):
        event, schedule = recorded.event, self.schedules[recorded.event.trigger_id]
        assert event.occurrence <= recorded.at, "fired early"
        assert (schedule.enabled, schedule.deleted, settings.status) == (True, False, "active")
        if recorded.at - event.occurrence > GRACE:
            assert settings.catch_up_policy == "enqueue_missed_with_cap"
            self.catch_up_counts[Settlement(event.trigger_id, recorded.at)] += 1
        if settings.project_id in self.paused:
            assert event.outcome == Skipped(reason="paused")
        schedule.settle(event.occurrence)
        self.assert_next(schedule, recorded.at, event.next_at)

    def read_move(self, issue_id, status):
        if (routine_id := self.routine_of.get(issue_id)) is None:
            return
        if status in CLOSED:
            self.open[routine_id].discard(issue_id)
        elif issue_id not in self.open[routine_id]:
            self.reopened.add(routine_id)
            self.open[routine_id].add(issue_id)

    def due(self, now):
        """The rows that a read model which is up to date would give."""
        return [
            DueTrigger(
                trigger_id=id_,
                trigger_version=schedule.version,
                routine_id=schedule.routine_id,
                company_id=UUID(int=0),
                next_at=schedule.next_at,
            )
            for id_, schedule in self.schedules.items()
            if schedule.enabled
            and not schedule.deleted
            and schedule.next_at <= now
            and self.routines[schedule.routine_id].status == "active"
        ]

    def due_attempts(self, now):
        return [
            Overdue(id=id_, company_id=UUID(int=0), kind="attempt", ends_at=failed.next_at)
            for id_, failed in self.waiting.items()
            if failed.next_at <= now
        ]

    def assert_laws(self):
        """Assert what must be true after each commit; whatever was caught up with counts for one commit."""
        assert all(issue_of_run(id_) in self.open[self.states[id_].routine_id] for id_ in self.waiting)
        for schedule in self.schedules.values():
            schedule.assert_complete()
        assert all(count <= 25 for count in self.catch_up_counts.values())
        assert all(self.catch_up_counts[settlement] == 25 for settlement in self.capped_settlements), (
            "dropped below the cap"
        )
        self.catch_up_counts.clear()
        self.capped_settlements.clear()
        for routine_id, live in self.open.items():
            assert len(live) <= 1 or routine_id in self.reopened | self.enqueued
            slot_events = self.slots[routine_id]
            assert {one.issue_id for one in self.states.get(slot_of(routine_id), slot.EMPTY).live} == live
            if slot_events:
                counts = [place for place, event in enumerate(slot_events) if isinstance(event, SlotCounted)]
                assert given(slot.evolve, *slot_events[max(counts, default=0) :]) == self.states[slot_of(routine_id)]
