"""A further application over the database of the API: another process, or the same one after a restart."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import msgspec
from litestar.types import ASGIApp

from application.execute import Executor
from routines import bootstrap
from routines.bootstrap import System
from tests.api import Api
from tests.running import make_app, serving
from tests.waiting import wait_for

MINUTE_ENDS_S = 55


@contextmanager
def serve_further(
    api: Api, *, clock: Callable[[], datetime] | None = None, webhook_rate: int = 0, **settings: Any
) -> Iterator[Api]:
    """
    With these settings, and with a clock of our own if there is one.

    Calls of webhooks are counted by the minute of the clock, so a test with a rate does not begin at the end of one.
    """
    if webhook_rate:
        leave_end_of_minute()
    with bootstrap.system(msgspec.structs.replace(api.system.settings, **settings)) as system:
        executor = system.executor if clock is None else Executor(system.store, clock, system.vault)
        here = msgspec.structs.replace(system, executor=executor)
        with serve_app(api, make_app(here, webhook_rate), here) as further_api:
            yield further_api


@contextmanager
def serve_app(api: Api, app: ASGIApp, system: System | None = None, **settings: Any) -> Iterator[Api]:
    """A server of its own for an application, with these settings of the server: who may connect, and how often."""
    system = system or api.system
    here = msgspec.structs.replace(system, settings=msgspec.structs.replace(system.settings, **settings))
    with serving(here, app) as url, closing(Api(url, api.token, here)) as served_api:
        yield served_api


def leave_end_of_minute() -> None:
    wait_for(lambda: time.time() % 60 < MINUTE_ENDS_S, limit_s=60)
