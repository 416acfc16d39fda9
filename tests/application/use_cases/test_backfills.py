import pytest

from application.request_bodies.routines import BackfillDraft, RoutinePatch
from application.request_bodies.triggers import TriggerPatch
from application.use_cases import backfills, routines, triggers
from domain.errors import Conflict, InvalidField
from domain.events import BackfillAdvanced, BackfillCancelled, BackfillCompleted, RunFired, TriggerMissed
from domain.routines.backfill import WaitingBackfill
from tests.application.use_cases.installation import HOUR


@pytest.fixture
def routine(app):
    return app.routine()


@pytest.fixture
def trigger(app, routine):
    return app.schedule(routine)


def of_hours(app, hours, **fields):
    return BackfillDraft(from_=app.now - hours * HOUR, **fields)


def carry_on(app, backfill, trigger, routine):
    row = WaitingBackfill(id=backfill, trigger_id=trigger, routine_id=routine, company_id=app.company)
    return app.carry_out(backfills.carry_on, [row])


def test_a_preview_names_the_occurrences_and_records_nothing(app, trigger):
    event_count = len(list(app.store.history()))

    preview = app.ask(backfills.preview, trigger, of_hours(app, 3))

    assert (3, 0, None) == (preview.count, preview.left_out, preview.obstacle)
    assert [10, 11, 12] == [at.hour for at, run in preview.occurrences if run is None]
    assert event_count == len(list(app.store.history()))


def test_one_at_a_time_the_next_occurrence_waits_for_the_end_of_the_one_before(app, trigger, routine):
    backfill = app.ask(backfills.create, trigger, of_hours(app, 2))

    assert [1, 0] == [carry_on(app, backfill, trigger, routine) for _ in range(2)]
    app.finish(app.ids(RunFired)[0])
    assert 1 == carry_on(app, backfill, trigger, routine)
    app.finish(app.ids(RunFired)[1])
    carry_on(app, backfill, trigger, routine)

    assert 1 == len(app.events(BackfillCompleted))


def test_asked_for_again_a_range_runs_nothing_twice(app):
    routine = app.routine(concurrency_policy="always_enqueue")
    trigger = app.schedule(routine)
    for _ in range(2):
        backfill = app.ask(backfills.create, trigger, of_hours(app, 3, overlap="policy"))
        carry_on(app, backfill, trigger, routine)

    assert 3 == len(app.events(RunFired))
    assert [0, 3] == [event.left_out for event in app.events(BackfillAdvanced)]


def test_what_waits_until_a_disabled_schedule_runs_again_gets_one_outcome(app):
    routine = app.routine(concurrency_policy="always_enqueue")
    trigger = app.schedule(routine)
    app.passes(3 * HOUR)  # 13, 14 and 15 o'clock, with no scheduler
    app.ask(triggers.update, trigger, TriggerPatch(enabled=False))
    app.passes(2 * HOUR)

    draft = of_hours(app, 7, overlap="policy")
    preview = app.ask(backfills.preview, trigger, draft)
    backfill = app.ask(backfills.create, trigger, draft)
    carry_on(app, backfill, trigger, routine)
    assert (7, 3) == (preview.count, preview.left_out)
    assert [11, 12, 16, 17] == [event.occurrence.hour for event in app.events(RunFired)]

    app.ask(triggers.update, trigger, TriggerPatch(enabled=True))
    assert [(13, 15, 3)] == [(event.first.hour, event.last.hour, event.count) for event in app.events(TriggerMissed)]
    carry_on(app, app.ask(backfills.create, trigger, draft), trigger, routine)
    assert [11, 12, 16, 17, 13, 14, 15] == [event.occurrence.hour for event in app.events(RunFired)]


def test_a_range_without_a_past_occurrence_is_refused_and_so_is_a_routine_that_cannot_work(app, trigger, routine):
    with pytest.raises(InvalidField, match="no occurrence in this range"):
        app.ask(backfills.create, trigger, of_hours(app, -1))
    app.ask(routines.update, routine, RoutinePatch(status="paused"))
    with pytest.raises(Conflict, match="Routine is paused"):
        app.ask(backfills.create, trigger, of_hours(app, 3))


def test_it_ends_when_its_schedule_is_gone_when_it_is_cancelled_and_when_it_cannot_be_carried_out(
    app, trigger, routine
):
    by_hand, hopeless, orphan = (app.ask(backfills.create, trigger, of_hours(app, 3)) for _ in range(3))

    app.ask(backfills.cancel, by_hand)
    row = WaitingBackfill(id=hopeless, trigger_id=trigger, routine_id=routine, company_id=app.company)
    app.carry_out(backfills.give_up, [row], "it breaks")
    app.ask(triggers.delete, trigger)
    carry_on(app, orphan, trigger, routine)

    assert ["cancelled", "could_not_be_carried_out: it breaks", "trigger_deleted"] == [
        event.reason for event in app.events(BackfillCancelled)
    ]
    with pytest.raises(Conflict, match="is over"):
        app.ask(backfills.cancel, by_hand)
