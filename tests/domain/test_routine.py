"""Lifecycle of a routine: contract 3.2, 3.4, 3.5, 3.6."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import routine
from domain.errors import Conflict, ImpossibleHistory, Unacceptable
from domain.events import (
    RoutineCreated,
    RoutineTriggerAdded,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
    RoutineUpdated,
)
from domain.values import RoutineSettings, Variable
from tests.given import given

AGENT = UUID(int=1)
TRIGGER = UUID(int=2)
ACTIVE = RoutineSettings(title="Check the inbox", assignee_agent_id=AGENT)
PAUSED = replace(ACTIVE, status="paused")
ARCHIVED = replace(ACTIVE, status="archived")
CREATED = RoutineCreated(settings=ACTIVE)
ADDED = RoutineTriggerAdded(trigger_id=TRIGGER, kind="schedule")


def test_a_routine_with_an_assignee_is_created_as_asked():
    assert [RoutineCreated(settings=ACTIVE)] == routine.create(ACTIVE)


def test_a_routine_without_assignee_is_stored_paused():
    nobody = RoutineSettings(title="Check the inbox")

    assert [RoutineCreated(settings=replace(nobody, status="paused"))] == routine.create(nobody)


def test_a_routine_may_be_created_archived_also_without_assignee():
    archived = RoutineSettings(title="Check the inbox", status="archived")

    assert [RoutineCreated(settings=archived)] == routine.create(archived)


def test_clearing_the_assignee_of_an_active_routine_pauses_it():
    active = given(routine.evolve, CREATED)

    events = routine.update(active, replace(ACTIVE, assignee_agent_id=None))

    assert [RoutineUpdated(settings=replace(PAUSED, assignee_agent_id=None))] == events


def test_activating_without_assignee_is_refused():
    paused = given(routine.evolve, *routine.create(RoutineSettings(title="Nobody's")))

    with pytest.raises(Unacceptable, match="Default agent required"):
        routine.update(paused, replace(paused.settings, status="active"))


def test_activating_together_with_an_assignee_is_fine():
    paused = given(routine.evolve, *routine.create(RoutineSettings(title="Nobody's")))
    wanted = replace(paused.settings, status="active", assignee_agent_id=AGENT)

    assert [RoutineUpdated(settings=wanted)] == routine.update(paused, wanted)


def test_an_update_that_changes_nothing_is_no_revision():
    assert [] == routine.update(given(routine.evolve, CREATED), ACTIVE)


@pytest.mark.parametrize("old", [ACTIVE, PAUSED])
def test_active_and_paused_routines_may_be_archived(old):
    found = given(routine.evolve, RoutineCreated(settings=old))

    assert [RoutineUpdated(settings=ARCHIVED)] == routine.update(found, ARCHIVED)


@pytest.mark.parametrize("status", ["active", "paused"])
def test_archived_is_terminal(status):
    archived = given(routine.evolve, CREATED, RoutineUpdated(settings=ARCHIVED))

    with pytest.raises(Conflict, match="Routine is archived"):
        routine.update(archived, replace(ARCHIVED, status=status))


def test_the_title_of_an_archived_routine_may_still_be_edited():
    archived = given(routine.evolve, CREATED, RoutineUpdated(settings=ARCHIVED))
    renamed = replace(ARCHIVED, title="Was: check the inbox")

    assert [RoutineUpdated(settings=renamed)] == routine.update(archived, renamed)


def test_nothing_fires_an_archived_routine():
    archived = given(routine.evolve, CREATED, RoutineUpdated(settings=ARCHIVED))

    with pytest.raises(Conflict, match="Routine is archived"):
        routine.must_not_be_archived(archived)


@pytest.mark.parametrize("settings", [ACTIVE, PAUSED])
def test_active_and_paused_routines_may_be_fired_by_hand(settings):
    routine.must_not_be_archived(given(routine.evolve, RoutineCreated(settings=settings)))


def test_every_fact_is_one_revision():
    changed = RoutineTriggerChanged(trigger_id=TRIGGER, kind="schedule")
    removed = RoutineTriggerRemoved(trigger_id=TRIGGER, kind="schedule")

    found = given(routine.evolve, CREATED, ADDED, changed, RoutineUpdated(settings=PAUSED), removed)

    assert found.revision == 5


def test_a_routine_knows_the_triggers_it_has_left():
    other = RoutineTriggerAdded(trigger_id=UUID(int=3), kind="api")
    removed = RoutineTriggerRemoved(trigger_id=TRIGGER, kind="schedule")

    assert given(routine.evolve, CREATED, ADDED, other).triggers == {TRIGGER: "schedule", UUID(int=3): "api"}
    assert given(routine.evolve, CREATED, ADDED, other, removed).triggers == {UUID(int=3): "api"}


def test_a_required_variable_without_default_forbids_a_schedule():
    named = [Variable(name="a"), Variable(name="b", default_value="x"), Variable(name="c"), Variable(name="d")]
    settings = replace(ACTIVE, variables=(*named[:3], replace(named[3], required=False)))

    with pytest.raises(Unacceptable, match=r"Scheduled routines require defaults for required variables: a, c$"):
        routine.must_be_schedulable(settings)


@pytest.mark.parametrize("value", [False, 0, ""])
def test_a_default_that_is_false_is_a_default(value):
    routine.must_be_schedulable(replace(ACTIVE, variables=(Variable(name="a", default_value=value),)))


@pytest.mark.parametrize(("before", "event"), [([], ADDED), ([CREATED], CREATED)])
def test_a_contradiction_in_the_log_stops_loudly(before, event):
    with pytest.raises(ImpossibleHistory):
        given(routine.evolve, *before, event)
