"""Lifecycle of a routine: contract 3.2, 3.4, 3.5, 3.6."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.errors import Conflict, ImpossibleHistory, RuleViolation
from domain.events import (
    RoutineCreated,
    RoutineRestored,
    RoutineSecretRotated,
    RoutineTriggerAdded,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
    RoutineUpdated,
)
from domain.routines import routine
from domain.values import RoutineSettings, TriggerSettings, TriggerState, Variable
from tests.given import given

AGENT = UUID(int=1)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TRIGGER = UUID(int=2)
ACTIVE = RoutineSettings(title="Check the inbox", assignee_agent_id=AGENT)
PAUSED = replace(ACTIVE, status="paused")
ARCHIVED = replace(ACTIVE, status="archived")
CREATED = RoutineCreated(settings=ACTIVE)
HOURLY = TriggerState(kind="schedule", settings=TriggerSettings(cron_expression="0 * * * *", timezone="UTC"))
BY_CODE = TriggerState(kind="api")
ADDED = RoutineTriggerAdded(trigger_id=TRIGGER, kind="schedule", state=HOURLY)


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

    with pytest.raises(RuleViolation, match="Default agent required"):
        routine.update(paused, replace(paused.settings, status="active"))


def test_activating_together_with_an_assignee_is_fine():
    paused = given(routine.evolve, *routine.create(RoutineSettings(title="Nobody's")))
    settings = replace(paused.settings, status="active", assignee_agent_id=AGENT)

    assert [RoutineUpdated(settings=settings)] == routine.update(paused, settings)


def test_an_update_that_changes_nothing_is_no_revision():
    assert [] == routine.update(given(routine.evolve, CREATED), ACTIVE)


@pytest.mark.parametrize("old", [ACTIVE, PAUSED])
def test_active_and_paused_routines_may_be_archived(old):
    state = given(routine.evolve, RoutineCreated(settings=old))

    assert [RoutineUpdated(settings=ARCHIVED)] == routine.update(state, ARCHIVED)


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
    event = RoutineTriggerChanged(trigger_id=TRIGGER, kind="schedule", state=HOURLY)
    rotated = RoutineSecretRotated(trigger_id=TRIGGER)
    removed = RoutineTriggerRemoved(trigger_id=TRIGGER, kind="schedule")
    restored = RoutineRestored(from_revision=1, settings=ACTIVE, triggers={})

    state = given(routine.evolve, CREATED, ADDED, event, RoutineUpdated(settings=PAUSED), rotated, removed, restored)

    assert state.revision == 7


def test_a_routine_knows_the_triggers_it_has_left():
    other = RoutineTriggerAdded(trigger_id=UUID(int=3), kind="api", state=BY_CODE)
    event = RoutineTriggerRemoved(trigger_id=TRIGGER, kind="schedule")

    assert given(routine.evolve, CREATED, ADDED, other).triggers == {TRIGGER: HOURLY, UUID(int=3): BY_CODE}
    assert given(routine.evolve, CREATED, ADDED, other, event).triggers == {UUID(int=3): BY_CODE}


def test_a_routine_knows_how_its_triggers_are_set_the_oldest_first():
    other = RoutineTriggerAdded(trigger_id=UUID(int=1), kind="api", state=BY_CODE)
    daily = replace(HOURLY, settings=replace(HOURLY.settings, cron_expression="0 9 * * *"))
    event = RoutineTriggerChanged(trigger_id=TRIGGER, kind="schedule", state=daily)
    rotated = RoutineSecretRotated(trigger_id=TRIGGER)

    state = given(routine.evolve, CREATED, ADDED, other, event, rotated)

    assert list(state.triggers.items()) == [(TRIGGER, daily), (UUID(int=1), BY_CODE)]


def test_a_trigger_that_was_recorded_without_its_settings_counts_as_enabled():
    bare = RoutineTriggerAdded(trigger_id=TRIGGER, kind="schedule")
    event = RoutineTriggerChanged(trigger_id=TRIGGER, kind="schedule")

    state = given(routine.evolve, CREATED, bare, event)

    assert state.triggers == {TRIGGER: TriggerState(kind="schedule")}
    assert routine.has_enabled_schedule(state)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (HOURLY, True),
        (replace(HOURLY, settings=replace(HOURLY.settings, enabled=False)), False),
        (BY_CODE, False),
        (TriggerState(kind="webhook"), False),
    ],
)
def test_only_a_schedule_that_is_enabled_fires_with_nobody_there(state, expected):
    event = RoutineTriggerAdded(trigger_id=TRIGGER, kind=state.kind, state=state)

    assert routine.has_enabled_schedule(given(routine.evolve, CREATED, event)) is expected


def test_an_earlier_revision_is_the_fold_up_to_it_and_its_restoring_one_more():
    facts = [CREATED, ADDED, RoutineUpdated(settings=replace(PAUSED, title="New"))]
    current, earlier = given(routine.evolve, *facts), given(routine.evolve, *facts[:2])

    events = routine.restore(current, earlier, earlier.triggers, NOW)

    assert events == [RoutineRestored(from_revision=2, settings=ACTIVE, triggers={TRIGGER: HOURLY})]
    assert given(routine.evolve, *facts, *events) == replace(earlier, revision=4)


def test_a_restored_pause_that_should_have_ended_by_now_has_no_end():
    over, ahead = (replace(PAUSED, resume_at=NOW + timedelta(minutes=minutes)) for minutes in (0, 1))
    current = given(routine.evolve, CREATED)

    restored = [routine.restore(current, replace(current, settings=pause), {}, NOW)[0] for pause in (over, ahead)]

    assert [event.settings for event in restored] == [PAUSED, ahead]


def test_whoever_answers_for_a_routine_does_so_whatever_happens_to_it():
    user = UUID(int=9)
    (created,) = routine.create(ACTIVE, user)
    later = [ADDED, RoutineUpdated(settings=PAUSED), RoutineRestored(from_revision=1, settings=ACTIVE, triggers={})]

    assert created == RoutineCreated(settings=ACTIVE, responsible_user_id=user)
    assert given(routine.evolve, created, *later).responsible_user_id == user


def test_an_archived_routine_cannot_be_restored():
    facts = [CREATED, RoutineUpdated(settings=ARCHIVED)]

    with pytest.raises(Conflict, match="Routine is archived"):
        routine.restore(given(routine.evolve, *facts), given(routine.evolve, CREATED), {}, NOW)


# Variables: contract 2.1


def names(settings):
    return [variable.name for variable in settings.variables]


def test_what_title_and_description_name_is_declared_with_the_routine():
    draft = replace(ACTIVE, title="{{b}} of {{ startDate }}", description="{{a}} {{b}} {{date}}", variables=())

    (created,) = routine.create(draft)

    assert created.settings.variables == (
        Variable(name="b"),
        Variable(name="startDate", type="date"),
        Variable(name="a"),
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"title": "{{b}} {{a}}"}, ["b", "a", "spare"]),
        ({"description": "{{new}}"}, ["a", "new", "spare"]),
        ({"variables": ()}, ["a"]),
        ({"priority": "low"}, ["a", "spare"]),
    ],
)
def test_an_edit_of_title_description_or_variables_declares_what_is_missing(change, expected):
    declared = replace(ACTIVE, title="{{a}}", variables=(Variable(name="spare"),))
    state = given(routine.evolve, *routine.create(declared))

    (updated,) = routine.update(state, replace(state.settings, **change))

    assert names(updated.settings) == expected


def test_a_variable_that_only_the_text_declared_goes_with_it_and_one_that_was_described_stays():
    described = Variable(name="b", label="The second")
    declared = replace(ACTIVE, title="{{a}} {{b}}", variables=(described, Variable(name="spare")))
    state = given(routine.evolve, *routine.create(declared))

    (updated,) = routine.update(state, replace(state.settings, title="none"))
    (both,) = routine.update(state, replace(state.settings, title="none", variables=(Variable(name="a"),)))

    assert names(state.settings) == ["a", "b", "spare"]
    assert names(updated.settings) == ["b", "spare"]
    assert names(both.settings) == ["a"]


def test_a_routine_has_so_many_variables_and_no_more():
    many = " ".join(f"{{{{v{number}}}}}" for number in range(routine.MOST_VARIABLES))

    assert routine.create(replace(ACTIVE, description=many))
    with pytest.raises(RuleViolation, match="A routine can have at most 200 variables"):
        routine.create(replace(ACTIVE, title="{{one_more}}", description=many))


def test_an_edit_that_comes_out_the_same_once_the_variables_are_declared_is_no_revision():
    state = given(routine.evolve, *routine.create(replace(ACTIVE, title="{{a}}")))

    assert [] == routine.update(state, replace(state.settings, variables=()))


def test_a_required_variable_without_default_forbids_a_schedule():
    declared = [Variable(name="a"), Variable(name="b", default_value="x"), Variable(name="c"), Variable(name="d")]
    settings = replace(ACTIVE, variables=(*declared[:3], replace(declared[3], required=False)))

    with pytest.raises(RuleViolation, match=r"Scheduled routines require defaults for required variables: a, c$"):
        routine.must_be_schedulable(settings)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_blank_default_is_none(value):
    """Contract 2.3: blank text counts as missing."""
    with pytest.raises(RuleViolation, match=r"required variables: a$"):
        routine.must_be_schedulable(replace(ACTIVE, variables=(Variable(name="a", default_value=value),)))


@pytest.mark.parametrize("value", [False, 0, "0"])
def test_a_default_that_is_false_is_a_default(value):
    routine.must_be_schedulable(replace(ACTIVE, variables=(Variable(name="a", default_value=value),)))


@pytest.mark.parametrize(("history", "event"), [([], ADDED), ([CREATED], CREATED)])
def test_a_contradiction_in_the_log_stops_loudly(history, event):
    with pytest.raises(ImpossibleHistory):
        given(routine.evolve, *history, event)
