"""
Clients that leave: what they asked for and nobody works on yet is given up, and whoever waits for it stops.

What has begun to be recorded is recorded all the same; nobody is told.
"""

import asyncio
from contextvars import ContextVar
from threading import Event
from types import TracebackType
from typing import Self

from litestar.types import HTTPDisconnectEvent, Message, Receive, ReceiveMessage, Send

_LEFT: ContextVar[Event | None] = ContextVar("left", default=None)  # of the request that this context is about


class Gone(Exception):
    """The client has left before it was answered."""


def check_presence() -> None:
    """For threads that wait on behalf of a client. Raises Gone."""
    departure = _LEFT.get()
    if departure is not None and departure.is_set():
        raise Gone


class Watched:
    """
    A context in which a request, which has come whole, is worked on by the current task: Gone ends it.

    Once the answer has begun it goes on to its end.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._left = Event()
        self._is_answering = False

    async def __aenter__(self) -> Self:
        _LEFT.set(self._left)
        self._task = asyncio.current_task()
        self._departure = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._departure.cancel()
        if self._left.is_set() and self._task is not None:
            self._task.uncancel()
            raise Gone from error

    async def receive(self) -> ReceiveMessage:
        """What comes after the whole request: that the client leaves."""
        await asyncio.shield(self._departure)
        return HTTPDisconnectEvent(type="http.disconnect")

    async def send(self, message: Message) -> None:
        self._is_answering = True
        await self._send(message)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._is_answering and self._task is not None:
            self._left.set()
            self._task.cancel()
