from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE, TRIGGER
from application.request_bodies import RoutinePatch, TriggerPatch, WebhookDraft
from application.use_cases import revisions, routines, triggers
from domain.errors import Conflict, Forbidden, NotFound
from domain.events import RoutineRestored
from domain.identity import revision_of


@pytest.fixture
def routine(here):
    return here.routine()


def latest(here, routine):
    return here.state(ROUTINE, routine).revision


def test_settings_and_triggers_are_as_they_were(here, routine):
    trigger = here.schedule(routine)
    then = latest(here, routine)
    here.ask(routines.update, routine, RoutinePatch(title="Other"))
    here.ask(triggers.update, trigger, TriggerPatch(cron_expression="5 * * * *"))
    extra = here.schedule(routine)

    restored = here.ask(revisions.restore, routine, revision_of(routine, then))

    assert (then, latest(here, routine)) == (restored.from_revision, restored.revision)
    assert "Check the inbox" == here.state(ROUTINE, routine).settings.title
    assert "0 * * * *" == here.state(TRIGGER, trigger).settings.cron_expression
    assert here.state(TRIGGER, extra).deleted
    assert 1 == len(here.events(RoutineRestored))


def test_a_webhook_that_was_deleted_comes_back_with_another_secret(here, routine):
    made = here.ask(triggers.create, routine, WebhookDraft())
    then = latest(here, routine)
    here.ask(triggers.delete, made.trigger_id)
    assert {} == here.vault.secrets

    [minted] = here.ask(revisions.restore, routine, revision_of(routine, then)).minted

    assert made.trigger_id == minted.trigger_id
    assert made.minted.secret != minted.secret
    assert 1 == len(here.vault.secrets)


def test_the_latest_revision_an_unknown_one_and_an_archived_routine_are_refused(here, routine):
    first = revision_of(routine, latest(here, routine))
    with pytest.raises(Conflict, match="already the latest"):
        here.ask(revisions.restore, routine, first)
    with pytest.raises(NotFound, match="revision not found"):
        here.ask(revisions.restore, routine, uuid4())
    here.ask(routines.update, routine, RoutinePatch(status="archived"))
    with pytest.raises(Conflict):
        here.ask(revisions.restore, routine, first)


def test_an_agent_restores_only_what_was_its_own(here):
    rover = here.another_agent()
    routine = here.routine(assignee_agent_id=rover)
    then = latest(here, routine)
    here.ask(routines.update, routine, RoutinePatch(assignee_agent_id=here.agent))

    with pytest.raises(Forbidden, match="assigned to themselves"):
        here.ask(revisions.restore, routine, revision_of(routine, then), caller=here.as_agent())
    assert here.ask(revisions.may_list, routine, caller=here.as_agent())
    with pytest.raises(Forbidden):
        here.ask(revisions.may_list, routine, caller=here.as_agent(rover))
