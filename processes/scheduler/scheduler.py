"""
The scheduler: settles every occurrence when its time comes.

Any number may run: a run's id follows from its occurrence, so the second one to fire it finds it there. It sleeps
until the next schedule is due or the log grows; it does not poll by the minute.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from threading import Event as Stop
from uuid import UUID

import msgspec
import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from application import tracing
from application.execute import Executor
from application.use_cases import backfills as backfill_use_cases
from application.use_cases import deadlines as deadline_use_cases
from application.use_cases import runs
from domain.routines.backfill import Waiting
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger
from processes.follower import Follower
from processes.scheduler.batches import Batches, Row
from processes.scheduler.prefetch import Prefetcher
from processes.scheduler.quarantine import Quarantine
from processes.wakeup import Connection, Wakeup
from projections.engine import positions
from projections.engine.positions import Read
from projections.firing import backfills, deadlines, triggers_due

MAX_DUE_ROWS = 100_000  # that a tick looks at: some 30 MB
MAX_BACKFILLS = 50  # that a tick carries on, once nothing else is due
MAX_EVENTS_BEHIND = 500  # that a read model may be behind the log while backfills are carried on
FOLLOW_S = 0.5  # for which it goes on to follow the log once it is near its head
FAR = 100  # events that a batch has while the head of the log is still far
REFRESH = timedelta(seconds=5)  # after which a tick looks at all that is due again, however much is left
LONGEST_SLEEP_S = 30.0  # should the log grow unheard
TROUBLE_S = 1.0  # pause after the database could not be reached
RECOVERY = timedelta(seconds=15)  # after which a tick looks again which companies are within their quotas by now
BEGINNING = datetime.min.replace(tzinfo=UTC)
FOLLOWED = (triggers_due.triggers_due, deadlines.deadlines, backfills.backfills)  # each is `polled_by` it

log = structlog.get_logger(process="scheduler")


class DueWork(msgspec.Struct):
    """What a tick is to do."""

    ended: list[Overdue]
    schedules: list[DueTrigger]
    backfills: list[Waiting]

    def __bool__(self) -> bool:
        return bool(self.ended or self.schedules or self.backfills)


class Scheduler:
    """
    `batch` rows are settled in one transaction.

    Companies take turns: of what is due, each batch takes from all of them, so a company with very much due work does
    not keep the others waiting; and no tick lasts much longer than batches.SLICE before it looks again. While nothing is
    due it reads ahead. While another process holds the read models, it goes by what they say as they are.
    """

    def __init__(self, executor: Executor, read: Read, batch: int) -> None:
        self._executor = executor
        self._follower = Follower(FOLLOWED, read, acts=True)
        self._quarantine = Quarantine(executor.clock)
        self._batches = Batches(executor, self._quarantine, batch)
        self._prefetcher = Prefetcher(executor, batch)
        self._left: list[DueTrigger] = []  # what was due at the last tick, and is not settled for want of time
        self._refreshed = BEGINNING  # when the read models were last brought to the head of the log
        self._recovered = BEGINNING  # when it last looked whose schedules need rest no longer
        self._seen = BEGINNING  # up to when the last tick looked
        self._more = False  # whether it left something to do
        self._is_behind = False  # whether there is more of the log than it has followed

    def tick(self, conn: Connection) -> int:
        """Settles what is due, for batches.SLICE at least; returns how many runs it recorded or ended."""
        now = self._executor.clock()
        self._quarantine.release(now)
        due = self._find_due(conn, now)
        if not due:
            self._prefetcher.step(conn, now)
            return 0
        with tracing.span("tick"):
            return self._end_runs(due, now) + self._fire_schedules(due, now) + self._carry_on_backfills(conn, due)

    def _find_due(self, conn: Connection, now: datetime) -> DueWork:
        """
        In the midst of a backlog that is what is left of it, and what has come due since.

        To fold what itself has just recorded would cost a scheduler as much as to fire it: it does a part of that, and
        the projector the rest meanwhile.
        """
        if self._left and self._seen <= now < self._refreshed + REFRESH:
            self._follower.try_step(conn)
            new = self._awake(triggers_due.due(conn, now, after=self._seen, limit=MAX_DUE_ROWS))
            due = DueWork(ended=[], schedules=[*self._left, *new], backfills=[])
        else:
            due = self._find_all_due(conn, now)
        self._seen, self._left = now, []
        self._more = bool(due.backfills) or self._is_behind or self._follower.is_kept_waiting
        return due

    def _find_all_due(self, conn: Connection, now: datetime) -> DueWork:
        self._follow_log(conn)
        self._refreshed = now
        ended = self._awake(deadlines.due(conn, now, limit=MAX_DUE_ROWS))
        schedules = self._awake([*triggers_due.due(conn, now, limit=MAX_DUE_ROWS), *self._find_rested(conn, now)])
        waiting = [] if schedules else self._awake(backfills.waiting(conn, limit=MAX_BACKFILLS))
        return DueWork(ended=ended, schedules=schedules, backfills=waiting)

    def _find_rested(self, conn: Connection, now: datetime) -> list[DueTrigger]:
        """What waits of the schedules whose companies were over a quota, and are no longer."""
        quotas = self._executor.quotas
        if quotas is None or self._recovered <= now < self._recovered + RECOVERY:
            return []
        self._recovered = now
        companies = [company_id for company_id in triggers_due.resting(conn) if not quotas.is_over(company_id)]
        return triggers_due.awake(conn, companies, now, limit=MAX_DUE_ROWS) if companies else []

    def _follow_log(self, conn: Connection) -> None:
        """To the head of the log; when that is near, for FOLLOW_S at most: others may move it on without end."""
        end = time.monotonic() + FOLLOW_S
        while (events := self._follower.try_step(conn)) and (events >= FAR or time.monotonic() < end):
            pass
        self._is_behind = events > 0

    def _awake(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if not self._quarantine.holds(row.id)]

    def _end_runs(self, due: DueWork, now: datetime) -> int:
        """Runs that have lasted too long, and pauses that are over. Those that are left are found again."""
        ended, left = self._batches.settle_all(due.ended, deadline_use_cases.settle, now)
        self._more |= bool(left)
        return ended

    def _fire_schedules(self, due: DueWork, now: datetime) -> int:
        fired, self._left = self._batches.settle_all(in_turns(due.schedules), runs.fire_due, now)
        self._more |= bool(self._left)
        return fired

    def _carry_on_backfills(self, conn: Connection, due: DueWork) -> int:
        """
        A backfill whose company is near a quota is looked at again in a while.

        All of them wait while a read model is far behind the log: they can wait, and whoever reads cannot.
        """
        if due.backfills and _events_behind(conn) > MAX_EVENTS_BEHIND:
            self._quarantine.rest(row.id for row in due.backfills)
            return 0
        fired = 0
        for row in due.backfills:
            fired += self._batches.settle([row], backfill_use_cases.carry_on)
            if self._executor.quotas is not None and self._executor.quotas.is_half_used(row.company_id):
                self._quarantine.rest([row.id])
        return fired

    def pause_s(self, conn: Connection) -> float:
        """Seconds until something comes due that the last tick has not seen, or is to be tried again or read ahead."""
        if self._more or not self._prefetcher.is_over:
            return 0.0
        coming = triggers_due.next_due(conn, self._seen)
        moments = [coming and self._prefetcher.wake_for(coming), deadlines.next_due(conn, self._seen)]
        if not (known := [moment for moment in (*moments, *self._quarantine.ends) if moment is not None]):
            return LONGEST_SLEEP_S
        return min(max((min(known) - self._executor.clock()).total_seconds(), 0.0), LONGEST_SLEEP_S)


def _events_behind(conn: Connection) -> int:
    """How far the slowest read model is behind the log, of those that move."""
    moving = (model for model in positions.status(conn) if model.stopped is None and not model.is_outdated)
    return max((model.behind for model in moving), default=0)


def in_turns(rows: Sequence[DueTrigger]) -> list[DueTrigger]:
    """The companies take turns, each with what has waited longest."""
    by_company: dict[UUID, list[DueTrigger]] = {}
    for row in rows:
        by_company.setdefault(row.company_id, []).append(row)
    return [row for turn in zip_longest(*by_company.values()) for row in turn if row is not None]


def run(scheduler: Scheduler, connect: Callable[[], Connection], stop: Stop) -> None:
    """Until stopped; a database that is away is waited for, as are read models that are rebuilt for this version."""
    wakeup = Wakeup(connect)
    while not stop.is_set():
        try:
            with connect() as conn:
                while not stop.is_set():
                    scheduler.tick(conn)
                    wakeup.wait(scheduler.pause_s(conn), stop)
        except positions.Outdated as error:
            log.warning("read_models_outdated", read_models=str(error))
            stop.wait(TROUBLE_S)
        except (psycopg.Error, PersistenceError) as error:
            log.warning("database_unreachable", error=str(error))
            stop.wait(TROUBLE_S)
    wakeup.close()
