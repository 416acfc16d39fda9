"""The projector: keeps every read model at the head of the log, moves old rows out of the way, and forgets old logs of runs."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from threading import Event as Stop

import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from application.outage import Outage
from domain.bounds.limits import DEFAULT
from processes.cold_rows import ColdRowMover
from processes.follower import Follower
from processes.last_batch import LastBatch
from processes.rebuilder import Rebuilder, Stopped
from processes.stopped_models import StoppedModels
from processes.wakeup import Connection, Wakeup
from projections.engine import positions, shares
from projections.engine.folding_aside import ReadPart
from projections.engine.read_model import ReadModel
from projections.engine.shares import ProjectorPlace, Share
from projections.firing import run_logs

POLL_S = 0.5  # longest wait for the next event
TROUBLE_S = 1.0  # pause after the database could not be reached
REBUILD_CHECK_S = 60.0  # between two looks for outdated read models

log = structlog.get_logger(process="projector")


class Projector:
    """
    Moves read models together; one that cannot take an event passes over it alone, and that is recorded.

    The models that another process acts on (`polled_by`) are moved in groups of their own, since that process has to
    wait meanwhile. They come later: mostly that process has moved them itself by then, and requests wait for the others.

    It moves all models until it is told to move a share of them.
    """

    def __init__(self, models: Sequence[ReadModel], read: ReadPart) -> None:
        self.models, self.read = models, read
        self._batch = LastBatch(read)
        self._share: Share | None = None
        self.take(shares.ALL)

    def take(self, share: Share | None) -> None:
        """Move the models of this share from now on; none if it is None."""
        if share != self._share:
            self._share = share
            self.taken: list[ReadModel] = [] if share is None else share.of(self.models)
            stopped_models = StoppedModels()
            self._followers = [
                Follower(group, self._batch, stopped_models=stopped_models) for group in _group_models(self.taken)
            ]

    def begin(self) -> None:
        """Trust nothing of what was read before: a new connection may lead to another database, with a shorter log."""
        self._batch.forget_all()

    def close(self) -> None:
        """End what runs beside the projector, which is not used any more."""
        self._batch.close()

    def step(self, conn: Connection) -> int:
        """Take one batch in each group; return the size of the largest, 0 when all that can go on are at the head."""
        self._batch.forget()
        return max((follower.try_step(conn) for follower in self._followers), default=0)


def _group_models(models: Sequence[ReadModel]) -> list[list[ReadModel]]:
    processes = sorted({model.polled_by or "" for model in models})
    return [[model for model in models if (model.polled_by or "") == process] for process in processes]


def run(  # noqa: PLR0913 what a process gives it
    projector: Projector,
    connect: Callable[[], Connection],
    stop: Stop,
    *,
    outage: Outage,
    log_days: int = DEFAULT.max_run_log_days,
    hot_age: timedelta | None = None,
) -> None:
    """
    Keep the models up to date until stopped, and wait for a database that is away. Where several processes do so, each
    moves a share of the models, and of their rows that have been over for `hot_age`. Rebuilds run in a thread, which also
    forgets logs of runs that are older than `log_days`.
    """
    rebuilder = Rebuilder(projector.models, projector.read, stop)
    rebuilding = threading.Thread(
        target=_keep_rebuilding, args=(rebuilder, connect, stop, log_days, outage), name="rebuilder"
    )
    rebuilding.start()
    try:
        _keep_moving(projector, ColdRowMover(hot_age), connect, stop, outage)
    finally:
        stop.set()  # also after an error: otherwise the threads would keep the process alive
        projector.close()
        rebuilding.join()


def _keep_moving(
    projector: Projector, mover: ColdRowMover, connect: Callable[[], Connection], stop: Stop, outage: Outage
) -> None:
    wakeup = Wakeup(connect)
    while not stop.is_set():
        try:
            with connect() as conn:
                place = ProjectorPlace(conn, projector.models)
                projector.begin()
                while not stop.is_set():
                    projector.take(place.share())
                    events = projector.step(conn)  # a full batch: it is behind, and nothing else is as urgent
                    outage.note_success("projector")
                    idle_s = mover.step(conn, projector.taken) if events < positions.BATCH else 0.0
                    if not events:
                        wakeup.wait(min(POLL_S, idle_s), stop)
        except (psycopg.Error, PersistenceError) as error:
            outage.note_failure("projector", error)
            stop.wait(TROUBLE_S)
    wakeup.close()


def _keep_rebuilding(
    rebuilder: Rebuilder, connect: Callable[[], Connection], stop: Stop, log_days: int, outage: Outage
) -> None:
    """Look for outdated models, and for old logs of runs, every REBUILD_CHECK_S until stopped."""
    while not stop.is_set():
        try:
            with connect() as conn:
                rebuilder.rebuild(conn)
                run_logs.forget(conn, log_days)
                outage.note_success("rebuilder")
        except Stopped:
            return
        except (psycopg.Error, PersistenceError) as error:
            outage.note_failure("rebuilder", error)
            stop.wait(TROUBLE_S)
        else:
            stop.wait(REBUILD_CHECK_S)
