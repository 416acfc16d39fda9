"""A run from its firing to its end: contract 5.2, 5.3."""

from uuid import UUID

import pytest

from domain.errors import ImpossibleHistory
from domain.events import RunCompleted, RunFailed, RunFired
from domain.routines import run
from domain.values import Coalesced, Failed, LiveWork, Opened, Skipped
from tests.given import given

ROUTINE, ISSUE, NEW = UUID(int=1), UUID(int=2), Opened(issue_id=UUID(int=3))
LIVE = LiveWork(issue_id=ISSUE, run_id=UUID(int=4))
CANCELLED = RunFailed(reason="Execution issue moved to cancelled")


def run_fired(outcome):
    return RunFired(routine_id=ROUTINE, revision=1, source="manual", outcome=outcome)


OPENED = run_fired(Opened(issue_id=ISSUE))


@pytest.mark.parametrize("policy", ["coalesce_if_active", "skip_if_active", "always_enqueue"])
def test_without_a_live_issue_every_policy_opens_one(policy):
    assert run.outcome(policy, None, NEW) == NEW


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        ("coalesce_if_active", Coalesced(issue_id=ISSUE, into_run_id=LIVE.run_id)),
        ("skip_if_active", Skipped(issue_id=ISSUE, into_run_id=LIVE.run_id)),
        ("always_enqueue", NEW),
    ],
)
def test_a_live_issue_is_met_as_the_policy_says(policy, outcome):
    assert run.outcome(policy, LIVE, NEW) == outcome


def test_a_done_issue_completes_its_run():
    assert [RunCompleted()] == run.end(given(run.evolve, OPENED), "done")


def test_a_cancelled_issue_fails_its_run():
    assert [CANCELLED] == run.end(given(run.evolve, OPENED), "cancelled")
    assert [RunFailed(reason="exit status 3")] == run.end(given(run.evolve, OPENED), "cancelled", "exit status 3")
    assert [] == run.end(given(run.evolve, OPENED, CANCELLED), "cancelled", "exit status 3")


@pytest.mark.parametrize("status", ["backlog", "todo", "in_progress", "in_review", "blocked"])
@pytest.mark.parametrize("before", [[], [RunCompleted()], [CANCELLED]])
def test_an_open_issue_changes_nothing(status, before):
    assert [] == run.end(given(run.evolve, OPENED, *before), status)


@pytest.mark.parametrize(("status", "end"), [("done", RunCompleted()), ("cancelled", CANCELLED)])
def test_the_same_end_again_is_nothing(status, end):
    assert [] == run.end(given(run.evolve, OPENED, end), status)


def test_a_later_end_replaces_an_earlier_one():
    assert [CANCELLED] == run.end(given(run.evolve, OPENED, RunCompleted()), "cancelled")
    assert [RunCompleted()] == run.end(given(run.evolve, OPENED, CANCELLED), "done")
    assert [CANCELLED] == run.end(given(run.evolve, OPENED, CANCELLED, RunCompleted()), "cancelled")


def test_the_next_run_takes_the_place_of_one_that_has_not_failed_already():
    """Its issue was reopened, and is cancelled; why the run failed at first stays the reason."""
    (superseded,) = run.supersede(given(run.evolve, OPENED, RunCompleted()), ROUTINE)

    assert ROUTINE == superseded.successor_run_id
    assert [] == run.supersede(given(run.evolve, OPENED, CANCELLED), ROUTINE)


def test_the_newest_end_is_the_one_that_counts():
    assert given(run.evolve, OPENED, CANCELLED, RunCompleted()).ended == RunCompleted()


@pytest.mark.parametrize(
    "outcome",
    [
        Coalesced(issue_id=ISSUE, into_run_id=None),
        Skipped(reason="paused"),
        Skipped(issue_id=ISSUE),
        Failed(reason="x"),
    ],
)
def test_only_a_run_that_opened_an_issue_has_an_end(outcome):
    with pytest.raises(ImpossibleHistory):
        given(run.evolve, run_fired(outcome), RunCompleted())


@pytest.mark.parametrize("facts", [[RunCompleted()], [CANCELLED], [OPENED, OPENED]])
def test_a_contradiction_in_the_log_stops_loudly(facts):
    with pytest.raises(ImpossibleHistory):
        given(run.evolve, *facts)
