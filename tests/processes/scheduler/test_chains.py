"""A scheduler carries on chains: what follows a run that has ended is fired at once, and once."""

from datetime import timedelta
from uuid import uuid4

import pytest

from application.use_cases import chains
from domain.events import IssueMoved, RunCompleted, RunFired, SlotFreed, TriggerCreated
from domain.identity import issue_of_run, run_of_chain, run_of_occurrence, slot_of
from domain.routines.chain import DueChain
from domain.values import Failed, Opened, TriggerSettings
from processes.scheduler import batches, quarantine
from processes.scheduler import scheduler as schedulers
from processes.scheduler.scheduler import Scheduler
from tests.processes.due import NOON, CompanyFixture


def end_chain(company_fixture, scheduler, conn, followers=1):
    """The triggers of so many routines' chains, and the run after which they are to fire."""
    [fetch] = company_fixture.routines(next_at=NOON)
    settings = TriggerSettings(after_routine_id=fetch.routine_id, after_outcome="succeeded")
    chained = {
        uuid4(): TriggerCreated(routine_id=write.routine_id, kind="chain", settings=settings)
        for write in company_fixture.routines(followers, next_at=NOON + timedelta(days=1))
    }
    company_fixture.record(*[(trigger_id, [event]) for trigger_id, event in chained.items()])
    scheduler.tick(conn)
    run = run_of_occurrence(fetch.trigger_id, NOON)
    freed = SlotFreed(routine_id=fetch.routine_id, issue_id=issue_of_run(run))
    company_fixture.record(
        (issue_of_run(run), [IssueMoved(status="done")]),
        (run, [RunCompleted()]),
        (slot_of(fetch.routine_id), [freed]),
    )
    return list(chained), run


@pytest.fixture
def ended_chain(company_fixture, scheduler, conn):
    """The trigger of a chain, and the run after which it is to fire."""
    [trigger], run = end_chain(company_fixture, scheduler, conn)
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


def test_a_company_with_very_many_chains_does_not_keep_the_chain_of_another_waiting(
    executor, scheduler, conn, events_of, monkeypatch
):
    busy, quiet = CompanyFixture(executor), CompanyFixture(executor)
    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "_carry_on_chains", lambda *_: 0)  # until both runs have ended
        end_chain(busy, scheduler, conn, followers=300)
        [late], _ = end_chain(quiet, scheduler, conn)

    scheduler.tick(conn)

    order = [run.event.trigger_id for run in chained_runs(events_of)]
    assert 301 == len(order)
    assert order.index(late) < 50 * (batches.MAX_CONCURRENT_BATCHES + 1)  # as with schedules: test_turns.py


def test_more_chains_than_a_tick_reads_do_not_hide_the_chain_of_another_company(
    executor, scheduler, conn, events_of, monkeypatch
):
    monkeypatch.setattr(schedulers, "MAX_DUE_CHAINS", 10)
    busy, quiet = CompanyFixture(executor), CompanyFixture(executor)
    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "_carry_on_chains", lambda *_: 0)
        end_chain(busy, scheduler, conn, followers=20)
        [late], _ = end_chain(quiet, scheduler, conn)

    assert 10 == scheduler.tick(conn)

    assert late in [run.event.trigger_id for run in chained_runs(events_of)]
    assert [10, 1, 0] == [scheduler.tick(conn) for _ in range(3)]


def test_very_many_chains_keep_no_schedule_of_another_company_waiting(
    executor, scheduler, conn, events_of, monkeypatch
):
    busy, quiet = CompanyFixture(executor), CompanyFixture(executor)
    end_chain(busy, scheduler, conn, followers=300)
    [armed] = quiet.routines(next_at=NOON)
    monkeypatch.setattr(batches, "SLICE", -timedelta(microseconds=1))  # time for MAX_CONCURRENT_BATCHES of each kind

    assert 50 * batches.MAX_CONCURRENT_BATCHES + 1 == scheduler.tick(conn)

    assert armed.trigger_id in [run.event.trigger_id for run in events_of(RunFired)]


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
