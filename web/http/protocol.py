"""A client's connection: uvicorn's, without the patience for clients that never come to an end."""

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

MAX_HEAD_BYTES = 64 * 1024  # the guard takes less; this is what a head may fill of our memory before it is complete
MAX_FRAME_BYTES = 256 * 1024  # of a request without its body: the head, the sizes of chunks, what follows the last one
MAX_ADDRESS_BYTES = 8 * 1024  # with its query; to decode one takes far longer than to send it
MAX_PIPELINED = 128  # requests that wait for their turn; clients send one


class AddressTooLong(Exception):
    """Of a request: no operation of ours has one that long."""


class TooManyAtOnce(Exception):
    """More requests than are kept have come before the first of them was answered."""


class Connection(HttpToolsProtocol):
    """
    A request has `receive_s` seconds to arrive whole, and an answer as long to be taken; then the connection is closed.

    A request that wishes for another protocol is answered in this one (RFC 9110, 7.8), and fields that follow its body
    are no headers (6.5.1): who is calling and how much was said is judged before.
    """

    receive_s = 15.0

    def __init__(self, *args: Any, peers: Peers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._peers = peers
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = True
        self._frame_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._peers.admit(self, self.client[0] if self.client else ""):
            self.hang_up()
            return
        if (connected := transport.get_extra_info("socket")) and hasattr(socket, "TCP_USER_TIMEOUT"):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.receive_s * 1000))
        self._expect_request()

    def hang_up(self) -> None:
        """At once, whatever is on its way."""
        self._forget_deadline()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.leave(self)
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
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
        if len(self.pipeline) >= MAX_PIPELINED:
            raise TooManyAtOnce
        super().on_message_begin()
        self._expect_request()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_ADDRESS_BYTES:
            raise AddressTooLong

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._in_head = False
            super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._frame_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._in_head:
            self._in_head, self._frame_bytes = True, 0
            super().on_message_complete()
            self._forget_deadline()
            if self._is_answering():
                self._peers.work(self)
            else:  # the answer came before the end of the body
                self._expect_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_answering():
            self._peers.wait(self)

    def _read_without_upgrade(self, rest: bytes) -> None:
        """The parser has taken what follows the head for another protocol: a new one reads it as what it is."""
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
        """Whether a whole request waits for its answer: until then it is us who do not read on."""
        whole = self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
        return whole or bool(self.pipeline)

    def _refuse(self, status: int, message: str) -> None:
        """The last answer on this connection; none if another one is on its way, or was given before the request was."""
        if self.transport.is_closing():
            return
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
