from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE
from application.request_bodies.board import ProjectDraft
from application.request_bodies.issues import IssueDraft
from application.request_bodies.routines import RoutineDraft, RoutinePatch, VariableDraft
from application.use_cases import routines
from application.use_cases.board import agents, issues, projects
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.events import RoutineCreated, TriggerMissed, TriggerRescheduled
from domain.identity import FIRST_USER, revision_of
from tests.application.use_cases.installation import HOUR


def test_whoever_makes_a_routine_is_responsible_and_for_an_agents_whoever_made_its_parent_issue(app):
    app.routine()
    agent, parent = app.as_agent(), app.issue()
    draft = RoutineDraft(title="Own", assignee_agent_id=app.agent)
    app.ask(routines.create, app.company, draft, caller=agent)
    app.ask(
        routines.create,
        app.company,
        RoutineDraft(title="Child", assignee_agent_id=app.agent, parent_issue_id=parent),
        caller=agent,
    )

    assert [FIRST_USER, None, FIRST_USER] == [event.responsible_user_id for event in app.events(RoutineCreated)]


def test_what_a_routine_points_at_is_there_and_of_its_company(app):
    other = app.other_company()
    foreign = {
        "assignee_agent_id": app.another_agent(other),
        "project_id": app.ask(projects.create, other, ProjectDraft(name="Theirs")),
        "parent_issue_id": app.ask(issues.create, other, IssueDraft(title="Theirs")),
    }

    for field, id_ in foreign.items():
        with pytest.raises(RuleViolation, match="same company"):
            app.routine(**{field: id_})
        with pytest.raises(NotFound):
            app.routine(**{field: uuid4()})


def test_agents_keep_their_own_routines_and_assign_none_to_others(app):
    agent, rover = app.as_agent(), app.another_agent()
    routine = app.routine()

    app.ask(routines.update, routine, RoutinePatch(title="Mine"), caller=agent)
    with pytest.raises(Forbidden, match="only assign routines to themselves"):
        app.ask(routines.update, routine, RoutinePatch(assignee_agent_id=rover), caller=agent)
    with pytest.raises(Forbidden, match="assigned to themselves"):
        app.ask(routines.update, app.routine(assignee_agent_id=rover), RoutinePatch(title="Mine"), caller=agent)


def test_who_may_not_assign_pauses_and_edits_but_neither_resumes_nor_reassigns(app):
    clerk, routine = app.member(permissions=()), app.routine()

    app.ask(routines.update, routine, RoutinePatch(title="Edited", status="paused"), caller=clerk)
    for patch in (RoutinePatch(status="active"), RoutinePatch(assignee_agent_id=None)):
        with pytest.raises(Forbidden, match="tasks:assign"):
            app.ask(routines.update, routine, patch, caller=clerk)


def test_what_was_due_when_it_is_paused_is_missed_and_what_passes_meanwhile_is_not_made_up_for(app):
    routine = app.routine()
    app.schedule(routine)
    app.passes(2 * HOUR)

    app.ask(routines.update, routine, RoutinePatch(status="paused"))
    app.passes(2 * HOUR)
    app.ask(routines.update, routine, RoutinePatch(status="active"))

    assert [("paused", 2)] == [(event.reason, event.count) for event in app.events(TriggerMissed)]
    [rescheduled] = app.events(TriggerRescheduled)
    assert app.now < rescheduled.next_at <= app.now + HOUR


def test_an_edit_on_an_old_revision_is_a_conflict_that_names_the_newest(app):
    routine = app.routine()
    first = revision_of(routine, app.state(ROUTINE, routine).revision)
    app.ask(routines.update, routine, RoutinePatch(title="Second"))

    with pytest.raises(Conflict) as conflict:
        app.ask(routines.update, routine, RoutinePatch(title="Third", base_revision_id=first))

    newest = revision_of(routine, app.state(ROUTINE, routine).revision)
    assert {"currentRevisionId": str(newest)} == conflict.value.details
    app.ask(routines.update, routine, RoutinePatch(title="Third", base_revision_id=newest))


def test_without_an_agent_to_do_the_work_a_routine_is_paused_and_is_not_resumed(app):
    routine = app.routine()
    app.ask(routines.update, routine, RoutinePatch(assignee_agent_id=None))
    assert "paused" == app.state(ROUTINE, routine).settings.status
    with pytest.raises(RuleViolation, match="Default agent required"):
        app.ask(routines.update, routine, RoutinePatch(status="active"))

    app.ask(agents.terminate, app.agent)
    with pytest.raises(Conflict):
        app.ask(routines.update, routine, RoutinePatch(assignee_agent_id=app.agent, status="active"))


def test_a_schedule_fires_with_nobody_there_to_give_values(app):
    routine = app.routine()
    app.schedule(routine)

    with pytest.raises(RuleViolation, match="require defaults for required variables: who"):
        app.ask(routines.update, routine, RoutinePatch(title="For {{who}}"))


def test_variables_of_the_text_are_declared_by_it(app):
    routine = app.routine(title="For {{who}}", variables=(VariableDraft(name="who", default_value="all"),))
    app.ask(routines.update, routine, RoutinePatch(description="In {{city}}"))

    assert ["who", "city"] == [variable.name for variable in app.state(ROUTINE, routine).settings.variables]


def test_an_archived_routine_is_not_brought_back(app):
    routine = app.routine()
    app.ask(routines.update, routine, RoutinePatch(status="archived"))

    with pytest.raises(Conflict):
        app.ask(routines.update, routine, RoutinePatch(status="active"))


def test_its_webhooks_addresses_are_for_those_who_may_change_them(app):
    routine = app.routine()

    assert [True, False, True] == [
        app.ask(routines.may_read, routine, caller=who) for who in (None, app.member("viewer"), app.as_agent())
    ]
    with pytest.raises(NotFound):
        app.ask(routines.may_read, routine, caller=app.member("owner", app.other_company()))
    with pytest.raises(Forbidden):
        app.ask(routines.may_work, app.company, caller=app.member("viewer"))
