"""What a process says of read models that Postgres cannot write, mostly since its disk is full: at once, and once a minute."""

import psycopg
import structlog
from psycopg.errors import DiskFull

from application.outage import Outage

LACKING = ("53", "58")  # classes of SQLSTATE: what the machine of Postgres lacks, and what fails of it

log = structlog.get_logger()


class StoppedModels(Outage):
    """
    The read models that stopped because of the machine of Postgres, told as an outage is, with these models as its parts.

    No traceback is worth a line then: nothing in the program is at fault.
    """

    def _tell_failure(self, error: Exception, away_s: float, failures: int) -> None:
        reason = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        remedy = "make room for it, and they go on by themselves" if isinstance(error, DiskFull) else "see its log"
        why = f"Postgres cannot write them ({reason or error}): {remedy}"
        log.error(
            "read_models_stopped", why=why, read_models=sorted(self._parts_away), stopped_s=away_s, failures=failures
        )

    def _tell_success(self, away_s: float) -> None:
        log.warning("read_models_go_on", stopped_s=away_s)


def is_lack(error: Exception) -> bool:
    """Return whether Postgres has said that its machine lacks something, such as room on the disk."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in LACKING
