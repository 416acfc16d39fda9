from datetime import timedelta
from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE, RUN
from application.execute import Executor
from application.request_bodies.board import AgentPatch, CompanyPatch
from application.request_bodies.budgets import BudgetDraft, UsageReport
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RoutinePatch
from application.use_cases import budgets, revisions, routines, runs
from application.use_cases.board import agents, companies, issues
from domain.errors import Conflict, Forbidden, InvalidField, NotFound, RuleViolation
from domain.events import RoutineCreated, RunFailed, RunFired, RunReported
from domain.identity import issue_of_run, revision_of
from domain.routines.budget import Spent
from domain.values import Budget, Opened, OverBudget, Skipped
from tests.application.use_cases.installation import HOUR

TEN_A_DAY = BudgetDraft(max_cost_micros=10_000_000, window_sec=86_400)
DAY = timedelta(days=1)


@pytest.fixture
def spent(here):
    """What was spent, by owner: `spent["routine"] = ...` is what the read model would say."""
    known = {}
    here.executor = Executor(
        here.store, lambda: here.now, here.vault, spending=lambda owner, *_: known.get(owner, Spent())
    )
    return known


def last(here):
    return here.events(RunFired)[-1].outcome


def give(here, owner, routine, draft=TEN_A_DAY):
    match owner:
        case "routine":
            here.ask(routines.update, routine, RoutinePatch(budget=draft))
        case "agent":
            here.ask(agents.update, here.agent, AgentPatch(budget=draft))
        case "company":
            here.ask(companies.update, here.company, CompanyPatch(budget=draft))


@pytest.mark.parametrize("owner", ["routine", "agent", "company"])
def test_a_firing_beyond_a_budget_is_skipped_with_the_evidence(here, spent, owner):
    routine = here.routine()
    give(here, owner, routine)
    spent[owner] = Spent(micros=10_250_000, reached_at=here.now - HOUR)

    here.fire(routine)

    over = OverBudget(
        owner=owner,
        spent_micros=10_250_000,
        max_cost_micros=10_000_000,
        window_sec=86_400,
        frees_at=here.now - HOUR + DAY,
    )
    assert Skipped(reason="over_budget", budget=over) == last(here)


@pytest.mark.parametrize(("micros", "outcome"), [(0, Opened), (9_999_999, Opened), (10_000_000, Skipped)])
def test_a_budget_holds_from_its_last_millionth_on(here, spent, micros, outcome):
    routine = here.routine(budget=TEN_A_DAY)
    spent["routine"] = Spent(micros=micros, reached_at=here.now)

    here.fire(routine)

    assert isinstance(last(here), outcome)


def test_a_budget_of_nothing_lets_nothing_run_and_never_frees(here, spent):
    here.fire(here.routine(budget=BudgetDraft(max_cost_micros=0, window_sec=60)))

    assert last(here).budget.frees_at is None


def test_of_several_budgets_the_narrowest_is_named(here, spent):
    routine = here.routine()
    for owner in ("company", "routine"):
        give(here, owner, routine)
        spent[owner] = Spent(micros=20_000_000, reached_at=here.now)

    here.fire(routine)

    assert "routine" == last(here).budget.owner


def test_without_a_budget_nobody_asks_what_was_spent(here):
    here.executor = Executor(here.store, lambda: here.now, here.vault, spending=lambda *_: pytest.fail("it was asked"))

    here.fire(here.routine())

    assert isinstance(last(here), Opened)


def test_a_schedule_beyond_a_budget_goes_on_and_runs_when_it_frees(here, spent):
    routine = here.routine(budget=TEN_A_DAY)
    trigger = here.schedule(routine)
    spent["routine"] = Spent(micros=10_000_000, reached_at=here.now)
    here.passes(HOUR)
    here.carry_out(runs.fire_due, [here.due(trigger, here.now.replace(minute=0, second=0))])
    assert "over_budget" == last(here).reason

    spent.clear()
    here.passes(HOUR)
    here.carry_out(runs.fire_due, [here.due(trigger, here.now.replace(minute=0, second=0))])

    assert isinstance(last(here), Opened)


def test_beyond_a_budget_what_is_live_is_joined_and_nothing_is_cancelled(here, spent):
    joins, cancels = (
        here.routine(budget=TEN_A_DAY),
        here.routine(budget=TEN_A_DAY, concurrency_policy="cancel_previous"),
    )
    for routine in (joins, cancels):
        here.fire(routine)
    spent["routine"] = Spent(micros=10_000_000, reached_at=here.now)

    for routine in (joins, cancels):
        here.fire(routine)

    assert ["Coalesced", "Skipped"] == [type(event.outcome).__name__ for event in here.events(RunFired)[2:]]
    assert [] == here.events(RunFailed)


def test_whoever_calls_a_task_beyond_a_budget_hears_why_nothing_begins(here, spent):
    collection, _caller = here.collection()
    here.task_routine(here.task(collection))
    [routine] = here.ids(RoutineCreated)
    here.ask(routines.update, routine, RoutinePatch(budget=TEN_A_DAY))
    spent["routine"] = Spent(micros=10_000_000, reached_at=here.now)

    with pytest.raises(RuleViolation, match="the budget of the routine is used up"):
        here.fire(routine)


def test_a_restored_revision_has_its_budget(here, spent):
    routine = here.routine(budget=TEN_A_DAY)
    here.ask(routines.update, routine, RoutinePatch(budget=None))

    here.ask(revisions.restore, routine, revision_of(routine, 1))

    budget = here.state(ROUTINE, routine).settings.budget
    assert Budget(max_cost_micros=10_000_000, window_sec=86_400) == budget


def report(here, run, caller=None, **used):
    return here.ask(budgets.report, run, UsageReport(**used), caller=caller)


def test_a_later_report_replaces_what_it_mentions_and_a_repeated_one_records_nothing(here):
    run = here.fire(here.routine())
    report(here, run, cost_micros=1, input_tokens=10)
    report(here, run, cost_micros=3)
    report(here, run, cost_micros=3)

    state = here.state(RUN, run).report
    assert (3, 10, None) == (state.cost_micros, state.input_tokens, state.output_tokens)
    assert 2 == len(here.events(RunReported))


def test_usage_can_come_with_the_end_of_the_issue_and_after_it(here):
    run = here.fire(here.routine())
    done = IssuePatch(status="done", usage=UsageReport(cost_micros=5))
    here.ask(issues.update, issue_of_run(run), done, None)

    report(here, run, cost_micros=7)

    assert [(5, here.agent), (7, here.agent)] == [
        (event.cost_micros, event.agent_id) for event in here.events(RunReported)
    ]


def test_an_agent_reports_its_own_runs_only(here):
    run = here.fire(here.routine())
    rover = here.as_agent(here.another_agent())

    report(here, run, here.as_agent(), cost_micros=1)
    with pytest.raises(Forbidden, match="runs of their own"):
        report(here, run, rover, cost_micros=1)


def test_there_is_nothing_to_report_of_a_run_that_began_nothing_or_is_none(here):
    routine = here.routine()
    here.fire(routine)

    with pytest.raises(Conflict, match="began no work"):
        report(here, here.fire(routine), cost_micros=1)
    with pytest.raises(NotFound):
        report(here, uuid4(), cost_micros=1)
    with pytest.raises(InvalidField, match="usage is only for an issue that a run opened"):
        here.ask(issues.update, here.issue(), IssuePatch(usage=UsageReport(cost_micros=1)), None)
