"""What every command that works on the database begins with."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as Stop
from types import FrameType

import click

from routines import bootstrap, logs
from routines.bootstrap import System
from routines.settings import BadSetting, Settings, from_env


def settings() -> Settings:
    """From the environment; a missing or wrong one ends the command with a text that names it."""
    try:
        return from_env(os.environ)
    except BadSetting as error:
        raise click.ClickException(f"{error}. `routines --help` says how to start.") from error


@contextmanager
def process() -> Iterator[tuple[System, Stop]]:
    """A long-running process: logs, the system, and a flag that SIGTERM or Ctrl-C sets."""
    found = settings()
    logs.configure(found.log_level)
    stop = Stop()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    with bootstrap.system(found) as system:
        yield system, stop
