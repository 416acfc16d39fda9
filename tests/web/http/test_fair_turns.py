"""Tenants take turns for what the event loop works on, and none has all of it."""

import asyncio
from contextlib import asynccontextmanager

from web.http.fair_queue import TENANT
from web.http.fair_turns import FairTurns


class Desk:
    """Requests of tenants, which work until they are let go."""

    def __init__(self, *bounds):
        self.turns = FairTurns(*bounds)
        self.began, self.may_end = [], {}

    async def _work_in_turn(self, tenant, name):
        TENANT.set(tenant)
        async with self.turns.turn():
            self.began.append(name)
            await self.may_end[name].wait()

    async def ask(self, tenant, *names):
        self.may_end |= {name: asyncio.Event() for name in names}
        tasks = [asyncio.create_task(self._work_in_turn(tenant, name)) for name in names]
        await settle()
        return tasks

    async def end(self, name):
        self.may_end[name].set()
        await settle()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def desk_with(*bounds):
    desk = Desk(*bounds)
    yield desk
    for event in desk.may_end.values():
        event.set()
    await settle()
    assert not desk.turns._under_way
    assert not desk.turns._queue._waiting
    assert not desk.turns._queue._running


def test_tenants_take_turns_however_many_requests_one_has_sent():
    async def story():
        async with desk_with(2, 2) as desk:
            await desk.ask("hostile", "h1", "h2", "h3", "h4")
            await desk.ask("neighbour", "n1")
            await desk.end("h1")
            await desk.end("h2")
            return list(desk.began)

    assert ["h1", "h2", "h3", "n1"] == asyncio.run(story())


def test_one_tenant_has_less_beside_others():
    async def story():
        async with desk_with(4, 3, 1) as desk:
            await desk.ask("alone", "a1", "a2", "a3", "a4")
            alone = list(desk.began)
            await desk.ask("other", "o1", "o2")
            return alone, list(desk.began)

    assert (["a1", "a2", "a3"], ["a1", "a2", "a3", "o1"]) == asyncio.run(story())


def test_a_request_that_is_given_up_has_no_turn():
    async def story():
        async with desk_with(1, 1) as desk:
            await desk.ask("tenant", "first")
            second, third = await desk.ask("tenant", "second", "third")
            second.cancel()
            await settle()
            await desk.end("first")
            assert not third.done()
            return list(desk.began)

    assert ["first", "third"] == asyncio.run(story())


def test_a_request_that_is_given_up_at_work_gives_its_turn_to_the_next():
    async def story():
        async with desk_with(1, 1) as desk:
            (first,) = await desk.ask("tenant", "first")
            await desk.ask("tenant", "second")
            first.cancel()
            await settle()
            return list(desk.began)

    assert ["first", "second"] == asyncio.run(story())


def test_of_any_number_of_requests_that_are_given_up_at_once_none_keeps_a_turn():
    async def story():
        async with desk_with(1, 1) as desk:
            tasks = await desk.ask("tenant", *map(str, range(2_000)))
            for task in tasks:
                task.cancel()
            await settle()
            await desk.ask("tenant", "next")
            return list(desk.began)

    assert ["0", "next"] == asyncio.run(story())
