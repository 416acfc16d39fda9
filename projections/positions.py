"""How far each read model has come: advance it, wait for it, rebuild it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain, repeat

import msgspec
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from domain.recorded import Recorded
from projections.read_model import SCHEMA, Connection, ReadModel, apply

BATCH = 1_000  # events of one transaction
REBUILD_BATCH = 5_000
TRANSACTION_TIMEOUT_SINCE = 170_000  # version of Postgres
POLL_S = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03)  # then the last again and again

Read = Callable[[int, int], Sequence[Recorded]]  # the events after a position, at most so many

POSITIONS = """
    CREATE TABLE IF NOT EXISTS positions (
        name     text   PRIMARY KEY,
        position bigint NOT NULL DEFAULT 0,
        shape    text   NOT NULL,
        moved_at timestamptz NOT NULL DEFAULT now(),
        stopped  text   -- why it can go no further; NULL when all is well
    ) WITH (fillfactor = 50)"""
LOCKED = "SELECT name, position FROM positions WHERE name = ANY(%s) ORDER BY name FOR UPDATE"
MOVE = "UPDATE positions SET position = %s, moved_at = now(), stopped = NULL WHERE name = ANY(%s)"
FIRST = "INSERT INTO positions (name, shape) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING"
RESHAPE = "UPDATE positions SET shape = %s WHERE name = %s"
STOP = "UPDATE positions SET stopped = %s WHERE name = %s"
LAG = """
    SELECT (SELECT position FROM log.head), coalesce(min(position), 0), count(*)
    FROM positions WHERE name = ANY(%s)"""
STATUS = """
    SELECT p.name, p.position, h.position - p.position, p.stopped, p.moved_at,
        CASE WHEN p.position = h.position THEN 0
        ELSE extract(epoch FROM clock_timestamp() - n.recorded_at)::float8 END
    FROM positions p CROSS JOIN log.head h LEFT JOIN log.events n ON n.position = p.position + 1 ORDER BY p.name"""


class Lagging(Exception):
    """The read model has not caught up with the log in time."""

    def __init__(self, names: Sequence[str], behind: int) -> None:
        self.names = names
        self.behind = behind
        self.recorded: int | None = None  # position of a change that was made all the same
        super().__init__(f"{', '.join(names)}: {behind} events behind the log")


class Standing(msgspec.Struct, frozen=True, rename="camel"):
    """How far a read model has come. `behind` counts events, `behind_s` seconds; `stopped` says why it can go no further."""

    name: str
    position: int
    behind: int
    stopped: str | None
    moved_at: datetime
    behind_s: float  # since when the next event waits, in seconds


def create(conn: Connection, models: Sequence[ReadModel], read: Read) -> None:
    """Makes the tables of read models that are new, and rebuilds those whose tables have another shape."""
    with _alone(conn, "read models"):
        _execute(conn, "CREATE SCHEMA IF NOT EXISTS {0}", SCHEMA)
        conn.execute(POSITIONS)
        shapes: dict[str, str] = dict(conn.execute("SELECT name, shape FROM positions").fetchall())
        for model in models:
            if shapes.get(model.name) != model.shape:
                rebuild(conn, model, read)


def advance(conn: Connection, models: Sequence[ReadModel], read: Read, limit: int = BATCH) -> int:
    """
    One batch for those of the models that are furthest behind, in one transaction; returns how many events.

    Whatever a model raises ends the transaction and goes to the caller: nothing has moved then.
    """
    names = [model.name for model in models]
    with conn.transaction():
        reached: dict[str, int] = dict(conn.execute(LOCKED, (names,)).fetchall())
        if not reached:
            return 0
        start = min(reached.values())
        batch = read(start, limit)
        if not batch:
            return 0
        group = [model for model in models if reached.get(model.name) == start]
        apply(conn, group, batch)
        conn.execute(MOVE, (batch[-1].position, [model.name for model in group]))
    return len(batch)


def stop(conn: Connection, name: str, why: str) -> None:
    """Notes why a model can go no further, for health and status."""
    conn.execute(STOP, (why, name))


def gap(conn: Connection, names: Sequence[str], target: int | None = None) -> tuple[int, int]:
    """The target, or the head of the log if none is given, and how many events the slowest model is behind it."""
    row = conn.execute(LAG, (list(names),), prepare=True).fetchone()
    head, reached, known = row or (0, 0, 0)
    target = head if target is None else target
    return target, max(target - reached, 0) if known == len(set(names)) else max(target, 1)


def wait(conn: Connection, names: Sequence[str], timeout_s: float) -> int:
    """Until the read models show everything that was in the log at the call. Raises Lagging; returns the position."""
    target, behind = gap(conn, names)
    if behind and (behind := closing(lambda: gap(conn, names, target)[1], timeout_s)):
        raise Lagging(names, behind)
    return target


def closing(look: Callable[[], int], timeout_s: float) -> int:
    """Looks how many events are missing until none is, or the time is up; returns how many are."""
    deadline = time.monotonic() + timeout_s
    behind = 1
    for pause_s in chain(POLL_S, repeat(POLL_S[-1])):
        if time.monotonic() + pause_s > deadline:
            break
        time.sleep(pause_s)
        if not (behind := look()):
            break
    return behind


def status(conn: Connection) -> list[Standing]:
    return [Standing(*row) for row in conn.execute(STATUS)]


def rebuild(
    conn: Connection, model: ReadModel, read: Read, progress: Callable[[int], None] = lambda _position: None
) -> int:
    """
    Folds the whole log into fresh tables, then swaps them in; returns the position reached.

    A rebuild that is cut off leaves the old tables as they were.
    """
    with _alone(conn, f"rebuild {model.name}"):
        return _rebuild(conn, model, read, progress)


def _rebuild(conn: Connection, model: ReadModel, read: Read, progress: Callable[[int], None]) -> int:
    fresh = f"rebuilding_{model.name}"
    _execute(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", fresh)
    _execute(conn, "CREATE SCHEMA {0}", fresh)
    position = 0
    with _searching(conn, fresh):
        conn.execute(SQL(model.schema))
        while batch := read(position, REBUILD_BATCH):
            with conn.transaction():
                apply(conn, [model], batch)
            position = batch[-1].position
            progress(position)
    with conn.transaction():
        conn.execute(FIRST, (model.name, model.shape))
        conn.execute(LOCKED, ([model.name],))
        position = _finish(conn, model, read, fresh, position)
        _swap(conn, model, fresh)
        conn.execute(RESHAPE, (model.shape, model.name))
        conn.execute(MOVE, (position, [model.name]))
    _execute(conn, "DROP SCHEMA {0} CASCADE", fresh)
    return position


def _finish(conn: Connection, model: ReadModel, read: Read, fresh: str, position: int) -> int:
    """What came meanwhile; the live projector waits for the lock on the position."""
    with _searching(conn, fresh):
        while batch := read(position, REBUILD_BATCH):
            apply(conn, [model], batch)
            position = batch[-1].position
    return position


def _swap(conn: Connection, model: ReadModel, fresh: str) -> None:
    for table in model.tables:
        _execute(conn, "DROP TABLE IF EXISTS {0}.{1}", SCHEMA, table.name)
        _execute(conn, "ALTER TABLE {0}.{1} SET SCHEMA {2}", fresh, table.name, SCHEMA)


@contextlib.contextmanager
def _searching(conn: Connection, schema: str) -> Iterator[None]:
    """The same SQL over other tables."""
    _execute(conn, "SET search_path TO {0}", schema)
    try:
        yield
    finally:
        if conn.info.transaction_status != TransactionStatus.INERROR:  # a rollback undoes it
            _execute(conn, "SET search_path TO {0}", SCHEMA)


def _execute(conn: Connection, statement: str, *names: str) -> None:
    conn.execute(SQL(statement).format(*map(Identifier, names)))


@contextlib.contextmanager
def _alone(conn: Connection, what: str) -> Iterator[None]:
    """One process at a time, however long the others have to wait."""
    unlimited = ["transaction_timeout"] if conn.info.server_version >= TRANSACTION_TIMEOUT_SINCE else []
    for name in ("lock_timeout", "statement_timeout", *unlimited):
        _execute(conn, "SET {0} = 0", name)
    conn.execute("SELECT pg_advisory_lock(hashtext(%s))", (what,))
    conn.execute("RESET lock_timeout")
    conn.execute("RESET statement_timeout")
    try:
        yield
    finally:
        conn.execute("SELECT pg_advisory_unlock(hashtext(%s))", (what,))
        for name in unlimited:
            _execute(conn, "RESET {0}", name)
