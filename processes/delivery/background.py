"""Tasks of the event loop that go on while others are begun."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def start_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """
    Start work in the event loop, whose error asyncio does not report when nobody awaits it.

    An outage of the database ends several tasks at once; the first of them is awaited, and says so.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_retrieve_error)
    return task


def _retrieve_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
