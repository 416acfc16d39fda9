import pytest

from application.event_store.stream_kinds import ROUTINE, TRIGGER
from application.request_bodies.jetty import CadenceConfig, RoutineChange, RoutineCreate
from application.use_cases.jetty import task_routines
from domain.disclosure import MASK
from domain.errors import Conflict, InvalidField, NotFound
from domain.events import RoutineCreated, RoutineTriggerRemoved, TriggerMissed
from domain.identity import cadence_of
from tests.application.use_cases.installation import HOUR

HOOK = "https://example.com/done"
MANUAL, HOURLY = CadenceConfig(type="manual"), CadenceConfig(type="hourly", minute_utc=10)


@pytest.fixture
def task(app):
    return app.task(app.collection()[0])


def routine_of(app):
    return app.ids(RoutineCreated)[-1]


def test_a_routine_of_a_task_recurs_by_its_cadence(app, task):
    app.ask(task_routines.create, task, RoutineCreate(name="often", cadence=HOURLY))

    schedule = app.state(TRIGGER, cadence_of(routine_of(app)))
    assert ("10 * * * *", "UTC") == (schedule.settings.cron_expression, schedule.settings.timezone)


def test_a_name_is_taken_until_its_routine_is_renamed_or_deleted(app, task):
    path = app.task_routine(task)

    with pytest.raises(Conflict, match="already exists for this task"):
        app.ask(task_routines.create, task, RoutineCreate(name=path.name, cadence=MANUAL))
    app.ask(task_routines.update, path, RoutineChange(name="renamed"))
    app.ask(task_routines.create, task, RoutineCreate(name=path.name, cadence=MANUAL))
    app.ask(task_routines.delete, path)
    app.ask(task_routines.create, task, RoutineCreate(name=path.name, cadence=MANUAL))


def test_secrets_are_in_the_vault_and_only_their_names_in_the_log(app, task):
    path = app.task_routine(task, secret_params={"key": "sk-hidden"}, webhook_url=HOOK, webhook_secret="signs")

    call = app.state(ROUTINE, routine_of(app)).settings.call
    assert ("key",) == call.secrets.names
    assert {b'{"key":"sk-hidden"}', b"signs"} == {secret.value for secret in app.vault.secrets.values()}
    assert not any("sk-hidden" in str(recorded.event) for recorded in app.store.history())

    app.ask(task_routines.delete, path)
    assert {} == app.vault.secrets


def test_a_masked_secret_is_the_one_that_there_is(app, task):
    path = app.task_routine(task, secret_params={"a": "1", "b": "2"}, webhook_url=HOOK, webhook_secret="signs")

    app.ask(task_routines.update, path, RoutineChange(secret_params={"a": MASK, "c": "3"}, webhook_secret=MASK))

    assert {b'{"a":"1","c":"3"}', b"signs"} == {secret.value for secret in app.vault.secrets.values()}


def test_an_address_that_is_none_is_named(app, task):
    draft = RoutineCreate(name="often", cadence=MANUAL, webhook_secret="signs", webhook_url="nowhere")

    with pytest.raises(InvalidField) as no_url:
        app.ask(task_routines.create, task, draft)

    assert "webhook_url" == no_url.value.field


def test_a_secret_without_an_address_is_kept_until_there_is_one_and_dropped_when_it_is_cleared(app, task):
    path = app.task_routine(task, webhook_secret="signs")
    app.ask(task_routines.update, path, RoutineChange(webhook_url=HOOK))
    app.ask(task_routines.update, path, RoutineChange(webhook_url=None))
    assert [b"signs"] == [secret.value for secret in app.vault.secrets.values()]

    app.ask(task_routines.update, path, RoutineChange(webhook_secret=None))

    assert not app.vault.secrets


def test_what_was_due_is_accounted_for_when_the_cadence_changes_or_the_routine_is_paused(app, task):
    path = app.task_routine(task, "hourly")
    app.passes(2 * HOUR)
    app.ask(task_routines.update, path, RoutineChange(cadence=HOURLY))
    app.passes(HOUR)
    app.ask(task_routines.pause, path)
    app.passes(HOUR)
    app.ask(task_routines.resume, path)

    assert [("edited", 2), ("paused", 1)] == [(event.reason, event.count) for event in app.events(TriggerMissed)]


def test_a_manual_cadence_takes_the_schedule_away_and_another_brings_it_back(app, task):
    path = app.task_routine(task, "hourly")

    app.ask(task_routines.update, path, RoutineChange(cadence=MANUAL))
    assert app.state(TRIGGER, cadence_of(routine_of(app))).deleted
    app.ask(task_routines.update, path, RoutineChange(cadence=HOURLY))

    assert not app.state(TRIGGER, cadence_of(routine_of(app))).deleted
    assert 1 == len(app.events(RoutineTriggerRemoved))


def test_another_collections_key_finds_nothing(app, task):
    _, stranger = app.collection()
    path = app.task_routine(task)

    for use_case in (task_routines.pause, task_routines.delete, task_routines.run_now):
        with pytest.raises(NotFound):
            app.ask(use_case, path, caller=stranger)
