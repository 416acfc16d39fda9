"""
A client's connection: uvicorn's, with deadlines and limits for clients that never finish a request.

This is the only module that touches what uvicorn promises nobody; tests/web/http/test_protocol.py has the list.
"""

import asyncio
import socket
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from web.http.errors import make_problem
from web.http.guard import NO_STORE, NOSNIFF, TOO_LARGE
from web.http.lingering import LingeringTransport
from web.http.peers import Peers
from web.http.rare_log import RareLine

MAX_HEAD_BYTES = 64 * 1024  # the memory for a head that is not complete yet; the guard accepts less
MAX_FRAME_BYTES = 256 * 1024  # of a request without its body: the head, the sizes of chunks, the trailer
MAX_ADDRESS_BYTES = 8 * 1024  # with the query; decoding an address takes far longer than sending it
UNREADABLE = RareLine("request_unreadable")  # of the process
# How much a client may go on to send after it was answered, before the connection is closed.
MAX_DROPPED_BYTES = 64 * 1024 * 1024
# The slowest rate at which a body may arrive: each further so many bytes extend its deadline by a second.
SLOWEST_BYTES_PER_S = 32 * 1024
CLIENT_IS_THERE_S = 0.1  # how often it is looked whether a client that sends no more still waits for its answer
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE_WAIT = 8  # the state of Linux's TCP in which the other end sends no more, and may still receive
MAX_PIPELINED = 128  # requests that wait for their turn; usual clients send one at a time


class AddressTooLong(Exception):
    """The address of a request is longer than any operation of ours may have."""


class TooManyAtOnce(Exception):
    """More than MAX_PIPELINED requests have arrived before the first of them was answered."""


class Connection(HttpToolsProtocol):
    """
    A connection that is closed if a request takes longer than `receive_s` seconds to arrive, or an answer to be taken.
    A body has time in proportion: whatever has arrived of it, at SLOWEST_BYTES_PER_S.

    A client that has sent its request and sends no more is answered, unless it has left. A client that is refused while
    it sends is answered as well: what it sends is dropped, up to MAX_DROPPED_BYTES.

    A request to upgrade to another protocol is answered in this one (RFC 9110, 7.8). Trailer fields are not treated as
    headers (6.5.1), since the caller and the length of the body are checked before they arrive.
    """

    receive_s = 15.0

    def __init__(self, *args: Any, peers: Peers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._peers = peers
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = True
        self._has_begun = False  # a request, of which a part is still to come
        self._frame_bytes = 0
        self._body_bytes = 0
        self._dropped_bytes = 0
        self._expected_since = 0.0
        self._under_way: RequestResponseCycle | None = (
            None  # the request that is answered; `cycle` is the last that came
        )
        self.transport: Any = None  # a LingeringTransport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection and wait for its first request, or close it if there are too many."""
        super().connection_made(LingeringTransport(transport, self._start_lingering))  # type: ignore[arg-type]
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
        self._give_up_answer()
        self._forget_deadline()
        self._unset_keepalive_if_required()  # uvicorn leaves it on after a reset, and all of the connection is kept till then
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived. Answer 400 or 431 and close the connection if it is invalid or too large."""
        if self.transport.lingers:
            self._drop_bytes(len(data))
            return
        self._unset_keepalive_if_required()
        self._frame_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            is_long = isinstance(error.__context__, AddressTooLong)
            self._refuse(431, TOO_LARGE) if is_long else self._refuse(400, "Invalid HTTP request")
        if self._has_begun or not self._is_answering():
            self._expect_request()
        if self._frame_bytes > (MAX_HEAD_BYTES if self._in_head else MAX_FRAME_BYTES):
            self._refuse(431, TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin a request. Raise TooManyAtOnce, which the parser turns into a 400."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise TooManyAtOnce
        super().on_message_begin()
        self._has_begun = True

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
        if self.cycle.response_complete:
            self._drop_bytes(len(body))
            return
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the deadline of the request. The connection stays open while the request is answered."""
        if not self._in_head:
            self._has_begun = False
            self._in_head, self._frame_bytes, self._body_bytes, self._dropped_bytes = True, 0, 0, 0
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._under_way = cycle
        super()._start_asgi_task(cycle, app)

    def _give_up_answer(self) -> None:
        """Let what is under way hear that nobody reads its answer; uvicorn tells it only to the last request that came."""
        if self._under_way is not None and not self._under_way.response_complete:
            self._under_way.disconnected = True
            self._under_way.message_event.set()

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

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Return whether the connection stays open though its client sends no more: until its requests are answered."""
        if self.transport.lingers or not self._is_answering():
            self.transport.flush()  # the loop closes the connection without asking it
            return None
        self.cycle.keep_alive = False
        if self.scope["http_version"] == "1.1" and not self.pipeline and not self.cycle.response_started:
            self.transport.write(CONTINUE)  # a client that has left answers it with a reset
        self._close_if_left()
        return True

    def _close_if_left(self) -> None:
        """Hang up on a client that sends no more if it receives no more either; look again until it is answered."""
        if self.transport.is_closing():
            return
        if self._has_left():
            self.hang_up()
        else:
            self.loop.call_later(CLIENT_IS_THERE_S, self._close_if_left)

    def _has_left(self) -> bool:
        """Return whether the client's end, which sends no more, is closed altogether, where the system tells that."""
        connected = self.transport.get_extra_info("socket")
        if connected is None or connected.family == socket.AF_UNIX or not hasattr(socket, "TCP_INFO"):
            return False
        return bool(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != CLOSE_WAIT)

    def _start_lingering(self) -> bool:
        """Return whether the client may still be sending a request. If so, that is dropped until it is over."""
        if self._in_head and not self._frame_bytes:
            return False
        self._give_up_answer()
        self._forget_deadline()
        self._body_bytes = 0
        self._expect_request()
        self.flow.resume_reading()
        return True

    def _drop_bytes(self, size: int) -> None:
        self._body_bytes += size
        self._dropped_bytes += size
        if self._dropped_bytes > MAX_DROPPED_BYTES:
            self.hang_up()

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._expected_since = self.loop.time()
            self._deadline = self.loop.call_later(self.receive_s, self._too_late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        in_time = self._expected_since + self.receive_s + self._body_bytes / SLOWEST_BYTES_PER_S
        if self.loop.time() < in_time:
            self._deadline = self.loop.call_at(in_time, self._too_late)
        elif self.transport.lingers:
            self.hang_up()
        elif self._is_answering():
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
            body = msgspec.json.encode(make_problem(status, message))
            headers = [
                *self.server_state.default_headers,
                *(NOSNIFF, NO_STORE, (b"content-type", b"application/json"), (b"connection", b"close")),
                (b"content-length", str(len(body)).encode()),
            ]
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
            self.transport.write(b"\r\n".join([line, *(b"%s: %s" % header for header in headers), b"", body]))
        self.transport.close()
