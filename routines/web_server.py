"""The web process: uvicorn around the application."""

from concurrent.futures import ThreadPoolExecutor

import uvicorn
from litestar.concurrency import set_asyncio_executor

from routines import bootstrap
from routines.settings import Settings
from web.app import create_app
from web.backend import Backend

DRAIN_S = 5  # how long requests at work may take after SIGTERM


def serve(settings: Settings, host: str, port: int) -> None:
    """Until SIGTERM or Ctrl-C; requests at work are finished."""
    with bootstrap.system(settings) as system:
        set_asyncio_executor(ThreadPoolExecutor(settings.threads, thread_name_prefix="request"))
        app = create_app(Backend(system.executor, system.pool, settings.patience_s))
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        uvicorn.Server(config).run()
