"""What tests of rebuilds share: a kill, another version of a read model, and what is left behind."""

import pytest
from msgspec.structs import replace

from projections import catalogue
from projections.board import issues
from projections.engine import positions

NAMES = [model.name for model in catalogue.ALL]
ALL = pytest.mark.parametrize("model", catalogue.ALL, ids=NAMES)


class Killed(Exception):
    """The rebuild was cut off."""


def schemas_left_behind(conn):
    return [name for (name,) in conn.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rebuilding%'")]


def searched_schemas(conn):
    return conn.execute("SELECT current_schemas(false)").fetchone()[0]


def with_index(model=issues.issues):
    """The read model with other tables: of a newer version."""
    return replace(model, schema=model.schema + "CREATE INDEX ON issue (title);")


def status_of(conn, name="issues"):
    return next(one for one in positions.status(conn) if one.name == name)
