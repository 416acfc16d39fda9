"""What each event of a routine or a trigger has changed, and what differs at two positions."""

from datetime import UTC, datetime
from uuid import UUID

from domain.audit.changes import changes_of, differences
from domain.events import (
    RoutineCreated,
    RoutineRestored,
    RoutineTriggerAdded,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
    RoutineUpdated,
    TriggerCreated,
    TriggerDeleted,
    TriggerRestored,
)
from domain.recorded import Recorded
from domain.values import Probe, RoutineSettings, TriggerSettings, TriggerState

ROUTINE, HOOK, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CHECK, LOOK = RoutineSettings(title="Check"), RoutineSettings(title="Look")
WEBHOOK = TriggerState(kind="webhook", settings=TriggerSettings(label="door", signing_mode="bearer"))


def history(*events):
    return [
        Recorded(stream_id=ROUTINE, version=n, position=n, at=NOON, actor="system", company_id=OTHER, event=event)
        for n, event in enumerate(events, start=1)
    ]


def changed_fields(*events):
    """What the last of these events has changed."""
    return {
        change.field.removeprefix(f"triggers.{HOOK}."): (change.before, change.after)
        for change in changes_of(history(*events))
        if change.recorded.version == len(events)
    }


def added(trigger_id=HOOK, state=WEBHOOK):
    return RoutineTriggerAdded(trigger_id=trigger_id, kind="webhook", state=state)


def test_an_edit_of_the_settings_leaves_the_triggers_alone():
    assert {"title": ("Check", "Look")} == changed_fields(
        RoutineCreated(settings=CHECK), added(), RoutineUpdated(settings=LOOK)
    )


def test_a_trigger_has_the_fields_of_its_newest_state_and_no_others():
    unnamed = TriggerState(kind="webhook", settings=TriggerSettings(signing_mode="none"))

    assert {"label": ("door", None), "signingMode": ("bearer", "none")} == changed_fields(
        RoutineCreated(settings=CHECK), added(), RoutineTriggerChanged(trigger_id=HOOK, kind="webhook", state=unnamed)
    )


def test_a_restored_revision_takes_away_the_triggers_that_it_does_not_have():
    fields = changed_fields(
        RoutineCreated(settings=LOOK), added(), RoutineRestored(from_revision=1, settings=CHECK, triggers={})
    )

    assert {"title": ("Look", "Check"), "kind": ("webhook", None)} == {name: fields[name] for name in ("title", "kind")}


def test_the_address_of_a_probe_is_masked():
    probe = Probe(url="https://example.com/?key=a")
    fields = changed_fields(
        RoutineCreated(settings=CHECK), RoutineUpdated(settings=RoutineSettings(title="Check", probe=probe))
    )

    assert ["probe"] == [*fields]
    assert "example.com" not in str(fields)


GONE = RoutineTriggerRemoved(trigger_id=HOOK, kind="webhook")
THERE_AGAIN = RoutineRestored(from_revision=2, settings=CHECK, triggers={HOOK: WEBHOOK})


def test_a_webhook_that_a_restored_revision_brings_back_has_another_secret():
    events = history(RoutineCreated(settings=CHECK), added(), GONE, THERE_AGAIN)
    of_trigger = history(
        TriggerCreated(routine_id=ROUTINE, kind="webhook", settings=WEBHOOK.settings),
        TriggerDeleted(),
        TriggerRestored(routine_id=ROUTINE, kind="webhook", settings=WEBHOOK.settings),
    )

    [secret] = differences(events, 2, 4)
    assert (f"triggers.{HOOK}.secret", None, None) == (secret.field, secret.before, secret.after)
    assert ["secret"] == [one.field for one in differences(of_trigger, 1, 3)]
    stayed = history(RoutineCreated(settings=CHECK), added(), RoutineUpdated(settings=LOOK), THERE_AGAIN)
    assert [] == differences(stayed, 2, 4)


def test_what_differs_has_the_value_before_the_first_change_and_after_the_last():
    events = history(*(RoutineUpdated(settings=RoutineSettings(title=title)) for title in "abcd"))

    [title] = differences(events, 1, 3)

    assert ("a", "c", [2, 3]) == (title.before, title.after, [change.recorded.position for change in title.changes])
