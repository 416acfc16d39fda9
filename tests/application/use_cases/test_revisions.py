from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE, TRIGGER
from application.request_bodies.routines import RoutinePatch
from application.request_bodies.triggers import ScheduleDraft, TriggerPatch, WebhookDraft
from application.use_cases import revisions, routines, runs, triggers
from domain.errors import Conflict, Forbidden, NotFound
from domain.events import RoutineRestored
from domain.identity import revision_of
from tests.application.use_cases.installation import HOUR


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


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_schedule_that_has_run_its_last_time_is_restored_as_one_that_is_over(here, routine, is_deleted):
    once = ScheduleDraft(run_at=here.now + HOUR)
    trigger = here.ask(triggers.create, routine, once).trigger_id
    then = latest(here, routine)
    here.passes(2 * HOUR)
    here.carry_out(runs.fire_due, [here.due(trigger, once.run_at)])
    if is_deleted:
        here.ask(triggers.delete, trigger)
    here.ask(routines.update, routine, RoutinePatch(title="Other"))

    here.ask(revisions.restore, routine, revision_of(routine, then))

    restored = here.state(TRIGGER, trigger)
    assert (once.run_at, None, False) == (restored.settings.run_at, restored.next_unsettled_at, restored.deleted)


def test_a_pause_that_should_have_ended_by_now_is_restored_without_an_end(here):
    routine = here.routine(status="paused", resume_at=here.now + HOUR)
    then = latest(here, routine)
    here.ask(routines.update, routine, RoutinePatch(status="active"))
    here.passes(2 * HOUR)

    here.ask(revisions.restore, routine, revision_of(routine, then))

    settings = here.state(ROUTINE, routine).settings
    assert ("paused", None) == (settings.status, settings.resume_at)


def test_a_webhook_that_was_deleted_comes_back_with_another_secret(here, routine):
    webhook = here.ask(triggers.create, routine, WebhookDraft())
    then = latest(here, routine)
    here.ask(triggers.delete, webhook.trigger_id)
    assert {} == here.vault.secrets

    [minted] = here.ask(revisions.restore, routine, revision_of(routine, then)).minted

    assert webhook.trigger_id == minted.trigger_id
    assert webhook.minted.secret != minted.secret
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
