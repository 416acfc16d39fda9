"""
The position of each read model in the log: advance models, wait for them, say how far they are.

An event that a read model cannot fold is isolated: the model passes over it, and `isolated_events` records it until the
model is rebuilt. So no event, whoever recorded it, stops a read model.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

import msgspec
import psycopg
from psycopg.pq import TransactionStatus

from domain.bounds.limits import BATCH_ROWS
from domain.recorded import Recorded, Unreadable
from projections.engine.folding import (
    TooManyRows,
    begin_fold,
    fold_and_write,
    fold_and_write_together,
    kinds_of,
    request_together,
)
from projections.engine.isolation import isolate_unreadable, note_isolated
from projections.engine.read_model import ReadModel
from projections.engine.same_log import IS_IN_LOG, OtherLog, place_of, require_in_log
from projections.engine.sent_columns import TEXT, SentArray
from projections.engine.table import Connection

BATCH = 1_000  # the most events of one transaction
SMALL_BATCH = 50  # events; their rows are few enough to be asked for before it is sure that they are needed
POLL_S = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03)  # pauses between polls; the last one repeats
Cursor = psycopg.Cursor[tuple[Any, ...]]
Read = Callable[[int, int], Sequence[Recorded]]  # takes a position and a number: returns up to so many events after it
# The read models that this process may fold events into: those whose rows its own version has made and, if its version
# is the installed one, those whose rows an older version has made in the same tables. Other models have to be rebuilt
# first, or belong to a newer version.
_MOVABLE = """
    FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
    WHERE p.shape = m.shape
        OR (p.wanted = m.shape AND split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1))"""
REACHED = f"SELECT min(p.position), count(*) {_MOVABLE}"
LOCKED = f"SELECT name, p.position {_MOVABLE} ORDER BY name FOR UPDATE OF p"
# Moves those of the models that are at a place, and returns them, and whether the events are in this database's log. Their
# rows are locked in the order of names before, with those of the others, so that processes that move some of the same wait
# for each other instead of for ever.
LOCK_AND_MOVE = f"""
    WITH locked AS MATERIALIZED ({LOCKED}), moved AS (
        UPDATE positions p SET position = %(end)s, moved_at = now(), stopped = NULL
        FROM locked l WHERE l.name = p.name AND l.position = %(start)s RETURNING p.name)
    SELECT ARRAY(SELECT name FROM moved), {IS_IN_LOG}"""
MOVE = "UPDATE positions SET position = %s, moved_at = now(), stopped = NULL WHERE name = ANY(%s)"
# The rows are then others than those of the events up to there: whom the event concerns is found by none of them.
LEAVE_OUT = """
    UPDATE positions SET position = %s, made = gen_random_uuid(), moved_at = now(), stopped = NULL WHERE name = %s"""
SAME = "UPDATE positions SET position = position WHERE name = %s"
STOP = "UPDATE positions SET stopped = %s WHERE name = %s"
LAG = """
    SELECT (SELECT position FROM log.head), coalesce(min(position), 0), count(*)
    FROM positions WHERE name = ANY(%s)"""
# A model whose tables differ from this version's cannot be moved by it, so it counts as if it were at the head.
LAG_OF_OWN_TABLES = """
    SELECT h.position,
        coalesce(min(p.position) FILTER (WHERE split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1)), h.position),
        count(p.name)
    FROM log.head h CROSS JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) LEFT JOIN positions p USING (name)
    GROUP BY h.position"""
STATUS = """
    SELECT p.name, p.position, h.position - p.position, p.stopped, p.moved_at,
        CASE WHEN p.position >= h.position THEN 0
        ELSE extract(epoch FROM clock_timestamp() - n.recorded_at)::float8 END,
        (SELECT count(*) FROM isolated_events i WHERE i.read_model = p.name),
        p.shape <> coalesce(p.wanted, p.shape), p.rebuilt_to
    FROM positions p CROSS JOIN log.head h LEFT JOIN log.events n ON n.position = p.position + 1 ORDER BY p.name"""


class Lagging(Exception):
    """
    The read models have not caught up with the log in time.

    `behind` is the number of events that the slowest one still has to fold. `recorded` is the position of the change
    that the request has recorded nevertheless, if it has recorded one.
    """

    def __init__(self, names: Sequence[str], behind: int) -> None:
        self.names = names
        self.behind = behind
        self.recorded: int | None = None  # position of the change that the request has recorded
        super().__init__(f"{', '.join(names)}: {behind} events behind the log")


class BatchProgress(msgspec.Struct, frozen=True):
    """What one batch has moved: the number of its events that were folded, and of the models that have moved."""

    events: int
    models: int


class Outdated(Exception):
    """The rows of read models that this process acts on belong to another version, so it can only wait."""


class ReadModelStatus(msgspec.Struct, frozen=True, rename="camel"):
    """
    How far a read model has come.

    `behind` counts events, `behind_s` seconds; `stopped` says why it can go no further; `isolated` counts the events
    that it could not take and has passed over. While `is_outdated`, its rows are those of an older version of the
    service; `rebuilt_to` is the position up to which its new rows are made, None while no process makes them.
    """

    name: str
    position: int
    behind: int
    stopped: str | None
    moved_at: datetime
    behind_s: float  # how many seconds the next event has waited
    isolated: int = 0
    is_outdated: bool = False
    rebuilt_to: int | None = None


def advance(conn: Connection, models: Sequence[ReadModel], read: Read, limit: int = BATCH) -> int:
    """
    Fold one batch into those of the models that are furthest behind; return the number of events.

    Models that only another version may move are left out.
    """
    start = reached(conn, models)
    return 0 if start is None else move(conn, models, start, read(start, limit)).events


def move(
    conn: Connection, models: Sequence[ReadModel], start: int, batch: Sequence[Recorded], *, are_there: bool = False
) -> BatchProgress:
    """
    Fold a batch into those of the models that are at `start` and may be moved, in one transaction.

    `are_there` says that all of them were so when last seen. The batch has been read and decoded before. It is cut short
    when it would write too many rows. Any other error ends the transaction and is raised: nothing has moved then. So is
    OtherLog, where the batch is not of the log of this database.
    """
    while batch:
        try:
            return BatchProgress(len(batch), _move(conn, models, start, batch, are_there=are_there))
        except TooManyRows as full:
            batch = [recorded for recorded in batch if recorded.position < full.position]
    return BatchProgress(0, 0)


def _move(
    conn: Connection, models: Sequence[ReadModel], start: int, batch: Sequence[Recorded], *, are_there: bool
) -> int:
    """
    Fold the batch and return the number of models that have moved.

    Each wait for Postgres costs a switch of processes, however little is folded, and so does each statement. So the
    transaction begins with locking and moving the positions, the rows of a small batch are asked for together with that,
    with one statement, and all is committed together with the rows that are written. The rows of a larger batch are asked
    for after the lock: they are many, and useless if another process has moved the models meanwhile. So are those of
    models that may be elsewhere, or wait for their first tables.
    """
    is_early = are_there and len(batch) <= SMALL_BATCH
    with _transaction(conn):
        places = {"start": start} | place_of(batch[-1])
        moved_cursor = conn.execute(LOCK_AND_MOVE, schema_hashes(models) | places)
        kinds = kinds_of(batch)
        folds = {model.name: begin_fold(model, conn, batch, BATCH_ROWS, kinds) for model in models}
        if is_early:
            request_together(conn, [*folds.values()])
        names, is_in_log = moved_cursor.fetchone() or ([], False)
        if not is_in_log:
            raise OtherLog(batch[-1].position)
        group = [model for model in models if model.name in names]
        if not is_early and len(batch) <= SMALL_BATCH:
            request_together(conn, [folds[model.name] for model in group])
        elif not is_early:
            for model in group:
                folds[model.name].request_rows()
        if group:
            folds_of_group = [folds[model.name] for model in group]
            if len(batch) <= SMALL_BATCH:
                fold_and_write_together(conn, folds_of_group)
            else:
                fold_and_write(folds_of_group)
            if Unreadable in kinds:
                isolate_unreadable(conn, group, batch)
        return len(group)


@contextmanager
def _transaction(conn: Connection) -> Iterator[None]:
    """
    Open a pipeline with a transaction, whose begin and end are sent with the statements beside them.

    `Connection.transaction` waits for Postgres before and after each of the two, in a pipeline as well.
    """
    try:
        with conn.pipeline():
            conn.execute("BEGIN")
            yield
            conn.execute("COMMIT")
    finally:
        if not conn.closed and conn.info.transaction_status != TransactionStatus.IDLE:
            conn.rollback()


def reached(conn: Connection, models: Sequence[ReadModel], *, all_of_them: bool = False) -> int | None:
    """
    Return the lowest position among those of the models that this version may move; None if it may move none of them.

    Raises Outdated if `all_of_them` is set and one of the models may not be moved.
    """
    row: tuple[int | None, int] | None = conn.execute(REACHED, schema_hashes(models), prepare=True).fetchone()
    position, count = row or (None, 0)
    if all_of_them and count < len(models):
        raise Outdated(", ".join(model.name for model in models))
    return position


def schema_hashes(models: Sequence[ReadModel]) -> dict[str, SentArray]:
    """Return the names of the models with their schema hashes, as the queries of positions take them."""
    return _sent_hashes(tuple([model.name for model in models]), tuple([model.schema_hash for model in models]))


@lru_cache(maxsize=100)
def _sent_hashes(names: tuple[str, ...], hashes: tuple[str, ...]) -> dict[str, SentArray]:
    return {"names": TEXT.array(names), "shapes": TEXT.array(hashes)}


def isolate(conn: Connection, model: ReadModel, read: Read, position: int, reason: str) -> Recorded | None:
    """
    Pass over the event after this position and record it as isolated, with the reason; return the event.

    Returns None and changes nothing when the model is not at this position any more.
    """
    with conn.transaction():
        positions: dict[str, int] = dict(conn.execute(LOCKED, schema_hashes([model])).fetchall())
        recorded = next(iter(read(position, 1)), None) if positions.get(model.name) == position else None
        if recorded is not None:
            require_in_log(conn, recorded)
            note_isolated(conn, model, recorded, reason)
            conn.execute(LEAVE_OUT, (recorded.position, model.name))
    return recorded


def write_durably(conn: Connection, name: str) -> None:
    """
    Write the position of a model as it is, and wait until that is on the disk: not for long, unless the disk hangs.

    A replica is not waited for: no batch waits for it either, and it may be away for long.
    """
    with conn.transaction():
        conn.execute("SET LOCAL synchronous_commit = local")
        conn.execute(SAME, (name,))


def stop(conn: Connection, name: str, reason: str) -> None:
    """Record why a model can go no further, for health and status."""
    conn.execute(STOP, (reason, name))


def gap(conn: Connection, names: Sequence[str], target: int | None = None) -> tuple[int, int]:
    """Return the target, by default the head of the log, and how many events the slowest model is behind it."""
    return _read_gap(conn.execute(LAG, (list(names),), prepare=True), len(set(names)), target)


def gap_of_own_tables(conn: Connection, models: Sequence[ReadModel], target: int | None = None) -> tuple[int, int]:
    """
    Return the same as `gap`, without the models whose tables belong to another version.

    Such models wait for their rebuild, so waiting for them would be in vain.
    """
    return _read_gap(conn.execute(LAG_OF_OWN_TABLES, schema_hashes(models), prepare=True), len(models), target)


def _read_gap(cursor: Cursor, count: int, target: int | None) -> tuple[int, int]:
    head, reached, count_in_table = cursor.fetchone() or (0, 0, 0)
    target = head if target is None else target
    return target, max(target - reached, 0) if count_in_table == count else max(target, 1)


def wait(conn: Connection, names: Sequence[str], timeout_s: float) -> int:
    """
    Wait until the read models show everything that was in the log at the time of the call; return that position.

    Raises Lagging when they do not within `timeout_s` seconds.
    """
    target, lag = gap(conn, names)
    if lag and (lag := poll_until(lambda: gap(conn, names, target)[1], timeout_s)):
        raise Lagging(names, lag)
    return target


def poll_until(look: Callable[[], int], timeout_s: float) -> int:
    """
    Call `look`, which counts the missing events, until none is missing or the time is up; return its last answer.

    The first call comes after a short pause. If there is no time for even one call, 1 is returned.
    """
    deadline = time.monotonic() + timeout_s
    lag = 1
    for pause_s in chain(POLL_S, repeat(POLL_S[-1])):
        if time.monotonic() + pause_s > deadline:
            break
        time.sleep(pause_s)
        if not (lag := look()):
            break
    return lag


def status(conn: Connection) -> list[ReadModelStatus]:
    """Return the status of every read model, in the order of their names."""
    return [ReadModelStatus(*row) for row in conn.execute(STATUS)]
