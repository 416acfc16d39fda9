"""
Closing of connections whose clients are still sending.

Whoever closes a socket that has unread data tells the other end to forget what it was sent last (a reset), so the
client would never see why it was refused. Such a connection is first closed for what we send only; what still arrives
is dropped for a while.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class LingeringTransport:
    """A transport whose `close` first asks whether to linger. A second `close` always closes it."""

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool]) -> None:
        self._transport = transport
        self._linger = linger
        self.lingers = False
        self.write = transport.write  # of each answer: the long way of `__getattr__` costs more than writing

    def close(self) -> None:
        """Close the connection, or at first only what we send if the client may still be sending."""
        if self.is_closing() or not self._linger():
            self.lingers = False
            self._transport.close()
            return
        self.lingers = True
        self._transport.write_eof()

    def is_closing(self) -> bool:
        """Return whether nothing more can be sent."""
        return self.lingers or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
