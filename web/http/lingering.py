"""
The transport of a client's connection: what it writes in one turn of the event loop goes out together, and closing waits for
clients that are still sending.

An answer comes as its head and its body. Each alone would be a call of the system, a packet, and work for the client.

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
        self._call_soon = asyncio.get_running_loop().call_soon
        self._held: bytes | None = None
        self.lingers = False

    def write(self, data: bytes) -> None:
        """
        Send data. It waits for what is written next, until the next turn of the loop at most: both go out together.

        Once nothing more can be sent, the transport says so at once, which ends a stream that nobody reads.
        """
        if self.is_closing():
            self._transport.write(data)
        elif self._held is None:
            self._held = data
            self._call_soon(self.flush)
        else:
            earlier_data, self._held = self._held, None
            self._transport.writelines((earlier_data, data))

    def close(self) -> None:
        """Close the connection, or at first only what we send if the client may still be sending."""
        self.flush()
        if self.is_closing() or not self._linger():
            self.lingers = False
            self._transport.close()
            return
        self.lingers = True
        self._transport.write_eof()

    def is_closing(self) -> bool:
        """Return whether nothing more can be sent."""
        return self.lingers or self._transport.is_closing()

    def flush(self) -> None:
        """Send now what waits, unless the connection has been given up."""
        data, self._held = self._held, None
        if data is not None and not self.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
