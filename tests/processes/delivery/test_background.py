import asyncio
import gc

import psycopg

from processes.delivery import background


async def lose_connection():
    raise psycopg.OperationalError("gone")


def test_what_several_tasks_fail_by_is_told_by_the_one_that_is_awaited_only():
    messages = []

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: messages.append(context["message"]))
        await asyncio.wait([background.start_task(lose_connection()) for _ in range(3)])
        gc.collect()

    asyncio.run(run())

    assert [] == messages
