"""
Clients that disconnect before their answer: a request that nobody works on yet is given up, and waits for it stop.

A change that is already being recorded is recorded all the same, but no answer is sent.
Most requests are answered within AFTER_S. Only for one that takes longer is it watched whether its client leaves: that
takes a task, which costs as much as a tenth of a short request.
"""

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from litestar.types import HTTPDisconnectEvent, Message, Receive, ReceiveMessage, Send

AFTER_S = 0.25


class Gone(Exception):
    """The client has left before it was answered."""


class Departure:
    """Whether a client has left. Threads look at it, and may keep it longer than the request."""

    __slots__ = ("has_happened",)

    def __init__(self) -> None:
        self.has_happened = False


_DEPARTURE: ContextVar[Departure | None] = ContextVar("departure", default=None)  # of the client of this context


def check_presence() -> None:
    """Raise Gone if the client of the current request has left. Threads that wait on behalf of a client call it."""
    departure = _DEPARTURE.get()
    if departure is not None and departure.has_happened:
        raise Gone


class Watched:
    """
    A context in which the current task answers a request whose body has arrived. It raises Gone if the client leaves.

    Once the answer has begun, it is sent to its end.
    """

    __slots__ = ("_departure", "_is_answering", "_receive", "_send", "_task", "_timer", "_watch")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._departure = Departure()
        self._is_answering = False
        self._task: asyncio.Task[object] | None = None
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        _DEPARTURE.set(self._departure)
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self._timer = loop.call_later(AFTER_S, self._begin)
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._timer.cancel()
        task, watch = self._task, self._watch
        del self._timer, self._task, self._watch  # they know this object: together they would be kept in a cycle
        if watch is not None:
            watch.cancel()
        if self._departure.has_happened and task is not None:
            task.uncancel()
            raise Gone from error

    async def receive(self) -> ReceiveMessage:
        """Wait until the client leaves, and return that message: nothing else comes after the whole request."""
        await asyncio.shield(self._begin())
        return HTTPDisconnectEvent(type="http.disconnect")

    def send(self, message: Message) -> Awaitable[None]:
        """Pass on a part of the answer. Once it has begun, the task is no longer cancelled when the client leaves."""
        self._is_answering = True
        return self._send(message)

    def _begin(self) -> asyncio.Task[None]:
        """Watch from now on whether the client leaves, until the end of the context."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._wait_for_departure())
        return self._watch

    async def _wait_for_departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._is_answering and self._task is not None:
            self._departure.has_happened = True
            self._task.cancel()
