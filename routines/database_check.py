"""Makes sure that a process works on no database but one that is prepared for its version, and waits for one that is away."""

from contextlib import suppress
from threading import Event as Stop

import psycopg

from routines import bootstrap
from routines.bootstrap import System
from routines.commands import failures
from routines.connections import SettingsDropped
from routines.logs import log
from routines.settings import Settings

START = "start"  # the part of a process that waits for the database before anything else may use it
TROUBLE_S = 1.0  # pause after the database could not be reached
OWNER = (
    "the log does not check what the database's owner grants, so a thief of this login could give keys to anybody: take a "
    "login of routines_service (docs/operate.md, Roles)"
)


def find_absence(settings: Settings) -> psycopg.OperationalError | None:
    """
    Return why the database cannot be reached, and None if it is ready for this version.

    Raises what will not change by waiting: CannotMigrate if the database is not ready, and psycopg.OperationalError if it
    admits no login of these settings.
    """
    try:
        bootstrap.check_prepared(settings)
    except psycopg.OperationalError as error:
        if isinstance(error, SettingsDropped) or failures.is_refused_login(error):
            raise
        return error
    return None


def open_when_ready(system: System, stop: Stop) -> None:
    """
    Open the pool of the system as soon as the database can be reached and is ready; leave it closed if stopped before.

    Tells the outage meanwhile. Raises what `find_absence` does.
    """
    while not stop.is_set():
        if (absence := find_absence(system.settings)) is None:
            warn_owner(system.settings)
            system.pool.open()
            system.outage.note_success(START)
            return
        system.outage.note_failure(START, absence)
        stop.wait(TROUBLE_S)


def warn_owner(settings: Settings) -> None:
    """Say in the log that the login may do more than a process needs, if so."""
    with suppress(psycopg.Error):  # where it is away, it is waited for
        if bootstrap.is_owner(settings):
            log.warning("login_is_owner", why=OWNER)
