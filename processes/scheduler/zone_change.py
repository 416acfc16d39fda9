"""Plans all schedules anew, a few at a time, when this scheduler goes by newer zone data than the last ones."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from application.execute import Executor
from application.use_cases import zone_data
from domain.routines.trigger import DueTrigger
from domain.schedule import zones
from processes.scheduler import batch_report
from projections.engine import isolation
from projections.engine.table import Connection
from projections.firing import triggers_due

BEGINNING = UUID(int=0)

log = structlog.get_logger(process="scheduler")


class ZoneChange:
    """Goes through the schedules once in the life of a scheduler, `batch` in one transaction."""

    def __init__(self, executor: Executor, batch: int) -> None:
        self._executor = executor
        self._batch = batch
        self._after = BEGINNING  # the last schedule that was looked at
        self._replanned_count = 0
        self.is_over = False

    def step(self, conn: Connection) -> None:
        """
        Plan the next few schedules by the zone data of this process; after the last ones record that all are.

        Does nothing if the same or newer zone data have been adopted. Raises psycopg.OperationalError or
        PersistenceError when the database is away.
        """
        if self.is_over:
            return
        if self._after == BEGINNING and not self._executor.query(zone_data.is_newer):
            self._end()
            return
        rows = triggers_due.coming_schedules(conn, self._executor.clock(), after_id=self._after, limit=self._batch)
        if rows:
            self._replanned_count += self._replan_schedules(rows)
            self._after = rows[-1].id
            return
        self._executor.attempt(zone_data.adopt, actor="scheduler")
        log.info("zone_data_adopted", version=zones.data().version, replanned=self._replanned_count)
        self._end()

    def _replan_schedules(self, rows: Sequence[DueTrigger]) -> int:
        """Plan the schedules anew, each half apart where that fails; one that fails alone stays as it is planned."""
        try:
            return self._executor.attempt(lambda work: zone_data.replan(work, rows), actor="scheduler").result
        except Exception as error:
            if isolation.is_away(error):
                raise
            if len(rows) == 1:
                log.exception("replanning_failed", **batch_report.names(rows[0]))
                return 0
        middle = len(rows) // 2
        return self._replan_schedules(rows[:middle]) + self._replan_schedules(rows[middle:])

    def _end(self) -> None:
        self.is_over = True
        adopted_version = self._executor.query(zone_data.adopted_version)
        if adopted_version is not None and adopted_version != zones.data().version:
            log.warning("zone_data_older", version=zones.data().version, adopted=adopted_version)
