"""
Ends the sessions that hold up others while their client is silent: its process is frozen, or its machine is.

Postgres ends such a session by itself after `idle_in_transaction_session_timeout`, but neither while a pipeline is open nor
while an answer is on its way that nobody takes. A shorter limit for all transactions would hit those that wait for
a disk. Here the reason decides: only a session is ended for whose client Postgres waits, and for which others wait.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from threading import Event as Stop

import psycopg
import structlog

from processes.threads import run_beside
from processes.wakeup import Connection

LOOK_S = 1.0  # between two looks
# In how many looks in a row a client may be silent; with the looks that makes six seconds at most. Looks are counted, not
# seconds: while all processes stand still, as on a machine that is suspended or swaps, none is more silent than the others.
SILENT_LOOKS = 4
AS_LOGIN = "SET LOCAL ROLE NONE"  # Postgres shows a login what its own sessions wait for, and lets it end them
# A session that has changed nothing so far is left alone: it may be an export, whose reader takes its time. `state_change` is
# when the client has last sent something: also one statement of a pipeline changes it. Of a session that a
# login may not see, `backend_start` is hidden, as most of it is.
LOOK = """
    WITH ours AS (
        SELECT s.*, s.backend_start IS NOT NULL AND CASE WHEN r.rolsuper THEN current_setting('is_superuser') = 'on'
            ELSE pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE') END AS is_in_reach
        FROM pg_stat_activity s JOIN pg_roles r ON r.oid = s.usesysid
        WHERE s.datname = current_database() AND s.application_name = current_setting('application_name'))
    SELECT s.pid, s.state_change, CASE WHEN s.is_in_reach AND EXISTS (
        SELECT FROM unnest(%s::int[], %s::timestamptz[]) known(pid, state_change)
        WHERE known.pid = s.pid AND known.state_change = s.state_change
    ) AND EXISTS (
        SELECT FROM pg_stat_activity w WHERE w.wait_event_type = 'Lock' AND s.pid = ANY(pg_blocking_pids(w.pid))
    ) THEN pg_terminate_backend(s.pid) ELSE false END, CASE WHEN NOT s.is_in_reach THEN s.usename END
    FROM ours s WHERE NOT s.is_in_reach OR s.wait_event_type = 'Client' AND s.backend_xid IS NOT NULL"""

log = structlog.get_logger()


class SilentSessions:
    """Remembers from look to look which sessions are silent."""

    def __init__(self) -> None:
        self._looks = Counter[tuple[int, datetime]]()  # by process id of the backend and its last change
        self._logins_out_of_reach = set[str]()

    def look(self, conn: Connection) -> None:
        """End the sessions that were silent in the last SILENT_LOOKS looks and hold up others; note those that are silent."""
        overdue = [session for session, looks in self._looks.items() if looks >= SILENT_LOOKS]
        with conn.transaction():
            conn.execute(AS_LOGIN)
            rows = conn.execute(LOOK, ([pid for pid, _ in overdue], [at for _, at in overdue])).fetchall()
        self._looks = Counter({(pid, at): self._looks[pid, at] + 1 for pid, at, _, hidden in rows if hidden is None})
        for pid, at, is_ended, _ in rows:
            if is_ended:
                log.warning("silent_session_ended", backend=pid, since=at)
        hidden_logins = {login for *_, login in rows if login is not None}
        for login in hidden_logins - self._logins_out_of_reach:
            self._logins_out_of_reach.add(login)
            log.info("sessions_out_of_reach", login=login)


def watch_sessions(
    connect: Callable[[], AbstractContextManager[Connection]], stop: Stop
) -> AbstractContextManager[None]:
    """End silent sessions in a thread until the end of the `with`, which stops the process."""
    return run_beside("silent-sessions", partial(_keep_ending, connect, stop), stop)


def _keep_ending(connect: Callable[[], AbstractContextManager[Connection]], stop: Stop) -> None:
    sessions = SilentSessions()
    failure: type[Exception] | None = None
    while not stop.wait(LOOK_S):
        try:
            with connect() as conn:
                sessions.look(conn)
        except psycopg.OperationalError:
            pass  # that the database is away is said by the process itself
        except Exception as error:
            if type(error) is not failure:
                log.exception("silent_sessions_not_found")
            failure = type(error)
