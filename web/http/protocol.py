"""A client's connection: uvicorn's, with deadlines and limits for clients that never finish a request."""

import asyncio
import socket
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from web.http.errors import problem
from web.http.guard import NO_STORE, NOSNIFF, TOO_LARGE
from web.http.peers import Peers
from web.http.rare_log import RareLine

MAX_HEAD_BYTES = 64 * 1024  # the memory for a head that is not complete yet; the guard accepts less
MAX_FRAME_BYTES = 256 * 1024  # of a request without its body: the head, the sizes of chunks, the trailer
MAX_ADDRESS_BYTES = 8 * 1024  # with the query; decoding an address takes far longer than sending it
UNREADABLE = RareLine("request_unreadable")  # of the process
MAX_PIPELINED = 128  # requests that wait for their turn; usual clients send one at a time


class AddressTooLong(Exception):
    """The address of a request is longer than any operation of ours may have."""


class TooManyAtOnce(Exception):
    """More than MAX_PIPELINED requests have arrived before the first of them was answered."""


class Connection(HttpToolsProtocol):
    """
    A connection that is closed if a request takes longer than `receive_s` seconds to arrive, or an answer to be taken.

    A request to upgrade to another protocol is answered in this one (RFC 9110, 7.8). Trailer fields are not treated as
    headers (6.5.1), since the caller and the length of the body are checked before they arrive.
    """

    receive_s = 15.0

    def __init__(self, *args: Any, peers: Peers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._peers = peers
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = True
        self._frame_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection and wait for its first request, or close it if there are too many."""
        super().connection_made(transport)
        if not self._peers.admit(self, self.client[0] if self.client else ""):
            self.hang_up()
            return
        if (connected := transport.get_extra_info("socket")) and hasattr(socket, "TCP_USER_TIMEOUT"):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.receive_s * 1000))
        self._expect_request()

    def hang_up(self) -> None:
        """Close the connection at once, without sending what is on its way."""
        self._forget_deadline()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place of the connection among its peers."""
        self._peers.leave(self)
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived. Answer 400 or 431 and close the connection if it is invalid or too large."""
        self._unset_keepalive_if_required()
        self._expect_request()
        self._frame_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            is_long = isinstance(error.__context__, AddressTooLong)
            self._refuse(431, TOO_LARGE) if is_long else self._refuse(400, "Invalid HTTP request")
        if self._frame_bytes > (MAX_HEAD_BYTES if self._in_head else MAX_FRAME_BYTES):
            self._refuse(431, TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start the deadline of a request. Raise TooManyAtOnce, which the parser turns into a 400."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise TooManyAtOnce
        super().on_message_begin()
        self._expect_request()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address. Raise AddressTooLong, which is answered with 431."""
        super().on_url(url)
        if len(self.url) > MAX_ADDRESS_BYTES:
            raise AddressTooLong

    def on_headers_complete(self) -> None:
        """Begin to answer the request, unless it asks for an upgrade: then it is parsed anew without it."""
        if not self.parser.should_upgrade():
            self._in_head = False
            super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailer fields, which follow the body, are dropped."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, which does not count as frame."""
        self._frame_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the deadline of the request. The connection stays open while the request is answered."""
        if not self._in_head:
            self._in_head, self._frame_bytes = True, 0
            super().on_message_complete()
            self._forget_deadline()
            if self._is_answering():
                self._peers.work(self)
            else:  # the answer came before the end of the body
                self._expect_request()

    def on_response_complete(self) -> None:
        """Wait for the client's next request, unless another one has already arrived."""
        super().on_response_complete()
        if not self._is_answering():
            self._peers.wait(self)

    def _read_without_upgrade(self, rest: bytes) -> None:
        """Parse a request anew without its `Upgrade`, since the parser took what follows for another protocol."""
        wishes = [header for header in self.headers if header[0] == b"upgrade"]
        if not wishes:  # CONNECT
            self._refuse(400, "Invalid HTTP request")
            return
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        other_headers = [b"%s: %s" % header for header in self.headers if header not in wishes]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([line, *other_headers, b"", rest]))

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.receive_s, self._too_late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._is_answering():
            self._expect_request()
        elif self._in_head and not self._frame_bytes:
            self.transport.close()
        else:
            self._refuse(408, "The request did not arrive in time")

    def _is_answering(self) -> bool:
        """Return whether a whole request waits for its answer. Until then it is not the client who is slow."""
        whole = self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
        return whole or bool(self.pipeline)

    def _refuse(self, status: int, message: str) -> None:
        """
        Answer with an error and close the connection.

        Nothing is sent if another answer is on its way, or was sent before the request had arrived.
        """
        if self.transport.is_closing():
            return
        UNREADABLE.write(status=status, why=message, address=self.client[0] if self.client else "")
        has_begun = self.cycle is not None and self.cycle.response_started
        is_over = self.cycle is None or self.cycle.response_complete
        if not self._is_answering() and (is_over if self._in_head else not has_begun):
            body = msgspec.json.encode(problem(status, message))
            headers = [
                *self.server_state.default_headers,
                *(NOSNIFF, NO_STORE, (b"content-type", b"application/json"), (b"connection", b"close")),
                (b"content-length", str(len(body)).encode()),
            ]
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
            self.transport.write(b"\r\n".join([line, *(b"%s: %s" % header for header in headers), b"", body]))
        self.transport.close()
