"""
The scheduler: settles every occurrence when its time comes.

Any number may run: a run's id follows from its occurrence, so the second one to fire it finds it there. It sleeps
until the next schedule is due or the log grows; it does not poll by the minute.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event as Stop
from uuid import UUID

import psycopg
import structlog
from eventsourcing.persistence import IntegrityError, PersistenceError

from application import tracing
from application.execute import Executor
from application.use_cases import runs
from domain.trigger import DueTrigger
from processes import settled
from processes.wakeup import Connection, Wakeup
from projections import positions, triggers_due
from projections.positions import Read

LONGEST_SLEEP_S = 30.0  # should the log grow unheard
TROUBLE_S = 1.0  # pause after the database could not be reached
REST = timedelta(seconds=30)  # how long a schedule that cannot be settled is left alone
BEGINNING = (datetime.min.replace(tzinfo=UTC), UUID(int=0))

log = structlog.get_logger(process="scheduler")


class Scheduler:
    def __init__(self, executor: Executor, read: Read, batch: int) -> None:
        self._executor = executor
        self._read = read
        self._batch = batch
        self._resting: dict[UUID, datetime] = {}  # schedules that could not be settled, and until when
        self._seen = BEGINNING[0]  # up to when the last tick looked

    def tick(self, conn: Connection) -> int:
        """Settles everything that is due; returns how many runs it recorded."""
        while positions.advance(conn, [triggers_due.triggers_due], self._read):
            pass
        self._seen = now = self._executor.clock()
        self._resting = {id_: until for id_, until in self._resting.items() if until > now}
        rows = triggers_due.due(conn, now, after=BEGINNING, limit=self._batch)
        return self._settle_all(conn, now, rows) if rows else 0

    def _settle_all(self, conn: Connection, now: datetime, rows: Sequence[DueTrigger]) -> int:
        fired = 0
        with tracing.span("tick"):
            while rows:
                fired += self._settle([row for row in rows if row.trigger_id not in self._resting])
                after = (rows[-1].next_at, rows[-1].trigger_id)
                rows = triggers_due.due(conn, now, after=after, limit=self._batch)
        return fired

    def pause_s(self, conn: Connection) -> float:
        """Seconds until a schedule comes due that the last tick has not seen."""
        next_at = triggers_due.next_due(conn, self._seen)
        if next_at is None:
            return LONGEST_SLEEP_S
        return min(max((next_at - self._executor.clock()).total_seconds(), 0.0), LONGEST_SLEEP_S)

    def _settle(self, rows: Sequence[DueTrigger]) -> int:
        """All in one transaction; when one of them spoils it, each half in its own, down to the one."""
        if not rows:
            return 0
        alone = len(rows) == 1
        try:
            return self._fire(rows, tries=8 if alone else 2)
        except (psycopg.OperationalError, PersistenceError) as error:
            if not isinstance(error, IntegrityError):
                raise
            if alone:
                log.info("firing_lost_race", **settled.names(rows[0]))
        except Exception:
            if alone:
                log.exception("firing_failed", **settled.names(rows[0]))
                self._resting[rows[0].trigger_id] = self._executor.clock() + REST
        middle = len(rows) // 2
        return 0 if alone else self._settle(rows[:middle]) + self._settle(rows[middle:])

    def _fire(self, rows: Sequence[DueTrigger], tries: int) -> int:
        with tracing.span("settle") as span:
            span.set_attribute("routines.schedules", len(rows))
            done = self._executor.attempt(lambda work: runs.fire_due(work, rows), tries=tries, actor="scheduler")
            if done.recorded:
                log.info("fired", schedules=len(rows), **settled.summary(done))
            if span.is_recording():
                settled.trace(done)
        return done.result


def run(scheduler: Scheduler, connect: Callable[[], Connection], stop: Stop) -> None:
    """Until stopped; a database that is away is waited for."""
    wakeup = Wakeup(connect)
    while not stop.is_set():
        try:
            with connect() as conn:
                while not stop.is_set():
                    scheduler.tick(conn)
                    wakeup.wait(scheduler.pause_s(conn), stop)
        except (psycopg.Error, PersistenceError) as error:
            log.warning("database_unreachable", error=str(error))
            stop.wait(TROUBLE_S)
    wakeup.close()
