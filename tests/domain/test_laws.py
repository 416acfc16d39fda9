"""
The laws, under any order of events: use cases over a memory log and a clock of our own, checked by a ledger
that reads the log with plain sets and a walk over minutes, and knows neither the scheduler nor the domain's rules.
"""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import pytest
from eventsourcing.persistence import IntegrityError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from application.access import Caller
from application.event_store import stream_kinds
from application.event_store.in_memory import MemoryRecorder
from application.event_store.store import EventStore
from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from application.request_bodies.board import AgentDraft, AgentKeyDraft, CompanyDraft, ProjectDraft
from application.request_bodies.issues import Checkout, IssuePatch
from application.request_bodies.routines import RetryPolicyDraft, RoutineDraft, RoutinePatch, RunRequest
from application.request_bodies.triggers import ScheduleDraft, TriggerPatch
from application.use_cases import deadlines, revisions, routines, runs, triggers
from application.use_cases.board import agents, companies, issues, keys, projects
from domain.errors import DomainError
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
from domain.identity import issue_of_run, revision_of, slot_of
from domain.routines import slot
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger
from domain.values import Coalesced, Opened, Skipped
from tests.given import given

START = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRACE = timedelta(seconds=60)
MATCHES = {
    "* * * * *": lambda _wall: True,
    "*/5 * * * *": lambda wall: wall.minute % 5 == 0,
    "0 * * * *": lambda wall: wall.minute == 0,
    "30 2 * * *": lambda wall: (wall.hour, wall.minute) == (2, 30),
}
CONCURRENCY = ("coalesce_if_active", "skip_if_active", "always_enqueue", "cancel_previous")
CATCH_UP = ("skip_missed", "enqueue_missed_with_cap")
STEPS = [
    timedelta(microseconds=1),
    timedelta(seconds=29, microseconds=999_999),
    timedelta(seconds=30),
    timedelta(seconds=60),
    timedelta(seconds=61),
    timedelta(minutes=7),
    timedelta(minutes=26),
    timedelta(hours=5),
    timedelta(days=1),
    timedelta(days=2, minutes=3),
]
CHANGES = ("edited", "deleted", "paused", "archived")  # why an occurrence may be missed though it was on time
CLOSED = ("done", "cancelled")
THRICE = RetryPolicyDraft(max_attempts=3, backoff_seconds=45)
KINDS = {kind.prefix: kind for kind in vars(stream_kinds).values() if isinstance(kind, stream_kinds.Kind)}


def walk(text, after, until):
    """The minutes in (after, until] that a schedule names."""
    minute = after.replace(second=0, microsecond=0) + MINUTE
    while minute <= until:
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
        self.unseen = set()  # those of them since the last check
        self.stopped_at = since  # when it ceased to run; None while it runs
        self.begin(text, since)

    def begin(self, text, since):
        """From now on occurrences count."""
        self.text, self.checked, self.next_at, self.unseen = text, since, first_after(text, since), set()

    def waiting(self, at):
        """What was planned while it ran and has no outcome."""
        return set(walk(self.text, self.checked, self.stopped_at or at)) - self.unseen

    def close(self, at):
        """It is changed for good: everything until now, or until it stopped, has its outcome."""
        assert self.waiting(at) == set(), "a change hides an occurrence"

    def goes_on(self, at, next_at, *, starts):
        """It is changed and keeps its plan: what waits stays, unless more passed while it stood still."""
        waiting = self.waiting(at)
        passed = self.stopped_at is not None and any(walk(self.text, self.stopped_at, at))
        if waiting and not (starts and passed):
            assert next_at == min(waiting), "what waits stays"
            self.next_at = next_at
        else:
            self.close(at)
            self.begin(self.text, max(at, self.checked))
            assert next_at == self.next_at

    def settle(self, occurrence):
        assert occurrence > self.checked, f"{occurrence} was planned while it stood still"
        assert occurrence not in self.outcomes, f"{occurrence} has two outcomes"
        self.outcomes.add(occurrence)
        self.unseen.add(occurrence)

    def check(self):
        """Everything before `next_at` has its outcome, nothing else has."""
        until = self.next_at - MINUTE if self.stopped_at is None else min(self.next_at - MINUTE, self.stopped_at)
        assert set(walk(self.text, self.checked, until)) == self.unseen
        self.checked, self.unseen = max(self.checked, until), set()


class Pass(NamedTuple):
    """One settlement of one trigger."""

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
        self.made_up, self.capped = Counter(), set()

    def read(self, recorded):
        event, id_ = recorded.event, recorded.stream_id
        if isinstance(event, CommentAdded):
            return  # a comment has no state
        kind = KINDS[stored_name(event).split(".")[0] + "."]
        self.states[id_] = kind.evolve(self.states.get(id_), event)  # raises when evolve is not total
        match event:
            case RoutineCreated(settings=new) | RoutineUpdated(settings=new) | RoutineRestored(settings=new):
                old = self.routines.get(id_)
                assert old is None or old.status != "archived" or new.status == "archived", "archived is terminal"
                self.routines[id_] = new
                for schedule in [s for s in self.schedules.values() if s.routine_id == id_ and not s.deleted]:
                    if new.status == "archived":
                        schedule.close(recorded.at)
                    self.follow(schedule, recorded.at)
                self.enqueued |= {id_} if new.concurrency_policy == "always_enqueue" else set()
            case AgentPaused() | ProjectPaused():
                self.paused.add(id_)
            case AgentResumed() | ProjectResumed():
                self.paused.discard(id_)
            case RunFired():
                self.fired(recorded)
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
                self.moved(id_, "in_progress" if isinstance(event, IssueCheckedOut) else event.status)
            case _ if kind is stream_kinds.SLOT:
                self.slots[event.routine_id].append(event)
            case _ if kind is stream_kinds.TRIGGER:
                self.triggered(recorded)

    def triggered(self, recorded):
        event, id_ = recorded.event, recorded.stream_id
        if isinstance(event, TriggerCreated):
            self.schedules[id_] = Schedule(event.routine_id, event.settings.cron_expression, recorded.at)
        schedule = self.schedules[id_]
        schedule.version = recorded.version
        match event:
            case TriggerUpdated(settings=new) if new.cron_expression == schedule.text:
                starts = new.enabled and self.routines[schedule.routine_id].status == "active"
                schedule.goes_on(recorded.at, event.next_at, starts=starts)
                schedule.enabled = new.enabled
            case TriggerCreated(settings=new) | TriggerUpdated(settings=new) | TriggerRestored(settings=new):
                schedule.close(recorded.at)
                schedule.begin(new.cron_expression, recorded.at)
                schedule.enabled, schedule.deleted = new.enabled, False
                assert event.next_at == schedule.next_at
            case TriggerRescheduled(next_at=next_at):
                schedule.goes_on(recorded.at, next_at, starts=schedule.enabled)
            case TriggerDeleted():
                schedule.close(recorded.at)
                schedule.deleted = True
            case TriggerMissed():
                self.missed(recorded, schedule)
        self.follow(schedule, recorded.at)

    def follow(self, schedule, at):
        """Note when the schedule ceases to run, or runs again."""
        runs = schedule.enabled and not schedule.deleted and self.routines[schedule.routine_id].status == "active"
        schedule.stopped_at = None if runs else schedule.stopped_at or at

    def missed(self, recorded, schedule):
        event = recorded.event
        dropped = list(walk(schedule.text, event.first - MINUTE, event.last))
        assert (dropped[0], dropped[-1], len(dropped)) == (event.first, event.last, event.count)
        if event.reason in CHANGES:
            assert event.last <= recorded.at
        else:
            self.missed_by_policy(recorded, schedule)
        for occurrence in dropped:
            schedule.settle(occurrence)
        self.moves_on(schedule, recorded.at, event.next_at)

    def missed_by_policy(self, recorded, schedule):
        event = recorded.event
        assert recorded.at - event.last > GRACE, "dropped though it was on time"
        policy = self.routines[schedule.routine_id].catch_up_policy
        assert event.reason == ("skip_missed" if policy == "skip_missed" else "catch_up_cap")
        if policy != "skip_missed":
            self.capped.add(Pass(recorded.stream_id, recorded.at))

    def moves_on(self, schedule, at, next_at):
        assert next_at == first_after(schedule.text, at)
        schedule.next_at = next_at

    def fired(self, recorded):
        event = recorded.event
        self.run_streams[recorded.stream_id] += 1
        assert self.run_streams[recorded.stream_id] == 1, "a run is fired once"
        settings, live = self.routines[event.routine_id], self.open[event.routine_id]
        assert settings.status != "archived", "nothing fires an archived routine"
        if event.source == "schedule":
            self.scheduled(recorded, settings)
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
            case Coalesced(issue_id=met):
                assert met in live
                assert settings.concurrency_policy == "coalesce_if_active"
            case Skipped(issue_id=met):
                assert met in live
                assert settings.concurrency_policy == "skip_if_active"
            case failed:
                assert settings.assignee_agent_id is None or settings.assignee_agent_id in self.paused, failed

    def scheduled(self, recorded, settings):
        event, schedule = recorded.event, self.schedules[recorded.event.trigger_id]
        assert event.occurrence <= recorded.at, "fired early"
        assert (schedule.enabled, schedule.deleted, settings.status) == (True, False, "active")
        if recorded.at - event.occurrence > GRACE:
            assert settings.catch_up_policy == "enqueue_missed_with_cap"
            self.made_up[Pass(event.trigger_id, recorded.at)] += 1
        if settings.project_id in self.paused:
            assert event.outcome == Skipped(reason="paused")
        schedule.settle(event.occurrence)
        self.moves_on(schedule, recorded.at, event.next_at)

    def moved(self, issue_id, status):
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
                trigger_version=s.version,
                routine_id=s.routine_id,
                company_id=UUID(int=0),
                next_at=s.next_at,
            )
            for id_, s in self.schedules.items()
            if s.enabled and not s.deleted and s.next_at <= now and self.routines[s.routine_id].status == "active"
        ]

    def due_attempts(self, now):
        return [
            Overdue(id=id_, kind="attempt", ends_at=failed.next_at)
            for id_, failed in self.waiting.items()
            if failed.next_at <= now
        ]

    def check(self):
        assert all(issue_of_run(id_) in self.open[self.states[id_].routine_id] for id_ in self.waiting)
        for schedule in self.schedules.values():
            schedule.check()
        assert all(made_up <= 25 for made_up in self.made_up.values())
        assert all(self.made_up[settled] == 25 for settled in self.capped), "dropped below the cap"
        self.made_up.clear()
        self.capped.clear()
        for routine_id, live in self.open.items():
            assert len(live) <= 1 or routine_id in self.reopened | self.enqueued
            all_of_it = self.slots[routine_id]
            assert {one.issue_id for one in self.states.get(slot_of(routine_id), slot.EMPTY).live} == live
            if all_of_it:
                counts = [place for place, event in enumerate(all_of_it) if isinstance(event, SlotCounted)]
                assert given(slot.evolve, *all_of_it[max(counts, default=0) :]) == self.states[slot_of(routine_id)]


class Machine(RuleBasedStateMachine):
    """People, agents, schedulers and a clock, in any order."""

    @initialize(
        catch_up=st.sampled_from(CATCH_UP),
        cron=st.sampled_from(list(MATCHES)),
        concurrency=st.sampled_from(CONCURRENCY),
    )
    def begin(self, concurrency, catch_up, cron):
        self.now = START
        self.executor = Executor(EventStore(MemoryRecorder()), lambda: self.now)
        self.caller = Caller(token=self.executor.attempt(keys.mint_first).result.token)
        self.company = self.ask(companies.create, CompanyDraft(name="Acme"))
        self.agent = self.ask(agents.create, self.company, AgentDraft(name="Scout")).agent_id
        self.project = self.ask(projects.create, self.company, ProjectDraft(name="Move"))
        self.by_agent = Caller(token=self.ask(keys.create_for_agent, self.agent, AgentKeyDraft()).token)
        self.ledger, self.position, self.stale, self.stale_attempts = Ledger(), 0, [], []
        self.routine_ids, self.schedules = [], []
        self.create_routine(concurrency, catch_up, grouped=True, cron=cron, retries=True)

    def ask(self, use_case, *args):
        """The result; None when the answer was no."""
        try:
            return self.executor.execute(self.caller, use_case, *args).result
        except DomainError:
            return None

    def settle(self, rows):
        return self.executor.attempt(lambda work: runs.fire_due(work, rows)).result

    def settle_attempts(self, rows):
        return self.executor.attempt(lambda work: deadlines.settle(work, rows), actor="scheduler").result

    def due(self):
        rows = self.ledger.due(self.now)
        self.stale.append(rows)
        return rows

    def catch_up(self):
        for recorded in self.executor.store.history(self.position):
            self.ledger.read(recorded)
            self.position = recorded.position

    # People and agents

    @rule(
        concurrency=st.sampled_from(CONCURRENCY),
        catch_up=st.sampled_from(CATCH_UP),
        grouped=st.booleans(),
        cron=st.sampled_from(list(MATCHES)),
        retries=st.booleans(),
    )
    def create_routine(self, concurrency, catch_up, grouped, cron, retries):
        draft = RoutineDraft(
            title="Check",
            assignee_agent_id=self.agent,
            project_id=self.project if grouped else None,
            concurrency_policy=concurrency,
            catch_up_policy=catch_up,
            retry_policy=THRICE if retries else None,
        )
        if len(self.routine_ids) < 4:
            self.routine_ids.append(self.ask(routines.create, self.company, draft))
            self.add_schedule(-1, cron, enabled=True)

    @precondition(lambda self: self.routine_ids)
    @rule(index=st.integers(0, 3), cron=st.sampled_from(list(MATCHES)), enabled=st.booleans())
    def add_schedule(self, index, cron, enabled):
        draft = ScheduleDraft(cron_expression=cron, enabled=enabled)
        if added := self.ask(triggers.create, self.routine_ids[index % len(self.routine_ids)], draft):
            self.schedules.append(added.trigger_id)

    @precondition(lambda self: self.schedules)
    @rule(
        which=st.integers(0, 9),
        patch=st.one_of(
            st.sampled_from(list(MATCHES)).map(lambda cron: TriggerPatch(cron_expression=cron)),
            st.booleans().map(lambda enabled: TriggerPatch(enabled=enabled)),
            st.just(TriggerPatch(label="new")),
        ),
    )
    def edit_schedule(self, which, patch):
        self.ask(triggers.update, self.schedules[which % len(self.schedules)], patch)

    @precondition(lambda self: self.schedules)
    @rule(which=st.integers(0, 9))
    def delete_schedule(self, which):
        self.ask(triggers.delete, self.schedules[which % len(self.schedules)])

    @precondition(lambda self: self.routine_ids)
    @rule(
        index=st.integers(0, 3),
        patch=st.sampled_from(
            [
                RoutinePatch(status="paused"),
                RoutinePatch(status="active"),
                RoutinePatch(status="active", assignee_agent_id=None),
                RoutinePatch(assignee_agent_id=None),
                RoutinePatch(title="Look"),
                RoutinePatch(concurrency_policy="skip_if_active"),
                RoutinePatch(concurrency_policy="always_enqueue"),
                RoutinePatch(catch_up_policy="skip_missed"),
                RoutinePatch(catch_up_policy="enqueue_missed_with_cap"),
                RoutinePatch(retry_policy=None),
                RoutinePatch(retry_policy=THRICE),
            ]
        ),
    )
    def update_routine(self, index, patch):
        self.ask(routines.update, self.routine_ids[index % len(self.routine_ids)], patch)

    @precondition(lambda self: self.routine_ids)
    @rule(index=st.integers(0, 3), number=st.integers(1, 9))
    def restore_a_revision(self, index, number):
        routine_id = self.routine_ids[index % len(self.routine_ids)]
        self.ask(revisions.restore, routine_id, revision_of(routine_id, number))

    @precondition(lambda self: self.routine_ids)
    @rule(index=st.integers(0, 3), step=st.sampled_from(STEPS))
    def pause_a_routine_for_a_while(self, index, step):
        self.update_routine(index, RoutinePatch(status="paused"))
        self.now += step
        self.a_scheduler_ticks()
        self.update_routine(index, RoutinePatch(status="active", assignee_agent_id=self.agent))

    @precondition(lambda self: self.routine_ids)
    @rule(index=st.integers(0, 3), sure=st.integers(0, 3))
    def archive_routine(self, index, sure):
        if not sure:
            self.ask(routines.update, self.routine_ids[index % len(self.routine_ids)], RoutinePatch(status="archived"))

    @precondition(lambda self: self.routine_ids)
    @rule(index=st.integers(0, 3), key=st.sampled_from([None, "a", "b"]), source=st.sampled_from(["manual", "api"]))
    def fire_by_hand(self, index, key, source):
        routine_id = self.routine_ids[index % len(self.routine_ids)]
        request = RunRequest(source=source, idempotency_key=key)
        fired = self.ask(runs.fire_by_hand, routine_id, request)
        if fired and key:
            assert self.ask(runs.fire_by_hand, routine_id, request)[0].stream_id == fired[0].stream_id

    @precondition(lambda self: self.ledger.routine_of)
    @rule(
        which=st.integers(0, 30),
        status=st.sampled_from(["todo", "in_progress", "in_review", "blocked", "done", "done", "cancelled"]),
    )
    def move_issue(self, which, status):
        routine_ids = list(self.ledger.routine_of)
        self.ask(issues.update, routine_ids[-1 - which % len(routine_ids)], IssuePatch(status=status), None)

    @precondition(lambda self: self.ledger.routine_of)
    @rule(which=st.integers(0, 3))
    def the_agent_reports_a_failure(self, which):
        routine_ids = list(self.ledger.routine_of)
        report = IssuePatch(status="cancelled", failure_reason="exit status 1")
        try:
            self.executor.execute(
                self.by_agent, issues.update, routine_ids[-1 - which % len(routine_ids)], report, None
            )
        except DomainError:
            return

    @precondition(lambda self: self.ledger.routine_of)
    @rule(which=st.integers(0, 30), expected=st.sampled_from([("todo",), ("done", "cancelled"), ("in_progress",)]))
    def check_out_issue(self, which, expected):
        routine_ids = list(self.ledger.routine_of)
        request = Checkout(agent_id=self.agent, expected_statuses=expected)
        self.ask(issues.check_out, routine_ids[-1 - which % len(routine_ids)], request, None)

    @precondition(lambda self: self.ledger.routine_of)
    @rule(which=st.integers(0, 30))
    def release_issue(self, which):
        routine_ids = list(self.ledger.routine_of)
        self.ask(issues.release, routine_ids[-1 - which % len(routine_ids)], None)

    @rule(pauses=st.sampled_from([True, False, False]))
    def pause_or_resume_the_project(self, pauses):
        self.ask(projects.pause if pauses else projects.resume, self.project)

    @rule(pauses=st.sampled_from([True, False, False]))
    def pause_or_resume_the_agent(self, pauses):
        if pauses:
            self.ask(agents.pause, self.agent, "manual")
        else:
            self.ask(agents.resume, self.agent)

    # Time and schedulers

    @rule(step=st.sampled_from(STEPS))
    def time_passes(self, step):
        self.now += step

    @rule(step=st.sampled_from(STEPS), until=st.sampled_from(["issues stay", "issues are done"]))
    def time_passes_while_a_scheduler_ticks(self, step, until):
        self.now += step
        self.a_scheduler_ticks()
        if until == "issues are done":
            for issue_id in set().union(*self.ledger.open.values()):
                self.ask(issues.update, issue_id, IssuePatch(status="done"), None)

    @rule()
    def a_scheduler_ticks(self):
        attempts = self.ledger.due_attempts(self.now)
        self.stale_attempts.append(attempts)
        self.settle_attempts(attempts)
        self.settle(self.due())
        self.catch_up()

        assert self.ledger.due_attempts(self.now) == [], "every attempt that was due is begun or given up"
        assert self.ledger.due(self.now) == [], "everything that was due is settled"

    @rule()
    def a_scheduler_ticks_twice_with_the_same_rows(self):
        rows = self.due()
        self.settle(rows)

        assert self.settle(rows) == 0

    @precondition(lambda self: self.stale)
    @rule(which=st.integers(0, 99))
    def a_scheduler_ticks_with_old_rows(self, which):
        self.settle(self.stale[which % len(self.stale)])
        if self.stale_attempts:
            self.settle_attempts(self.stale_attempts[which % len(self.stale_attempts)])

    @rule()
    def a_scheduler_ticks_one_row_at_a_time(self):
        for row in reversed(self.due()):
            self.settle([row])

    @rule()
    def a_scheduler_dies_before_its_commit(self):
        runs.fire_due(UnitOfWork(self.executor.store, self.now), self.due())

    @rule()
    def two_schedulers_tick_at_the_same_time(self):
        rows = self.due()
        one, other = UnitOfWork(self.executor.store, self.now), UnitOfWork(self.executor.store, self.now + MINUTE)
        runs.fire_due(one, rows)
        fired = runs.fire_due(other, list(reversed(rows)))
        one.commit()
        if fired:
            with pytest.raises(IntegrityError):
                other.commit()

    @rule()
    def two_schedulers_begin_attempts_at_the_same_time(self):
        rows = self.ledger.due_attempts(self.now)
        one, other = UnitOfWork(self.executor.store, self.now), UnitOfWork(self.executor.store, self.now)
        deadlines.settle(one, rows)
        settled = deadlines.settle(other, list(reversed(rows)))
        one.commit()
        if settled:
            with pytest.raises(IntegrityError):
                other.commit()

    @precondition(lambda self: self.routine_ids)
    @rule(index=st.integers(0, 3), pauses=st.booleans())
    def somebody_comes_between_decision_and_commit(self, index, pauses):
        decided = UnitOfWork(self.executor.store, self.now)
        runs.fire_due(decided, self.due())
        self.ask(routines.update, self.routine_ids[index % len(self.routine_ids)], RoutinePatch(status="paused"))
        self.pause_or_resume_the_project(pauses)
        self.pause_or_resume_the_agent(not pauses)
        try:
            decided.commit()
        except IntegrityError:
            assert self.executor.store.head() >= self.position

    @invariant()
    def the_laws_hold(self):
        self.catch_up()
        self.ledger.check()


TestTheLaws = pytest.mark.slow(Machine.TestCase)
TestTheLaws.settings = settings(
    max_examples=200,
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # a broken law is told at once; to make its story short add Phase.shrink (minutes)
)


# What the machine leaves out, since it must not happen: one test each


class Story:
    """One minutely routine of an agent, and a clock that goes where we say."""

    def __init__(self, catch_up="enqueue_missed_with_cap", cron="* * * * *"):
        self.now = START
        self.executor = Executor(EventStore(MemoryRecorder()), lambda: self.now)
        self.caller = Caller(token=self.executor.attempt(keys.mint_first).result.token)
        company = self.ask(companies.create, CompanyDraft(name="Acme"))
        agent = self.ask(agents.create, company, AgentDraft(name="Scout")).agent_id
        draft = RoutineDraft(title="Check", assignee_agent_id=agent, catch_up_policy=catch_up)
        self.routine_id = self.ask(routines.create, company, draft)
        self.trigger_id = self.ask(triggers.create, self.routine_id, ScheduleDraft(cron_expression=cron)).trigger_id

    def ask(self, use_case, *args):
        return self.executor.execute(self.caller, use_case, *args).result

    def rows(self):
        ledger = Ledger()
        for recorded in self.executor.store.history():
            ledger.read(recorded)
        return ledger.due(self.now)

    def row(self, next_at):
        """The row of its schedule, as it stands in the log."""
        version = len(self.executor.store.load([self.trigger_id])[self.trigger_id])
        return DueTrigger(
            trigger_id=self.trigger_id,
            trigger_version=version,
            routine_id=self.routine_id,
            company_id=UUID(int=0),
            next_at=next_at,
        )

    def settle(self, rows):
        return self.executor.attempt(lambda work: runs.fire_due(work, rows)).result

    def fired(self):
        return [one.event.occurrence for one in self.executor.store.history() if isinstance(one.event, RunFired)]


@pytest.mark.parametrize("catch_up", ["skip_missed", "enqueue_missed_with_cap"])
def test_a_row_that_comes_twice_in_one_batch_counts_once(catch_up):
    story = Story(catch_up, cron="0 * * * *")
    story.now += timedelta(days=2)

    story.settle(story.rows() * 2)

    assert story.rows() == []


def test_an_edit_while_the_clock_is_back_does_not_stop_the_schedule():
    story = Story()
    story.now += timedelta(minutes=5)
    story.settle(story.rows())
    story.now -= timedelta(minutes=3)
    story.ask(triggers.update, story.trigger_id, TriggerPatch(label="new"))
    story.now += timedelta(minutes=10)

    story.settle([story.row(next_at=START + timedelta(minutes=2, seconds=30))])

    assert max(story.fired()) == story.now.replace(second=0)


def test_an_edit_while_the_clock_is_back_does_not_fire_an_occurrence_twice():
    story = Story(cron="*/5 * * * *")
    story.now += timedelta(minutes=5)
    story.settle(story.rows())
    story.now -= timedelta(minutes=5)
    story.ask(triggers.update, story.trigger_id, TriggerPatch(cron_expression="* * * * *"))
    story.now += timedelta(minutes=10)

    story.settle([story.row(next_at=START + timedelta(seconds=30))])

    assert len(story.fired()) == len(set(story.fired()))
