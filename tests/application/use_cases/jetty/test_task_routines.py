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
def task(here):
    return here.task(here.collection()[0])


def routine_of(here):
    return here.ids(RoutineCreated)[-1]


def test_a_routine_of_a_task_recurs_by_its_cadence(here, task):
    here.ask(task_routines.create, task, RoutineCreate(name="often", cadence=HOURLY))

    schedule = here.state(TRIGGER, cadence_of(routine_of(here)))
    assert ("10 * * * *", "UTC") == (schedule.settings.cron_expression, schedule.settings.timezone)


def test_a_name_is_taken_until_its_routine_is_renamed_or_deleted(here, task):
    path = here.task_routine(task)

    with pytest.raises(Conflict, match="already exists for this task"):
        here.ask(task_routines.create, task, RoutineCreate(name=path.name, cadence=MANUAL))
    here.ask(task_routines.update, path, RoutineChange(name="renamed"))
    here.ask(task_routines.create, task, RoutineCreate(name=path.name, cadence=MANUAL))
    here.ask(task_routines.delete, path)
    here.ask(task_routines.create, task, RoutineCreate(name=path.name, cadence=MANUAL))


def test_secrets_are_in_the_vault_and_only_their_names_in_the_log(here, task):
    path = here.task_routine(task, secret_params={"key": "sk-hidden"}, webhook_url=HOOK, webhook_secret="signs")

    call = here.state(ROUTINE, routine_of(here)).settings.call
    assert ("key",) == call.secrets.names
    assert {b'{"key":"sk-hidden"}', b"signs"} == {secret.value for secret in here.vault.secrets.values()}
    assert not any("sk-hidden" in str(recorded.event) for recorded in here.store.history())

    here.ask(task_routines.delete, path)
    assert {} == here.vault.secrets


def test_a_masked_secret_is_the_one_that_there_is(here, task):
    path = here.task_routine(task, secret_params={"a": "1", "b": "2"}, webhook_url=HOOK, webhook_secret="signs")

    here.ask(task_routines.update, path, RoutineChange(secret_params={"a": MASK, "c": "3"}, webhook_secret=MASK))

    assert {b'{"a":"1","c":"3"}', b"signs"} == {secret.value for secret in here.vault.secrets.values()}


def test_an_address_that_is_none_is_named(here, task):
    draft = RoutineCreate(name="often", cadence=MANUAL, webhook_secret="signs", webhook_url="nowhere")

    with pytest.raises(InvalidField) as no_url:
        here.ask(task_routines.create, task, draft)

    assert "webhook_url" == no_url.value.field


def test_a_secret_without_an_address_is_kept_until_there_is_one_and_dropped_when_it_is_cleared(here, task):
    path = here.task_routine(task, webhook_secret="signs")
    here.ask(task_routines.update, path, RoutineChange(webhook_url=HOOK))
    here.ask(task_routines.update, path, RoutineChange(webhook_url=None))
    assert [b"signs"] == [secret.value for secret in here.vault.secrets.values()]

    here.ask(task_routines.update, path, RoutineChange(webhook_secret=None))

    assert not here.vault.secrets


def test_what_was_due_is_accounted_for_when_the_cadence_changes_or_the_routine_is_paused(here, task):
    path = here.task_routine(task, "hourly")
    here.passes(2 * HOUR)
    here.ask(task_routines.update, path, RoutineChange(cadence=HOURLY))
    here.passes(HOUR)
    here.ask(task_routines.pause, path)
    here.passes(HOUR)
    here.ask(task_routines.resume, path)

    assert [("edited", 2), ("paused", 1)] == [(event.reason, event.count) for event in here.events(TriggerMissed)]


def test_a_manual_cadence_takes_the_schedule_away_and_another_brings_it_back(here, task):
    path = here.task_routine(task, "hourly")

    here.ask(task_routines.update, path, RoutineChange(cadence=MANUAL))
    assert here.state(TRIGGER, cadence_of(routine_of(here))).deleted
    here.ask(task_routines.update, path, RoutineChange(cadence=HOURLY))

    assert not here.state(TRIGGER, cadence_of(routine_of(here))).deleted
    assert 1 == len(here.events(RoutineTriggerRemoved))


def test_another_collections_key_finds_nothing(here, task):
    _, stranger = here.collection()
    path = here.task_routine(task)

    for use_case in (task_routines.pause, task_routines.delete, task_routines.run_now):
        with pytest.raises(NotFound):
            here.ask(use_case, path, caller=stranger)
