"""
How far each read model has come: advance it, wait for it, rebuild it.

An event that a read model cannot take is isolated: the model passes over it, and the event is on the record in
`isolated_events` until the model is rebuilt. So no event, whoever made it, stops a read model.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import chain, repeat
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from eventsourcing.persistence import PersistenceError
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from domain.bounds.limits import BATCH_ROWS
from domain.events import STORED_NAMES
from domain.recorded import Recorded, Unreadable
from projections.engine.read_model import SCHEMA, Connection, ReadModel, TooManyRows, apply, write

BATCH = 1_000  # events of one transaction
SMALL_BATCH = 50  # events, whose rows are few enough to be asked for in vain
REBUILD_BATCH = 5_000
REBUILD_ROWS = 50_000  # of one batch
UNKNOWN_EVENT = "UnknownEvent"  # why an event of a name that this version does not know is isolated
FAULTS_OF_DATA = ("21", "22", "23", "54", "XX")  # classes of SQLSTATE
TOO_MUCH = ("53200", "57014", "25P03", "25P04")  # out of memory, or over a limit on time
TRANSACTION_TIMEOUT_SINCE = 170_000  # version of Postgres
POLL_S = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03)  # then the last again and again

Cursor = psycopg.Cursor[tuple[Any, ...]]
Read = Callable[[int, int], Sequence[Recorded]]  # the events after a position, at most so many

# The read models of a process that it may fold events into: those whose rows were made by its version, and those of an
# older one in the same tables, if its version is the installed one. Others are rebuilt, or belong to a newer version.
_MOVABLE = """
    FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
    WHERE p.shape = m.shape
        OR (p.wanted = m.shape AND split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1))"""
REACHED = f"SELECT min(p.position), count(*) {_MOVABLE}"
LOCKED = f"SELECT name, p.position {_MOVABLE} ORDER BY name FOR UPDATE OF p"
LOCKED_WHATEVER_SHAPE = "SELECT FROM positions WHERE name = %s FOR UPDATE"
MOVE = "UPDATE positions SET position = %s, moved_at = now(), stopped = NULL WHERE name = ANY(%s)"
FIRST = "INSERT INTO positions (name, shape, wanted) VALUES (%s, '', %s) ON CONFLICT (name) DO NOTHING"
WANT = """
    INSERT INTO positions (name, shape, wanted) VALUES (%s, '', %s)
    ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted WHERE positions.wanted IS DISTINCT FROM excluded.wanted"""
RESHAPE = "UPDATE positions SET shape = %s, rebuilt_to = NULL WHERE name = %s"
# Nobody waits for it: who moves the model holds the row.
NOTE_PROGRESS = f"""
    UPDATE {SCHEMA}.positions SET rebuilt_to = %(position)s
    WHERE name IN (SELECT name FROM {SCHEMA}.positions WHERE name = %(name)s FOR UPDATE SKIP LOCKED)"""
OUTDATED = """
    SELECT p.name, split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1)
    FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
    WHERE p.wanted = m.shape AND (p.shape <> m.shape OR EXISTS (
        SELECT FROM isolated_events i
        WHERE i.read_model = p.name AND i.reason = %(unknown_event)s AND i.name = ANY(%(known_events)s)))"""
HAS_OTHER_ROWS = """
    SELECT EXISTS (SELECT FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
                   WHERE p.shape <> m.shape)"""
STOP = "UPDATE positions SET stopped = %s WHERE name = %s"
ISOLATE = """
    INSERT INTO isolated_events (read_model, position, name, stream_id, version, company_id, reason)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""
READMIT = "DELETE FROM isolated_events WHERE read_model = %s"
ISOLATED_OF = """
    SELECT read_model, position, name, stream_id, version, company_id, reason, isolated_at FROM isolated_events
    WHERE %(name)s::text IS NULL OR read_model = %(name)s ORDER BY position DESC, read_model LIMIT %(limit)s"""
LAG = """
    SELECT (SELECT position FROM log.head), coalesce(min(position), 0), count(*)
    FROM positions WHERE name = ANY(%s)"""
# Models that have other tables than this version cannot be moved by it: they count as if they were at the head.
LAG_OF_OWN_TABLES = """
    SELECT h.position,
        coalesce(min(p.position) FILTER (WHERE split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1)), h.position),
        count(p.name)
    FROM log.head h CROSS JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) LEFT JOIN positions p USING (name)
    GROUP BY h.position"""
STATUS = """
    SELECT p.name, p.position, h.position - p.position, p.stopped, p.moved_at,
        CASE WHEN p.position = h.position THEN 0
        ELSE extract(epoch FROM clock_timestamp() - n.recorded_at)::float8 END,
        (SELECT count(*) FROM isolated_events i WHERE i.read_model = p.name),
        p.shape <> coalesce(p.wanted, p.shape), p.rebuilt_to
    FROM positions p CROSS JOIN log.head h LEFT JOIN log.events n ON n.position = p.position + 1 ORDER BY p.name"""


class Lagging(Exception):
    """The read model has not caught up with the log in time."""

    def __init__(self, names: Sequence[str], behind: int) -> None:
        self.names = names
        self.behind = behind
        self.recorded: int | None = None  # position of a change that was made all the same
        super().__init__(f"{', '.join(names)}: {behind} events behind the log")


class Moved(msgspec.Struct, frozen=True):
    """What became of a batch: how many of its events were folded, into how many of the models."""

    events: int
    models: int


class Outdated(Exception):
    """The rows of read models that this process acts on are those of another version: it can only wait."""


class ReadModelStatus(msgspec.Struct, frozen=True, rename="camel"):
    """
    How far a read model has come.

    `behind` counts events, `behind_s` seconds; `stopped` says why it can go no further; `isolated` counts the events
    that it could not take and has passed over. While `is_outdated`, its rows are those of an older version of the service;
    `rebuilt_to` is the position up to which its new ones are made, None while nobody makes them.
    """

    name: str
    position: int
    behind: int
    stopped: str | None
    moved_at: datetime
    behind_s: float  # since when the next event waits, in seconds
    isolated: int = 0
    is_outdated: bool = False
    rebuilt_to: int | None = None


class Isolated(msgspec.Struct, frozen=True, rename="camel"):
    """An event that a read model could not take; `reason` is the kind of error."""

    read_model: str
    position: int
    name: str
    stream_id: UUID
    version: int
    company_id: UUID | None  # None when the event cannot be read
    reason: str
    isolated_at: datetime


def create(conn: Connection, models: Sequence[ReadModel], read: Read) -> list[str]:
    """
    Notes which read models this version wants, and makes their tables in an installation that has no events yet.

    In any other, models that are new or have another shape are left to `rebuild_outdated`, so that nobody has to wait
    until the whole log is folded; returns the names of these.
    """
    with _alone(conn, "read models"):
        for model in models:
            conn.execute(WANT, (model.name, model.schema_hash))
        left = outdated(conn, models)
        if left and not read(0, 1):
            for model in left:
                rebuild(conn, model, read)
            left = []
    return [model.name for model in left]


def advance(conn: Connection, models: Sequence[ReadModel], read: Read, limit: int = BATCH) -> int:
    """
    One batch for those of the models that are furthest behind; returns how many events.

    Models that only another version may move are left out.
    """
    start = reached(conn, models)
    return 0 if start is None else move(conn, models, start, read(start, limit)).events


def move(conn: Connection, models: Sequence[ReadModel], start: int, batch: Sequence[Recorded]) -> Moved:
    """
    Folds a batch into those of the models that are at `start` and may be moved, in one transaction.

    The batch has been read and decoded before. It ends early when it would write too many rows. Whatever else a model
    raises ends the transaction and goes to the caller: nothing has moved then.
    """
    while batch:
        try:
            return Moved(len(batch), _move(conn, models, start, batch))
        except TooManyRows as full:
            batch = [recorded for recorded in batch if recorded.position < full.position]
    return Moved(0, 0)


def _move(conn: Connection, models: Sequence[ReadModel], start: int, batch: Sequence[Recorded]) -> int:
    """
    How many of the models were moved.

    Each answer that is waited for costs a turn of the processor, however little is folded: so the rows are asked for
    together with the lock, and the position moves together with the rows. Those of a larger batch are asked for after it:
    they are many, and for nothing when another process has moved the models meanwhile.
    """
    with conn.transaction(), conn.pipeline():
        locked = conn.execute(LOCKED, _schema_hashes(models))
        folds = {model.name: model.begin(conn, batch, BATCH_ROWS) for model in models}
        if len(batch) <= SMALL_BATCH:
            for fold in folds.values():
                fold.request_rows()
        now_at: dict[str, int] = dict(locked.fetchall())
        group = [model for model in models if now_at.get(model.name) == start]
        if len(batch) > SMALL_BATCH:
            for model in group:
                folds[model.name].request_rows()
        if group:
            write([folds[model.name] for model in group])
            _isolate_unreadable(conn, group, batch)
            conn.execute(MOVE, (batch[-1].position, [model.name for model in group]))
        return len(group)


def reached(conn: Connection, models: Sequence[ReadModel], *, all_of_them: bool = False) -> int | None:
    """
    The position of the model that is furthest behind, of those that may be moved by this version; None when none may.

    Raises Outdated when they must be `all_of_them` and one may not be moved.
    """
    row: tuple[int | None, int] | None = conn.execute(REACHED, _schema_hashes(models), prepare=True).fetchone()
    position, count = row or (None, 0)
    if all_of_them and count < len(models):
        raise Outdated(", ".join(model.name for model in models))
    return position


def _schema_hashes(models: Sequence[ReadModel]) -> dict[str, list[str]]:
    return {"names": [model.name for model in models], "shapes": [model.schema_hash for model in models]}


def isolate(conn: Connection, model: ReadModel, read: Read, position: int, reason: str) -> Recorded | None:
    """Passes over the event after a position, on the record; None when the model is not at that position any more."""
    with conn.transaction():
        now_at: dict[str, int] = dict(conn.execute(LOCKED, _schema_hashes([model])).fetchall())
        recorded = next(iter(read(position, 1)), None) if now_at.get(model.name) == position else None
        if recorded is not None:
            _note_isolated(conn, model, recorded, reason)
            conn.execute(MOVE, (recorded.position, [model.name]))
    return recorded


def isolated(conn: Connection, limit: int, name: str | None = None) -> list[Isolated]:
    """The events that read models could not take, of all models or of one, the newest first."""
    return [Isolated(*row) for row in conn.execute(ISOLATED_OF, {"name": name, "limit": limit})]


def rebuild_outdated(
    conn: Connection,
    models: Sequence[ReadModel],
    read: Read,
    progress: Callable[[str, int], None] = lambda _name, _position: None,
) -> list[str]:
    """Rebuilds what is outdated, the most urgent first; returns the names of those that it has rebuilt."""
    return [
        model.name
        for model in outdated(conn, models)
        if rebuild_if_outdated(conn, model, read, partial(progress, model.name))
    ]


def rebuild_if_outdated(conn: Connection, model: ReadModel, read: Read, progress: Callable[[int], None]) -> bool:
    """Whether it had to be rebuilt, and was; what another process rebuilds at the moment is left to that."""
    with _alone(conn, f"rebuild {model.name}", wait=False) as is_ours:
        is_needed = is_ours and bool(outdated(conn, [model]))
        if is_needed:
            _rebuild(conn, model, read, progress)
        return is_needed


def outdated(conn: Connection, models: Sequence[ReadModel]) -> list[ReadModel]:
    """
    The models whose rows are not those that this version makes; none when this version is not the installed one.

    Those are models of another shape, and those that passed over events which this version can read. First come those with
    other tables, which stand still until they are rebuilt, and of these the ones that a process acts on.
    """
    events = {"unknown_event": UNKNOWN_EVENT, "known_events": list(STORED_NAMES)}
    moves_on: dict[str, bool] = dict(conn.execute(OUTDATED, _schema_hashes(models) | events).fetchall())
    found = [model for model in models if model.name in moves_on]
    return sorted(found, key=lambda model: (moves_on[model.name], model.polled_by is None))


def has_other_rows(conn: Connection, models: Sequence[ReadModel]) -> bool:
    """Whether the rows of one of these models were made by another version."""
    row = conn.execute(HAS_OTHER_ROWS, _schema_hashes(models)).fetchone()
    return row is not None and row[0]


def is_events_fault(error: Exception) -> bool:
    """
    Whether an error is one of the events, or may be: then fewer of them, and at last the others, can be taken.

    It is unless the database is away or not as it should be; one that took too long or too much memory may be.
    """
    if isinstance(error, PersistenceError) or not isinstance(error, psycopg.Error):
        return not isinstance(error, PersistenceError)
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError | psycopg.ProgrammingError | psycopg.NotSupportedError)
    return error.sqlstate[:2] in FAULTS_OF_DATA or error.sqlstate in TOO_MUCH


def is_away(error: Exception) -> bool:
    """
    Whether the database is away, and to be waited for.

    It is not when it has answered that something took too long or was too much: less of it may go.
    """
    if isinstance(error, PersistenceError):
        cause = error.__cause__
        return not isinstance(cause, Exception) or is_away(cause)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not is_events_fault(error)


def stop(conn: Connection, name: str, why: str) -> None:
    """Notes why a model can go no further, for health and status."""
    conn.execute(STOP, (why, name))


def _isolate_unreadable(conn: Connection, models: Iterable[ReadModel], batch: Iterable[Recorded]) -> None:
    """Notes the events of a batch that cannot be read, for the models that may have to fold them."""
    for recorded in batch:
        if isinstance(recorded.event, Unreadable):
            for model in models:
                if model.may_fold(recorded):
                    _note_isolated(conn, model, recorded, recorded.event.reason)


def _note_isolated(conn: Connection, model: ReadModel, recorded: Recorded, reason: str) -> None:
    place = (recorded.position, recorded.name, recorded.stream_id, recorded.version, recorded.company_id)
    if isinstance(recorded.event, Unreadable) and recorded.event.is_of_newer_version:
        reason = UNKNOWN_EVENT
    conn.execute(ISOLATE, (model.name, *place, reason))


def gap(conn: Connection, names: Sequence[str], target: int | None = None) -> tuple[int, int]:
    """The target, or the head of the log if none is given, and how many events the slowest model is behind it."""
    return _gap(conn.execute(LAG, (list(names),), prepare=True), len(set(names)), target)


def gap_of_own_tables(conn: Connection, models: Sequence[ReadModel], target: int | None = None) -> tuple[int, int]:
    """The same; models whose tables are those of another version do not count: they wait for their rebuild."""
    return _gap(conn.execute(LAG_OF_OWN_TABLES, _schema_hashes(models), prepare=True), len(models), target)


def _gap(found: Cursor, count: int, target: int | None) -> tuple[int, int]:
    head, reached, known = found.fetchone() or (0, 0, 0)
    target = head if target is None else target
    return target, max(target - reached, 0) if known == count else max(target, 1)


def wait(conn: Connection, names: Sequence[str], timeout_s: float) -> int:
    """Until the read models show everything that was in the log at the call. Raises Lagging; returns the position."""
    target, behind = gap(conn, names)
    if behind and (behind := poll_until(lambda: gap(conn, names, target)[1], timeout_s)):
        raise Lagging(names, behind)
    return target


def poll_until(look: Callable[[], int], timeout_s: float) -> int:
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


def status(conn: Connection) -> list[ReadModelStatus]:
    return [ReadModelStatus(*row) for row in conn.execute(STATUS)]


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
    conn.execute(FIRST, (model.name, model.schema_hash))
    try:
        return _fold_and_swap(conn, model, read, progress)
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            _note_progress(conn, model, None)
        raise


def _fold_and_swap(conn: Connection, model: ReadModel, read: Read, progress: Callable[[int], None]) -> int:
    fresh = f"rebuilding_{model.name}"
    _execute(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", fresh)
    _execute(conn, "CREATE SCHEMA {0}", fresh)
    position = 0
    _note_progress(conn, model, position)
    failed: list[tuple[Recorded, str]] = []
    with _searching(conn, fresh):
        conn.execute(SQL(model.schema))
        while batch := read(position, REBUILD_BATCH):
            failed += _apply(conn, model, batch)
            position = batch[-1].position
            _note_progress(conn, model, position)
            progress(position)
    with conn.transaction():
        conn.execute(LOCKED_WHATEVER_SHAPE, (model.name,))
        with _searching(conn, fresh):  # what came meanwhile; the live projector waits for the lock on the position
            while batch := read(position, REBUILD_BATCH):
                failed += _apply(conn, model, batch)
                position = batch[-1].position
        _swap(conn, model, fresh)
        conn.execute(READMIT, (model.name,))
        for recorded, reason in failed:
            _note_isolated(conn, model, recorded, reason)
        conn.execute(RESHAPE, (model.schema_hash, model.name))
        conn.execute(MOVE, (position, [model.name]))
    _execute(conn, "DROP SCHEMA {0} CASCADE", fresh)
    return position


def _note_progress(conn: Connection, model: ReadModel, position: int | None) -> None:
    conn.execute(NOTE_PROGRESS, {"name": model.name, "position": position})


def _apply(conn: Connection, model: ReadModel, batch: Sequence[Recorded]) -> list[tuple[Recorded, str]]:
    """Folds a batch; where that fails, each half of it, down to the events that fail, which are returned with the reason."""
    unreadable = [
        (recorded, recorded.event.reason)
        for recorded in batch
        if isinstance(recorded.event, Unreadable) and model.may_fold(recorded)
    ]
    return unreadable + _halves(conn, model, batch)


def _halves(conn: Connection, model: ReadModel, batch: Sequence[Recorded]) -> list[tuple[Recorded, str]]:
    try:
        with conn.transaction():
            apply(conn, [model], batch, REBUILD_ROWS)
    except Exception as error:
        if conn.closed or not is_events_fault(error):
            raise
        if len(batch) == 1:
            return [(batch[0], type(error).__name__)]
    else:
        return []
    middle = len(batch) // 2
    return _halves(conn, model, batch[:middle]) + _halves(conn, model, batch[middle:])


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
def _alone(conn: Connection, what: str, *, wait: bool = True) -> Iterator[bool]:
    """
    One process at a time, however long the others have to wait.

    Whoever does not `wait` gets False when another process is at it.
    """
    unlimited = ["transaction_timeout"] if conn.info.server_version >= TRANSACTION_TIMEOUT_SINCE else []
    for name in ("lock_timeout", "statement_timeout", *unlimited):
        _execute(conn, "SET {0} = 0", name)
    is_ours = _lock(conn, what, wait=wait)
    conn.execute("RESET lock_timeout")
    conn.execute("RESET statement_timeout")
    try:
        yield is_ours
    finally:
        if is_ours:
            conn.execute("SELECT pg_advisory_unlock(hashtext(%s))", (what,))
        for name in unlimited:
            _execute(conn, "RESET {0}", name)


def _lock(conn: Connection, what: str, *, wait: bool) -> bool:
    if wait:
        conn.execute("SELECT pg_advisory_lock(hashtext(%s))", (what,))
        return True
    row = conn.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (what,)).fetchone()
    return row is not None and row[0]
