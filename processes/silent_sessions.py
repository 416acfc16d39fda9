"""
Ends the sessions that hold up others while their client is silent: its process is frozen, or its machine is.

Postgres ends such a session by itself after `idle_in_transaction_session_timeout`, but neither while a pipeline is open nor
while an answer is on its way that nobody takes. A shorter limit for all transactions would hit those that wait for
a disk. Here the reason decides: only a session is ended for whose client Postgres waits, and for which others wait.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from threading import Event as Stop

import psycopg
import structlog

from processes.wakeup import Connection

LOOK_S = 1.0  # between two looks
SILENT_S = 4.0  # how long a client may be silent; with the looks that makes six seconds at most
AS_LOGIN = "SET LOCAL ROLE NONE"  # Postgres shows a login what its own sessions wait for, and lets it end them
# A session that has changed nothing so far is left alone: it may be an export, whose reader takes its time. `state_change` is
# when the client has last sent something: also one statement of a pipeline changes it.
LOOK = """
    SELECT s.pid, s.state_change, CASE WHEN EXISTS (
        SELECT FROM unnest(%s::int[], %s::timestamptz[]) known(pid, state_change)
        WHERE known.pid = s.pid AND known.state_change = s.state_change
    ) AND EXISTS (
        SELECT FROM pg_stat_activity w WHERE w.wait_event_type = 'Lock' AND s.pid = ANY(pg_blocking_pids(w.pid))
    ) THEN pg_terminate_backend(s.pid) ELSE false END
    FROM pg_stat_activity s
    WHERE s.datname = current_database() AND s.application_name = current_setting('application_name')
        AND s.wait_event_type = 'Client' AND s.backend_xid IS NOT NULL AND pg_has_role(s.usesysid, 'USAGE')"""

log = structlog.get_logger()


class SilentSessions:
    """Remembers from look to look which sessions are silent, and since when."""

    def __init__(self) -> None:
        self._since: dict[tuple[int, datetime], float] = {}  # by process id of the backend and its last change

    def look(self, conn: Connection) -> None:
        """End the sessions that have been silent for SILENT_S and hold up others; note those that have become silent."""
        overdue = [session for session, since in self._since.items() if time.monotonic() - since >= SILENT_S]
        with conn.transaction():
            conn.execute(AS_LOGIN)
            rows = conn.execute(LOOK, ([pid for pid, _ in overdue], [at for _, at in overdue])).fetchall()
        now = time.monotonic()
        self._since = {(pid, at): self._since.get((pid, at), now) for pid, at, _ in rows}
        for pid, at, is_ended in rows:
            if is_ended:
                log.warning("silent_session_ended", backend=pid, since=at)


@contextmanager
def ending(connect: Callable[[], AbstractContextManager[Connection]], stop: Stop) -> Iterator[None]:
    """End silent sessions in a thread until the end of the `with`, which stops the process."""
    thread = threading.Thread(target=_keep_ending, args=(connect, stop), name="silent-sessions")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep_ending(connect: Callable[[], AbstractContextManager[Connection]], stop: Stop) -> None:
    sessions = SilentSessions()
    while not stop.wait(LOOK_S):
        with suppress(psycopg.Error), connect() as conn:  # that the database is away is said by the process itself
            sessions.look(conn)
