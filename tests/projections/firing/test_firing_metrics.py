"""Firing metrics: every firing is counted once, under what became of it and how late it was."""

from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from application.request_bodies.triggers import TriggerPatch
from application.use_cases import triggers
from application.use_cases.board import agents, projects
from domain.events import RunFired, stored_name
from domain.recorded import Recorded
from domain.routines.settlement import GRACE
from domain.values import Failed
from projections.engine.folding import fold_batch
from projections.firing import firing_metrics
from projections.firing.firing_metrics import BOUNDS, BOUNDS_S
from tests.projections.story import DAY, HOUR, MINUTE, START

ONE = START.replace(hour=13, minute=0, second=0)


@pytest.fixture
def acme(story):
    return story.company()


@pytest.fixture
def scout(story, acme):
    return story.agent(acme)


def count_firings(story):
    story.project_all()
    return firing_metrics.firings(story.conn)


def without_zeros(totals):
    return {labels: total for labels, total in totals.items() if total}


def tick_at(story, now):
    story.now = now
    story.tick()


def test_everything_that_can_happen_is_shown_before_it_does(story):
    totals = count_firings(story)

    assert 5 * 11 == len(totals.runs)
    assert {("skip_missed",), ("catch_up_cap",), ("over_quota",)} == totals.missed.keys()
    assert {("completed",), ("failed",)} == totals.ended.keys()
    assert {("delivered",), ("failed",), ("dead",)} == totals.attempts.keys()
    assert {0} == {*totals.runs.values(), *totals.missed.values(), *totals.ended.values(), *totals.attempts.values()}
    assert {timing: (0,) * len(BOUNDS) for timing in ("on_time", "caught_up")} == {
        timing: late.up_to for timing, late in totals.lateness.items()
    }


def test_runs_are_counted_by_source_and_outcome(story, acme, scout):
    joins = story.routine(acme, scout)
    door, by_code = story.webhook(joins), story.by_code(joins)

    story.fire(joins)
    story.fire(joins)
    story.fire(joins, source="api", trigger_id=by_code)
    story.call(door)
    story.schedule(story.routine(acme, rover := story.agent(acme, "Rover")))
    story.ask(agents.pause, rover, "holiday")
    tick_at(story, ONE)

    assert {
        ("manual", "issue_created", ""): 1,
        ("manual", "coalesced", ""): 1,
        ("api", "coalesced", ""): 1,
        ("webhook", "coalesced", ""): 1,
        ("schedule", "failed", ""): 1,
    } == without_zeros(count_firings(story).runs)


def test_a_run_that_an_idempotency_key_gives_again_is_counted_once(story, acme, scout):
    routine = story.routine(acme, scout)

    story.fire(routine, idempotency_key="once")
    story.fire(routine, idempotency_key="once")

    assert 1 == sum(count_firings(story).runs.values())


def test_skipped_for_a_paused_project_is_counted_apart_from_skipped_for_a_live_issue(story, acme, scout):
    move = story.project(acme)
    skips = story.routine(acme, scout, concurrency_policy="skip_if_active", project_id=move)
    story.schedule(skips)

    tick_at(story, ONE)
    tick_at(story, ONE + HOUR)
    story.ask(projects.pause, move)
    tick_at(story, ONE + 2 * HOUR)
    tick_at(story, ONE + 3 * HOUR)

    assert {
        ("schedule", "issue_created", ""): 1,
        ("schedule", "skipped", "live_issue"): 1,
        ("schedule", "skipped", "paused"): 2,
    } == without_zeros(count_firings(story).runs)


def test_a_run_that_ends_and_ends_otherwise_is_counted_under_both(story, acme, scout):
    story.fire(story.routine(acme, scout))
    (issue,) = (opened.stream_id for opened in story.opened())

    story.patch(issue, status="cancelled")
    story.patch(issue, status="todo")
    story.patch(issue, status="done")

    assert {("failed",): 1, ("completed",): 1} == without_zeros(count_firings(story).ended)


def test_each_missed_occurrence_counts_not_each_range_of_them(story, acme, scout):
    story.schedule(story.routine(acme, scout))
    story.schedule(story.routine(acme, scout, catch_up_policy="enqueue_missed_with_cap"))

    tick_at(story, ONE + DAY + 5 * HOUR + 30 * MINUTE)

    assert {("skip_missed",): 30, ("catch_up_cap",): 5} == without_zeros(count_firings(story).missed)


def test_a_schedule_with_jitter_is_late_only_from_when_it_came_due(story, acme, scout):
    due_at = ONE
    while due_at - ONE <= GRACE:  # how late it is depends on the routine, of which another one is made then
        plain = story.routine(acme, scout, concurrency_policy="always_enqueue")
        trigger = story.schedule(plain, jitter_sec=1_800)
        due_at = next(recorded.event.due_at for recorded in story.store.history() if recorded.stream_id == trigger)
        if due_at - ONE <= GRACE:
            story.ask(triggers.delete, trigger)

    tick_at(story, due_at + timedelta(seconds=3))

    lateness = count_firings(story).lateness
    assert (3.0, 1) == (lateness["on_time"].sum_s, lateness["on_time"].up_to[-1])
    assert 0 == lateness["caught_up"].up_to[-1]


def test_a_schedule_whose_jitter_is_taken_away_is_late_from_its_planned_moment(story, acme, scout):
    trigger = story.schedule(story.routine(acme, scout), jitter_sec=1_800)
    story.ask(triggers.update, trigger, TriggerPatch(jitter_sec=0))

    tick_at(story, ONE + timedelta(seconds=3))

    assert 3.0 == count_firings(story).lateness["on_time"].sum_s
    assert (0,) == story.conn.execute("SELECT count(*) FROM firing_jitter").fetchone()


def test_late_on_purpose_is_apart_from_late(story, acme, scout):
    story.schedule(
        story.routine(acme, scout, concurrency_policy="always_enqueue", catch_up_policy="enqueue_missed_with_cap")
    )

    tick_at(story, ONE + timedelta(milliseconds=20))
    tick_at(story, ONE + HOUR + GRACE)
    tick_at(story, ONE + 2 * HOUR + GRACE + timedelta(microseconds=1))

    lateness = count_firings(story).lateness
    assert (60.02, 2) == (lateness["on_time"].sum_s, lateness["on_time"].up_to[-1])
    assert [0, 0, 1, 1] == list(lateness["on_time"].up_to[:4])
    assert (60.000001, 1) == (lateness["caught_up"].sum_s, lateness["caught_up"].up_to[-1])


def test_runs_that_no_schedule_fired_have_no_lateness(story, acme, scout):
    routine = story.routine(acme, scout)

    story.fire(routine)
    story.call(story.webhook(routine))

    assert {0} == {late.up_to[-1] for late in count_firings(story).lateness.values()}


def run_fired(late):
    event = RunFired(
        routine_id=uuid4(), revision=1, source="schedule", outcome=Failed(reason="-"), occurrence=START - late
    )
    return Recorded(stream_id=uuid4(), version=1, at=START, actor="scheduler", company_id=None, event=event)


LATENESS = st.timedeltas(timedelta(0), timedelta(hours=1)) | st.sampled_from(BOUNDS_S).map(
    lambda bound_s: timedelta(seconds=bound_s)
)


@for_all(st.lists(LATENESS, max_size=20), st.integers(1, 20))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_batches_the_histogram_says_how_many_were_no_later(conn, late, batch):
    log = [run_fired(one) for one in late]
    with conn.transaction(force_rollback=True):
        for start in range(0, len(log), batch):
            fold_batch(conn, [firing_metrics.firing_metrics], log[start : start + batch])
        totals = firing_metrics.firings(conn)

    assert len(late) == totals.runs["schedule", "failed", ""]
    for timing, ours in {
        "on_time": [one for one in late if one <= GRACE],
        "caught_up": [one for one in late if one > GRACE],
    }.items():
        said = totals.lateness[timing]
        assert [sum(one.total_seconds() <= bound_s for one in ours) for bound_s in BOUNDS_S] == list(said.up_to[:-1])
        assert len(ours) == said.up_to[-1]
        assert pytest.approx(sum(ours, timedelta(0)).total_seconds()) == said.sum_s
        assert all(fewer <= more for fewer, more in pairwise(said.up_to))


def test_attempts_to_deliver_are_counted_by_what_came_of_them(story):
    story.tell_of_deliveries()

    totals = count_firings(story)

    log = [stored_name(recorded.event) for recorded in story.store.history()]
    assert {(came,): log.count(f"delivery.{came}") for came in ("delivered", "failed", "dead")} == totals.attempts
    assert all(totals.attempts.values())
