"""A scheduler carries on chains: what follows a run that has ended is fired at once, and once."""

from uuid import uuid4

import pytest

from application.use_cases import chains
from domain.events import IssueMoved, RunCompleted, RunFired, SlotFreed, TriggerCreated
from domain.identity import issue_of_run, run_of_chain, run_of_occurrence, slot_of
from domain.routines.chain import DueChain
from domain.values import Failed, Opened, TriggerSettings
from processes.scheduler import quarantine
from processes.scheduler.scheduler import Scheduler
from tests.processes.due import NOON


@pytest.fixture
def ended_chain(company_fixture, scheduler, conn):
    """The trigger of a chain, and the run after which it is to fire."""
    fetch, write = company_fixture.routines(2, next_at=NOON)
    trigger = uuid4()
    settings = TriggerSettings(after_routine_id=fetch.routine_id, after_outcome="succeeded")
    event = TriggerCreated(routine_id=write.routine_id, kind="chain", settings=settings)
    company_fixture.record((trigger, [event]))
    scheduler.tick(conn)
    for armed in (write, fetch):
        run = run_of_occurrence(armed.trigger_id, NOON)
        freed = SlotFreed(routine_id=armed.routine_id, issue_id=issue_of_run(run))
        company_fixture.record(
            (issue_of_run(run), [IssueMoved(status="done")]),
            (run, [RunCompleted()]),
            (slot_of(armed.routine_id), [freed]),
        )
    return trigger, run


def chained_runs(events_of):
    return [run for run in events_of(RunFired) if run.event.source == "chain"]


def test_what_follows_an_ended_run_is_fired_at_the_next_tick(ended_chain, scheduler, conn, events_of):
    trigger, cause = ended_chain

    assert [1, 0] == [scheduler.tick(conn) for _ in range(2)]

    [run] = chained_runs(events_of)
    assert (run_of_chain(trigger, cause), cause) == (run.stream_id, run.event.cause_run_id)
    assert isinstance(run.event.outcome, Opened)


def test_a_scheduler_that_died_after_its_commit_leaves_nothing_to_do_twice(  # noqa: PLR0917
    ended_chain, scheduler, executor, conn, events_of, system
):
    """Neither a scheduler that knows nothing of it nor one whose rows are old fires it again."""
    trigger, cause = ended_chain
    scheduler.tick(conn)
    [run] = chained_runs(events_of)
    other = Scheduler(executor, system.store.after, 200)

    assert 0 == other.tick(conn)
    row = DueChain(id=run.stream_id, trigger_id=trigger, cause_run_id=cause, company_id=run.company_id)
    assert 0 == executor.attempt(lambda work: chains.fire_due(work, [row])).result
    assert 1 == len(chained_runs(events_of))


def test_what_cannot_be_fired_in_several_tries_fails_with_the_reason(  # noqa: PLR0917
    ended_chain, scheduler, conn, events_of, clock, monkeypatch
):
    fire = chains._fire

    def break_down(work, row, given_up=None):
        if given_up is None:
            raise ZeroDivisionError
        return fire(work, row, given_up)

    monkeypatch.setattr(chains, "_fire", break_down)
    for _ in range(quarantine.PATIENCE):
        scheduler.tick(conn)
        clock.now += quarantine.REST

    assert [Failed(reason="The chain could not be carried on: ZeroDivisionError")] == [
        run.event.outcome for run in chained_runs(events_of)
    ]
