"""What a command says instead of a traceback: one sentence about what failed, and the way out."""

import errno
import re
from collections.abc import Mapping

import psycopg
from eventsourcing.persistence import PersistenceError
from psycopg import errors

from application.secrets.key_ring import CannotRetire, VaultClosed
from domain.errors import Conflict, NotFound
from routines.connections import SettingsDropped
from routines.errors import CannotStart
from routines.prerequisites import CannotMigrate
from routines.settings import BadSetting

# Errors whose messages are sentences for people.
ERRORS_WITH_SENTENCES = (
    BadSetting,
    CannotMigrate,
    CannotStart,
    SettingsDropped,
    VaultClosed,
    CannotRetire,
)
# Answers of a server to a login that will not change by waiting, as Postgres words them in English, and the way out.
REFUSED_LOGINS = {
    r'set role "routines_owner"': "only the database's owner may do this: use the URL that `routines init` needs",
    r'database ".*" does not exist': "make it (CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0), or correct its name in"
    " ROUTINES_DATABASE_URL",
    r'role ".*" does not exist': "make the login, or correct its name in ROUTINES_DATABASE_URL",
    r"authentication failed|no password supplied|no pg_hba\.conf entry": "correct the user and the password in ROUTINES_DATABASE_URL, or let"
    " pg_hba.conf admit them",
    r"permission denied|not permitted to log in": "let the database's owner GRANT the login what it lacks, or take another"
    " login in ROUTINES_DATABASE_URL",
}
# What passes by itself or needs room: a process waits for it.
BUSY_SERVERS = {
    r"too many (connections|clients)|connection slots are reserved": "end some connections, or raise max_connections of Postgres"
    " or the CONNECTION LIMIT of the login; docs/operate.md says how many each process takes",
    r"the database system is": "try again in a moment",
}
UNREACHED = "is it running, and is ROUTINES_DATABASE_URL its address?"
READ_ONLY = "session is read-only"  # how libpq words that no server of the URL takes changes
PRIMARY = "take the address of the primary, not of a standby"
UNPREPARED = (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedFunction, errors.UndefinedColumn)
BUSY = (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected, errors.SerializationFailure)


def explain(error: Exception) -> str | None:
    """Return the sentence about an error; None when the program itself may be at fault."""
    if isinstance(error, ERRORS_WITH_SENTENCES):
        return str(error)
    match error:
        case NotFound() | Conflict():
            return error.message
        case PersistenceError(__cause__=Exception() as cause):
            return explain(cause)
        case psycopg.Error():
            return _of_postgres(error)
        case OSError(filename=str() as name):
            return f"{name}: {error.strerror}"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            return f"The output could not be written ({error.strerror}): make room where it goes, and run the command again"
    return None


def is_refused_login(error: psycopg.OperationalError) -> bool:
    """Return whether the server answered, and waiting will not make it admit the login."""
    return error.sqlstate is None and _way_in(str(error), REFUSED_LOGINS) is not None


def _of_postgres(error: psycopg.Error) -> str:
    if error.sqlstate is None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if READ_ONLY in reason:
            return f"Postgres takes no changes here ({reason}): {PRIMARY}, or end default_transaction_read_only"
        return f"Postgres cannot be used ({reason}): {_way_in(str(error), REFUSED_LOGINS | BUSY_SERVERS) or UNREACHED}"
    reason = error.diag.message_primary or str(error)
    match error:
        case errors.InsufficientPrivilege():
            return f"This login may not do that ({reason}): take a login in ROUTINES_DATABASE_URL that may"
        case errors.ReadOnlySqlTransaction():
            return f"Postgres takes no changes here ({reason}): {PRIMARY}"
    if isinstance(error, UNPREPARED):
        return f"The database is not prepared ({reason}): run `routines init` with its owner's URL first"
    if isinstance(error, BUSY):
        return f"Postgres was busy and nothing was changed ({reason}): try again"
    return f"Postgres has refused it: {reason}"


def _way_in(reason: str, ways: Mapping[str, str]) -> str | None:
    return next((way for pattern, way in ways.items() if re.search(pattern, reason)), None)
