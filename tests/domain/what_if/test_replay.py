"""A replay without a change gives what happened; one with a change differs where the rules say so."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from functools import cache

import pytest

from domain.events import (
    AgentEvent,
    ProbeRequested,
    ProjectEvent,
    RoutineEvent,
    RunEvent,
    RunFired,
    SlotEvent,
    TriggerEvent,
)
from domain.what_if.change import UNCHANGED, Change
from domain.what_if.ledger import differences, totals
from domain.what_if.past import past_of
from domain.what_if.replay import replay
from tests.examples import examples
from verification.simulation.shape import Shape
from verification.simulation.world import BEGIN, World

ALL_TIME = (BEGIN - timedelta(days=1), datetime(2030, 1, 1, tzinfo=BEGIN.tzinfo))
SIXTY_DAYS = (BEGIN, BEGIN + timedelta(days=60))
MOST = 1_000_000


@cache
def pasts(seed):
    """The past of each routine of a simulated world."""
    world = World(Shape(seed, routines=12, days=60))
    world.run()
    log = world._log.follow()
    everybody = [recorded for recorded in log if isinstance(recorded.event, AgentEvent | ProjectEvent)]
    by_routine, owner = defaultdict(list), {}
    for recorded in log:
        match recorded.event:
            case event if isinstance(event, RoutineEvent):
                owner[recorded.stream_id] = recorded.stream_id
            case event if isinstance(event, RunFired | SlotEvent | ProbeRequested):
                owner[recorded.stream_id] = event.routine_id
            case event if isinstance(event, TriggerEvent | RunEvent) and hasattr(event, "routine_id"):
                owner.setdefault(recorded.stream_id, event.routine_id)
        if recorded.stream_id in owner:
            by_routine[owner[recorded.stream_id]].append(recorded)
    return [past_of([*everybody, *events]) for events in by_routine.values()]


def comparable(ledger):
    firings = [(one.run_id, one.at, one.tag, one.reason, one.due_at, one.trigger_id) for one in ledger.firings]
    return sorted(firings, key=str), sorted(ledger.missed, key=str)


@pytest.mark.parametrize("seed", range(examples(suite=4, campaign=6)))
def test_without_a_change_a_replay_gives_what_happened(seed):
    for past in pasts(seed):
        actual, replayed = replay(past, UNCHANGED, *ALL_TIME, MOST)

        assert comparable(replayed) == comparable(actual)
        assert differences(actual, replayed) == []
        assert len(actual.firings) == len(past.fired)


@pytest.mark.parametrize("seed", range(2))
def test_so_it_does_for_a_part_of_the_past(seed):
    for place, past in enumerate(pasts(seed)):
        begin = BEGIN + timedelta(days=5 + 3 * place, hours=7)
        end = begin + timedelta(days=14)

        actual, replayed = replay(past, UNCHANGED, begin, end, MOST)

        assert comparable(replayed) == comparable(actual)


CHANGES = [
    Change(cron_expression="17 */3 * * *"),
    Change(timezone="America/New_York", jitter_s=1_800),
    Change(catch_up_policy="enqueue_missed_with_cap", concurrency_policy="always_enqueue"),
    Change(concurrency_policy="cancel_previous", max_run_duration_s=3_600),
    Change(concurrency_policy="skip_if_active", max_run_duration_s=None),
]


@pytest.mark.parametrize("change", CHANGES)
def test_under_any_change_no_occurrence_has_two_outcomes_and_what_comes_from_outside_stays(change):
    for past in pasts(1) + pasts(2):
        actual, replayed = replay(past, change, *SIXTY_DAYS, MOST)

        scheduled = Counter((one.trigger_id, one.occurrence) for one in replayed.firings if one.trigger_id)
        assert scheduled.total() == len(scheduled)
        by_trigger = defaultdict(list)
        for trigger_id, occurrence in sorted(scheduled):
            by_trigger[trigger_id].append(occurrence)
        for missed in replayed.missed:
            occurrences = by_trigger[missed.trigger_id]
            assert bisect_left(occurrences, missed.first) == bisect_right(occurrences, missed.last)
        assert all(one.at >= one.due_at for one in replayed.firings if one.due_at)
        outside = [
            [(one.run_id, one.at) for one in ledger.firings if one.trigger_id is None] for ledger in (actual, replayed)
        ]
        assert outside[0] == outside[1]


def test_a_policy_that_looks_at_nothing_coalesces_and_skips_nothing():
    ledgers = [replay(past, Change(concurrency_policy="always_enqueue"), *ALL_TIME, MOST)[1] for past in pasts(1)]

    assert not [one for ledger in ledgers for one in ledger.firings if one.reason == "live_execution_issue"]
    assert totals(ledgers).ran > totals([replay(past, UNCHANGED, *ALL_TIME, MOST)[0] for past in pasts(1)]).ran


@pytest.mark.parametrize(
    ("module", "name", "mutation"),
    [
        ("domain.routines.settlement", "GRACE", timedelta(hours=2)),
        ("domain.routines.settlement", "CATCH_UP_CAP", 1),
        ("domain.routines.run", "outcome", lambda _policy, _newest, opening: opening),
        ("domain.routines.slot", "free_slot", lambda *_: []),
        ("domain.board.project", "is_paused", lambda _project: False),
    ],
)
def test_a_rule_that_is_not_the_schedulers_is_noticed(monkeypatch, module, name, mutation):
    """The worlds run before the rule is broken."""
    everything = [past for seed in range(4) for past in pasts(seed)]
    monkeypatch.setattr(f"{module}.{name}", mutation)

    ledgers = [replay(past, UNCHANGED, *ALL_TIME, MOST) for past in everything]

    assert any(comparable(actual) != comparable(replayed) for actual, replayed in ledgers)
