"""
The record of attempts that were refused with 401 or 403, signatures of webhooks among them, for auditors.

Anybody can make such attempts. So they are counted in memory and written every FLUSH_S seconds, those that are alike as one
row, and a process has at most MOST_GROUPS rows an hour: what else comes is counted together. A flood costs no more than that.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

import structlog
from litestar.concurrency import sync_to_thread
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from projections.audit import refused_attempts
from projections.audit.refused_attempts import Attempts
from web.http.backend import Backend

RECORDED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
FLUSH_S = 5.0
HOUR_S = 3_600.0
MOST_GROUPS = 100
LONGEST_REASON = 200  # characters
OTHERS = "others"  # the operation and the reason of what is counted together

log = structlog.get_logger(process="web")


class RefusedAttemptCounter:
    """Counts refused attempts, in the event loop's thread, and writes the counts. It never fails: what cannot be kept is lost."""

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.monotonic) -> None:
        self._backend = backend
        self._clock = clock
        self._counts = Counter[Attempts]()
        self._groups = set[Attempts]()  # of this hour
        self._hour_ends_at = 0.0
        self._is_scheduled = False
        self._writing = set[asyncio.Task[None]]()

    def count(self, attempts: Attempts) -> None:
        """Count one attempt, unless its status is none that is recorded, and see to it that the counts are written."""
        if attempts.status not in RECORDED:
            return
        self._counts[self._group(attempts._replace(reason=attempts.reason[:LONGEST_REASON]))] += 1
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _group(self, attempts: Attempts) -> Attempts:
        if self._clock() >= self._hour_ends_at:
            self._groups.clear()
            self._hour_ends_at = self._clock() + HOUR_S
        if attempts not in self._groups and len(self._groups) >= MOST_GROUPS:
            return Attempts(attempts.status, OTHERS, OTHERS)
        self._groups.add(attempts)
        return attempts

    def _flush(self) -> None:
        self._is_scheduled = False
        counts, self._counts = self._counts, Counter()
        task = asyncio.ensure_future(sync_to_thread(self.write, counts))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def write(self, counts: Counter[Attempts]) -> None:
        """Write counts to the database."""
        try:
            with self._backend.pool.connection() as conn:
                refused_attempts.put(conn, counts.items())
                refused_attempts.forget(conn)
        except (DatabaseError, PoolTimeout) as error:
            log.warning("refused_attempts_not_kept", error=type(error).__name__)
