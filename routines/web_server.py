"""The web process: uvicorn around the application."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from litestar.concurrency import set_asyncio_executor
from litestar.types import ASGIApp

from routines import bootstrap
from routines.connection import Connection
from routines.settings import Settings, has_jetty_routines
from web.app import create_app
from web.backend import Backend

DRAIN_S = 5  # how long requests at work may take after SIGTERM
KEEP_ALIVE_S = 65  # longer than clients and proxies do, or one may send a request just when we hang up


def serve(settings: Settings, host: str, port: int, fd: int | None = None) -> None:
    """Until SIGTERM or Ctrl-C; requests at work are finished. Listens on the inherited socket `fd` if there is one."""
    with bootstrap.system(settings) as system:
        set_asyncio_executor(ThreadPoolExecutor(settings.threads, thread_name_prefix="request"))
        backend = Backend(system.executor, system.pool, settings.patience_s)
        public_url = settings.public_url or f"http://{host}:{port}"
        with_routines = has_jetty_routines(os.environ)
        app = create_app(backend, public_url, settings.webhook_rate, jetty_routines=with_routines)
        server(app, settings, host, port).run(None if fd is None else [socket.socket(fileno=fd)])


def server(
    app: ASGIApp, settings: Settings, host: str, port: int, connection: type[Connection] = Connection
) -> uvicorn.Server:
    """The server of the application, ready to run."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    return uvicorn.Server(config)
