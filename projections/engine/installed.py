"""
Which version of the service has made the rows of each read model, and which are to be made anew.

`init` records what the installed version wants; the projector rebuilds the models whose rows are others.
"""

from collections.abc import Iterable, Sequence

from projections.engine import cold, views
from projections.engine.folding_aside import ReadPart
from projections.engine.maintenance import hold_lock
from projections.engine.positions import schema_hashes
from projections.engine.read_model import ReadModel
from projections.engine.rebuilds import find_outdated, rebuild
from projections.engine.table import SCHEMA, Connection
from projections.engine.views import View

WANT = """
    INSERT INTO positions (name, shape, wanted) VALUES (%s, '', %s)
    ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted WHERE positions.wanted IS DISTINCT FROM excluded.wanted"""
INDEXES = "SELECT tablename, count(*) FROM pg_indexes WHERE schemaname = %s GROUP BY tablename"
WITH_COLD_ROWS = "SELECT name FROM positions WHERE cold_to > 0"
FORGET = """
    UPDATE positions SET shape = ''
    WHERE shape <> '' AND (name = ANY(%s) OR position > (SELECT position FROM log.head))"""
NAMES_AND_END = "SELECT array_agg(name), coalesce(max(position), 0) <= (SELECT position FROM log.head) FROM positions"
HAS_OWN_TABLES = """
    SELECT p.name FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
    WHERE split_part(p.shape, '.', 1) = split_part(m.shape, '.', 1)"""
HAS_OTHER_ROWS = """
    SELECT EXISTS (SELECT FROM positions p JOIN unnest(%(names)s::text[], %(shapes)s::text[]) m(name, shape) USING (name)
                   WHERE p.shape <> m.shape)"""


def create(conn: Connection, models: Sequence[ReadModel], read: ReadPart) -> list[str]:
    """
    Record which read models this version wants, and make their tables in an installation that has no events yet.

    In any other installation, models that are new or have another schema hash are left to `rebuild_if_outdated`, so that
    starting does not wait until the whole log is folded. So are those that a restore has left without a table or an
    index, or beyond the end of an older log. Rows in the tables of an older version stay that version's, which may still run
    and move them. Returns the names of these models.
    """
    with hold_lock(conn, "read models"):
        conn.execute(FORGET, (_find_incomplete(conn, _with_own_tables(conn, models)),))
        for model in models:
            conn.execute(WANT, (model.name, model.schema_hash))
        outdated_models = find_outdated(conn, models)
        if outdated_models and not read(0, 1):
            for model in outdated_models:
                rebuild(conn, model, read)
            outdated_models = []
    return [model.name for model in outdated_models]


def _find_incomplete(conn: Connection, models: Sequence[ReadModel]) -> list[str]:
    """
    Return the models that lack a table or an index; each table has one index for its key.

    Where rows have left the hot tables, the cold ones have to be there, with the same indexes.
    """
    present: dict[str, int] = dict(conn.execute(INDEXES, (SCHEMA,)).fetchall())
    with_cold_rows = {name for (name,) in conn.execute(WITH_COLD_ROWS)}

    def indexes(tables: Iterable[str]) -> int:
        return sum(present.get(table, 0) for table in tables)

    return [
        model.name
        for model in models
        if indexes(table.name for table in model.tables) < len(model.tables) + model.schema.count(" INDEX ON ")
        or (
            model.name in with_cold_rows
            and indexes(cold.cold_tables(model)) < indexes(table.name for table in model.tables if table.over)
        )
    ]


def are_recorded(conn: Connection, models: Sequence[ReadModel]) -> bool:
    """Return whether `create` has recorded these models, and none is beyond the end of the log."""
    names, is_within = conn.execute(NAMES_AND_END).fetchone() or ([], False)
    return is_within and {model.name for model in models} <= set(names or [])


def define_views(conn: Connection, models: Sequence[ReadModel], of_log: Sequence[View]) -> None:
    """Define the views over the log, and over those of these models whose tables are those of this version."""
    with conn.transaction():
        views.define_all(conn, [*of_log, *(view for model in _with_own_tables(conn, models) for view in model.views)])


def _with_own_tables(conn: Connection, models: Sequence[ReadModel]) -> list[ReadModel]:
    """Return the models whose tables are those of this version."""
    names = {name for (name,) in conn.execute(HAS_OWN_TABLES, schema_hashes(models))}
    return [model for model in models if model.name in names]


def has_other_rows(conn: Connection, models: Sequence[ReadModel]) -> bool:
    """Return whether the rows of one of these models were made by another version."""
    row = conn.execute(HAS_OTHER_ROWS, schema_hashes(models)).fetchone()
    return row is not None and row[0]
