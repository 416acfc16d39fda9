from application.event_store.stream_kinds import RUN
from application.request_bodies.board import ProjectDraft
from application.request_bodies.routines import RoutinePatch, VariableDraft
from application.use_cases import routines, schedule_firing
from application.use_cases.board import agents, projects
from domain.events import (
    AgentCreated,
    RunFired,
    TriggerMissed,
)
from domain.identity import run_of_occurrence
from domain.routines.firing import NOT_INVOKABLE, PROJECT_PAUSED
from domain.values import Failed, Opened
from tests.application.use_cases.installation import HOUR, MINUTE


def outcomes(app):
    return [event.outcome for event in app.events(RunFired)]


def hour(app):
    return app.now.replace(minute=0, second=0)


def test_an_occurrence_is_settled_once_whoever_comes_second(app):
    trigger = app.schedule(app.routine())
    app.passes(HOUR)
    row = app.due(trigger, hour(app))

    assert [1, 0] == [app.carry_out(schedule_firing.fire_due, [row]) for _ in range(2)]
    assert app.state(RUN, run_of_occurrence(trigger, hour(app))) is not None


def test_what_is_too_late_is_missed_and_one_event_says_so(app):
    trigger = app.schedule(app.routine())
    first = hour(app) + HOUR
    app.passes(4 * HOUR)

    app.carry_out(schedule_firing.fire_due, [app.due(trigger, first)])

    assert [3] == [event.count for event in app.events(TriggerMissed)]
    assert 1 == len(app.events(RunFired))


def test_nothing_fires_while_the_routine_is_paused_and_what_waited_is_missed_when_it_is_archived(app):
    routine = app.routine()
    trigger = app.schedule(routine)
    app.passes(HOUR)
    row = app.due(trigger, hour(app))
    app.ask(routines.update, routine, RoutinePatch(status="paused"))

    assert 0 == app.carry_out(schedule_firing.fire_due, [row])
    app.ask(routines.update, routine, RoutinePatch(status="archived"))

    assert [] == outcomes(app)
    assert ["archived"] == [event.reason for event in app.events(TriggerMissed)]


def test_a_scheduled_run_that_cannot_open_an_issue_says_why(app):
    project = app.ask(projects.create, app.company, ProjectDraft(name="Moon"))
    paused, asleep = app.routine(project_id=project), app.routine(assignee_agent_id=app.another_agent())
    vague = app.routine(title="For {{who}}", variables=(VariableDraft(name="who", default_value="all"),))
    rows = [app.schedule(routine) for routine in (paused, asleep, vague)]
    app.ask(projects.pause, project)
    app.ask(agents.pause, app.ids(AgentCreated)[-1], "holiday")
    app.passes(HOUR)

    app.carry_out(schedule_firing.fire_due, [app.due(trigger, hour(app)) for trigger in rows])

    assert [PROJECT_PAUSED, Failed(reason=NOT_INVOKABLE), Opened] == [
        outcome if not isinstance(outcome, Opened) else Opened for outcome in outcomes(app)
    ]


def test_what_cannot_be_carried_out_is_recorded_as_failed_and_the_schedule_goes_on(app):
    trigger = app.schedule(app.routine())
    app.passes(HOUR)
    row = app.due(trigger, hour(app))

    assert [1, 0] == [app.carry_out(schedule_firing.fail_due, [row], "it breaks") for _ in range(2)]

    [fired] = app.events(RunFired)
    assert fired.outcome == Failed(reason="The occurrence could not be carried out: it breaks")
    assert hour(app) + HOUR == fired.next_at
    assert app.now - fired.occurrence < MINUTE
