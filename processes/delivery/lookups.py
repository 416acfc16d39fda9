"""
Looks up the names of hosts, so that a name server which does not answer delays only the requests to its names.

A look-up goes through the system's resolver (/etc/hosts, nsswitch.conf), and one that hangs cannot be stopped. So each
runs in a thread of its own, nobody waits for it longer than `lookup_limit_s`, and until it ends it counts towards three
limits: that of its name, that of the company that asked for it, and that of the process.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread
from typing import Any
from uuid import UUID

import msgspec

from domain.bounds.limits import Limits
from processes.delivery.shares import Shares

Resolve = Callable[[str, int], Awaitable[list[str]]]  # returns the addresses of a host name; the number is the port
AddressInfo = list[tuple[Any, Any, int, str, tuple[Any, ...]]]  # what socket.getaddrinfo returns


class Overdue(Exception):
    """The name of the host was not resolved within `lookup_limit_s`, or too many look-ups of it hang."""


class Lookup(msgspec.Struct, frozen=True):
    """A look-up that has not ended; `overdue_at` is the time of the event loop after which nobody waits for it."""

    host: str
    company_id: UUID | None
    overdue_at: float
    task: asyncio.Task[list[str]]


class Lookups:
    """The look-ups of one process. Requests for the same name at the same time share an answer; nothing is cached."""

    def __init__(self, resolve: Resolve, limits: Limits) -> None:
        self._resolve = resolve
        self._limits = limits
        self._shares = Shares(limits.max_lookups_at_once, limits.max_company_lookups_at_once)
        self._running: list[Lookup] = []

    async def addresses(self, host: str, port: int, company_id: UUID | None) -> list[str]:
        """Return the addresses of the host. Raises Overdue, and what the resolver raises."""
        if _is_address(host):
            return [host]
        try:
            async with asyncio.timeout(self._limits.lookup_limit_s):
                lookup = await self._find_lookup(host.lower(), port, company_id)
                return await asyncio.shield(lookup.task)
        except TimeoutError:
            raise Overdue from None

    def close(self) -> None:
        """Cancel every wait; threads that hang end with the process."""
        for lookup in self._running:
            lookup.task.cancel()

    async def _find_lookup(self, host: str, port: int, company_id: UUID | None) -> Lookup:
        """Return the look-up to wait for: one of this name that runs, or a new one as soon as the limits allow it."""
        while True:
            now = asyncio.get_running_loop().time()
            pending = [lookup for lookup in self._running if lookup.host == host]
            if (fresh := next((lookup for lookup in pending if now < lookup.overdue_at), None)) is not None:
                return fresh
            if len(pending) >= self._limits.max_host_lookups_at_once:
                raise Overdue
            if self._shares.fits(company_id):
                return self._begin(host, port, company_id, now + self._limits.lookup_limit_s)
            own = [lookup for lookup in self._running if lookup.company_id == company_id]
            if own and all(lookup.overdue_at <= now for lookup in own):
                raise Overdue
            await asyncio.wait([lookup.task for lookup in self._running], return_when=asyncio.FIRST_COMPLETED)

    def _begin(self, host: str, port: int, company_id: UUID | None, overdue_at: float) -> Lookup:
        lookup = Lookup(host, company_id, overdue_at, asyncio.ensure_future(self._ask_resolver(host, port)))
        self._running.append(lookup)
        self._shares.take(company_id)
        lookup.task.add_done_callback(lambda _: self._end(lookup))
        return lookup

    async def _ask_resolver(self, host: str, port: int) -> list[str]:
        return await self._resolve(host, port)

    def _end(self, lookup: Lookup) -> None:
        self._running = [other for other in self._running if other is not lookup]
        self._shares.give_back(lookup.company_id)
        if not lookup.task.cancelled():
            lookup.task.exception()  # marks it as retrieved, so that asyncio does not log it; whoever waits gets it


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses that the system's resolver gives, each once. Raises socket.gaierror."""
    answer: Future[AddressInfo] = Future()
    Thread(target=_get_addresses, args=(answer, host, port), name="lookup", daemon=True).start()
    rows = await asyncio.wrap_future(answer)
    return list(dict.fromkeys(str(address[0]) for *_, address in rows))


def _get_addresses(answer: "Future[AddressInfo]", host: str, port: int) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except Exception as error:  # noqa: BLE001 whoever waits gets it
        answer.set_exception(error)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
