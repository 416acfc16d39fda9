from datetime import timedelta

import pytest

from application.request_bodies.budgets import UsageReport
from application.use_cases import budgets
from domain.routines.budget import WindowSpending
from domain.values import Budget
from projections.firing import spending

HOUR = timedelta(hours=1)


@pytest.fixture
def acme(story):
    return story.company()


@pytest.fixture
def scout(story, acme):
    return story.agent(acme)


def cost(story, run, micros):
    story.ask(budgets.report, run, UsageReport(cost_micros=micros))


def spent_by(story, owner, owner_id, hours=24, most=10):
    story.project_all()
    budget = Budget(max_cost_micros=most, window_sec=hours * 3_600)
    return spending.sum_spending(story.conn, owner, owner_id, budget, story.now)


def test_the_costs_of_runs_are_summed_by_routine_agent_and_company(story, acme, scout):
    rover = story.agent(acme, "Rover")
    first, second = story.routine(acme, scout), story.routine(acme, rover)
    for routine, micros in ((first, 3), (second, 4)):
        cost(story, story.fire(routine), micros)

    assert [3, 4, 3, 4, 7] == [
        spent_by(story, owner, id_).micros
        for owner, id_ in (
            ("routine", first),
            ("routine", second),
            ("agent", scout),
            ("agent", rover),
            ("company", acme),
        )
    ]


def test_a_run_counts_once_from_its_newest_report_on(story, acme, scout):
    run = story.fire(story.routine(acme, scout))
    cost(story, run, 3)
    story.passes(2 * HOUR)
    cost(story, run, 5)

    assert 5 == spent_by(story, "company", acme, hours=1).micros
    story.passes(HOUR)
    assert WindowSpending() == spent_by(story, "company", acme, hours=1)


def test_when_it_frees_is_when_so_much_is_over_that_less_than_the_cap_remains(story, acme, scout):
    routine = story.routine(acme, scout, concurrency_policy="always_enqueue")
    moments = []
    for micros in (4, 3, 5, 2):
        cost(story, story.fire(routine), micros)
        moments.append(story.now)
        story.passes(HOUR)

    assert [
        WindowSpending(micros=14, reached_at=moments[1]),
        WindowSpending(micros=14, reached_at=moments[2]),
        WindowSpending(micros=14, reached_at=None),
        WindowSpending(micros=7, reached_at=moments[2]),
    ] == [
        spent_by(story, "routine", routine, most=10),
        spent_by(story, "routine", routine, most=7),
        spent_by(story, "routine", routine, most=15),
        spent_by(story, "routine", routine, hours=3, most=7),
    ]


def test_tokens_alone_cost_nothing(story, acme, scout):
    story.ask(budgets.report, story.fire(story.routine(acme, scout)), UsageReport(input_tokens=5))

    assert WindowSpending() == spent_by(story, "company", acme)
