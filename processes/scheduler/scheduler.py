"""
The scheduler: settles every occurrence when its time comes.

Any number may run: a run's id follows from its occurrence, so the second one to fire it finds it there. It sleeps
until the next schedule is due or the log grows; it does not poll by the minute.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import zip_longest
from threading import Event as Stop
from typing import TypeVar
from uuid import UUID

import psycopg
import structlog
from eventsourcing.persistence import IntegrityError, PersistenceError

from application import tracing
from application.event_store.execute import Executor
from application.event_store.recorder import ClockDiffers
from application.event_store.store import UnknownEvent
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import backfills as making_up
from application.use_cases import deadlines as use_cases
from application.use_cases import runs
from domain.routines.backfill import Waiting
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger
from processes.follower import Follower
from processes.scheduler import batch_report
from processes.scheduler.prefetch import Prefetcher
from processes.wakeup import Connection, Wakeup
from projections.engine import positions
from projections.engine.positions import Read
from projections.firing import backfills, deadlines, triggers_due

MAX_CONCURRENT_BATCHES = 2  # batches that are settled at the same time
AT_ONCE = 100_000  # due rows that a tick looks at: some 30 MB
BACKFILLS = 50  # that a tick carries on, once nothing else is due
SLICE = timedelta(seconds=0.5)  # after which a tick looks again what is due
REFRESH = timedelta(seconds=5)  # after which it looks at all of it again, however much is left
PATIENCE = 3  # failures in a row after which an occurrence is recorded as failed, a backfill as cancelled
LONGEST_SLEEP_S = 30.0  # should the log grow unheard
TROUBLE_S = 1.0  # pause after the database could not be reached
REST = timedelta(seconds=5)  # how long what cannot be settled is left alone
BEGINNING = datetime.min.replace(tzinfo=UTC)
FOLLOWED = (triggers_due.triggers_due, deadlines.deadlines, backfills.backfills)  # each is `acted_on_by` it

Due = DueTrigger | Overdue | Waiting
Row = TypeVar("Row", DueTrigger, Overdue, Waiting)

Settle = Callable[[UnitOfWork, Sequence[Row]], int]

log = structlog.get_logger(process="scheduler")


class Scheduler:
    """
    `batch` rows are settled in one transaction.

    Companies take turns: of what is due, each batch takes from all of them, so a company with very much due work does
    not keep the others waiting; and no tick lasts much longer than SLICE before it looks again. While nothing is due it
    reads ahead. While another process holds the read models, it goes by what they say as they are.
    """

    def __init__(self, executor: Executor, read: Read, batch: int) -> None:
        self._executor = executor
        self._follower = Follower(FOLLOWED, read)
        self._batch = batch
        self._resting: dict[UUID, datetime] = {}  # what could not be settled, and until when it is left alone
        self._failures: dict[UUID, int] = {}  # how often it could not be settled in a row
        self._left: list[DueTrigger] = []  # what was due at the last tick, and is not settled for want of time
        self._refreshed = BEGINNING  # when the read models were last brought to the head of the log
        self._seen = BEGINNING  # up to when the last tick looked
        self._more = False  # whether it left something to do
        self._prefetcher = Prefetcher(executor, batch)
        self._batch_threads = ThreadPoolExecutor(MAX_CONCURRENT_BATCHES, thread_name_prefix="lane")

    def tick(self, conn: Connection) -> int:
        """Settles what is due, for SLICE at least; returns how many runs it recorded or ended."""
        now = self._executor.clock()
        self._resting = {id_: until for id_, until in self._resting.items() if until > now}
        ended, due, late = self._look(conn, now)
        self._seen, self._left, self._more = now, [], bool(late) or self._follower.is_kept_waiting
        if not ended and not due and not late:
            self._prefetcher.step(conn, now)
            return 0
        with tracing.span("tick"):
            many, _ = self._in_batches(ended, use_cases.settle, now)
            fired, self._left = self._in_batches(in_turns(due), runs.fire_due, now)
            return many + fired + sum(self._carry_on(row) for row in late)

    def _carry_on(self, row: Waiting) -> int:
        """A backfill whose company is near a quota is looked at again in a while."""
        fired = self._settle([row], making_up.carry_on)
        if self._executor.quotas is not None and self._executor.quotas.is_half_used(row.company_id):
            self._resting[row.id] = self._executor.clock() + REST
        return fired

    def _look(self, conn: Connection, now: datetime) -> tuple[list[Overdue], list[DueTrigger], list[Waiting]]:
        """
        What is to be done. In the midst of a backlog that is what is left of it, and what has come due since.

        To fold what itself has just recorded would cost a scheduler as much as to fire it: it does a part of that, and the
        projector the rest meanwhile.
        """
        if self._left and self._seen <= now < self._refreshed + REFRESH:
            self._follower.try_step(conn)
            return [], [*self._left, *self._awake(triggers_due.due(conn, now, after=self._seen, limit=AT_ONCE))], []
        while self._follower.try_step(conn):
            pass
        self._refreshed = now
        ended = self._awake(deadlines.due(conn, now, limit=AT_ONCE))
        due = self._awake(triggers_due.due(conn, now, limit=AT_ONCE))
        return ended, due, [] if due else self._awake(backfills.waiting(conn, limit=BACKFILLS))

    def pause_s(self, conn: Connection) -> float:
        """Seconds until something comes due that the last tick has not seen, or is to be tried again or read ahead."""
        if self._more or not self._prefetcher.is_over:
            return 0.0
        coming = triggers_due.next_due(conn, self._seen)
        moments = [coming and self._prefetcher.wake_for(coming), deadlines.next_due(conn, self._seen)]
        if not (known := [moment for moment in (*moments, *self._resting.values()) if moment is not None]):
            return LONGEST_SLEEP_S
        return min(max((min(known) - self._executor.clock()).total_seconds(), 0.0), LONGEST_SLEEP_S)

    def _awake(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row.id not in self._resting]

    def _in_batches(self, rows: Sequence[Row], settle: Settle[Row], now: datetime) -> tuple[int, list[Row]]:
        """
        While Postgres records one batch the next is decided: MAX_CONCURRENT_BATCHES at a time, until all are or the time is up.

        Returns how many runs came of it, and the rows that are left.
        """
        left = deque(rows[start : start + self._batch] for start in range(0, len(rows), self._batch))
        begun = len(left) - MAX_CONCURRENT_BATCHES  # so many are left when each lane has had one

        def take() -> Sequence[Row] | None:
            is_late = len(left) <= begun and self._executor.clock() - now > SLICE
            with suppress(IndexError):
                return None if is_late else left.popleft()
            return None

        def settle_batches() -> int:
            try:
                return sum(self._settle(batch, settle) for batch in iter(take, None))
            except BaseException:
                left.clear()  # the others stop, too
                raise

        contexts = [copy_context() for _ in range(min(MAX_CONCURRENT_BATCHES, len(left)))]
        many: int = sum(self._batch_threads.map(lambda context: context.run(settle_batches), contexts))
        self._more |= bool(left)
        return many, [row for batch in left for row in batch]

    def _settle(self, rows: Sequence[Row], settle: Settle[Row]) -> int:
        """
        All in one transaction; when one of them spoils it, or they are too much, each half in its own, down to the one.

        Raises psycopg.OperationalError or PersistenceError when the database is away.
        """
        alone = len(rows) == 1
        try:
            return self._attempt(rows, settle, tries=8 if alone else 2)
        except ClockDiffers as error:
            log.error("clock_differs", difference_s=error.difference_s, rows=len(rows))  # noqa: TRY400 the difference says all
            self._resting |= dict.fromkeys([row.id for row in rows], self._executor.clock() + REST)
            return 0
        except IntegrityError:
            if alone:
                log.info("firing_lost_race", **batch_report.names(rows[0]))
        except Exception as error:
            if positions.is_away(error):
                raise
            if alone:
                log.exception("firing_failed", **batch_report.names(rows[0]))
                return self._give_way(rows[0], error)
        middle = len(rows) // 2
        return 0 if alone else self._settle(rows[:middle], settle) + self._settle(rows[middle:], settle)

    def _attempt(self, rows: Sequence[Row], settle: Settle[Row], tries: int) -> int:
        with tracing.span("settle") as span:
            span.set_attribute("routines.schedules", len(rows))
            done = self._executor.attempt(lambda work: settle(work, rows), tries=tries, actor="scheduler")
            if done.recorded:
                log.info("fired", schedules=len(rows), **batch_report.summary(done))
            if span.is_recording():
                batch_report.trace(done)
        for row in rows:
            self._failures.pop(row.id, None)
        return done.result

    def _give_way(self, row: Due, error: Exception) -> int:
        """It is left alone for a while; what fails again and again is recorded as failed."""
        self._failures[row.id] = self._failures.get(row.id, 0) + 1
        self._resting[row.id] = self._executor.clock() + REST
        if self._failures[row.id] < PATIENCE or isinstance(error, UnknownEvent):
            return 0  # what a newer version has written is for a newer scheduler
        reason = type(error).__name__
        try:
            match row:
                case DueTrigger():
                    return self._attempt([row], partial(runs.fail_due, reason=reason), tries=8)
                case Waiting():
                    return self._attempt([row], partial(making_up.give_up, reason=reason), tries=8)
                case Overdue():
                    return 0
        except Exception as failure:
            if positions.is_away(failure):
                raise
            log.exception("cannot_fail", **batch_report.names(row))
            return 0


def in_turns(rows: Sequence[DueTrigger]) -> list[DueTrigger]:
    """The companies take turns, each with what has waited longest."""
    by_company: dict[UUID, list[DueTrigger]] = {}
    for row in rows:
        by_company.setdefault(row.company_id, []).append(row)
    return [row for turn in zip_longest(*by_company.values()) for row in turn if row is not None]


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
