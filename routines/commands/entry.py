"""How commands that work on the database begin: settings, logs, signals, and a check of the database's version."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from threading import Event as Stop
from typing import NoReturn

import msgspec

from routines import bootstrap, database_check, logs, telemetry
from routines.bootstrap import System
from routines.commands import failures, terminal
from routines.commands.stopping import stop_on_signal
from routines.commands.terminal import CommandError
from routines.settings import BadSetting, Settings, from_env, ignored_settings


class Start(msgspec.Struct, frozen=True):
    """How a process begins: with these settings, and over a database that is ready, or away and then not checked yet."""

    settings: Settings
    is_checked: bool


def settings() -> Settings:
    """Return the settings of the environment. Raises CommandError, which ends the command and names the wrong variable."""
    try:
        return from_env(os.environ)
    except BadSetting as error:
        raise CommandError(str(error)) from error


def begin(process: str) -> Start:
    """
    Check the state of the database, unless it is away, and configure the logs and traces of a long-running process.

    The log says which version begins, names variables that look like settings and are none, and a login that may do more
    than a process needs.
    """
    process_settings = settings()
    is_checked = database_check.find_absence(process_settings) is None
    collect_seldom()
    logs.configure(process_settings.log_level, process)
    telemetry.configure(process, os.environ)
    logs.log.info("started", version=version("routines"))
    for sentence in ignored_settings(os.environ):
        logs.log.warning("setting_ignored", why=sentence)
    if is_checked:
        database_check.warn_owner(process_settings)
    return Start(process_settings, is_checked)


def tell_ignored_settings() -> None:
    """Say on the terminal which variables look like settings and are none."""
    for sentence in ignored_settings(os.environ):
        terminal.echo(f"WARNING: {sentence}", err=True)


def collect_seldom() -> None:
    """
    Collect garbage less often: the search for cycles among the objects of a batch is a fifth of the work.

    None is searched for among what is there already: to find the 3 % of it that nobody needs takes a tenth of the start.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@contextmanager
def process(name: str) -> Iterator[tuple[System, Stop]]:
    """
    Begin a long-running process; yield the system, over a database that is ready, and a flag that says when to stop.

    A process that is stopped while it waits for the database gets the flag set, and a system that reaches nothing.
    """
    start = begin(name)
    try:
        with (
            stop_on_signal() as stop,
            bootstrap.system(start.settings, tells_outages=True, opens=start.is_checked) as system,
        ):
            if not start.is_checked:
                database_check.open_when_ready(system, stop)
            yield system, stop
        logs.log.info("stopped")
    except Exception as error:  # noqa: BLE001 it is raised unless there is a sentence about it
        end(error)


def end(error: Exception) -> NoReturn:
    """End a process that has begun, and say why in its log. Raises the error where the program itself may be at fault."""
    if (reason := failures.explain(error)) is None:
        raise error
    logs.log.critical("ended", reason=reason)
    sys.exit(1)
