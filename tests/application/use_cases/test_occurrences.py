import pytest

from application.use_cases import occurrences, runs, triggers
from domain.routines.trigger import plan_of
from tests.application.use_cases.installation import HOUR, MINUTE


@pytest.fixture
def trigger(here):
    return here.schedule(here.routine())


@pytest.fixture
def hour(here):
    """The first hour after the schedule was made."""
    return here.now.replace(minute=0, second=0) + HOUR


def fire(here, trigger, count):
    for _ in range(count):
        here.passes(HOUR)
        here.carry_out(runs.fire_due, [here.due(trigger, here.now.replace(minute=0, second=0))])


def first_unsettled(here, trigger, since):
    return here.executor.query(
        lambda work: occurrences.first_unsettled(
            work, trigger, plan_of(triggers.present(work, trigger)), since, work.now
        )
    )


def test_what_lies_ahead_is_not_looked_for(here, trigger, hour):
    assert first_unsettled(here, trigger, hour) is None


def test_without_a_run_an_occurrence_is_the_first_itself(here, trigger, hour):
    here.passes(3 * HOUR)

    assert hour == first_unsettled(here, trigger, hour)


def test_an_occurrence_that_its_plan_has_no_more_is_settled_all_the_same(here, trigger, hour):
    here.passes(3 * HOUR)

    assert hour + MINUTE == first_unsettled(here, trigger, hour + MINUTE)


def test_when_all_have_run_there_is_none(here, trigger, hour):
    fire(here, trigger, 3)

    assert first_unsettled(here, trigger, hour) is None


@pytest.mark.parametrize("ran", [1, 2, 3, 6])
def test_the_first_is_the_one_after_the_last_that_ran(here, trigger, hour, ran):
    fire(here, trigger, ran)
    here.passes(4 * HOUR)

    assert hour + ran * HOUR == first_unsettled(here, trigger, hour)


def test_among_many_it_takes_few_looks(here, trigger, hour, monkeypatch):
    looks = []
    last = hour + 10_000 * HOUR
    monkeypatch.setattr(occurrences, "is_fired", lambda _, __, moment: looks.append(moment) or moment < last)
    here.passes(15_000 * HOUR)

    assert last == first_unsettled(here, trigger, hour)
    assert len(looks) < 30
