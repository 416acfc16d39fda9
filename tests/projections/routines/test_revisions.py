"""Revisions, as clients read them: contract 3.6. Over HTTP: tests/web/paperclip/revisions/test_revisions.py."""

import tracemalloc
from uuid import uuid4

import pytest
from msgspec.structs import asdict, replace

from application.request_bodies.routines import VariableDraft
from application.request_bodies.triggers import TriggerPatch
from application.use_cases import triggers
from domain.events import RoutineTriggerAdded
from domain.identity import FIRST_USER, revision_of
from domain.routines import routine as routines
from domain.values import Variable
from projections.responses import time
from projections.routines import revisions
from tests.given import given
from tests.projections.story import HOUR, MINUTE, START


@pytest.fixture
def routine(story):
    acme = story.company()
    return story.routine(acme, story.agent(acme))


def page(story, routine_id):
    return revisions.page(history(story, routine_id))


def history(story, routine_id):
    return story.store.load([routine_id])[routine_id]


def test_a_new_routine_is_its_first_revision(story, routine):
    (first,) = page(story, routine)

    assert (first.id, first.routine_id, first.revision_number) == (revision_of(routine, 1), routine, 1)
    assert (first.title, first.change_summary, first.created_at) == ("Check", "Created routine", time(START))
    assert (first.created_by_user_id, first.created_by_agent_id) == (str(FIRST_USER), None)
    assert (first.snapshot.version, first.snapshot.routine.id, first.snapshot.triggers) == (1, routine, [])


def test_each_revision_is_the_fold_of_its_stream_up_to_there(story, routine):
    hourly, door = story.schedule(routine), story.webhook(routine, label="door")
    story.passes(MINUTE)
    story.change(routine, title="{{who}}", variables=(VariableDraft(name="who", default_value="all"),))
    story.ask(triggers.update, hourly, TriggerPatch(enabled=False))
    story.rotate(door.trigger_id)
    story.ask(triggers.delete, hourly)
    story.restore(routine, 3)

    revisions = page(story, routine)

    events = [one.event for one in story.store.load([routine])[routine]]
    assert [one.revision_number for one in revisions] == list(range(len(events), 0, -1))
    for one in revisions:
        folded, shown = given(routines.evolve, *events[: one.revision_number]), one.snapshot
        settings = {
            name: value for name, value in asdict(folded.settings).items() if name not in ("call", "bulk_pause_id")
        }
        assert settings.items() <= asdict(shown.routine).items()
        assert [trigger.id for trigger in shown.triggers] == list(folded.triggers)
        for trigger in shown.triggers:
            state = folded.triggers[trigger.id]
            expected = {"id": trigger.id, "kind": state.kind, "public_id": state.public_id}
            assert asdict(trigger) == expected | asdict(state.settings)
    assert revisions[0].restored_from_revision_id == revision_of(routine, 3)
    assert [one.restored_from_revision_id for one in revisions[1:]] == [None] * (len(events) - 1)
    assert revisions[4].snapshot.routine.variables == (Variable(name="who", default_value="all"),)


def test_the_newest_hundred_are_listed_and_then_those_before(story, routine):
    trigger = story.by_code(routine)
    for number in range(100):
        story.ask(triggers.update, trigger, TriggerPatch(label=f"{number}"))

    assert [one.revision_number for one in page(story, routine)] == list(range(102, 2, -1))
    assert [1] == [one.revision_number for one in revisions.page(history(story, routine), before=2)]
    assert [] == revisions.page(history(story, routine), before=1)
    assert 102 == revisions.newest_revision(history(story, routine)).revision_number


def test_the_newest_revision_is_found_without_holding_all_states_before_it(story, routine):
    (created,) = history(story, routine)
    added = [
        replace(created, version=number, event=RoutineTriggerAdded(trigger_id=uuid4(), kind="api"))
        for number in range(2, 302)
    ]

    tracemalloc.start()
    try:
        assert 301 == revisions.newest_revision([created, *added]).revision_number
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most_bytes < 500_000  # a state takes up to 17 kB, all together nearly two million


def test_a_firing_is_no_revision(story, routine):
    story.schedule(routine)
    story.fire(routine)
    story.call(story.webhook(routine))
    story.passes(HOUR)
    story.tick()

    assert len(page(story, routine)) == 3


def test_a_routine_has_no_revisions_of_another(story, routine):
    acme = story.company("Other")
    other = story.routine(acme, None)

    assert [one.routine_id for one in page(story, other)] == [other]
