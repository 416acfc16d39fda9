"""Settles the rows that are due: many in one transaction, and two transactions at a time."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from eventsourcing.persistence import IntegrityError

from application import tracing
from application.event_store.codec import UnknownEvent
from application.event_store.postgres_errors import ClockDiffers
from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from application.use_cases import backfills, chains, schedule_firing
from domain.routines.alert import DueAlert
from domain.routines.backfill import WaitingBackfill
from domain.routines.chain import DueChain
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger
from processes.scheduler import batch_report
from processes.scheduler.quarantine import Quarantine
from projections.engine import isolation

MAX_CONCURRENT_BATCHES = 2
SLICE = timedelta(seconds=0.5)  # after which no further batch begins, so that the scheduler looks again for what is due
TRIES, TRIES_ALONE = 2, 8  # for a batch that loses races before it is halved; a single row tries more often

Due = DueTrigger | DueChain | Overdue | DueAlert | WaitingBackfill
Row = TypeVar("Row", DueTrigger, DueChain, Overdue, DueAlert, WaitingBackfill)
Settle = Callable[[UnitOfWork, Sequence[Row]], int]

log = structlog.get_logger(process="scheduler")


class Batches:
    """Settles rows in batches of `size`, with a use case that returns how many runs it recorded or ended."""

    def __init__(self, executor: Executor, quarantine: Quarantine, size: int) -> None:
        self._executor = executor
        self._quarantine = quarantine
        self._size = size
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT_BATCHES, thread_name_prefix="batch")

    def settle_all(self, rows: Sequence[Row], settle: Settle[Row], began: datetime) -> tuple[int, list[Row]]:
        """
        Settle the rows batch by batch until all are settled, or SLICE has passed since `began`.

        While Postgres records one batch, the next is decided. At least MAX_CONCURRENT_BATCHES batches are settled.
        What was due at `began` is decided as of then or later, also where the clock has been put right by going back since.
        Returns how many runs were recorded or ended, and the rows that remain.
        Raises psycopg.OperationalError or PersistenceError when the database is away.
        """
        batches = deque(rows[start : start + self._size] for start in range(0, len(rows), self._size))
        optional = len(batches) - MAX_CONCURRENT_BATCHES  # how many remain when each thread has taken one

        def next_batch() -> Sequence[Row] | None:
            is_late = len(batches) <= optional and self._executor.clock() - began > SLICE
            with suppress(IndexError):
                return None if is_late else batches.popleft()
            return None

        def settle_due(work: UnitOfWork, rows: Sequence[Row]) -> int:
            work.now = max(work.now, began)
            return settle(work, rows)

        def settle_batches() -> int:
            try:
                return sum(self.settle(batch, settle_due) for batch in iter(next_batch, None))
            except BaseException:
                batches.clear()  # so that the other thread stops as well
                raise

        contexts = [copy_context() for _ in range(min(MAX_CONCURRENT_BATCHES, len(batches)))]
        runs_settled: int = sum(self._threads.map(lambda context: context.run(settle_batches), contexts))
        return runs_settled, [row for batch in batches for row in batch]

    def settle(self, rows: Sequence[Row], settle: Settle[Row]) -> int:
        """
        Settle the rows in one transaction; where it fails, settle each half in its own, down to a single row.

        Returns how many runs were recorded or ended.
        Raises psycopg.OperationalError or PersistenceError when the database is away.
        """
        alone = len(rows) == 1
        try:
            return self._settle_batch(rows, settle, tries=TRIES_ALONE if alone else TRIES)
        except ClockDiffers as error:
            log.error("clock_differs", difference_s=error.difference_s, rows=len(rows))  # noqa: TRY400 a stack trace adds nothing to the difference
            self._quarantine.rest(row.id for row in rows)
            return 0
        except IntegrityError:
            if alone:
                log.info("firing_lost_race", **batch_report.names(rows[0]))
        except Exception as error:
            if isolation.is_away(error):
                raise
            if alone:
                log.exception("firing_failed", **batch_report.names(rows[0]))
                return self._fail(rows[0], error)
        middle = len(rows) // 2
        return 0 if alone else self.settle(rows[:middle], settle) + self.settle(rows[middle:], settle)

    def _settle_batch(self, rows: Sequence[Row], settle: Settle[Row], tries: int) -> int:
        with tracing.span("settle") as span:
            span.set_attribute("routines.schedules", len(rows))
            commit_result = self._executor.attempt(lambda work: settle(work, rows), tries=tries, actor="scheduler")
            if commit_result.recorded:
                log.info("fired", schedules=len(rows), **batch_report.summary(commit_result))
            if span.is_recording():
                batch_report.trace(commit_result)
        self._quarantine.succeed(row.id for row in rows)
        return commit_result.result

    def _fail(self, row: Due, error: Exception) -> int:
        """
        Note that the row failed alone; after PATIENCE failures in a row, record it as failed or give the backfill up.

        A row that rests on an event of a newer version is not given up: it waits for a newer scheduler.
        """
        if not self._quarantine.fail(row.id) or isinstance(error, UnknownEvent):
            return 0
        reason = type(error).__name__
        try:
            match row:
                case DueTrigger():
                    return self._settle_batch(
                        [row], partial(schedule_firing.fail_due, reason=reason), tries=TRIES_ALONE
                    )
                case DueChain():
                    return self._settle_batch([row], partial(chains.fail_due, reason=reason), tries=TRIES_ALONE)
                case WaitingBackfill():
                    return self._settle_batch([row], partial(backfills.give_up, reason=reason), tries=TRIES_ALONE)
                case Overdue() | DueAlert():
                    return 0
        except Exception as failure:
            if isolation.is_away(failure):
                raise
            log.exception("cannot_fail", **batch_report.names(row))
            return 0
