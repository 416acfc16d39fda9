"""The projector: keeps every read model at the head of the log, moves old rows out of the way, and forgets old logs of runs."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from threading import Event as Stop

import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from application.outage import Outage
from domain.bounds.limits import DEFAULT
from processes.follower import Follower, LastBatch
from processes.wakeup import Connection, Wakeup
from projections.engine import cold, isolation, positions, rebuilds, shares
from projections.engine.folding_aside import ReadPart
from projections.engine.read_model import ReadModel
from projections.engine.shares import ProjectorPlace, Share
from projections.firing import run_logs

POLL_S = 0.5  # longest wait for the next event
TROUBLE_S = 1.0  # pause after the database could not be reached
REBUILD_CHECK_S = 60.0  # between two looks for outdated read models
PROGRESS_S = 5.0  # between two log lines about one rebuild
COLD_CHECK_S = 10.0  # between two looks for rows that have become old
COLD_REST = 9  # times what a move of such rows took, until the next one: a tenth of the time at most

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
            self._followers = [Follower(group, self._batch) for group in _group_models(self.taken)]

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


class ColdRowMover:
    """
    Moves the rows of what has been over for `age` into the cold tables, a few at a time; never, if it is None.

    That takes a tenth of the time at most. A model whose rows cannot move is left as it is until all others are done, and
    the log says so.
    """

    def __init__(self, age: timedelta | None) -> None:
        self._age = age
        self._next_at = 0.0
        self._left_names = set[str]()

    def step(self, conn: Connection, models: Sequence[ReadModel]) -> float:
        """Move some rows if it is time for that; return for how many seconds there is nothing to do then."""
        if self._age is None:
            return math.inf
        if (began := time.monotonic()) >= self._next_at:
            until = cold.last_position_before(conn, self._age)
            # Each has its turn, whatever the others have to move.
            moved = [self._has_moved(conn, model, until) for model in models]
            ended = time.monotonic()
            self._next_at = ended + ((ended - began) * COLD_REST if any(moved) else COLD_CHECK_S)
            if not any(moved):
                self._left_names.clear()
        return self._next_at - began

    def _has_moved(self, conn: Connection, model: ReadModel, until: int) -> bool:
        if model.name in self._left_names:
            return False
        try:
            return cold.move(conn, model, until)
        except psycopg.errors.LockNotAvailable:  # somebody vacuums the table that is to have a cold one
            self._left_names.add(model.name)
        except psycopg.Error as error:
            if conn.closed or isolation.is_away(error):
                raise
            self._left_names.add(model.name)
            log.exception("old_rows_not_moved", read_model=model.name)
        return False


def _group_models(models: Sequence[ReadModel]) -> list[list[ReadModel]]:
    processes = sorted({model.polled_by or "" for model in models})
    return [[model for model in models if (model.polled_by or "") == process] for process in processes]


class Rebuilder:
    """
    Rebuilds the outdated read models in a thread, while the projector moves on the others.

    Readers are shown the old rows meanwhile.
    """

    def __init__(self, models: Sequence[ReadModel], read: ReadPart, stop: Stop) -> None:
        self._models, self._read, self._stop = models, read, stop
        self._logged_at = -math.inf

    def rebuild(self, conn: Connection) -> None:
        """
        Rebuild every model that is outdated now. A rebuild that fails is logged, and the next one begins.

        Raises Stopped when the process is to end, and psycopg.Error or PersistenceError when the database is away.
        """
        for model in rebuilds.find_outdated(conn, self._models):
            try:
                is_rebuilt = rebuilds.rebuild_if_outdated(
                    conn, model, self._read, partial(self._note_progress, model.name)
                )
            except (Stopped, PersistenceError):
                raise
            except Exception:
                if conn.closed:
                    raise
                log.exception("rebuild_failed", read_model=model.name)
            else:
                if is_rebuilt:
                    log.info("read_model_rebuilt", read_model=model.name)

    def _note_progress(self, name: str, position: int) -> None:
        if self._stop.is_set():
            raise Stopped
        if time.monotonic() >= self._logged_at + PROGRESS_S:
            self._logged_at = time.monotonic()
            log.info("read_model_rebuilding", read_model=name, position=position)


class Stopped(Exception):
    """The process is to end in the midst of a rebuild; the next process starts that rebuild again."""


def run(  # noqa: PLR0913, PLR0917 what a process gives it
    projector: Projector,
    connect: Callable[[], Connection],
    stop: Stop,
    log_days: int = DEFAULT.max_run_log_days,
    hot_age: timedelta | None = None,
    outage: Outage | None = None,
) -> None:
    """
    Keep the models up to date until stopped, and wait for a database that is away. Where several processes do so, each
    moves a share of the models, and of their rows that have been over for `hot_age`. Rebuilds run in a thread, which also
    forgets logs of runs that are older than `log_days`.
    """
    outage = outage or Outage()
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
