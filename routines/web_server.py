"""The web process: uvicorn around the application."""

import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import Event as Stop

import uvicorn
from litestar.concurrency import set_asyncio_executor
from litestar.types import ASGIApp

from processes.threads import run_beside
from routines import allocator, bootstrap, database_check
from routines.bootstrap import System
from routines.local.listening import url_of
from routines.logs import log
from routines.settings import Settings, has_jetty_routines
from web.app import create_app
from web.events.live import end_feeds
from web.http.backend import Backend
from web.http.fair_threads import FairThreads
from web.http.peers import Peers
from web.http.protocol import Connection

DRAIN_S = 5  # how long requests under way may take after SIGTERM
SPARE_FILES = 64  # descriptors for files, sockets of threads, and clients that are about to be refused
LONGEST_BACKLOG = 1024
# How long a computing thread may keep the interpreter; Python's default of 5 ms would delay every answer.
SWITCH_S = 0.001
KEEP_ALIVE_S = 65  # longer than clients and proxies wait: else one sends a request just as we close


def serve(settings: Settings, host: str, port: int, fd: int | None = None, *, is_checked: bool) -> None:
    """
    Serve the API until SIGTERM or Ctrl-C, and finish the requests that are under way then.

    Listens on the inherited socket `fd` if it is given, else on the host and port. Unless the database has been checked, it
    is taken for one that is away until it has been; if it is not ready then, the server ends and what the check says is raised.
    """
    sys.setswitchinterval(SWITCH_S)
    allocator.keep_few_arenas()
    with bootstrap.system(settings, tells_outages=True, opens=is_checked) as system:
        set_asyncio_executor(request_threads(settings))  # type: ignore[arg-type]  # Litestar accepts any executor
        backend = Backend(system.executor, system.pool, settings.patience_s, system.outage)
        public_url = settings.public_url or url_of(host, port)
        with_routines = has_jetty_routines(os.environ)
        app = create_app(backend, public_url, settings.webhook_rate, jetty_routines=with_routines)
        running = server(app, settings, host, port)
        with nullcontext() if is_checked else _opening_pool(system, running):
            running.run(None if fd is None else [socket.socket(fileno=fd)])


@contextmanager
def _opening_pool(system: System, running: uvicorn.Server) -> Iterator[None]:
    """Wait for the database beside the server, which ends if the database is not ready: then the reason is raised."""
    refusals: list[Exception] = []

    def open_pool() -> None:
        try:
            database_check.open_when_ready(system, stop)
        except Exception as error:  # noqa: BLE001 it is raised when the server has ended
            refusals.append(error)
            running.should_exit = True

    stop = Stop()
    with run_beside("database", open_pool, stop):
        yield
    if refusals:
        raise refusals[0]


def request_threads(settings: Settings) -> FairThreads:
    """Return the threads that work on requests; one tenant gets half of them, and beside others a quarter."""
    return FairThreads(settings.threads, max(settings.threads // 2, 1), max(settings.threads // 4, 1))


def server(
    app: ASGIApp, settings: Settings, host: str, port: int, connection: type[Connection] = Connection
) -> uvicorn.Server:
    """Return the server of the application, ready to run."""
    max_connections, backlog = _room_for_clients(settings)
    most_of_peer = min(settings.limits.max_connections_per_peer, max(max_connections // 2, 1))
    peers = Peers(max_connections, most_of_peer, settings.proxies)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=partial(connection, peers=peers),  # type: ignore[arg-type]
        backlog=backlog,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=[str(network) for network in settings.proxies],
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    return Server(config)


class Server(uvicorn.Server):
    """A server whose live feeds end as soon as it is to end; it waits for the other answers under way."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more requests, and wait for those under way."""
        end_feeds()
        await super().shutdown(sockets)
        log.info("stopped")  # afterwards uvicorn ends the process by the signal that it got


def _room_for_clients(settings: Settings) -> tuple[int, int]:
    """
    Return how many clients may be connected, and how many may wait to be accepted.

    All that wait are accepted at once before any is closed. Both numbers are chosen so that the process never runs out
    of descriptors: it also needs some for Postgres and for files.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = max(SPARE_FILES, descriptors // 4)
    max_connections = min(settings.limits.max_connections, descriptors - settings.connections - spare)
    return max(max_connections, 1), min(spare // 2, LONGEST_BACKLOG)
