"""What waits for a connection of an event loop is carried out together by the next that is free."""

import asyncio

import pytest

from application.event_store.lane import Lane, NoConnection

LIMIT_S = 30.0


class Connection:
    closed = False


class Connections:
    """Makes connections, unless they are `away`."""

    def __init__(self):
        self.opened_count, self.away, self.broken = 0, False, False

    async def connect_on_loop(self):
        if self.away:
            raise OSError
        self.opened_count += 1
        return Connection()

    async def verify_on_loop(self, connection):
        if self.broken:
            self.broken = False
            connection.closed = True
            raise OSError


class Desk:
    """Carries items out when it is let, and keeps what came together."""

    def __init__(self, **bounds):
        self.groups, self.may_go = [], asyncio.Event()
        self.connections = Connections()
        self.lane = Lane(self.connections, self.carry_out, **{"many": 1, "most_items": 3} | bounds)

    async def carry_out(self, _connection, items):
        self.groups.append(list(items))
        await self.may_go.wait()
        if "wrong" in items:
            raise ValueError
        return [f"{item} done" for item in items]

    async def submitted(self, *items, shared_by=None):
        """Tasks that have submitted items, in this order."""
        tasks = []
        for item in items:
            tasks.append(asyncio.create_task(self.lane.submit(item, len(item), shared_by=shared_by)))
            for _ in range(5):
                await asyncio.sleep(0)
        return tasks


def run_on_loop(scenario):
    return asyncio.run(asyncio.wait_for(scenario, LIMIT_S))


def test_of_items_that_share_what_they_want_only_the_first_counts_with_its_size():
    async def run_scenario():
        desk = Desk(most_items=9, most_size=10)
        tasks = await desk.submitted("a")
        tasks += await desk.submitted("shared 1", "shared 2", "shared 3", shared_by="what they want")
        tasks += await desk.submitted("b", "another")
        desk.may_go.set()
        await asyncio.gather(*tasks)
        return desk.groups

    assert [["a"], ["shared 1", "shared 2", "shared 3", "b"], ["another"]] == run_on_loop(run_scenario())


def test_what_waits_while_a_connection_is_busy_goes_together_by_its_bounds_and_in_its_order():
    async def run_scenario():
        desk = Desk(most_size=10)
        tasks = await desk.submitted("a", "b", "c", "d", "e", "long one", "rest")
        desk.may_go.set()
        answers = await asyncio.gather(*tasks)
        return desk.groups, answers, desk.connections.opened_count

    groups, answers, connection_count = run_on_loop(run_scenario())

    assert [["a"], ["b", "c", "d"], ["e", "long one"], ["rest"]] == groups
    assert answers[:2] == ["a done", "b done"]
    assert 1 == connection_count


def test_what_comes_in_the_same_step_of_the_loop_goes_together_though_a_connection_is_free():
    async def run_scenario():
        desk = Desk()
        desk.may_go.set()
        await asyncio.gather(*(desk.lane.submit(item) for item in ("a", "b")))
        return desk.groups

    assert [["a", "b"]] == run_on_loop(run_scenario())


def test_several_connections_work_side_by_side():
    async def run_scenario():
        desk = Desk(many=2)
        tasks = await desk.submitted("a", "b", "c", "d")
        desk.may_go.set()
        await asyncio.gather(*tasks)
        return desk.groups

    assert [["a"], ["b"], ["c", "d"]] == run_on_loop(run_scenario())


def test_who_is_given_up_while_it_waits_is_left_out():
    async def run_scenario():
        desk = Desk()
        first, second, third = await desk.submitted("a", "b", "c")
        second.cancel()
        desk.may_go.set()
        return await asyncio.gather(first, third), desk.groups

    assert (["a done", "c done"], [["a"], ["c"]]) == run_on_loop(run_scenario())


def test_an_error_is_raised_to_all_that_went_together_and_to_no_other():
    async def run_scenario():
        desk = Desk()
        tasks = await desk.submitted("a", "wrong", "b")
        desk.may_go.set()
        return [type(outcome) for outcome in await asyncio.gather(*tasks, return_exceptions=True)]

    assert [str, ValueError, ValueError] == run_on_loop(run_scenario())


def test_without_a_connection_nothing_is_sent_and_all_that_wait_are_told():
    async def run_scenario():
        desk = Desk()
        desk.connections.away = True
        with pytest.raises(NoConnection):
            await desk.lane.submit("a")
        desk.connections.away = False
        desk.may_go.set()
        return await desk.lane.submit("b"), desk.groups

    assert ("b done", [["b"]]) == run_on_loop(run_scenario())


def test_a_connection_that_went_bad_is_replaced():
    async def run_scenario():
        desk = Desk()
        desk.may_go.set()
        await desk.lane.submit("a")
        desk.connections.broken = True
        with pytest.raises(NoConnection):
            await desk.lane.submit("b")
        return await desk.lane.submit("c"), desk.connections.opened_count

    assert ("c done", 2) == run_on_loop(run_scenario())
