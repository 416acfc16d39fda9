"""
Sends requests to addresses that others chose: to public ones only, unless the limits allow private ones (SSRF).

A name is resolved once, the connection goes to an address that was checked, and the peer's address is checked again
before a byte is sent; so it does not matter what the name resolves to the next time. Redirects are not followed: they
are answers. Proxies of the environment are not used. Whatever a receiver does, an attempt is over after LIMIT_S, and
reads at most `max_answer_bytes` of an answer.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpcore
from msgspec.structs import replace

from domain.bounds import limits as bounds
from domain.bounds.limits import Limits
from domain.delivery.addresses import is_public
from domain.delivery.delivery import Answer
from domain.delivery.outbound_url import BadTarget, host_of, is_private_by_name, request_target
from processes.delivery.lookups import Lookups, Overdue, Resolve, resolve

LIMIT_S = 10.0  # how long a whole attempt may take
CONNECT_S = 5.0  # how long each try to connect may take
MOST_DIGITS = 9  # digits that a Retry-After may have
PRIVATE = "The address is not public, and private ones are not allowed (ROUTINES_ALLOW_PRIVATE_TARGETS)"

_SENDER: ContextVar[UUID | None] = ContextVar("sender", default=None)  # the company whose request is being sent


class HostRefused(httpcore.ConnectError):
    """The host has no address to which the service may connect."""


class TooLong(httpcore.RemoteProtocolError):
    """More has arrived on a connection than may be read of it."""


class Client:
    """Sends one request for each call of `post`, `get` or `exchange`; any number of calls may run at once."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        limit_s: float = LIMIT_S,
        context: ssl.SSLContext | None = None,
        resolve: Resolve = resolve,
        limits: Limits = bounds.DEFAULT,
    ) -> None:
        self._clock = clock
        self._allow_private = limits.allow_private_targets
        self._limit_s = limit_s
        self._lookups = Lookups(resolve, limits)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context or ssl.create_default_context(),
            max_connections=2 * limits.max_deliveries_at_once,
            max_keepalive_connections=0,  # answers are not read to their end
            network_backend=PublicAddressBackend(
                self._lookups, limits.max_answer_bytes, allow_private=self._allow_private
            ),
        )

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, company_id: UUID | None = None
    ) -> Answer:
        """
        Send the request for the company and return what came of it.

        Whatever goes wrong at the receiver or on the way to it is the answer's reason; nothing is raised for it.
        """
        return (await self.exchange("POST", url, headers, body, _never_read_body, company_id))[0]

    async def get(
        self, url: str, headers: Mapping[str, str], reads_body: Callable[[int], bool], *, company_id: UUID | None = None
    ) -> tuple[Answer, bytes]:
        """
        Ask for the URL as `post` sends; return what came of it, and the body if `reads_body` says so of the status.

        An answer with a status and a reason is one whose body is too long to be read.
        """
        return await self.exchange("GET", url, headers, None, reads_body, company_id)

    async def close(self) -> None:
        """Cancel the look-ups and close the connections."""
        self._lookups.close()
        await self._pool.aclose()

    async def exchange(  # noqa: PLR0913, PLR0917 what a request is
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        reads_body: Callable[[int], bool],
        company_id: UUID | None = None,
    ) -> tuple[Answer, bytes]:
        """Send a request with any method and body as `post` does, and return what `get` returns."""
        _SENDER.set(company_id)
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._limit_s):
                answer, content = await self._request_answer(method, url, headers, body, reads_body)
        except Exception as error:  # noqa: BLE001 any error ends the attempt with a reason
            return Answer(status=None, reason=self._reason_of(error), took_ms=_ms_since(began)), b""
        return replace(answer, took_ms=_ms_since(began)), content

    async def _request_answer(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        reads_body: Callable[[int], bool],
    ) -> tuple[Answer, bytes]:
        if is_private_by_name(host_of(url)) and not self._allow_private:
            raise HostRefused(PRIVATE)
        raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        limits = {"connect": CONNECT_S, "read": self._limit_s, "write": self._limit_s, "pool": self._limit_s}
        async with self._pool.stream(
            method, _destination_of(url), headers=raw_headers, content=body, extensions={"timeout": limits}
        ) as response:
            answer = Answer(status=response.status, retry_after=self._retry_after(response.headers))
            try:
                return answer, await response.aread() if reads_body(response.status) else b""
            except TooLong:
                return replace(answer, reason="The answer is too long to be read"), b""

    def _retry_after(self, headers: Iterable[tuple[bytes, bytes]]) -> timedelta | None:
        """Return how long the receiver asks us to wait: Retry-After, in seconds or as a date (RFC 9110, 10.2.3)."""
        text = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
        if text.isascii() and text.isdigit():
            return timedelta(seconds=int(text[:MOST_DIGITS]))
        try:
            until = parsedate_to_datetime(text)
        except (ValueError, OverflowError):  # the latter for numbers of more digits than a date has
            return None
        if until.tzinfo is None:
            return None
        return max(until - self._clock(), timedelta())

    def _reason_of(self, error: Exception) -> str:
        """Return the reason in words of our own: what the receiver says is never recorded."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, HostRefused | BadTarget):
                return f"The address {cause}" if isinstance(cause, BadTarget) else str(cause)
            if isinstance(cause, Overdue):
                return "The name of the host cannot be resolved in time"
            if isinstance(cause, TimeoutError | httpcore.TimeoutException):
                return f"No answer within {self._limit_s:g} s"
            if isinstance(cause, ssl.SSLError):
                return f"TLS failed: {cause.reason or type(cause).__name__}"
            if isinstance(cause, socket.gaierror):
                return "The name of the host cannot be resolved"
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpcore.ConnectError):
            return "The host cannot be connected to"
        if isinstance(error, httpcore.RemoteProtocolError | httpcore.LocalProtocolError):
            return "The answer was not HTTP, or broke off"
        return "The connection broke off"


class PublicAddressBackend(httpcore.AsyncNetworkBackend):
    """
    SSRF protection: connects only to addresses that were checked, out of one answer of the resolver.

    `allow_private` lets it connect to private addresses as well.
    """

    def __init__(self, lookups: Lookups, max_answer_bytes: int, *, allow_private: bool) -> None:
        self._lookups = lookups
        self._max_answer_bytes = max_answer_bytes
        self._allow_private = allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first allowed address that takes the connection. Raises HostRefused when none is allowed."""
        addresses = await self._lookups.addresses(host, port, _SENDER.get())
        allowed_addresses = [address for address in addresses if self._may_be_reached(address)]
        if not allowed_addresses:
            raise HostRefused(PRIVATE)
        for address in allowed_addresses[:-1]:
            try:
                return await self._connect_checked(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._connect_checked(allowed_addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Raise HostRefused: a Unix socket belongs to this machine."""
        raise HostRefused(PRIVATE)

    async def sleep(self, seconds: float) -> None:
        """Wait as the backend underneath does."""
        await self._inner.sleep(seconds)

    async def _connect_checked(self, address: str, *options: Any) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.connect_tcp(address, *options)
        peer = stream.get_extra_info("server_addr")
        if not peer or not self._may_be_reached(peer[0]) or not _are_same(peer[0], address):
            await stream.aclose()
            raise HostRefused(PRIVATE)
        return MeasuredConnection(stream, self._max_answer_bytes)

    def _may_be_reached(self, address: str) -> bool:
        return self._allow_private or is_public(address)


class MeasuredConnection(httpcore.AsyncNetworkStream):
    """A connection from which at most `max_bytes` are read."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, max_bytes: int) -> None:
        self._inner = inner
        self._left = max_bytes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 httpcore's
        """Read what arrives next. Raises TooLong once `max_bytes` of the connection have been read."""
        if not self._left:
            raise TooLong
        data = await self._inner.read(min(max_bytes, self._left), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 httpcore's
        """Send the buffer; what is sent is not limited."""
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection underneath."""
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection under TLS, with the limit that is left of this one."""
        return MeasuredConnection(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._left)

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection underneath knows, such as `server_addr`; None when it does not."""
        return self._inner.get_extra_info(info)


def _destination_of(url: str) -> httpcore.URL:
    """Return the URL with its target set by us: httpcore's own parser drops `;parameters` and an empty query."""
    parts = urlsplit(url)
    return httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=request_target(url))


def _never_read_body(_status: int) -> bool:
    return False


def _are_same(address: str, other: str) -> bool:
    return ipaddress.ip_address(address) == ipaddress.ip_address(other)


def _ms_since(began: float) -> int:
    return round((asyncio.get_running_loop().time() - began) * 1000)
