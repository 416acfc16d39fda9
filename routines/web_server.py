"""The web process: uvicorn around the application."""

import os
import resource
import socket
from functools import partial

import uvicorn
from litestar.concurrency import set_asyncio_executor
from litestar.types import ASGIApp

from routines import bootstrap
from routines.settings import Settings, has_jetty_routines
from web.app import create_app
from web.http.backend import Backend
from web.http.fair_threads import FairThreads
from web.http.peers import Peers
from web.http.protocol import Connection

DRAIN_S = 5  # how long requests at work may take after SIGTERM
SPARE_FILES = 64  # descriptors that are left for files, sockets of threads, and clients not yet hung up on
LONGEST_BACKLOG = 1024
KEEP_ALIVE_S = 65  # longer than clients and proxies do, or one may send a request just when we hang up


def serve(settings: Settings, host: str, port: int, fd: int | None = None) -> None:
    """Until SIGTERM or Ctrl-C; requests at work are finished. Listens on the inherited socket `fd` if there is one."""
    with bootstrap.system(settings) as system:
        set_asyncio_executor(request_threads(settings))  # type: ignore[arg-type]  # any executor will do
        backend = Backend(system.executor, system.pool, settings.patience_s)
        public_url = settings.public_url or f"http://{host}:{port}"
        with_routines = has_jetty_routines(os.environ)
        app = create_app(backend, public_url, settings.webhook_rate, jetty_routines=with_routines)
        server(app, settings, host, port).run(None if fd is None else [socket.socket(fileno=fd)])


def request_threads(settings: Settings) -> FairThreads:
    """Where requests are worked on: half of the threads are not for one tenant alone."""
    return FairThreads(settings.threads, max(settings.threads // 2, 1))


def server(
    app: ASGIApp, settings: Settings, host: str, port: int, connection: type[Connection] = Connection
) -> uvicorn.Server:
    """The server of the application, ready to run."""
    most, backlog = _room(settings)
    most_of_peer = min(settings.limits.max_connections_per_peer, max(most // 2, 1))
    peers = Peers(most, most_of_peer, settings.proxies)
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
    return uvicorn.Server(config)


def _room(settings: Settings) -> tuple[int, int]:
    """
    How many clients there may be, and how many may wait to be accepted: those are, at once, before any is hung up on.

    So many that the process never runs out of descriptors: it needs some for Postgres and for files.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = max(SPARE_FILES, descriptors // 4)
    most = min(settings.limits.max_connections, descriptors - settings.connections - spare)
    return max(most, 1), min(spare // 2, LONGEST_BACKLOG)
