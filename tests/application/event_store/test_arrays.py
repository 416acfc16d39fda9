"""The arrays of an append are those that Postgres reads."""

from uuid import UUID, uuid4

import pytest

from application.event_store import arrays

IDS = [uuid4(), UUID(int=0), UUID(int=2**128 - 1)]


@pytest.fixture
def system(shared_system):
    return shared_system


@pytest.mark.parametrize(
    ("kind", "pack", "values"),
    [
        ("uuid", arrays.uuids, IDS),
        ("bigint", arrays.bigints, [0, 1, -1, 2**63 - 1, -(2**63)]),
        ("text", arrays.texts, ["run.fired", "", 'é\u2028{}"\\']),
        ("bytea", arrays.byteas, [b"", b"\0\xff", b"x" * 70_000]),
    ],
)
def test_postgres_reads_an_array_as_the_values_that_were_packed(system, kind, pack, values):
    with system.pool.connection() as conn:
        for packed in ([], values[:1], values):
            row = conn.execute(f"SELECT %b::{kind}[]", [pack(packed)], binary=True).fetchone()
            assert ([*packed],) == row


def test_an_id_may_be_text():
    assert arrays.uuids(IDS) == arrays.uuids([str(id_) for id_ in IDS])


def test_lists_are_still_packed_by_the_driver_where_it_is_told_the_type_of_the_array(system):
    with system.pool.connection() as conn, conn.transaction(force_rollback=True):
        conn.execute("CREATE TEMP TABLE lists (a uuid[], b bigint[], c text[], d bytea[])")
        with conn.cursor().copy("COPY lists FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["uuid[]", "bigint[]", "text[]", "bytea[]"])
            copy.write_row((IDS, [1], ["a"], [b"b"]))
        assert (IDS, [1], ["a"], [b"b"]) == conn.execute("SELECT * FROM lists", binary=True).fetchone()
