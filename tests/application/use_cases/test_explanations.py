import pytest

from application.request_bodies.board import ProjectDraft
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RetryPolicyDraft, RoutinePatch
from application.use_cases import explanations, routines, schedule_firing, zone_data
from application.use_cases.board import agents, issues, projects
from domain.errors import InvalidField, NotFound
from domain.events import TriggerRescheduled
from domain.identity import issue_of_run, run_of_occurrence
from domain.schedule import zones
from tests.application.use_cases.installation import HOUR, Installation


@pytest.fixture
def routine(app):
    return app.routine()


@pytest.fixture
def trigger(app, routine):
    return app.schedule(routine)


def next_hour(app):
    return app.now.replace(minute=0, second=0) + HOUR


def test_an_occurrence_that_ran_one_that_was_missed_and_one_to_come_are_told_apart(app, routine, trigger):
    first = next_hour(app)
    app.passes(HOUR)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, first)])
    app.passes(2 * HOUR)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, first + HOUR)])
    app.ask(routines.update, routine, RoutinePatch(status="paused"))

    moments = [first, first + HOUR, first + 9 * HOUR]
    explained = [app.ask(explanations.explain, routine, at)[0] for at in moments]
    assert ["ran", "missed", "routine_paused"] == [account.verdict for account, _ in explained]
    assert "the routine was paused by Board" in explained[-1][1]


def test_what_waits_while_the_routine_is_paused_is_not_missed_yet(app, routine, trigger):
    app.passes(HOUR)
    app.ask(routines.update, routine, RoutinePatch(status="paused"))
    [(paused, text)] = app.ask(explanations.explain, routine, next_hour(app) - HOUR)
    app.ask(routines.update, routine, RoutinePatch(status="active"))
    [(resumed, _)] = app.ask(explanations.explain, routine, next_hour(app) - HOUR)

    assert ("routine_paused", "being_settled") == (paused.verdict, resumed.verdict)
    assert "did not run: the routine was paused by Board" in text


def test_who_paused_the_agent_is_named_where_it_will_be_in_the_way(app, routine, trigger):
    app.ask(agents.pause, app.agent, "holiday")

    [(account, text)] = app.ask(explanations.explain, routine, next_hour(app))

    assert "planned" == account.verdict
    assert "Board" in text


def test_a_moment_that_was_planned_by_other_rules_of_the_zone_is_explained_by_these(app, routine):
    trigger = app.schedule(routine, "0 9 * * *", timezone="America/Vancouver")
    nine = next_hour(app).replace(hour=17)
    app.carry_out(lambda work: work.record(trigger, [TriggerRescheduled(next_at=nine + HOUR)]))
    app.carry_out(zone_data.replan, [app.due(trigger, nine + HOUR)])

    [(account, text)] = app.ask(explanations.explain, routine, nine + HOUR)

    assert "not_an_occurrence" == account.verdict
    assert "replanned" in account.facts
    assert f"it is planned by the zone data {zones.data().version}, by which the clocks of America" in text


def test_a_paused_project_is_in_the_way_too(app):
    project = app.ask(projects.create, app.company, ProjectDraft(name="Moon"))
    routine = app.routine(project_id=project)
    app.schedule(routine)
    app.ask(projects.pause, project)

    [(account, _)] = app.ask(explanations.explain, routine, next_hour(app))

    assert "ProjectPaused" == type(account.obstacle.event).__name__


def test_a_trigger_of_another_routine_is_not_found_and_too_many_schedules_are_asked_about_one_by_one():
    app = Installation(max_explained_schedules=1)
    routine = app.routine()
    first, _ = app.schedule(routine), app.schedule(routine)

    with pytest.raises(InvalidField, match="ask about one of its triggers"):
        app.ask(explanations.explain, routine, app.now)
    assert 1 == len(app.ask(explanations.explain, routine, app.now, first))
    with pytest.raises(NotFound):
        app.ask(explanations.explain, app.routine(), app.now, first)


def test_a_run_that_is_tried_again_says_so_and_after_how_many_attempts_it_ended(app):
    routine = app.routine(retry_policy=RetryPolicyDraft(max_attempts=2, backoff_seconds=60))
    trigger, agent = app.schedule(routine), app.as_agent()
    first = next_hour(app)
    app.passes(HOUR)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, first)])
    issue = issue_of_run(run_of_occurrence(trigger, first))
    failed = IssuePatch(status="cancelled", failure_reason="exit status 3")

    answers = []
    for patch, caller in [(failed, agent), (IssuePatch(status="todo"), app.admin), (failed, agent)]:
        app.ask(issues.update, issue, patch, None, caller=caller)
        answers.append(app.ask(explanations.explain, routine, first)[0])

    assert ["ran"] * 3 == [explanation.verdict for explanation, _ in answers]
    waits, goes_on, ended = (text for _, text in answers)
    assert "attempt 1 failed, and the next one begins on" in waits
    assert "attempt 2 is under way" in goes_on
    assert "cancelled after 2 attempts" in ended
