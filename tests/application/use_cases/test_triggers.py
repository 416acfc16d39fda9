import pytest

from application.event_store.stream_kinds import ROUTINE
from application.request_bodies.routines import VariableDraft
from application.request_bodies.triggers import ApiDraft, ScheduleDraft, TriggerPatch, WebhookDraft
from application.use_cases import triggers
from domain.errors import Conflict, Forbidden, NotFound, RuleViolation
from domain.events import RoutineTriggerAdded, RoutineTriggerChanged, RoutineTriggerRemoved, TriggerMissed
from tests.application.use_cases.installation import HOUR, Installation


@pytest.fixture
def routine(app):
    return app.routine()


def test_a_trigger_is_added_changed_and_removed_by_revisions_of_its_routine(app, routine):
    added = app.ask(triggers.create, routine, ScheduleDraft(cron_expression="0 * * * *"))
    changed = app.ask(triggers.update, added.trigger_id, TriggerPatch(label="hourly"))
    app.ask(triggers.delete, added.trigger_id)

    kinds = (RoutineTriggerAdded, RoutineTriggerChanged, RoutineTriggerRemoved)
    assert list(kinds) == list(map(type, app.events(*kinds)))
    assert added.history[-1].version + 1 == changed.history[-1].version
    with pytest.raises(NotFound, match="Routine trigger not found"):
        app.ask(triggers.update, added.trigger_id, TriggerPatch(label="gone"))


def test_a_schedule_that_nothing_could_follow_is_refused(app, routine):
    for draft in (
        ScheduleDraft(cron_expression="61 * * * *"),
        ScheduleDraft(cron_expression="* * * * *", timezone="Mars/Base"),
        ScheduleDraft(run_at=app.now - HOUR),
    ):
        with pytest.raises(RuleViolation):
            app.ask(triggers.create, routine, draft)


def test_a_schedule_needs_values_for_the_variables_of_its_routine(app):
    routine = app.routine(title="For {{who}}", variables=(VariableDraft(name="who"),))

    with pytest.raises(RuleViolation, match="who"):
        app.schedule(routine)
    trigger = app.schedule(routine, enabled=False)
    with pytest.raises(RuleViolation, match="who"):
        app.ask(triggers.update, trigger, TriggerPatch(enabled=True))


def test_a_routine_has_so_many_triggers():
    app = Installation(max_routine_triggers=1)
    routine = app.routine()
    app.schedule(routine)

    with pytest.raises(RuleViolation, match="at most 1 triggers"):
        app.ask(triggers.create, routine, ApiDraft())


def test_what_was_due_before_an_edit_or_a_deletion_is_missed(app, routine):
    trigger = app.schedule(routine)
    app.passes(HOUR)
    app.ask(triggers.update, trigger, TriggerPatch(cron_expression="30 * * * *"))
    app.passes(HOUR)
    app.ask(triggers.delete, trigger)

    assert [("edited", 1), ("deleted", 1)] == [(event.reason, event.count) for event in app.events(TriggerMissed)]


def secrets(app):
    return list(app.vault.secrets.values())


def test_of_a_bearer_secret_a_digest_is_kept_and_of_one_that_signs_the_secret(app, routine):
    bearer = app.ask(triggers.create, routine, WebhookDraft()).new_secret
    signs = app.ask(triggers.create, routine, WebhookDraft(signing_mode="hmac_sha256")).new_secret

    assert [None, signs.secret.encode()] == [kept.value for kept in secrets(app)]
    assert bearer.secret not in repr(bearer)


def test_a_rotated_secret_is_dead_at_once_or_after_the_overlap(app, routine):
    added = app.ask(triggers.create, routine, WebhookDraft())

    rotated = app.ask(triggers.rotate_secret, added.trigger_id, 60).new_secret
    assert added.new_secret.public_id == rotated.public_id
    assert 2 == len(secrets(app))
    app.ask(triggers.rotate_secret, added.trigger_id, 0)
    assert 1 == len(secrets(app))


def test_another_signing_mode_gets_another_secret_only_where_the_old_one_will_not_do(app, routine):
    bearer = app.ask(triggers.create, routine, WebhookDraft()).trigger_id
    signs = app.ask(triggers.create, routine, WebhookDraft(signing_mode="hmac_sha256")).trigger_id

    assert app.ask(triggers.update, bearer, TriggerPatch(signing_mode="github_hmac")).new_secret is not None
    assert app.ask(triggers.update, signs, TriggerPatch(signing_mode="bearer")).new_secret is None
    assert 2 == len(secrets(app))


def test_the_secret_of_a_deleted_webhook_is_gone_and_nobody_is_at_its_address(app, routine):
    minted = app.ask(triggers.create, routine, WebhookDraft()).new_secret
    trigger_id, _ = app.executor.query(lambda work: triggers.at_address(work, minted.public_id))
    assert minted.trigger_id == trigger_id

    app.ask(triggers.delete, minted.trigger_id)

    assert [] == secrets(app)
    for address in (minted.public_id, "nobodys"):
        with pytest.raises(NotFound):
            app.executor.query(lambda work, address=address: triggers.at_address(work, address))


def test_the_schedule_of_a_task_is_its_cadence_and_is_changed_with_that(app):
    app.task_routine(app.task(app.collection()[0]), "hourly")
    trigger = app.events(RoutineTriggerAdded)[-1].trigger_id

    with pytest.raises(Conflict, match="calls a task"):
        app.ask(triggers.delete, trigger)


def test_who_may_not_assign_work_makes_no_triggers_and_may_take_them_away(app, routine):
    clerk, trigger = app.member(permissions=()), app.schedule(routine)

    with pytest.raises(Forbidden, match="tasks:assign"):
        app.ask(triggers.create, routine, ApiDraft(), caller=clerk)
    app.ask(triggers.delete, trigger, caller=clerk)

    assert {} == app.state(ROUTINE, routine).triggers
