"""What every command that works on the database begins with."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as Stop
from types import FrameType

import psycopg

from routines import bootstrap, logs, migrations, telemetry
from routines.bootstrap import System
from routines.commands.terminal import Trouble
from routines.settings import BadSetting, Settings, from_env


def settings() -> Settings:
    """From the environment; a missing or wrong one ends the command with a text that names it."""
    try:
        return from_env(os.environ)
    except BadSetting as error:
        raise Trouble(f"{error}. `routines --help` says how to start.") from error


@contextmanager
def stoppable() -> Iterator[Stop]:
    """A flag that SIGTERM, Ctrl-C or the end of the terminal sets; under nohup the last does not count."""
    stop = Stop()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask_to_stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def begin(process: str) -> Settings:
    """The settings of a long-running process, its logs and its traces."""
    found = settings()
    _refuse_other_version(found)
    _collect_seldom()
    logs.configure(found.log_level, process)
    telemetry.configure(process, os.environ)
    return found


def _refuse_other_version(settings: Settings) -> None:
    """Ends the command where the database is of another version. One that is away is waited for, later."""
    try:
        with bootstrap.connect(settings) as conn:
            migrations.check(conn)
    except migrations.CannotMigrate as error:
        raise Trouble(str(error)) from error
    except psycopg.OperationalError:
        pass


def _collect_seldom() -> None:
    """What is made while a batch is decided is no garbage: to look for cycles in it again and again is a fifth of the work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@contextmanager
def process(name: str) -> Iterator[tuple[System, Stop]]:
    """A long-running process: logs, traces, the system, and a flag that says when to stop."""
    found = begin(name)
    with stoppable() as stop, bootstrap.system(found) as system:
        yield system, stop
