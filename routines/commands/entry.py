"""How commands that work on the database begin: settings, logs, signals, and a check of the database's version."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from threading import Event as Stop

import psycopg

from routines import bootstrap, logs, telemetry
from routines.bootstrap import System
from routines.commands import failures, terminal
from routines.commands.stopping import stop_on_signal
from routines.commands.terminal import CommandError
from routines.connections import SettingsDropped
from routines.settings import BadSetting, Settings, from_env, ignored_settings

OWNER = (
    "the log does not check what the database's owner grants, so a thief of this login could give keys to anybody: take a "
    "login of routines_service (docs/operate.md, Roles)"
)


def settings() -> Settings:
    """Return the settings of the environment. Raises CommandError, which ends the command and names the wrong variable."""
    try:
        return from_env(os.environ)
    except BadSetting as error:
        raise CommandError(str(error)) from error


def begin(process: str) -> Settings:
    """
    Check the state of the database, configure the logs and traces of a long-running process, return its settings.

    The log says which version begins, names variables that look like settings and are none, and a login that may do more
    than a process needs.
    """
    process_settings = settings()
    _refuse_unprepared(process_settings)
    collect_seldom()
    logs.configure(process_settings.log_level, process)
    telemetry.configure(process, os.environ)
    logs.log.info("started", version=version("routines"))
    for sentence in ignored_settings(os.environ):
        logs.log.warning("setting_ignored", why=sentence)
    with suppress(psycopg.Error):  # where it is away, it is waited for later
        if bootstrap.is_owner(process_settings):
            logs.log.warning("login_is_owner", why=OWNER)
    return process_settings


def tell_ignored_settings() -> None:
    """Say on the terminal which variables look like settings and are none."""
    for sentence in ignored_settings(os.environ):
        terminal.echo(f"WARNING: {sentence}", err=True)


def _refuse_unprepared(settings: Settings) -> None:
    """Raise CommandError when the database is not ready for this version; one that is away is waited for later."""
    try:
        bootstrap.check_prepared(settings)
    except psycopg.OperationalError as error:
        if isinstance(error, SettingsDropped) or failures.is_refused_login(error):
            raise


def collect_seldom() -> None:
    """
    Collect garbage less often: the search for cycles among the objects of a batch is a fifth of the work.

    None is searched for among what is there already: to find the 3 % of it that nobody needs takes a tenth of the start.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@contextmanager
def process(name: str) -> Iterator[tuple[System, Stop]]:
    """Begin a long-running process; yield the system and a flag that says when to stop."""
    process_settings = begin(name)
    try:
        with stop_on_signal() as stop, bootstrap.system(process_settings, tells_outages=True) as system:
            yield system, stop
        logs.log.info("stopped")
    except Exception as error:
        if (reason := failures.explain(error)) is None:
            raise
        logs.log.critical("ended", reason=reason)
        sys.exit(1)
