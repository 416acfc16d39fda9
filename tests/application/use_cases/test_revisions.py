from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE, TRIGGER
from application.request_bodies.routines import RoutinePatch
from application.request_bodies.triggers import ScheduleDraft, TriggerPatch, WebhookDraft
from application.use_cases import revisions, routines, schedule_firing, triggers
from domain.errors import Conflict, Forbidden, NotFound
from domain.events import RoutineRestored
from domain.identity import revision_of
from tests.application.use_cases.installation import HOUR


@pytest.fixture
def routine(app):
    return app.routine()


def latest_revision(app, routine):
    return app.state(ROUTINE, routine).revision


def test_settings_and_triggers_are_as_they_were(app, routine):
    trigger = app.schedule(routine)
    then = latest_revision(app, routine)
    app.ask(routines.update, routine, RoutinePatch(title="Other"))
    app.ask(triggers.update, trigger, TriggerPatch(cron_expression="5 * * * *"))
    extra = app.schedule(routine)

    restored = app.ask(revisions.restore, routine, revision_of(routine, then))

    assert (then, latest_revision(app, routine)) == (restored.from_revision, restored.history[-1].version)
    assert "Check the inbox" == app.state(ROUTINE, routine).settings.title
    assert "0 * * * *" == app.state(TRIGGER, trigger).settings.cron_expression
    assert app.state(TRIGGER, extra).deleted
    assert 1 == len(app.events(RoutineRestored))


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_schedule_that_has_run_its_last_time_is_restored_as_one_that_is_over(app, routine, is_deleted):
    once = ScheduleDraft(run_at=app.now + HOUR)
    trigger = app.ask(triggers.create, routine, once).trigger_id
    then = latest_revision(app, routine)
    app.passes(2 * HOUR)
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, once.run_at)])
    if is_deleted:
        app.ask(triggers.delete, trigger)
    app.ask(routines.update, routine, RoutinePatch(title="Other"))

    app.ask(revisions.restore, routine, revision_of(routine, then))

    restored = app.state(TRIGGER, trigger)
    assert (once.run_at, None, False) == (restored.settings.run_at, restored.next_unsettled_at, restored.deleted)


def test_a_pause_that_should_have_ended_by_now_is_restored_without_an_end(app):
    routine = app.routine(status="paused", resume_at=app.now + HOUR)
    then = latest_revision(app, routine)
    app.ask(routines.update, routine, RoutinePatch(status="active"))
    app.passes(2 * HOUR)

    app.ask(revisions.restore, routine, revision_of(routine, then))

    settings = app.state(ROUTINE, routine).settings
    assert ("paused", None) == (settings.status, settings.resume_at)


def test_a_webhook_that_was_deleted_comes_back_with_another_secret(app, routine):
    webhook = app.ask(triggers.create, routine, WebhookDraft())
    then = latest_revision(app, routine)
    app.ask(triggers.delete, webhook.trigger_id)
    assert {} == app.vault.secrets

    [restored] = app.ask(revisions.restore, routine, revision_of(routine, then)).new_secrets

    assert webhook.trigger_id == restored.trigger_id
    assert webhook.new_secret.secret != restored.secret
    assert 1 == len(app.vault.secrets)


def test_the_latest_revision_an_unknown_one_and_an_archived_routine_are_refused(app, routine):
    first = revision_of(routine, latest_revision(app, routine))
    with pytest.raises(Conflict, match="already the latest"):
        app.ask(revisions.restore, routine, first)
    with pytest.raises(NotFound, match="revision not found"):
        app.ask(revisions.restore, routine, uuid4())
    app.ask(routines.update, routine, RoutinePatch(status="archived"))
    with pytest.raises(Conflict):
        app.ask(revisions.restore, routine, first)


def test_an_agent_restores_only_what_was_its_own(app):
    rover = app.another_agent()
    routine = app.routine(assignee_agent_id=rover)
    then = latest_revision(app, routine)
    app.ask(routines.update, routine, RoutinePatch(assignee_agent_id=app.agent))

    with pytest.raises(Forbidden, match="assigned to themselves"):
        app.ask(revisions.restore, routine, revision_of(routine, then), caller=app.as_agent())
    assert app.ask(revisions.may_list, routine, caller=app.as_agent())
    with pytest.raises(Forbidden):
        app.ask(revisions.may_list, routine, caller=app.as_agent(rover))
