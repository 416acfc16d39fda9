from datetime import timedelta
from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE, RUN
from application.execute import Executor
from application.request_bodies.board import AgentPatch, CompanyPatch
from application.request_bodies.budgets import BudgetDraft, UsageReport
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RoutinePatch
from application.use_cases import budgets, revisions, routines, schedule_firing
from application.use_cases.board import agents, companies, issues
from domain.errors import Conflict, Forbidden, InvalidField, NotFound, RuleViolation
from domain.events import RoutineCreated, RunFailed, RunFired, RunReported
from domain.identity import issue_of_run, revision_of
from domain.routines.budget import WindowSpending
from domain.values import Budget, Opened, OverBudget, Skipped
from tests.application.use_cases.installation import HOUR

TEN_A_DAY = BudgetDraft(max_cost_micros=10_000_000, window_sec=86_400)
DAY = timedelta(days=1)


@pytest.fixture
def spent_by_owner(app):
    """What was spent, by owner: `spent["routine"] = ...` is what the read model would say."""
    values = {}
    app.executor = Executor(
        app.store, lambda: app.now, app.vault, spending=lambda owner, *_: values.get(owner, WindowSpending())
    )
    return values


def last(app):
    return app.events(RunFired)[-1].outcome


def give(app, owner, routine, draft=TEN_A_DAY):
    match owner:
        case "routine":
            app.ask(routines.update, routine, RoutinePatch(budget=draft))
        case "agent":
            app.ask(agents.update, app.agent, AgentPatch(budget=draft))
        case "company":
            app.ask(companies.update, app.company, CompanyPatch(budget=draft))


@pytest.mark.parametrize("owner", ["routine", "agent", "company"])
def test_a_firing_beyond_a_budget_is_skipped_with_the_evidence(app, spent_by_owner, owner):
    routine = app.routine()
    give(app, owner, routine)
    spent_by_owner[owner] = WindowSpending(micros=10_250_000, reached_at=app.now - HOUR)

    app.fire(routine)

    over = OverBudget(
        owner=owner,
        spent_micros=10_250_000,
        max_cost_micros=10_000_000,
        window_sec=86_400,
        frees_at=app.now - HOUR + DAY,
    )
    assert Skipped(reason="over_budget", budget=over) == last(app)


@pytest.mark.parametrize(("micros", "outcome"), [(0, Opened), (9_999_999, Opened), (10_000_000, Skipped)])
def test_a_budget_holds_from_its_last_millionth_on(app, spent_by_owner, micros, outcome):
    routine = app.routine(budget=TEN_A_DAY)
    spent_by_owner["routine"] = WindowSpending(micros=micros, reached_at=app.now)

    app.fire(routine)

    assert isinstance(last(app), outcome)


def test_a_budget_of_nothing_lets_nothing_run_and_never_frees(app, spent_by_owner):
    app.fire(app.routine(budget=BudgetDraft(max_cost_micros=0, window_sec=60)))

    assert last(app).budget.frees_at is None


def test_of_several_budgets_the_narrowest_is_named(app, spent_by_owner):
    routine = app.routine()
    for owner in ("company", "routine"):
        give(app, owner, routine)
        spent_by_owner[owner] = WindowSpending(micros=20_000_000, reached_at=app.now)

    app.fire(routine)

    assert "routine" == last(app).budget.owner


def test_without_a_budget_nobody_asks_what_was_spent(app):
    app.executor = Executor(app.store, lambda: app.now, app.vault, spending=lambda *_: pytest.fail("it was asked"))

    app.fire(app.routine())

    assert isinstance(last(app), Opened)


def test_a_schedule_beyond_a_budget_goes_on_and_runs_when_it_frees(app, spent_by_owner):
    routine = app.routine(budget=TEN_A_DAY)
    trigger = app.schedule(routine)
    spent_by_owner["routine"] = WindowSpending(micros=10_000_000, reached_at=app.now)
    app.passes(HOUR)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, app.now.replace(minute=0, second=0))])
    assert "over_budget" == last(app).reason

    spent_by_owner.clear()
    app.passes(HOUR)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, app.now.replace(minute=0, second=0))])

    assert isinstance(last(app), Opened)


def test_beyond_a_budget_what_is_live_is_joined_and_nothing_is_cancelled(app, spent_by_owner):
    joins, cancels = (
        app.routine(budget=TEN_A_DAY),
        app.routine(budget=TEN_A_DAY, concurrency_policy="cancel_previous"),
    )
    for routine in (joins, cancels):
        app.fire(routine)
    spent_by_owner["routine"] = WindowSpending(micros=10_000_000, reached_at=app.now)

    for routine in (joins, cancels):
        app.fire(routine)

    assert ["Coalesced", "Skipped"] == [type(event.outcome).__name__ for event in app.events(RunFired)[2:]]
    assert [] == app.events(RunFailed)


def test_whoever_calls_a_task_beyond_a_budget_hears_why_nothing_begins(app, spent_by_owner):
    collection, _caller = app.collection()
    app.task_routine(app.task(collection))
    [routine] = app.ids(RoutineCreated)
    app.ask(routines.update, routine, RoutinePatch(budget=TEN_A_DAY))
    spent_by_owner["routine"] = WindowSpending(micros=10_000_000, reached_at=app.now)

    with pytest.raises(RuleViolation, match="the budget of the routine is used up"):
        app.fire(routine)


def test_a_restored_revision_has_its_budget(app, spent_by_owner):
    routine = app.routine(budget=TEN_A_DAY)
    app.ask(routines.update, routine, RoutinePatch(budget=None))

    app.ask(revisions.restore, routine, revision_of(routine, 1))

    budget = app.state(ROUTINE, routine).settings.budget
    assert Budget(max_cost_micros=10_000_000, window_sec=86_400) == budget


def report(app, run, caller=None, **used):
    return app.ask(budgets.report, run, UsageReport(**used), caller=caller)


def test_a_later_report_replaces_what_it_mentions_and_a_repeated_one_records_nothing(app):
    run = app.fire(app.routine())
    report(app, run, cost_micros=1, input_tokens=10)
    report(app, run, cost_micros=3)
    report(app, run, cost_micros=3)

    state = app.state(RUN, run).report
    assert (3, 10, None) == (state.cost_micros, state.input_tokens, state.output_tokens)
    assert 2 == len(app.events(RunReported))


def test_usage_can_come_with_the_end_of_the_issue_and_after_it(app):
    run = app.fire(app.routine())
    patch = IssuePatch(status="done", usage=UsageReport(cost_micros=5))
    app.ask(issues.update, issue_of_run(run), patch, None)

    report(app, run, cost_micros=7)

    assert [(5, app.agent), (7, app.agent)] == [
        (event.cost_micros, event.agent_id) for event in app.events(RunReported)
    ]


def test_an_agent_reports_its_own_runs_only(app):
    run = app.fire(app.routine())
    rover = app.as_agent(app.another_agent())

    report(app, run, app.as_agent(), cost_micros=1)
    with pytest.raises(Forbidden, match="runs of their own"):
        report(app, run, rover, cost_micros=1)


def test_there_is_nothing_to_report_of_a_run_that_began_nothing_or_is_none(app):
    routine = app.routine()
    app.fire(routine)

    with pytest.raises(Conflict, match="began no work"):
        report(app, app.fire(routine), cost_micros=1)
    with pytest.raises(NotFound):
        report(app, uuid4(), cost_micros=1)
    with pytest.raises(InvalidField, match="usage is only for an issue that a run opened"):
        app.ask(issues.update, app.issue(), IssuePatch(usage=UsageReport(cost_micros=1)), None)
