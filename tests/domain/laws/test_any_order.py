"""The laws under any order of events: use cases over a log in memory and a clock of our own, judged by the ledger."""

from datetime import UTC, datetime, timedelta

import pytest
from eventsourcing.persistence import IntegrityError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from application.access import Caller
from application.event_store.in_memory import MemoryRecorder
from application.event_store.store import EventStore
from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from application.request_bodies.board import AgentDraft, AgentKeyDraft, CompanyDraft, ProjectDraft
from application.request_bodies.issues import Checkout, IssuePatch
from application.request_bodies.routines import RetryPolicyDraft, RoutineDraft, RoutinePatch, RunRequest
from application.request_bodies.triggers import ScheduleDraft, TriggerPatch
from application.use_cases import deadlines, revisions, routines, runs, schedule_firing, triggers
from application.use_cases.board import agents, companies, issues, keys, projects
from domain.errors import DomainError
from domain.identity import revision_of
from tests.domain.laws.ledger import MATCHES, MINUTE, Ledger
from tests.examples import examples

START = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
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
THRICE = RetryPolicyDraft(max_attempts=3, backoff_seconds=45)


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
        return self.executor.attempt(lambda work: schedule_firing.fire_due(work, rows)).result

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
        if created := self.ask(triggers.create, self.routine_ids[index % len(self.routine_ids)], draft):
            self.schedules.append(created.trigger_id)

    @precondition(lambda self: self.schedules)
    @rule(
        index=st.integers(0, 9),
        patch=st.one_of(
            st.sampled_from(list(MATCHES)).map(lambda cron: TriggerPatch(cron_expression=cron)),
            st.booleans().map(lambda enabled: TriggerPatch(enabled=enabled)),
            st.just(TriggerPatch(label="new")),
        ),
    )
    def edit_schedule(self, index, patch):
        self.ask(triggers.update, self.schedules[index % len(self.schedules)], patch)

    @precondition(lambda self: self.schedules)
    @rule(index=st.integers(0, 9))
    def delete_schedule(self, index):
        self.ask(triggers.delete, self.schedules[index % len(self.schedules)])

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
    @rule(index=st.integers(0, 3), chance=st.integers(0, 3))
    def archive_routine(self, index, chance):
        if not chance:
            self.ask(routines.update, self.routine_ids[index % len(self.routine_ids)], RoutinePatch(status="archived"))

    @precondition(lambda self: self.routine_ids)
    @rule(index=st.integers(0, 3), key=st.sampled_from([None, "a", "b"]), source=st.sampled_from(["manual", "api"]))
    def fire_by_hand(self, index, key, source):
        routine_id = self.routine_ids[index % len(self.routine_ids)]
        request = RunRequest(source=source, idempotency_key=key)
        firing = self.ask(runs.fire_by_hand, routine_id, request)
        if firing and key:
            assert self.ask(runs.fire_by_hand, routine_id, request)[0].stream_id == firing[0].stream_id

    @precondition(lambda self: self.ledger.routine_of)
    @rule(
        index=st.integers(0, 30),
        status=st.sampled_from(["todo", "in_progress", "in_review", "blocked", "done", "done", "cancelled"]),
    )
    def move_issue(self, index, status):
        issue_ids = list(self.ledger.routine_of)
        self.ask(issues.update, issue_ids[-1 - index % len(issue_ids)], IssuePatch(status=status), None)

    @precondition(lambda self: self.ledger.routine_of)
    @rule(index=st.integers(0, 3))
    def the_agent_reports_a_failure(self, index):
        issue_ids = list(self.ledger.routine_of)
        report = IssuePatch(status="cancelled", failure_reason="exit status 1")
        try:
            self.executor.execute(self.by_agent, issues.update, issue_ids[-1 - index % len(issue_ids)], report, None)
        except DomainError:
            return

    @precondition(lambda self: self.ledger.routine_of)
    @rule(index=st.integers(0, 30), expected=st.sampled_from([("todo",), ("done", "cancelled"), ("in_progress",)]))
    def check_out_issue(self, index, expected):
        issue_ids = list(self.ledger.routine_of)
        request = Checkout(agent_id=self.agent, expected_statuses=expected)
        self.ask(issues.check_out, issue_ids[-1 - index % len(issue_ids)], request, None)

    @precondition(lambda self: self.ledger.routine_of)
    @rule(index=st.integers(0, 30))
    def release_issue(self, index):
        issue_ids = list(self.ledger.routine_of)
        self.ask(issues.release, issue_ids[-1 - index % len(issue_ids)], None)

    @rule(is_pause=st.sampled_from([True, False, False]))
    def pause_or_resume_the_project(self, is_pause):
        self.ask(projects.pause if is_pause else projects.resume, self.project)

    @rule(is_pause=st.sampled_from([True, False, False]))
    def pause_or_resume_the_agent(self, is_pause):
        if is_pause:
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
    @rule(index=st.integers(0, 99))
    def a_scheduler_ticks_with_old_rows(self, index):
        self.settle(self.stale[index % len(self.stale)])
        if self.stale_attempts:
            self.settle_attempts(self.stale_attempts[index % len(self.stale_attempts)])

    @rule()
    def a_scheduler_ticks_one_row_at_a_time(self):
        for row in reversed(self.due()):
            self.settle([row])

    @rule()
    def a_scheduler_dies_before_its_commit(self):
        schedule_firing.fire_due(UnitOfWork(self.executor.store, self.now), self.due())

    @rule()
    def two_schedulers_tick_at_the_same_time(self):
        rows = self.due()
        first, second = UnitOfWork(self.executor.store, self.now), UnitOfWork(self.executor.store, self.now + MINUTE)
        schedule_firing.fire_due(first, rows)
        fired_count = schedule_firing.fire_due(second, list(reversed(rows)))
        first.commit()
        if fired_count:
            with pytest.raises(IntegrityError):
                second.commit()

    @rule()
    def two_schedulers_begin_attempts_at_the_same_time(self):
        rows = self.ledger.due_attempts(self.now)
        first, second = UnitOfWork(self.executor.store, self.now), UnitOfWork(self.executor.store, self.now)
        deadlines.settle(first, rows)
        settled_count = deadlines.settle(second, list(reversed(rows)))
        first.commit()
        if settled_count:
            with pytest.raises(IntegrityError):
                second.commit()

    @precondition(lambda self: self.routine_ids)
    @rule(index=st.integers(0, 3), is_pause=st.booleans())
    def somebody_comes_between_decision_and_commit(self, index, is_pause):
        work = UnitOfWork(self.executor.store, self.now)
        schedule_firing.fire_due(work, self.due())
        self.ask(routines.update, self.routine_ids[index % len(self.routine_ids)], RoutinePatch(status="paused"))
        self.pause_or_resume_the_project(is_pause)
        self.pause_or_resume_the_agent(not is_pause)
        try:
            work.commit()
        except IntegrityError:
            assert self.executor.store.head() >= self.position

    @invariant()
    def the_laws_hold(self):
        self.catch_up()
        self.ledger.assert_laws()


TestTheLaws = pytest.mark.slow(Machine.TestCase)
TestTheLaws.settings = settings(
    max_examples=examples(suite=80, campaign=200),
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # a broken law is told at once; to make its story short add Phase.shrink (minutes)
)
