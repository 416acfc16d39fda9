"""
What is stored stays readable: the logs of every installation hold these names and bytes.

The files in tests/stored are frozen: `<stored name>.json`, or `<stored name>~<what is special>.json`. A field that is
added later has a default, so the old file still decodes; add a file beside it that has the field. Never edit one.
"""

import re
from functools import cache
from pathlib import Path
from typing import get_args
from uuid import UUID

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from msgspec.structs import replace

from application.event_store.codec import encode, from_stored
from domain.bounds.flat_events import is_flat
from domain.bounds.json_size import depth_of, values_by_level
from domain.events import (
    STORED_NAMES,
    AnyEvent,
    IssueOpened,
    RoutineCreated,
    RunFired,
    SlotCounted,
    TaskCreated,
    TrajectoryOpened,
    TrajectoryStepReported,
    stored_name,
)

STORED = Path(__file__).parent / "stored"
FILES = sorted(path.name for path in STORED.iterdir())
STREAM = UUID("00000000-0000-4000-8000-000000000099")
PROMISED = {
    "agent.approved",
    "agent.created",
    "agent.heartbeat_secret_set",
    "agent.heartbeat_stopped",
    "agent.paused",
    "agent.resumed",
    "agent.terminated",
    "agent.updated",
    "alert.closed",
    "alert.failing",
    "alert.missed",
    "alert.overdue",
    "alert.recovered",
    "alert.stuck",
    "alert.untaken",
    "backfill.advanced",
    "backfill.cancelled",
    "backfill.completed",
    "backfill.requested",
    "comment.added",
    "company.archived",
    "company.created",
    "company.environment_changed",
    "company.erased",
    "company.named",
    "company.updated",
    "delivery.dead",
    "delivery.delivered",
    "delivery.failed",
    "delivery.requested",
    "endpoint.created",
    "endpoint.deleted",
    "endpoint.disabled",
    "endpoint.secret_rotated",
    "endpoint.tested",
    "endpoint.updated",
    "folder.created",
    "folder.deleted",
    "folder.updated",
    "goal.created",
    "goal.deleted",
    "goal.updated",
    "issue.checked_out",
    "issue.edited",
    "issue.freed",
    "issue.lease_renewed",
    "issue.moved",
    "issue.opened",
    "issue.released",
    "key.issued",
    "key.revoked",
    "member.changed",
    "member.joined",
    "member.removed",
    "name.claimed",
    "name.released",
    "probe.answered",
    "probe.requested",
    "project.created",
    "project.deleted",
    "project.paused",
    "project.resumed",
    "project.updated",
    "routine.created",
    "routine.restored",
    "routine.secret_rotated",
    "routine.trigger_added",
    "routine.trigger_changed",
    "routine.trigger_removed",
    "routine.updated",
    "run.attempt_begun",
    "run.attempt_failed",
    "run.completed",
    "run.failed",
    "run.fired",
    "run.reported",
    "slot.counted",
    "slot.freed",
    "slot.taken",
    "task.created",
    "task.deleted",
    "task.routine_added",
    "task.routine_removed",
    "task.updated",
    "trajectory.claimed",
    "trajectory.labelled",
    "trajectory.lease_extended",
    "trajectory.moved",
    "trajectory.opened",
    "trajectory.step_reported",
    "trajectory.usage_reported",
    "trigger.created",
    "trigger.deleted",
    "trigger.missed",
    "trigger.replanned",
    "trigger.rescheduled",
    "trigger.restored",
    "trigger.secret_rotated",
    "trigger.updated",
    "user.erased",
    "user.registered",
    "user.signed_out",
    "zones.adopted",
}


def name_of(file):
    return file.removesuffix(".json").partition("~")[0]


@cache
def read_stored(file):
    return from_stored(StoredEvent(STREAM, 1, name_of(file), (STORED / file).read_bytes()))


def test_no_stored_name_is_ever_lost():
    assert set() == PROMISED - set(STORED_NAMES)


def test_every_new_name_is_promised_too():
    assert set() == set(STORED_NAMES) - PROMISED


def test_no_two_kinds_of_event_share_a_name():
    assert len(STORED_NAMES) == len(get_args(AnyEvent))


def test_a_stored_name_is_no_python_path():
    assert [] == [name for name in STORED_NAMES if not re.fullmatch(r"[a-z]+\.[a-z_]+", name)]


def test_every_name_has_a_stored_example_and_every_example_a_name():
    assert set(STORED_NAMES) == {name_of(file) for file in FILES}


@pytest.mark.parametrize("file", FILES)
def test_a_stored_example_still_decodes_to_its_event(file):
    event = read_stored(file)

    assert type(event.event) is STORED_NAMES[name_of(file)]
    assert stored_name(event.event) == name_of(file)
    assert event.actor
    assert event.at.utcoffset() is not None


@pytest.mark.parametrize("file", FILES)
def test_what_was_decoded_is_stored_and_read_as_the_same_again(file):
    event = read_stored(file)

    again = encode(event).stored

    assert replace(from_stored(again), size=event.size) == event  # the file has blanks
    assert again.topic == name_of(file)


@pytest.mark.parametrize("file", FILES)
def test_nothing_that_was_stored_is_lost_in_reading(file):
    """Whatever stands in the file stands in what we would write; new fields may stand beside it."""
    before = msgspec.json.decode((STORED / file).read_bytes())
    after = msgspec.json.decode(encode(read_stored(file)).stored.state)

    assert find_differences(before, after) == []


def find_differences(before, after, where=""):
    """The places where something stored differs from, or is not in, what would be stored now."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [place for key in before for place in find_differences(before[key], after.get(key), f"{where}.{key}")]
    return [] if before == after else [where]


def test_the_examples_cover_every_outcome_of_a_run():
    outcomes = {type(read_stored(file).event.outcome).__name__ for file in FILES if name_of(file) == "run.fired"}

    assert outcomes == {"Opened", "Started", "Coalesced", "Skipped", "Failed"}


@pytest.mark.parametrize("file", FILES)
def test_an_event_that_counts_as_flat_can_neither_be_deep_nor_hold_many_parts(file):
    event: AnyEvent = read_stored(file).event
    parts = msgspec.json.decode((STORED / file).read_bytes())["event"]

    if is_flat(type(event)):
        assert depth_of(parts) < 8  # the least that `max_event_depth` may be, less its envelope
        assert not any(isinstance(item, list) for level in values_by_level(parts) for item in level)


def test_events_with_free_json_or_arrays_do_not_count_as_flat():
    free = {TaskCreated, TrajectoryOpened, TrajectoryStepReported, RunFired, IssueOpened, SlotCounted, RoutineCreated}

    assert not any(map(is_flat, free))
