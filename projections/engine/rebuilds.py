"""Rebuilds: the whole log is folded aside, and the fresh tables take the place of the old ones in one transaction."""

import contextlib
import time
from collections.abc import Callable, Sequence

import psycopg
from psycopg.sql import SQL, Identifier

from domain.events import STORED_NAMES
from projections.engine import cold, views
from projections.engine.folding_aside import ReadPart, begin_or_resume, fold_aside, head_of_log
from projections.engine.isolation import UNKNOWN_EVENT
from projections.engine.maintenance import execute_on, hold_lock, search_schema, value_of
from projections.engine.positions import MOVE, schema_hashes
from projections.engine.read_model import ReadModel
from projections.engine.table import SCHEMA, Connection

OUTDATED = """
    SELECT p.name, split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1)
    FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
    WHERE p.wanted = m.shape AND (p.shape <> m.shape OR EXISTS (
        SELECT FROM isolated_events i
        WHERE i.read_model = p.name AND i.reason = %(unknown_event)s AND i.name = ANY(%(known_events)s)))"""
LOCKED_WHATEVER_SHAPE = "SELECT FROM positions WHERE name = %s FOR UPDATE"
FIRST = "INSERT INTO positions (name, shape, wanted) VALUES (%s, '', %s) ON CONFLICT (name) DO NOTHING"
RESHAPE = """
    UPDATE positions SET shape = %s, made = gen_random_uuid(), rebuilt_to = NULL,
        cold_to = (SELECT cold_to FROM {}.rebuild_progress) WHERE name = %s"""
# Skips a locked row, since the process that moves the model holds it: the progress is noted the next time.
NOTE_PROGRESS = f"""
    UPDATE {SCHEMA}.positions SET rebuilt_to = %(position)s
    WHERE name IN (SELECT name FROM {SCHEMA}.positions WHERE name = %(name)s FOR UPDATE SKIP LOCKED)"""
# Shorter than deadlock_timeout, so that in a deadlock this process gives way and not a reader.
LOCK_SOON = "SET LOCAL lock_timeout = '0.5s'"
LOCK_AS_USUAL = "SET LOCAL lock_timeout = {}"
LOCK_TRIES = 40
LOCK_PAUSE_S = 0.1  # pause between two tries, in which the waiting readers get the tables
READMIT = "DELETE FROM isolated_events WHERE read_model = %s"


def find_outdated(conn: Connection, models: Sequence[ReadModel]) -> list[ReadModel]:
    """
    Return the models whose rows differ from those that this version makes; none if it is not the installed version.

    These are the models with another schema hash, and those that passed over events which this version can read. First
    come the models with other tables, which stand still until they are rebuilt; among equals, those that a process acts
    on.
    """
    events = {"unknown_event": UNKNOWN_EVENT, "known_events": list(STORED_NAMES)}
    moves_on: dict[str, bool] = dict(conn.execute(OUTDATED, schema_hashes(models) | events).fetchall())
    outdated_models = [model for model in models if model.name in moves_on]
    return sorted(outdated_models, key=lambda model: (moves_on[model.name], model.polled_by is None))


def rebuild_if_outdated(conn: Connection, model: ReadModel, read: ReadPart, progress: Callable[[int], None]) -> bool:
    """
    Rebuild a model if it is outdated; return whether this call did so.

    A model that another process is rebuilding at the moment is left to that process.
    """
    with hold_lock(conn, f"rebuild {model.name}", wait=False) as is_ours:
        is_needed = is_ours and bool(find_outdated(conn, [model]))
        if is_needed:
            _rebuild(conn, model, read, progress)
        return is_needed


def rebuild(
    conn: Connection,
    model: ReadModel,
    read: ReadPart,
    progress: Callable[[int], None] = lambda _position: None,
    *,
    anew: bool = False,
) -> int:
    """
    Fold the whole log into fresh tables, then swap them in; return the position reached.

    Waits for another rebuild of the same model. A rebuild that breaks off leaves the old tables as they were, and the next
    one goes on where it was, unless it is to begin `anew`.
    """
    with hold_lock(conn, f"rebuild {model.name}"):
        if anew:
            execute_on(conn, "DROP SCHEMA IF EXISTS {0} CASCADE", f"rebuilding_{model.name}")
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
    cold_to = value_of(conn, cold.COLD_TO, model.name)
    reached = start = begin_or_resume(conn, model, fresh)
    _note_progress(conn, model, reached)
    with search_schema(conn, fresh):
        for reached in fold_aside(conn, model, read, start, head_of_log(conn)):
            _note_progress(conn, model, reached)
            progress(reached)
        for _ in cold.follow(conn, model, cold_to):
            progress(reached)
    with conn.transaction():
        conn.execute(LOCKED_WHATEVER_SHAPE, (model.name,))
        with search_schema(conn, fresh):  # folds the events recorded meanwhile; the projector waits for the lock
            last = head_of_log(conn)
            for _ in fold_aside(conn, model, read, reached, last):
                pass
        _swap(conn, model, fresh)
        conn.execute(READMIT, (model.name,))
        execute_on(conn, "INSERT INTO {1}.isolated_events SELECT * FROM {0}.isolated_events", fresh, SCHEMA)
        conn.execute(SQL(RESHAPE).format(Identifier(fresh)), (model.schema_hash, model.name))
        conn.execute(MOVE, (last, [model.name]))
        # Else a later rebuild would go on with it, without its tables.
        execute_on(conn, "DROP SCHEMA {0} CASCADE", fresh)
    return last


def _note_progress(conn: Connection, model: ReadModel, position: int | None) -> None:
    conn.execute(NOTE_PROGRESS, {"name": model.name, "position": position})


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
    places = [place for place in wanted if value_of(conn, "SELECT to_regclass(%s) IS NOT NULL", place)]
    if not places:
        return
    names = SQL(", ").join(Identifier(*place.split(".")) for place in places)
    lock_timeout = value_of(conn, "SELECT current_setting('lock_timeout')")
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
            # SET LOCAL would hold for the rest of the transaction.
            conn.execute(SQL(LOCK_AS_USUAL).format(lock_timeout))
            return


def _keep_vacuum_out(conn: Connection, model: ReadModel, fresh: str) -> None:
    """
    Lock the tables against whoever vacuums or analyzes them, which readers and writers do not notice.

    Large tables that were just filled are analyzed by themselves, and that yields only to who waits for longer than
    deadlock_timeout: the swap, which gives up sooner, would never get its turn.
    """
    for table in model.tables:
        for schema in (SCHEMA, fresh):
            if value_of(conn, "SELECT to_regclass(%s) IS NOT NULL", f"{schema}.{table.name}"):
                execute_on(conn, "LOCK TABLE {0}.{1} IN SHARE UPDATE EXCLUSIVE MODE", schema, table.name)


def _swap(conn: Connection, model: ReadModel, fresh: str) -> None:
    _keep_vacuum_out(conn, model, fresh)
    _keep_readers_out(conn, model)
    views.detach(conn, model.views)
    for name in cold.cold_tables(model):
        execute_on(conn, "DROP TABLE IF EXISTS {0}.{1}", SCHEMA, name)
    for table in model.tables:
        execute_on(conn, "DROP TABLE IF EXISTS {0}.{1}", SCHEMA, table.name)
        execute_on(conn, "ALTER TABLE {0}.{1} SET SCHEMA {2}", fresh, table.name, SCHEMA)
    for name in cold.cold_tables(model):
        execute_on(conn, "ALTER TABLE IF EXISTS {0}.{1} SET SCHEMA {2}", fresh, name, SCHEMA)
    views.define(conn, model.views)
