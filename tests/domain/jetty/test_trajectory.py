"""A trajectory and its worker: one at a time, and whoever is late has lost it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.bounds.limits import Limits
from domain.errors import Conflict, ImpossibleHistory, InvalidField, RuleViolation
from domain.events import (
    RunCompleted,
    RunFailed,
    RunFired,
    TrajectoryClaimed,
    TrajectoryLabelled,
    TrajectoryLeaseExtended,
    TrajectoryMoved,
    TrajectoryOpened,
    TrajectoryStepReported,
)
from domain.jetty import trajectory
from domain.jetty.trajectory import LEASE
from domain.routines import run
from domain.values import Started
from tests.given import given

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
OURS, THEIRS = UUID(int=1), UUID(int=2)
OPENED = TrajectoryOpened(task_id=UUID(int=3), name="c/t", workflow={"steps": ["a"]})
CLAIMED = TrajectoryClaimed(claim_id=OURS, worker="w", until=NOW + LEASE)
FIRED = RunFired(routine_id=UUID(int=4), revision=1, source="manual", outcome=Started(trajectory_id=UUID(int=5)))


def state_after(*facts):
    return given(trajectory.evolve, OPENED, *facts)


def test_a_pending_one_is_taken_for_the_time_of_a_lease():
    assert trajectory.claim(state_after(), OURS, "w", NOW) == [CLAIMED]
    assert state_after(CLAIMED).status == "running"


def test_one_that_is_taken_is_taken_by_nobody_else_until_its_lease_is_over():
    current = state_after(CLAIMED)

    assert trajectory.claim(current, THEIRS, "v", NOW + LEASE - timedelta(seconds=1)) == []
    assert trajectory.claim(current, THEIRS, "v", NOW + LEASE) != []


def test_a_lease_is_extended_from_now():
    later = NOW + timedelta(seconds=30)

    assert trajectory.extend(state_after(CLAIMED), OURS, later) == [
        TrajectoryLeaseExtended(claim_id=OURS, until=later + LEASE)
    ]


@pytest.mark.parametrize(
    "current",
    [
        state_after(),
        state_after(CLAIMED, TrajectoryClaimed(claim_id=THEIRS, worker="v", until=NOW)),
        state_after(CLAIMED, TrajectoryMoved(status="completed")),
        state_after(CLAIMED, TrajectoryMoved(status="pending")),
    ],
)
def test_a_claim_that_is_not_the_current_one_may_do_nothing(current):
    step = TrajectoryStepReported(step="a", status="completed")

    for attempt in (
        lambda: trajectory.extend(current, OURS, NOW),
        lambda: trajectory.report(current, OURS, step),
        lambda: trajectory.finish(current, OURS, "completed", None),
    ):
        with pytest.raises(Conflict):
            attempt()


def test_a_lease_that_has_just_begun_is_not_extended():
    """Or a worker could make a stream as long as it likes."""
    soon = NOW + timedelta(seconds=4)

    assert trajectory.extend(state_after(CLAIMED), OURS, soon) == []
    assert trajectory.extend(state_after(CLAIMED), OURS, soon + timedelta(seconds=1)) != []


def test_what_a_trajectory_holds_is_bounded_and_what_is_replaced_does_not_count():
    limits = Limits(max_trajectory_bytes=1_024)
    large = TrajectoryStepReported(step="a", status="running", outputs={"text": "x" * 800})

    current = state_after(CLAIMED, large)

    assert trajectory.report(current, OURS, large, limits) == [large]
    with pytest.raises(RuleViolation, match="A trajectory holds at most 1024 bytes"):
        trajectory.label(current, TrajectoryLabelled(key="k", value="x" * 200, author="a"), limits)


def test_there_may_be_so_many_labels_and_steps():
    limits = Limits(max_trajectory_labels=1, max_task_steps=1)
    label = TrajectoryLabelled(key="k", value="v", author="a")
    opened = replace(OPENED, workflow={})
    current = given(trajectory.evolve, opened, CLAIMED, TrajectoryStepReported(step="a", status="completed"), label)

    assert trajectory.label(current, label, limits) == [label]
    with pytest.raises(RuleViolation, match="at most 1 labels"):
        trajectory.label(current, replace(label, key="l"), limits)
    with pytest.raises(RuleViolation, match="at most 1 steps"):
        trajectory.report(current, OURS, TrajectoryStepReported(step="b", status="completed"), limits)


def test_a_step_that_the_task_does_not_have_is_no_step():
    with pytest.raises(InvalidField):
        trajectory.report(state_after(CLAIMED), OURS, TrajectoryStepReported(step="b", status="completed"))


def test_any_status_may_be_set_and_the_one_that_it_has_is_nothing_new():
    assert trajectory.move(state_after(), "pending") == []
    assert trajectory.move(state_after(), "archived") == [TrajectoryMoved(status="archived")]


def test_what_has_ended_cannot_last_too_long():
    assert trajectory.time_out(state_after()) == [TrajectoryMoved(status="failed", error="timed_out")]
    assert trajectory.time_out(state_after(TrajectoryMoved(status="cancelled"))) == []


def test_nothing_comes_before_the_opening():
    with pytest.raises(ImpossibleHistory):
        given(trajectory.evolve, CLAIMED)


@pytest.mark.parametrize(
    ("before", "status", "error", "end"),
    [
        ([], "completed", None, [RunCompleted()]),
        ([], "failed", "no luck", [RunFailed(reason="no luck")]),
        ([], "failed", None, [RunFailed(reason="The trajectory failed")]),
        ([], "cancelled", None, [RunFailed(reason="The trajectory was cancelled")]),
        ([], "archived", None, [RunFailed(reason="The trajectory was archived before its end")]),
        ([], "running", None, []),
        ([RunCompleted()], "archived", None, []),
        ([RunCompleted()], "completed", None, []),
        ([RunFailed(reason="x")], "completed", None, [RunCompleted()]),
        ([RunCompleted()], "failed", "y", [RunFailed(reason="y")]),
    ],
)
def test_its_run_ends_with_it(before, status, error, end):
    assert run.follow(given(run.evolve, FIRED, *before), status, error) == end
