"""
Clients that disconnect before their answer: a request that nobody works on yet is given up, and waits for it stop.

A change that is already being recorded is recorded all the same, but no answer is sent.
"""

import asyncio
from contextvars import ContextVar
from threading import Event
from types import TracebackType
from typing import Self

from litestar.types import HTTPDisconnectEvent, Message, Receive, ReceiveMessage, Send

_LEFT: ContextVar[Event | None] = ContextVar("left", default=None)  # is set once the client has left


class Gone(Exception):
    """The client has left before it was answered."""


def check_presence() -> None:
    """Raise Gone if the client of the current request has left. Threads that wait on behalf of a client call it."""
    departure = _LEFT.get()
    if departure is not None and departure.is_set():
        raise Gone


class Watched:
    """
    A context in which the current task answers a request whose body has arrived. It raises Gone if the client leaves.

    Once the answer has begun, it is sent to its end.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._left = Event()
        self._is_answering = False
        self._task: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        _LEFT.set(self._left)
        self._task = asyncio.current_task()
        self._departure = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._departure.cancel()
        task = self._task
        del self._departure, self._task  # they know this object: together they would be kept in a cycle
        if self._left.is_set() and task is not None:
            task.uncancel()
            raise Gone from error

    async def receive(self) -> ReceiveMessage:
        """Wait until the client leaves, and return that message: nothing else comes after the whole request."""
        await asyncio.shield(self._departure)
        return HTTPDisconnectEvent(type="http.disconnect")

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer. Once it has begun, the task is no longer cancelled when the client leaves."""
        self._is_answering = True
        await self._send(message)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._is_answering and self._task is not None:
            self._left.set()
            self._task.cancel()
