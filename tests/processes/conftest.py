"""A workplace and a scheduler on a clock of our own; loops in threads, on a connection of their own."""

import threading
from functools import partial

import pytest

from application.execute import Executor
from application.outage import Outage
from processes.scheduler import scheduler as schedulers
from processes.scheduler.scheduler import Scheduler
from routines import bootstrap
from tests.processes.due import Clock, CompanyFixture

STOPPED_S = 10.0


@pytest.fixture
def conn(system):
    """One that is there anyway."""
    with system.pool.connection() as conn:
        yield conn


@pytest.fixture
def in_thread():
    """Starts `loop(*arguments, stop)`; gives the thread and its stop, and stops it at the end."""
    running = []

    def start(loop, *arguments):
        stop = threading.Event()
        thread = threading.Thread(target=loop, args=(*arguments, stop))
        running.append((thread, stop))
        thread.start()
        return thread, stop

    yield start
    for thread, stop in running:
        stop.set()
        thread.join(STOPPED_S)
        assert not thread.is_alive()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def executor(system, clock):
    return Executor(system.store, clock)


@pytest.fixture
def company_fixture(executor):
    return CompanyFixture(executor)


@pytest.fixture
def scheduler(executor, system):
    return Scheduler(executor, system.store.after, batch=50)


@pytest.fixture
def events_of(system):
    """The events of one kind in the log, in order."""
    return lambda kind: [recorded for recorded in system.store.history() if isinstance(recorded.event, kind)]


@pytest.fixture
def scheduler_loop(executor, system, in_thread):
    """The scheduler's loop in a thread."""

    def start(executor=executor, connect=lambda: bootstrap.connect(system.settings), scheduler=None):
        return in_thread(
            partial(schedulers.run, outage=Outage()),
            scheduler or Scheduler(executor, system.store.after, batch=50),
            connect,
        )

    return start
