"""
The scheduler: settles every occurrence when it is due.

Any number may run: the id of a run follows from its occurrence, so a second scheduler that fires it finds that run
recorded. A scheduler sleeps until the next schedule is due or the log grows; it does not poll by the minute.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from threading import Event as Stop
from typing import TypeVar
from uuid import UUID

import msgspec
import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from application import tracing
from application.execute import Executor
from application.outage import Outage
from application.use_cases import alerts, schedule_firing
from application.use_cases import backfills as backfill_use_cases
from application.use_cases import chains as chain_use_cases
from application.use_cases import deadlines as deadline_use_cases
from domain.routines.alert import DueAlert
from domain.routines.backfill import WaitingBackfill
from domain.routines.chain import DueChain
from domain.routines.deadline import Overdue
from domain.routines.trigger import DueTrigger
from processes.follower import Follower
from processes.scheduler import gate_windows
from processes.scheduler.batches import Batches, Row
from processes.scheduler.prefetch import Prefetcher
from processes.scheduler.quarantine import Quarantine
from processes.scheduler.zone_change import ZoneChange
from processes.wakeup import Connection, Wakeup
from projections.engine import positions
from projections.engine.positions import Read
from projections.firing import backfills, chains, deadlines, triggers_due, troubles

MAX_DUE_ROWS = 100_000  # the most due rows that a tick reads: some 30 MB
MAX_DUE_CHAINS = 10_000  # the most due chains that a tick reads: many times what it can fire
MAX_BACKFILLS = 50  # the most backfills that a tick carries on, and only when no schedule is due
MAX_EVENTS_BEHIND = 500  # backfills wait while a read model is further behind the log
FOLLOW_S = 0.5  # longest time to follow the log once its head is near
FAR = 100  # a batch of at least so many events means that the head of the log is still far
REFRESH = timedelta(seconds=5)  # after which a tick reads again all that is due, even when rows remain of the last one
LONGEST_SLEEP_S = 30.0  # in case a notification of the log is not heard
TROUBLE_S = 1.0  # pause after the database could not be reached
RECOVERY = timedelta(seconds=15)  # between two looks for companies that are within their quotas again
BEGINNING = datetime.min.replace(tzinfo=UTC)
FOLLOWED = (
    triggers_due.triggers_due,
    deadlines.deadlines,
    chains.chains,
    troubles.troubles,
    backfills.backfills,
)  # each is `polled_by` the scheduler

InTurns = TypeVar("InTurns", DueTrigger, Overdue, DueAlert)
Beginning = TypeVar("Beginning", DueChain, Overdue)

log = structlog.get_logger(process="scheduler")


class DueWork(msgspec.Struct):
    """What one tick is to settle: what ends, what follows ended runs, due occurrences, alerts, waiting backfills."""

    ended: list[Overdue]
    chains: list[DueChain]
    schedules: list[DueTrigger]
    alerts: list[DueAlert]
    backfills: list[WaitingBackfill]

    def __bool__(self) -> bool:
        return bool(self.ended or self.chains or self.schedules or self.alerts or self.backfills)


class Scheduler:
    """
    Settles what is due, `batch` rows in one transaction.

    Companies take turns: each batch takes rows of all of them, so that a company with much due work does not keep the
    others waiting. No tick lasts much longer than batches.SLICE before it looks again for what is due. While nothing is
    due it prefetches. While another process holds the read models, it takes their rows as they are.
    """

    def __init__(self, executor: Executor, read: Read, batch: int) -> None:
        self._executor = executor
        self._follower = Follower(FOLLOWED, read, acts=True)
        self._quarantine = Quarantine(executor.clock)
        self._batches = Batches(executor, self._quarantine, batch)
        self._prefetcher = Prefetcher(executor, batch)
        self._zone_change = ZoneChange(executor, batch)
        self._left_rows: list[DueTrigger] = []  # rows that the last tick had no time to settle
        self._refreshed_at = BEGINNING  # when the log was last followed and all due rows were read
        self._recovered_at = BEGINNING  # when it last looked for companies that are within their quotas again
        self._looked_until = BEGINNING  # up to when the last tick looked for due rows
        self._more = False  # whether the last tick left something to do
        self._is_behind = False  # whether it has left events of the log unread

    def tick(self, conn: Connection) -> int:
        """Settle what is due until batches.SLICE has passed; return how many runs were recorded or ended."""
        now = self._executor.clock()
        self._quarantine.release(now)
        due = self._find_due(conn, now)
        if not due:
            self._prefetcher.step(conn, now)
            return 0
        with tracing.span("tick"):
            settled_count = self._end_runs(due, now) + self._carry_on_chains(due, now) + self._fire_schedules(due, now)
            self._raise_alerts(due, now)
            return settled_count + self._carry_on_backfills(conn, due)

    def _find_due(self, conn: Connection, now: datetime) -> DueWork:
        """
        Return what the tick is to settle: after an unfinished tick, the remaining rows and what has come due since.

        To fold the events that it has just recorded would cost the scheduler as much as to fire. So during a backlog it
        takes one step of the log each tick, and the projector folds the rest meanwhile.
        """
        if self._left_rows and self._looked_until <= now < self._refreshed_at + REFRESH:
            self._follower.try_step(conn)
            new = gate_windows.look(
                conn,
                self._without_quarantined(triggers_due.due(conn, now, after=self._looked_until, limit=MAX_DUE_ROWS)),
            )
            due = DueWork(ended=[], chains=[], schedules=[*self._left_rows, *new], alerts=[], backfills=[])
        else:
            due = self._find_all_due(conn, now)
        self._looked_until, self._left_rows = now, []
        self._more = bool(due.backfills) or self._is_behind or self._follower.is_kept_waiting
        return due

    def _find_all_due(self, conn: Connection, now: datetime) -> DueWork:
        self._follow_log(conn)
        self._refreshed_at = now
        overdue_runs = self._without_quarantined(self._within_quotas(deadlines.due(conn, now, limit=MAX_DUE_ROWS)))
        due_chains = self._without_quarantined(self._within_quotas(chains.due(conn, limit=MAX_DUE_CHAINS)))
        schedules = self._without_quarantined(
            [*triggers_due.due(conn, now, limit=MAX_DUE_ROWS), *self._find_rested(conn, now)]
        )
        schedules = gate_windows.look(conn, schedules)
        waiting = [] if schedules else self._without_quarantined(backfills.waiting(conn, limit=MAX_BACKFILLS))
        due_alerts = self._without_quarantined(troubles.due(conn, now, limit=MAX_DUE_ROWS))
        return DueWork(ended=overdue_runs, chains=due_chains, schedules=schedules, alerts=due_alerts, backfills=waiting)

    def _within_quotas(self, rows: Sequence[Beginning]) -> list[Beginning]:
        """
        Return the rows without those that would begin something in a company that is over a quota.

        These rest, and are looked at again: so they take no time in which others could be settled.
        """
        if (quotas := self._executor.quotas) is None:
            return list(rows)
        beginning = [row for row in rows if isinstance(row, DueChain) or row.kind == "attempt"]
        over_quota_ids = {id_ for id_ in {row.company_id for row in beginning} if quotas.is_over(id_)}
        resting_ids = {row.id for row in beginning if row.company_id in over_quota_ids}
        self._quarantine.rest(resting_ids)
        return [row for row in rows if row.id not in resting_ids]

    def _find_rested(self, conn: Connection, now: datetime) -> list[DueTrigger]:
        """Return due rows of schedules that rested while their companies were over a quota, if they no longer are."""
        quotas = self._executor.quotas
        if quotas is None or self._recovered_at <= now < self._recovered_at + RECOVERY:
            return []
        self._recovered_at = now
        companies = [
            company_id for company_id in triggers_due.resting_companies(conn) if not quotas.is_over(company_id)
        ]
        return triggers_due.awake(conn, companies, now, limit=MAX_DUE_ROWS) if companies else []

    def _follow_log(self, conn: Connection) -> None:
        """Follow the log to its head; when that is near, for FOLLOW_S at most, since others may write without end."""
        end = time.monotonic() + FOLLOW_S
        while (events := self._follower.try_step(conn)) and (events >= FAR or time.monotonic() < end):
            pass
        self._is_behind = events > 0

    def _without_quarantined(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if not self._quarantine.holds(row.id)]

    def _end_runs(self, due: DueWork, now: datetime) -> int:
        """Settle runs that have lasted too long and pauses that are over; the next tick reads the rest again."""
        ended_count, remaining = self._batches.settle_all(in_turns(due.ended), deadline_use_cases.settle, now)
        self._more |= bool(remaining)
        return ended_count

    def _carry_on_chains(self, due: DueWork, now: datetime) -> int:
        """Fire what follows the runs that have ended; the next tick reads the rest again."""
        fired_count, remaining = self._batches.settle_all(due.chains, chain_use_cases.fire_due, now)
        self._more |= bool(remaining)
        return fired_count

    def _fire_schedules(self, due: DueWork, now: datetime) -> int:
        fired_count, self._left_rows = self._batches.settle_all(in_turns(due.schedules), schedule_firing.fire_due, now)
        self._more |= bool(self._left_rows)
        return fired_count

    def _raise_alerts(self, due: DueWork, now: datetime) -> None:
        """Raise and close alerts; the next tick reads again those that remain."""
        _, remaining = self._batches.settle_all(in_turns(due.alerts), alerts.settle, now)
        self._more |= bool(remaining)

    def _carry_on_backfills(self, conn: Connection, due: DueWork) -> int:
        """
        Carry on each backfill by one transaction; it rests while its company has used half of a quota.

        All backfills rest while a read model is more than MAX_EVENTS_BEHIND behind the log: they can wait, requests cannot.
        """
        if due.backfills and _events_behind(conn) > MAX_EVENTS_BEHIND:
            self._quarantine.rest(row.id for row in due.backfills)
            return 0
        fired_count = 0
        for row in due.backfills:
            fired_count += self._batches.settle([row], backfill_use_cases.carry_on)
            if self._executor.quotas is not None and self._executor.quotas.is_half_used(row.company_id):
                self._quarantine.rest([row.id])
        return fired_count

    def replan(self, conn: Connection) -> bool:
        """Plan some schedules by newer zone data, if there are any; return whether there is more to plan anew."""
        self._zone_change.step(conn)
        return not self._zone_change.is_over

    def pause_s(self, conn: Connection) -> float:
        """Return the seconds until something new comes due, is to be tried again, or is to be prefetched."""
        if self._more or not self._prefetcher.is_over:
            return 0.0
        next_occurrence = triggers_due.next_due(conn, self._looked_until)
        moments = [
            next_occurrence and self._prefetcher.wake_for(next_occurrence),
            deadlines.next_due(conn, self._looked_until),
        ]
        moments.append(troubles.next_due(conn, self._looked_until))
        if not (wakes := [moment for moment in (*moments, *self._quarantine.ends) if moment is not None]):
            return LONGEST_SLEEP_S
        return min(max((min(wakes) - self._executor.clock()).total_seconds(), 0.0), LONGEST_SLEEP_S)


def _events_behind(conn: Connection) -> int:
    """How many events the slowest read model is behind the log; those that are stopped or outdated do not count."""
    moving = (model for model in positions.status(conn) if model.stopped is None and not model.is_outdated)
    return max((model.behind for model in moving), default=0)


def in_turns(rows: Sequence[InTurns]) -> list[InTurns]:
    """Return the rows so that companies take turns; within a company their order stays."""
    by_company: dict[UUID, list[InTurns]] = {}
    for row in rows:
        by_company.setdefault(row.company_id, []).append(row)
    return [row for turn in zip_longest(*by_company.values()) for row in turn if row is not None]


def run(scheduler: Scheduler, connect: Callable[[], Connection], stop: Stop, outage: Outage) -> None:
    """Tick until stopped. Waits for a database that is away and for read models that are being rebuilt."""
    wakeup = Wakeup(connect)
    while not stop.is_set():
        try:
            with connect() as conn:
                while not stop.is_set():
                    scheduler.tick(conn)
                    outage.note_success("scheduler")
                    wakeup.wait(0.0 if scheduler.replan(conn) else scheduler.pause_s(conn), stop)
        except positions.Outdated as error:
            log.warning("read_models_outdated", read_models=str(error))
            stop.wait(TROUBLE_S)
        except (psycopg.Error, PersistenceError) as error:
            outage.note_failure("scheduler", error)
            stop.wait(TROUBLE_S)
    wakeup.close()
