"""The scheduler in worlds of its own (verification/simulation/), with an oracle that shares no code with it: `make simulate`, shortened."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain.events import GoalCreated, RoutineCreated, RunFired
from domain.recorded import Recorded
from domain.values import Failed, GoalDetails, RoutineSettings
from tests.domain.schedule.test_cron_schedule import walk
from verification.simulation import calendar_walk
from verification.simulation.laws.guards import NO_ACTIVITY
from verification.simulation.oracle import Oracle
from verification.simulation.shape import Shape
from verification.simulation.shrink import explain_failure
from verification.simulation.world import World

SMALL = Shape(0, routines=12, days=60)


def test_nothing_is_lost_doubled_early_or_half_made_whatever_goes_wrong():
    results = [World(SMALL._replace(seed=seed)).run() for seed in range(6)]

    assert [] == [violation for one in results for violation in one.violations]
    assert sum((one.occurrences for one in results), Counter()).total() > 10_000
    assert {"overtaken", "stale", "outage", "clock back"} <= {kind for one in results for kind in one.faults}


def test_a_seed_always_tells_the_same_story():
    first, second = (World(SMALL._replace(seed=1, days=20), keeps_story=True).run() for _ in range(2))

    assert first.story == second.story
    assert (first.events, first.occurrences, first.faults) == (second.events, second.occurrences, second.faults)


@pytest.mark.parametrize(
    ("mutation", "kind"),
    [
        ("unique", "doubled"),
        ("guards", "against rule"),
        ("transaction", "half-made"),
        ("grace", "against rule"),
        ("missed", "lost"),
        ("early", "early"),
        ("attempts", "against rule"),
        ("gate", "against rule"),
        ("probe", "against rule"),
    ],
)
def test_what_is_broken_is_found_within_a_few_seeds(mutation, kind):
    worlds = (World(SMALL._replace(seed=seed, mutation=mutation)) for seed in range(12))

    assert any(violation.kind == kind for world in worlds for violation in world.run().violations)


def test_a_failure_is_told_by_the_smallest_world_that_still_fails():
    lines = list(explain_failure(Shape(0, routines=4, days=15, mutation="early")))

    assert "Seed 0 fails with 2 routines in 10 days, under no fault" in lines[0]
    assert any("early: " in line for line in lines)
    assert any("RunFired" in line for line in lines)


def test_a_gate_may_hold_what_is_due_at_the_moment_at_which_another_trigger_has_run_the_routine():
    routine_id, oracle = uuid4(), Oracle()
    gated = RoutineSettings(
        title="Check", activity_gate_policy="require_external_activity", activity_gate_scope="company"
    )

    def log(position, moment, event, stream_id=None, actor="scheduler"):
        return Recorded(
            stream_id=stream_id or uuid4(),
            version=1,
            at=moment,
            actor=actor,
            company_id=None,
            event=event,
            position=position,
        )

    def run(position, moment, outcome, **more):
        event = RunFired(routine_id=routine_id, revision=1, source="schedule", outcome=outcome, **more)
        oracle._guards.read_firing(log(position, moment, event), event)

    earlier, now = datetime(2026, 5, 16, tzinfo=UTC), datetime(2026, 6, 20, tzinfo=UTC)
    oracle.read(log(1, earlier, RoutineCreated(settings=gated), routine_id))
    run(2, earlier, Failed(reason="No agent"))
    oracle.read(log(3, earlier + timedelta(days=1), GoalCreated(details=GoalDetails(title="Grow")), actor="user:x"))
    gate_fields = {"trigger_id": uuid4(), "payload": {"activityGate": {}}}

    run(5, now, NO_ACTIVITY, **gate_fields)
    assert ["against rule"] == [one.kind for one in oracle.violations]

    run(6, now, Failed(reason="No agent"))
    run(7, now, NO_ACTIVITY, **gate_fields)
    assert 1 == len(oracle.violations)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "*/30 * * * *", "0,30 1-3 * * SUN", "45 23 28-31 * MON"])
def test_the_walk_by_quarters_finds_what_the_walk_by_minutes_finds(cron, zone):
    begin = datetime(2026, 3, 20, tzinfo=UTC)
    end = begin + timedelta(days=15)
    terms = calendar_walk.Terms(cron, zone)

    moments = terms.occurrences_between(begin, end)

    assert moments == list(walk(cron.replace("SUN", "0").replace("MON", "1"), zone, begin, end))
    assert all(terms.has(moment) for moment in moments)
