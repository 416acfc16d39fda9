"""The rows of a read model as they were at an earlier position or moment, in a schema of their own that stays."""

import re
from collections.abc import Callable

from projections.engine.folding_aside import ReadPart, begin_or_resume, fold_aside
from projections.engine.maintenance import hold_lock, search_schema, value_of
from projections.engine.read_model import ReadModel
from projections.engine.table import Connection

OWN_SCHEMA = re.compile(
    r"(?!pg_|own_|next_own_|rebuilding_|verifying_|(?:log|vault|read_models|analytics|public)$)[a-z][a-z0-9_]{0,62}"
)


class SchemaTaken(Exception):
    """A schema cannot be folded into: its name is not free, or is none for that, or it holds another read model."""


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

    One that broke off is gone on with, also to a later position. Raises SchemaTaken for a schema that is something else.
    """
    with hold_lock(conn, f"fold into {schema}"):
        if not OWN_SCHEMA.fullmatch(schema) or _holds_something_else(conn, schema, model):
            raise SchemaTaken(schema)
        position = begin_or_resume(conn, model, schema, until)
        with search_schema(conn, schema):
            for reached in fold_aside(conn, model, read, position, until):
                progress(reached)


def _holds_something_else(conn: Connection, schema: str, model: ReadModel) -> bool:
    tables = [f"{schema}.{name}" for name in ("rebuild_progress", *(table.name for table in model.tables))]
    return bool(value_of(conn, "SELECT to_regnamespace(%s) IS NOT NULL", schema)) and bool(
        value_of(conn, "SELECT count(to_regclass(place)) < count(*) FROM unnest(%s::text[]) place", tables)
    )
