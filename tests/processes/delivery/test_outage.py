"""What the delivery process says of a database that goes away."""

import asyncio
import gc
from contextlib import nullcontext
from threading import Event
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from application.outage import Outage
from processes.delivery.worker import _serve


class Listening:
    """Listens until it is told that the database has gone."""

    def __init__(self) -> None:
        self.gone = Event()

    def wait(self, *_):
        self.gone.wait()
        raise psycopg.OperationalError("the listener's connection is away")


def test_an_outage_that_ends_both_sending_and_listening_is_told_once():
    wakeup: Any = Listening()
    connect: Any = nullcontext
    locks: Any = None
    told: list[str] = []
    rounds = iter((True, False))

    async def send_due(*_):
        if not next(rounds):
            raise psycopg.OperationalError("the sender's connection is away")

    async def run():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        sent = loop.create_future()
        sent.set_result(None)
        worker: Any = SimpleNamespace(send_due=send_due, pause_s=lambda _: 1.0, is_behind=False, tasks={sent})
        with pytest.raises(psycopg.OperationalError, match="the sender"):
            await _serve(worker, connect, locks, wakeup, stop=Event(), outage=Outage())
        wakeup.gone.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        gc.collect()

    asyncio.run(run())

    assert [] == told
