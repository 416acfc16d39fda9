"""A row of the read model that comes twice, or that was read before the clock went back, breaks no law."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from application.access import Caller
from application.event_store.in_memory import MemoryRecorder
from application.event_store.store import EventStore
from application.execute import Executor
from application.request_bodies.board import AgentDraft, CompanyDraft
from application.request_bodies.routines import RoutineDraft
from application.request_bodies.triggers import ScheduleDraft, TriggerPatch
from application.use_cases import routines, schedule_firing, triggers
from application.use_cases.board import agents, companies, keys
from domain.events import RunFired
from domain.routines.trigger import DueTrigger
from tests.domain.laws.ledger import Ledger

START = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)


class OneRoutine:
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

    def due_rows(self):
        ledger = Ledger()
        for recorded in self.executor.store.history():
            ledger.read(recorded)
        return ledger.due(self.now)

    def row_at(self, next_at):
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
        return self.executor.attempt(lambda work: schedule_firing.fire_due(work, rows)).result

    def fired_occurrences(self):
        return [one.event.occurrence for one in self.executor.store.history() if isinstance(one.event, RunFired)]


@pytest.mark.parametrize("catch_up", ["skip_missed", "enqueue_missed_with_cap"])
def test_a_row_that_comes_twice_in_one_batch_counts_once(catch_up):
    fixture = OneRoutine(catch_up, cron="0 * * * *")
    fixture.now += timedelta(days=2)

    fixture.settle(fixture.due_rows() * 2)

    assert fixture.due_rows() == []


def test_an_edit_while_the_clock_is_back_does_not_stop_the_schedule():
    fixture = OneRoutine()
    fixture.now += timedelta(minutes=5)
    fixture.settle(fixture.due_rows())
    fixture.now -= timedelta(minutes=3)
    fixture.ask(triggers.update, fixture.trigger_id, TriggerPatch(label="new"))
    fixture.now += timedelta(minutes=10)

    fixture.settle([fixture.row_at(next_at=START + timedelta(minutes=2, seconds=30))])

    assert max(fixture.fired_occurrences()) == fixture.now.replace(second=0)


def test_an_edit_while_the_clock_is_back_does_not_fire_an_occurrence_twice():
    fixture = OneRoutine(cron="*/5 * * * *")
    fixture.now += timedelta(minutes=5)
    fixture.settle(fixture.due_rows())
    fixture.now -= timedelta(minutes=5)
    fixture.ask(triggers.update, fixture.trigger_id, TriggerPatch(cron_expression="* * * * *"))
    fixture.now += timedelta(minutes=10)

    fixture.settle([fixture.row_at(next_at=START + timedelta(seconds=30))])

    assert len(fixture.fired_occurrences()) == len(set(fixture.fired_occurrences()))
