from uuid import uuid4

import pytest

from application.request_bodies.routines import RoutinePatch
from application.request_bodies.triggers import TriggerPatch
from application.use_cases import change_history, routines, triggers
from domain.errors import Forbidden, NotFound
from domain.events import RoutineCreated, RoutineUpdated, TriggerCreated, TriggerDeleted, TriggerUpdated


def kinds(history):
    return [type(recorded.event) for recorded in history]


def test_a_routine_has_all_its_changes(here):
    routine = here.routine()
    here.ask(routines.update, routine, RoutinePatch(title="Other"))

    assert [RoutineCreated, RoutineUpdated] == kinds(here.ask(change_history.of_routine, routine))


def test_a_trigger_has_all_its_changes_when_it_is_deleted_too(here):
    trigger = here.schedule(here.routine())
    here.ask(triggers.update, trigger, TriggerPatch(cron_expression="5 * * * *"))
    here.ask(triggers.delete, trigger)

    history = kinds(here.ask(change_history.of_trigger, trigger))

    assert [TriggerCreated, TriggerUpdated, TriggerDeleted] == history


def test_they_are_for_those_who_see_the_revisions(here):
    routine = here.routine()
    trigger = here.schedule(routine)
    for caller in (here.member("viewer"), here.member("auditor"), here.as_agent()):
        assert here.ask(change_history.of_routine, routine, caller=caller)
        assert here.ask(change_history.of_trigger, trigger, caller=caller)

    other = here.as_agent(here.another_agent())
    with pytest.raises(Forbidden):
        here.ask(change_history.of_trigger, trigger, caller=other)
    stranger = here.member("owner", here.other_company())
    for ask, id_ in ((change_history.of_routine, routine), (change_history.of_trigger, trigger)):
        with pytest.raises(NotFound):
            here.ask(ask, id_, caller=stranger)
        with pytest.raises(NotFound):
            here.ask(ask, uuid4())
