"""Requests wait in the event loop until read models show a position, and one task looks for all of them."""

import asyncio

import pytest

from application.event_store.at_hand import NeedsThread
from web.http.model_watch import ModelWatch
from web.http.reading import Answer

LIMIT_S = 60.0


class Log:
    """Stands for the reader: models move by one event with each look. None as a position is what another version made."""

    def __init__(self, **positions):
        self.positions = positions
        self.looks = 0
        self.is_away = False
        self.looked = asyncio.Event()

    async def find(self, read):
        self.looks += 1
        self.looked.set()
        await asyncio.sleep(0)
        if self.is_away:
            raise NeedsThread
        [name] = read.models
        reached = self.positions[name]
        if reached is not None:
            self.positions[name] += 1
        return Answer(head=100, is_unchanged=True, reached=reached, documents=None)


def watch_of(log):
    return ModelWatch(log)


def wait_together(log, *waits):
    async def wait_for_all():
        watch = watch_of(log)
        results = await asyncio.wait_for(asyncio.gather(*(watch.reach(*wait) for wait in waits)), LIMIT_S)
        return results, watch

    return asyncio.run(wait_for_all())


def test_all_who_wait_for_the_same_models_are_served_by_the_same_looks():
    log = Log(runs=1)

    results, watch = wait_together(log, *[(("runs",), target, LIMIT_S) for target in (3, 5, 5, 4)])

    assert [True] * 4 == results
    assert 5 == log.looks
    assert not watch.is_active


def test_models_that_do_not_come_far_enough_in_time_keep_only_those_waiting_who_want_more():
    log = Log(runs=1, routines=-(10**9))

    results, watch = wait_together(log, (("runs",), 2, LIMIT_S), (("routines",), 2, 0.05))

    assert [True, False] == results
    assert not watch.is_active


@pytest.mark.parametrize("is_away", [False, True])
def test_nobody_waits_for_rows_of_another_version_or_a_database_that_is_away(is_away):
    log = Log(runs=None)
    log.is_away = is_away

    results, _ = wait_together(log, (("runs",), 1, LIMIT_S), (("runs",), 1, LIMIT_S))

    assert [False, False] == results


def test_after_everybody_has_left_nothing_is_looked_up_and_the_next_is_served_again():
    log = Log(runs=-(10**9))

    async def leave_and_come_back():
        watch = watch_of(log)
        leaver = asyncio.create_task(watch.reach(("runs",), 1, LIMIT_S))
        await log.looked.wait()
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        assert not watch.is_active
        log.positions["runs"] = 1
        return await asyncio.wait_for(watch.reach(("runs",), 1, LIMIT_S), LIMIT_S)

    assert asyncio.run(leave_and_come_back())
