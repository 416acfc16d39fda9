"""What Postgres reports, and what that means for a decision: it lost a race, nothing is recorded, or nobody knows."""

import re
from datetime import datetime

import psycopg
from eventsourcing.persistence import IntegrityError, OperationalError

TIMES = re.compile(r'"at":"([^"]+)".* is to be recorded at (\S+ \S+)')  # parses the message of log.check_clock
# Errors that Postgres reports and that another attempt may escape: the transaction stood in another's way, the session is
# over, or the server may not write.
PASSING = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.AdminShutdown,
)
# Errors about the session that psycopg does not count among its operational ones.
SESSION_ERRORS = (
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)
# What psycopg raises while Postgres, or a connection to it, cannot be had; PoolTimeout is among its operational errors.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, *SESSION_ERRORS)
# Errors by which the log refuses a decision that rests on old state.
CONFLICTS = (psycopg.errors.UniqueViolation, psycopg.errors.DatetimeFieldOverflow)
LOST = "08"  # the class of SQLSTATEs that say that a connection was lost: a proxy may send them, after a commit as well


class OutcomeUnknown(OperationalError):
    """The connection broke before Postgres answered, so it is not known whether the events are recorded."""


class NotRecorded(OperationalError):
    """Postgres has reported an error, the cause of this one. It has rolled the append back: nothing is recorded."""


class ClockDiffers(IntegrityError):
    """The events were decided too long before or after the present time of Postgres. They must be decided anew."""

    @property
    def difference_s(self) -> float | None:
        """The seconds by which the events were decided after Postgres's time; None when they name no time."""
        try:
            decided_at, now = (datetime.fromisoformat(text) for text in TIMES.search(str(self)).groups())  # type: ignore[union-attr]
        except (AttributeError, ValueError):
            return None
        return (decided_at - now).total_seconds()


def conflict(error: psycopg.Error) -> IntegrityError:
    """Return the error of a decision that has to be taken again: on newer streams, or at another time."""
    is_about_time = isinstance(error, psycopg.errors.DatetimeFieldOverflow)
    return ClockDiffers(str(error)) if is_about_time else IntegrityError(str(error))


def error_of(sqlstate: str, reason: str) -> Exception:
    """Return the error that log.append would have raised for a batch alone."""
    error = psycopg.errors.lookup(sqlstate)(reason)
    return conflict(error) if isinstance(error, CONFLICTS) else error


def is_reported(error: BaseException | None) -> bool:
    """Return whether Postgres itself has reported the error, and so has rolled back the statement that it is about."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None and error.sqlstate[:2] != LOST
