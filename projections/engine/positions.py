"""
The position of each read model in the log: advance models, wait for them, say how far they are.

An event that a read model cannot fold is isolated: the model passes over it, and `isolated_events` records it until the
model is rebuilt. So no event, whoever recorded it, stops a read model.
"""

import time
<<<<<<< HEAD
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
=======
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
>>>>>>> as-of
from itertools import chain, repeat
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from domain.bounds.limits import BATCH_ROWS
from domain.recorded import Recorded
from projections.engine.isolation import isolate_unreadable, note_isolated
from projections.engine.read_model import Connection, ReadModel, TooManyRows, fold_and_write

BATCH = 1_000  # the most events of one transaction
SMALL_BATCH = 50  # events; their rows are few enough to be asked for before it is sure that they are needed
POLL_S = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03)  # pauses between polls; the last one repeats
Cursor = psycopg.Cursor[tuple[Any, ...]]
Read = Callable[[int, int], Sequence[Recorded]]  # of a position and a number: at most so many events after it
# The read models that this process may fold events into: those whose rows its own version has made and, if its version
# is the installed one, those whose rows an older version has made in the same tables. Other models have to be rebuilt
# first, or belong to a newer version.
_MOVABLE = """
    FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
    WHERE p.shape = m.shape
        OR (p.wanted = m.shape AND split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1))"""
REACHED = f"SELECT min(p.position), count(*) {_MOVABLE}"
LOCKED = f"SELECT name, p.position {_MOVABLE} ORDER BY name FOR UPDATE OF p"
MOVE = "UPDATE positions SET position = %s, moved_at = now(), stopped = NULL WHERE name = ANY(%s)"
<<<<<<< HEAD
=======
FIRST = "INSERT INTO positions (name, shape, wanted) VALUES (%s, '', %s) ON CONFLICT (name) DO NOTHING"
WANT = """
    INSERT INTO positions (name, shape, wanted) VALUES (%s, '', %s)
    ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted WHERE positions.wanted IS DISTINCT FROM excluded.wanted"""
INDEXES = "SELECT tablename, count(*) FROM pg_indexes WHERE schemaname = %s GROUP BY tablename"
FORGET = """
    UPDATE positions SET shape = ''
    WHERE shape <> '' AND (name = ANY(%s) OR position > (SELECT position FROM log.head))"""
NAMES_AND_END = "SELECT array_agg(name), coalesce(max(position), 0) <= (SELECT position FROM log.head) FROM positions"
RESHAPE = "UPDATE positions SET shape = %s, rebuilt_to = NULL WHERE name = %s"
# Skips a locked row, since the process that moves the model holds it: the progress is noted the next time.
NOTE_PROGRESS = f"""
    UPDATE {SCHEMA}.positions SET rebuilt_to = %(position)s
    WHERE name IN (SELECT name FROM {SCHEMA}.positions WHERE name = %(name)s FOR UPDATE SKIP LOCKED)"""
OUTDATED = """
    SELECT p.name, split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1)
    FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
    WHERE p.wanted = m.shape AND (p.shape <> m.shape OR EXISTS (
        SELECT FROM isolated_events i
        WHERE i.read_model = p.name AND i.reason = %(unknown_event)s AND i.name = ANY(%(known_events)s)))"""
HEAD = "SELECT position FROM log.head"
HAS_OWN_TABLES = """
    SELECT p.name FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
    WHERE split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1)"""
HAS_OTHER_ROWS = """
    SELECT EXISTS (SELECT FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
                   WHERE p.shape <> m.shape)"""
OWN_SCHEMA = re.compile(
    r"(?!pg_|own_|next_own_|rebuilding_|verifying_|(?:log|vault|read_models|analytics|public)$)[a-z][a-z0-9_]{0,62}"
)
MICROSECOND = timedelta(microseconds=1)
LOCK_SOON = "SET LOCAL lock_timeout = '0.5s'"  # less than deadlock_timeout, so that no reader is ended in our stead
LOCK_TRIES = 40
LOCK_PAUSE_S = 0.1  # lets those pass who have waited for us
# The first position whose event was recorded at a moment or later; one after the head if there is none.
FIRST_SINCE = SQL("""
    WITH RECURSIVE search(low, high) AS (
        SELECT 1::bigint, position + 1 FROM log.head
        UNION ALL
        SELECT CASE WHEN is_early THEN middle + 1 ELSE low END, CASE WHEN is_early THEN high ELSE middle END
        FROM search, LATERAL (SELECT (low + high) / 2 AS middle) m,
            LATERAL (SELECT recorded_at < %(moment)s AS is_early FROM log.events WHERE position = middle) e
        WHERE low < high)
    SELECT low FROM search WHERE low >= high""")
NOTE_REACHED = "UPDATE rebuild_progress SET position = %s"
ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
# The live rows beside those that were folded anew; a row is compared as text, since json has no equality.
DIFFERING = """
    SELECT count(*) FILTER (WHERE live_id IS NULL), count(*) FILTER (WHERE fresh_id IS NULL),
        count(*) FILTER (WHERE live_id = fresh_id), (array_agg(coalesce(live_id, fresh_id)))[1:10]
    FROM (SELECT live.id AS live_id, fresh.id AS fresh_id FROM {} live FULL JOIN {} fresh ON fresh.id = live.id
          WHERE live.id IS NULL OR fresh.id IS NULL OR live::text <> fresh::text) AS found"""
>>>>>>> as-of
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
# For reads in one round trip: the head of the log, which streams have gone beyond a version, and how far models have come;
# NULL for one whose rows are not this version's.
PRESENT = """
    SELECT h.position,
        ARRAY(SELECT g.id FROM unnest(%b::uuid[], %b::bigint[]) g(id, version)
            JOIN log.events e ON e.stream_id = g.id AND e.version = g.version + 1),
        ARRAY(SELECT p.position FROM unnest(%b::text[], %b::text[]) WITH ORDINALITY m(name, shape, n)
            LEFT JOIN positions p USING (name, shape) ORDER BY m.n)
    FROM log.head h"""
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


class Moved(msgspec.Struct, frozen=True):
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


def move(conn: Connection, models: Sequence[ReadModel], start: int, batch: Sequence[Recorded]) -> Moved:
    """
    Fold a batch into those of the models that are at `start` and may be moved, in one transaction.

    The batch has been read and decoded before. It is cut short when it would write too many rows. Any other error ends
    the transaction and is raised: nothing has moved then.
    """
    while batch:
        try:
            return Moved(len(batch), _move(conn, models, start, batch))
        except TooManyRows as full:
            batch = [recorded for recorded in batch if recorded.position < full.position]
    return Moved(0, 0)


def _move(conn: Connection, models: Sequence[ReadModel], start: int, batch: Sequence[Recorded]) -> int:
    """
    Fold the batch and return the number of models that have moved.

    Each wait for Postgres costs a switch of processes, however little is folded. So the rows of a small batch are asked
    for together with the lock, and the position moves together with the rows. The rows of a larger batch are asked for
    after the lock: they are many, and useless if another process has moved the models meanwhile.
    """
    with conn.transaction(), conn.pipeline():
        lock_cursor = conn.execute(LOCKED, schema_hashes(models))
        folds = {model.name: model.begin(conn, batch, BATCH_ROWS) for model in models}
        if len(batch) <= SMALL_BATCH:
            for fold in folds.values():
                fold.request_rows()
        positions: dict[str, int] = dict(lock_cursor.fetchall())
        group = [model for model in models if positions.get(model.name) == start]
        if len(batch) > SMALL_BATCH:
            for model in group:
                folds[model.name].request_rows()
        if group:
            fold_and_write([folds[model.name] for model in group])
            isolate_unreadable(conn, group, batch)
            conn.execute(MOVE, (batch[-1].position, [model.name for model in group]))
        return len(group)


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


class Present(NamedTuple):
    """What PRESENT finds, with the positions in the order of the models."""

    head: int
    moved_streams: list[UUID]
    reached: list[int | None]


def present_values(models: Sequence[ReadModel], versions: Mapping[UUID, int]) -> tuple[list[Any], ...]:
    """Return the values for PRESENT."""
    return list(versions), list(versions.values()), *schema_hashes(models).values()


def schema_hashes(models: Sequence[ReadModel]) -> dict[str, list[str]]:
    """Return the names of the models with their schema hashes, as the queries of positions take them."""
    return {"names": [model.name for model in models], "shapes": [model.schema_hash for model in models]}


def isolate(conn: Connection, model: ReadModel, read: Read, position: int, reason: str) -> Recorded | None:
    """
    Pass over the event after this position and record it as isolated, with the reason; return the event.

    Returns None and changes nothing when the model is not at this position any more.
    """
    with conn.transaction():
        positions: dict[str, int] = dict(conn.execute(LOCKED, schema_hashes([model])).fetchall())
        recorded = next(iter(read(position, 1)), None) if positions.get(model.name) == position else None
        if recorded is not None:
            note_isolated(conn, model, recorded, reason)
            conn.execute(MOVE, (recorded.position, [model.name]))
    return recorded


def stop(conn: Connection, name: str, reason: str) -> None:
    """Record why a model can go no further, for health and status."""
    conn.execute(STOP, (reason, name))


def gap(conn: Connection, names: Sequence[str], target: int | None = None) -> tuple[int, int]:
    """Return the target, by default the head of the log, and how many events the slowest model is behind it."""
    return _gap(conn.execute(LAG, (list(names),), prepare=True), len(set(names)), target)


def gap_of_own_tables(conn: Connection, models: Sequence[ReadModel], target: int | None = None) -> tuple[int, int]:
    """
    Return the same as `gap`, without the models whose tables belong to another version.

    Such models wait for their rebuild, so waiting for them would be in vain.
    """
    return _gap(conn.execute(LAG_OF_OWN_TABLES, schema_hashes(models), prepare=True), len(models), target)


def _gap(cursor: Cursor, count: int, target: int | None) -> tuple[int, int]:
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
<<<<<<< HEAD
=======


def rebuild(
    conn: Connection, model: ReadModel, read: ReadPart, progress: Callable[[int], None] = lambda _position: None
) -> int:
    """
    Fold the whole log into fresh tables, then swap them in; return the position reached.

    Waits for another rebuild of the same model. A rebuild that breaks off leaves the old tables as they were, and the next
    one goes on where it was.
    """
    with _alone(conn, f"rebuild {model.name}"):
        return _rebuild(conn, model, read, progress)


def _rebuild(conn: Connection, model: ReadModel, read: ReadPart, progress: Callable[[int], None]) -> int:
    conn.execute(FIRST, (model.name, model.schema_hash))
    try:
        return _fold_and_swap(conn, model, read, progress)
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            _note_progress(conn, model, None)
        raise


def _fold_and_swap(conn: Connection, model: ReadModel, read: ReadPart, progress: Callable[[int], None]) -> int:
    fresh = f"rebuilding_{model.name}"
    reached = start = _begin_or_resume(conn, model, fresh)
    _note_progress(conn, model, reached)
    with _searching(conn, fresh):
        for reached in _fold_aside(conn, model, read, start, _head(conn)):
            _note_progress(conn, model, reached)
            progress(reached)
    with conn.transaction():
        conn.execute(LOCKED_WHATEVER_SHAPE, (model.name,))
        with _searching(conn, fresh):  # folds the events recorded meanwhile; the projector waits for the lock
            last = _head(conn)
            for _ in _fold_aside(conn, model, read, reached, last):
                pass
        _swap(conn, model, fresh)
        conn.execute(READMIT, (model.name,))
        _execute(conn, "INSERT INTO {1}.isolated_events SELECT * FROM {0}.isolated_events", fresh, SCHEMA)
        conn.execute(RESHAPE, (model.schema_hash, model.name))
        conn.execute(MOVE, (last, [model.name]))
    _execute(conn, "DROP SCHEMA {0} CASCADE", fresh)
    return last


def _begin_or_resume(conn: Connection, model: ReadModel, schema: str, until: int | None = None) -> int:
    """
    Return the position up to which a schema holds the rows of a model, after making it anew unless it can be gone on with.

    It can if the same version of the service began it, for the same tables and fold, on a log that goes at least as far, and
    it is not beyond `until`.
    """
    shape = f"{model.schema_hash} {PROGRAM}"
    if _value(conn, "SELECT to_regclass(%s) IS NOT NULL", f"{schema}.rebuild_progress"):
        place = SQL("SELECT position FROM {}.rebuild_progress WHERE shape = %s AND position <= %s")
        row = conn.execute(
            place.format(Identifier(schema)), (shape, _head(conn) if until is None else until)
        ).fetchone()
        if row is not None:
            return int(row[0])
    with conn.transaction():
        _execute(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", schema)
        _execute(conn, "CREATE SCHEMA {0}", schema)
        _execute(conn, "CREATE TABLE {0}.isolated_events (LIKE {1}.isolated_events INCLUDING ALL)", schema, SCHEMA)
        _execute(conn, "CREATE TABLE {0}.rebuild_progress (shape text NOT NULL, position bigint NOT NULL)", schema)
        conn.execute(SQL("INSERT INTO {}.rebuild_progress VALUES (%s, 0)").format(Identifier(schema)), (shape,))
        with _searching(conn, schema):
            conn.execute(SQL(model.schema))
    return 0


def _fold_aside(conn: Connection, model: ReadModel, read: ReadPart, position: int, last: int) -> Iterator[int]:
    """Fold the events after a position up to another into the schema that is searched; yield each position that is reached."""
    for reached, batch in _parts_to_fold(read, model, position, last):
        with conn.transaction():
            for recorded, reason in _apply(conn, model, batch):
                _note_isolated(conn, model, recorded, reason)
            conn.execute(NOTE_REACHED, (reached,))
        yield reached


def verify(
    conn: Connection, model: ReadModel, read: ReadPart, progress: Callable[[int], None] = lambda _position: None
) -> list[Difference]:
    """
    Fold the log beside the live tables, compare, and return the tables that differ; nothing of the live ones changes.

    The rows are compared as they were at one moment, and nobody waits for it. Raises Outdated when the rows are those of
    another version.
    """
    aside = f"verifying_{model.name}"
    with _alone(conn, f"verify {model.name}"):
        try:
            _execute(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", aside)
            if (target := reached(conn, [model])) is None or outdated(conn, [model]):
                raise Outdated(model.name)
            position = start = _begin_or_resume(conn, model, aside)
            with _searching(conn, aside):
                for position in _fold_aside(conn, model, read, start, target):
                    progress(position)
            return _compare(conn, model, read, aside, position)
        finally:
            if not conn.closed:
                _execute(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", aside)


def fold_into(  # noqa: PLR0913, PLR0917 what is folded, how far, and where to
    conn: Connection,
    model: ReadModel,
    read: ReadPart,
    schema: str,
    until: int,
    progress: Callable[[int], None] = lambda _position: None,
) -> None:
    """
    Fold the log up to a position into a schema that stays, as the model's tables were then (or would have been by this version).

    One that broke off is gone on with, also to a later position. Raises Taken for a schema that is something else.
    """
    if not OWN_SCHEMA.fullmatch(schema) or (
        _value(conn, "SELECT to_regnamespace(%s) IS NOT NULL", schema)
        and not _value(conn, "SELECT to_regclass(%s) IS NOT NULL", f"{schema}.rebuild_progress")
    ):
        raise Taken(schema)
    with _alone(conn, f"fold into {schema}"):
        position = _begin_or_resume(conn, model, schema, until)
        with _searching(conn, schema):
            for reached in _fold_aside(conn, model, read, position, until):
                progress(reached)


def position_at(conn: Connection, moment: datetime) -> int:
    """Return the position of the last event that was recorded at a moment or before; 0 if none was."""
    return first_since(conn, moment + MICROSECOND) - 1


def first_since(conn: Connection, moment: datetime) -> int:
    """Return the first position whose event was recorded at a moment or later; one after the head if none was."""
    row = conn.execute(FIRST_SINCE, {"moment": moment}).fetchone()
    return int(row[0]) if row else 1


def _compare(conn: Connection, model: ReadModel, read: ReadPart, aside: str, position: int) -> list[Difference]:
    with conn.transaction():
        conn.execute(ONE_MOMENT)
        conn.execute("SET LOCAL statement_timeout = 0")
        target = reached(conn, [model])
        if target is None:
            raise Outdated(model.name)
        with _searching(conn, aside):
            for _ in _fold_aside(conn, model, read, position, target):
                pass
        found = []
        for table in model.tables:
            query = SQL(DIFFERING).format(Identifier(SCHEMA, table.name), Identifier(aside, table.name))
            missing, unexpected, differing, examples = conn.execute(query).fetchone() or (0, 0, 0, [])
            if missing or unexpected or differing:
                found.append(Difference(model.name, table.name, missing, unexpected, differing, tuple(examples)))
        return found


def _parts_to_fold(
    read: ReadPart, model: ReadModel, position: int, last: int
) -> Iterator[tuple[int, Sequence[Recorded]]]:
    """
    Yield the events after a position that the model folds, batch by batch, each after the position that is reached by it.

    Together they reach `last`. A batch may be empty: the log is looked through in spans, so that no query takes too long.
    """
    names = model.names_to_skip
    while position < last:
        until = min(position + REBUILD_SPAN, last)
        batch = read(position, REBUILD_BATCH, until=until, without=names)
        position = batch[-1].position if batch else until
        yield position, batch


def _value(conn: Connection, query: str, *values: object) -> Any:
    row = conn.execute(query, values).fetchone()
    return None if row is None else row[0]


def _head(conn: Connection) -> int:
    row: tuple[int] | None = conn.execute(HEAD).fetchone()
    return row[0] if row else 0


def _note_progress(conn: Connection, model: ReadModel, position: int | None) -> None:
    conn.execute(NOTE_PROGRESS, {"name": model.name, "position": position})


def _apply(conn: Connection, model: ReadModel, batch: Sequence[Recorded]) -> list[tuple[Recorded, str]]:
    """Fold a batch into one model; return its events that could not be read or folded, with the reasons."""
    unreadable = [
        (recorded, recorded.event.reason)
        for recorded in batch
        if isinstance(recorded.event, Unreadable) and model.may_fold(recorded)
    ]
    return unreadable + _halves(conn, model, batch)


def _halves(conn: Connection, model: ReadModel, batch: Sequence[Recorded]) -> list[tuple[Recorded, str]]:
    """Fold a batch; if that fails, fold each half of it, down to single events; return those that fail."""
    try:
        with conn.transaction():
            fold_batch(conn, [model], batch, REBUILD_ROWS)
    except Exception as error:
        if conn.closed or not is_events_fault(error):
            raise
        if len(batch) == 1:
            return [(batch[0], type(error).__name__)]
    else:
        return []
    middle = len(batch) // 2
    return _halves(conn, model, batch[:middle]) + _halves(conn, model, batch[middle:])


def _keep_readers_out(conn: Connection, model: ReadModel) -> None:
    """
    Lock all that a swap touches, or nothing: while it held some and waited for the rest, a reader of both could be in its way
    and it in the reader's, and Postgres would end one of them. So the swap gives up first, and tries again.

    Raises LockNotAvailable when readers have been in the way LOCK_TRIES times.
    """
    wanted = [
        *(f"{views.SCHEMA}.{view.name}" for view in model.views),
        *(f"{SCHEMA}.{table.name}" for table in model.tables),
    ]
    places = [place for place in wanted if _value(conn, "SELECT to_regclass(%s) IS NOT NULL", place)]
    if not places:
        return
    names = SQL(", ").join(Identifier(*place.split(".")) for place in places)
    for left in reversed(range(LOCK_TRIES)):
        try:
            with conn.transaction():
                conn.execute(LOCK_SOON)
                conn.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
        except psycopg.errors.LockNotAvailable:
            if not left:
                raise
            time.sleep(LOCK_PAUSE_S)
        else:
            return


def _swap(conn: Connection, model: ReadModel, fresh: str) -> None:
    _keep_readers_out(conn, model)
    views.detach(conn, model.views)
    for table in model.tables:
        _execute(conn, "DROP TABLE IF EXISTS {0}.{1}", SCHEMA, table.name)
        _execute(conn, "ALTER TABLE {0}.{1} SET SCHEMA {2}", fresh, table.name, SCHEMA)
    views.define(conn, model.views)


@contextlib.contextmanager
def _searching(conn: Connection, schema: str) -> Iterator[None]:
    """Run the same SQL on the tables of another schema."""
    _execute(conn, "SET search_path TO {0}", schema)
    try:
        yield
    finally:
        if conn.info.transaction_status != TransactionStatus.INERROR:  # otherwise the rollback resets it
            _execute(conn, "SET search_path TO {0}", SCHEMA)


def _execute(conn: Connection, statement: str, *names: str) -> None:
    conn.execute(SQL(statement).format(*map(Identifier, names)))


@contextlib.contextmanager
def _alone(conn: Connection, lock_name: str, *, wait: bool = True) -> Iterator[bool]:
    """
    Hold the advisory lock of this name; yield whether it is held.

    It is waited for without any time limit. With `wait=False` the answer is False at once if another process holds it.
    """
    limits: dict[str, str] = dict(conn.execute(TIME_LIMITS).fetchall())
    _limit(conn, dict.fromkeys(limits, "0"))
    is_ours = _lock(conn, lock_name, wait=wait)
    whole = {name: limits.pop(name) for name in WHOLE_LIMITS if name in limits}
    _limit(conn, limits)
    try:
        yield is_ours
    finally:
        if is_ours:
            conn.execute("SELECT pg_advisory_unlock(hashtext(%s))", (lock_name,))
        _limit(conn, whole)


def _limit(conn: Connection, limits: Mapping[str, str]) -> None:
    conn.execute(SET_LIMITS, (list(limits), list(limits.values())))


def _lock(conn: Connection, lock_name: str, *, wait: bool) -> bool:
    if wait:
        conn.execute("SELECT pg_advisory_lock(hashtext(%s))", (lock_name,))
        return True
    row = conn.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (lock_name,)).fetchone()
    return row is not None and row[0]
>>>>>>> as-of
