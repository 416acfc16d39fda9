from uuid import uuid4

import pytest

from application.request_bodies.routines import RoutinePatch
from application.request_bodies.triggers import TriggerPatch
from application.use_cases import change_history, routines, triggers
from domain.errors import Forbidden, NotFound
from domain.events import RoutineCreated, RoutineUpdated, TriggerCreated, TriggerDeleted, TriggerUpdated


def kinds(history):
    return [type(recorded.event) for recorded in history]


def test_a_routine_has_all_its_changes(app):
    routine = app.routine()
    app.ask(routines.update, routine, RoutinePatch(title="Other"))

    assert [RoutineCreated, RoutineUpdated] == kinds(app.ask(change_history.of_routine, routine))


def test_a_trigger_has_all_its_changes_when_it_is_deleted_too(app):
    trigger = app.schedule(app.routine())
    app.ask(triggers.update, trigger, TriggerPatch(cron_expression="5 * * * *"))
    app.ask(triggers.delete, trigger)

    history = kinds(app.ask(change_history.of_trigger, trigger))

    assert [TriggerCreated, TriggerUpdated, TriggerDeleted] == history


def test_they_are_for_those_who_see_the_revisions(app):
    routine = app.routine()
    trigger = app.schedule(routine)
    for caller in (app.member("viewer"), app.member("auditor"), app.as_agent()):
        assert app.ask(change_history.of_routine, routine, caller=caller)
        assert app.ask(change_history.of_trigger, trigger, caller=caller)

    other = app.as_agent(app.another_agent())
    with pytest.raises(Forbidden):
        app.ask(change_history.of_trigger, trigger, caller=other)
    stranger = app.member("owner", app.other_company())
    for ask, id_ in ((change_history.of_routine, routine), (change_history.of_trigger, trigger)):
        with pytest.raises(NotFound):
            app.ask(ask, id_, caller=stranger)
        with pytest.raises(NotFound):
            app.ask(ask, uuid4())
