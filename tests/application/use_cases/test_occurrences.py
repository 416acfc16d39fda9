import pytest

from application.use_cases import occurrences, schedule_firing, triggers
from domain.routines.trigger import plan_of
from tests.application.use_cases.installation import HOUR, MINUTE


@pytest.fixture
def trigger(app):
    return app.schedule(app.routine())


@pytest.fixture
def hour(app):
    """The first hour after the schedule was made."""
    return app.now.replace(minute=0, second=0) + HOUR


def fire(app, trigger, count):
    for _ in range(count):
        app.passes(HOUR)
        app.carry_out(schedule_firing.fire_due, [app.due(trigger, app.now.replace(minute=0, second=0))])


def first_unsettled(app, trigger, since):
    return app.executor.query(
        lambda work: occurrences.first_unsettled(
            work, trigger, plan_of(triggers.get_trigger(work, trigger)), since, work.now
        )
    )


def test_what_lies_ahead_is_not_looked_for(app, trigger, hour):
    assert first_unsettled(app, trigger, hour) is None


def test_without_a_run_an_occurrence_is_the_first_itself(app, trigger, hour):
    app.passes(3 * HOUR)

    assert hour == first_unsettled(app, trigger, hour)


def test_an_occurrence_that_its_plan_has_no_more_is_settled_all_the_same(app, trigger, hour):
    app.passes(3 * HOUR)

    assert hour + MINUTE == first_unsettled(app, trigger, hour + MINUTE)


def test_when_all_have_run_there_is_none(app, trigger, hour):
    fire(app, trigger, 3)

    assert first_unsettled(app, trigger, hour) is None


@pytest.mark.parametrize("ran", [1, 2, 3, 6])
def test_the_first_is_the_one_after_the_last_that_ran(app, trigger, hour, ran):
    fire(app, trigger, ran)
    app.passes(4 * HOUR)

    assert hour + ran * HOUR == first_unsettled(app, trigger, hour)


def test_among_many_it_takes_few_looks(app, trigger, hour, monkeypatch):
    looks = []
    last = hour + 10_000 * HOUR
    monkeypatch.setattr(occurrences, "is_fired", lambda _, __, moment: looks.append(moment) or moment < last)
    app.passes(15_000 * HOUR)

    assert last == first_unsettled(app, trigger, hour)
    assert len(looks) < 30
