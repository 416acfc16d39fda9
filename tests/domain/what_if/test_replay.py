"""A replay without a change gives what happened; one with a change differs where the rules say so."""

from collections import defaultdict
from datetime import datetime, timedelta
from functools import cache

import pytest

from domain.events import AgentEvent, ProjectEvent, RoutineEvent, RunEvent, RunFired, SlotEvent, TriggerEvent
from domain.what_if.change import UNCHANGED
from domain.what_if.ledger import differences
from domain.what_if.past import past_of
from domain.what_if.replay import replay
from verification.simulation.world import BEGIN, Shape, World

ALL_TIME = (BEGIN - timedelta(days=1), datetime(2030, 1, 1, tzinfo=BEGIN.tzinfo))
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
            case event if isinstance(event, RunFired | SlotEvent):
                owner[recorded.stream_id] = event.routine_id
            case event if isinstance(event, TriggerEvent | RunEvent) and hasattr(event, "routine_id"):
                owner.setdefault(recorded.stream_id, event.routine_id)
        if recorded.stream_id in owner:
            by_routine[owner[recorded.stream_id]].append(recorded)
    return [past_of([*everybody, *events]) for events in by_routine.values()]


def shown(ledger):
    firings = [(one.run_id, one.at, one.tag, one.reason, one.due_at, one.trigger_id) for one in ledger.firings]
    return sorted(firings, key=str), sorted(ledger.missed, key=str)


@pytest.mark.parametrize("seed", range(6))
def test_without_a_change_a_replay_gives_what_happened(seed):
    for past in pasts(seed):
        actual, replayed = replay(past, UNCHANGED, *ALL_TIME, MOST)

        assert shown(replayed) == shown(actual)
        assert differences(actual, replayed) == []
        assert len(actual.firings) == len(past.fired)


@pytest.mark.parametrize("seed", range(2))
def test_so_it_does_for_a_part_of_the_past(seed):
    for place, past in enumerate(pasts(seed)):
        begin = BEGIN + timedelta(days=5 + 3 * place, hours=7)
        end = begin + timedelta(days=14)

        actual, replayed = replay(past, UNCHANGED, begin, end, MOST)

        assert shown(replayed) == shown(actual)
