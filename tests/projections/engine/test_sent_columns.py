"""What Postgres has of the rows that it is sent is what they held."""

import enum
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, Union
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from projections.engine.folding import _parts_within
from projections.engine.rows import Rows
from projections.engine.sent_columns import Ids, kind_of
from projections.engine.table import Row, Table, Write, _cuts
from tests.projections.sharing import SHARED

pytestmark = SHARED


class Doc(msgspec.Struct):
    """A document."""

    text: str


class NoteRow(Row, frozen=True):
    """A row with a column of each kind."""

    text: str | None
    number: int | None
    truth: bool | None
    moment: datetime | None
    other_id: UUID | None
    doc: Doc | None
    ids: Ids


NOTE = Table("note", NoteRow)
EMPTY = NoteRow(id=uuid4(), text=None, number=None, truth=None, moment=None, other_id=None, doc=None, ids=())
AMSTERDAM = timezone(timedelta(hours=1))


def note(**fields):
    return msgspec.structs.replace(EMPTY, id=uuid4(), **fields)


@pytest.fixture
def rows(conn):
    """The rows of a batch on a table that is there for one test."""
    with conn.transaction(force_rollback=True):
        conn.execute("SET LOCAL search_path TO pg_temp")
        conn.execute("""
            CREATE TEMP TABLE note (
                id uuid PRIMARY KEY, text text, number bigint, truth boolean, moment timestamptz, other_id uuid, doc json,
                ids uuid[])""")
        yield Rows(conn)


def insert(conn, table, row):
    for write in table.inserts([row]):
        conn.execute(*write)


def stored_rows(conn):
    return {row.id: row for row in NOTE.request(conn, [id_ for (id_,) in conn.execute("SELECT id FROM note")])().rows}


def test_every_kind_of_value_arrives_as_it_was(rows, conn):
    written = [
        EMPTY,
        note(text="", number=0, truth=False),
        note(text='ä€😀 \\ " { } , NULL\n', number=-(2**63), truth=True, doc=Doc('"\\n"')),
        note(number=2**63 - 1, moment=datetime(1, 1, 1, tzinfo=UTC), other_id=UUID(int=0)),
        note(moment=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), other_id=UUID(int=2**128 - 1)),
        note(moment=datetime(2026, 3, 29, 1, 0, 0, 1, tzinfo=AMSTERDAM), ids=(uuid4(), uuid4())),
    ]
    for row in written:
        rows.add(NOTE, row)
    rows.flush()

    assert {row.id: row for row in written} == stored_rows(conn)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_is_too_large_is_refused(rows, number):
    rows.put(NOTE, note(number=number))

    with pytest.raises(Exception, match=r"int too large|range"):
        rows.flush()


class Level(enum.IntEnum):
    """Numbers with names."""

    LOW = 1


class Colour(enum.StrEnum):
    """Texts with names."""

    RED = "red"


TWO_IDS = (uuid4(), uuid4())


@pytest.mark.parametrize(
    ("type_of_field", "type_of_column", "value"),
    [
        (int | None, "integer", None),
        (Optional[int], "integer", 7),  # noqa: UP045 as others may write it
        (Union[str, None], "text", "ä"),  # noqa: UP007
        (float, "double precision", 0.1),
        (Decimal, "numeric", Decimal("0.10")),
        (date, "date", date(2026, 11, 30)),
        (time, "time", time(12, 30)),
        (Colour, "text", Colour.RED),
        (Level, "integer", Level.LOW),
        (Literal["a", "b"], "text", "b"),
        (Literal[1, 2], "integer", 2),
        (Literal["a", 2], "json", 2),
        (bytes, "json", b"\x00\xff"),
        (list[str], "text[]", ["a", "b,"]),
        (list[int], "json", [1, 2]),
        (set[int], "jsonb", {1, 2}),
        (dict, "json", {"a": [1]}),
        (dict[str, int] | None, "jsonb", {"a": 1}),
        (tuple[UUID, ...], "uuid[]", TWO_IDS),
        (tuple[UUID, ...], "json", TWO_IDS),
        (tuple[UUID, ...] | None, "uuid[]", None),
        (tuple[UUID, ...] | None, "text[]", TWO_IDS),
        (Ids, "uuid[]", TWO_IDS),
        (Ids | None, "uuid[]", None),
        (Annotated[int, msgspec.Meta(ge=0)], "smallint", 3),
        (Annotated[str, ["whatever"]], "text", "x"),
        (int | str, "json", "x"),
        (Any, "json", [None]),
        (Doc | None, "jsonb", Doc("x")),
        (UUID | None, "uuid", TWO_IDS[0]),
        (datetime | None, "timestamptz", datetime(2026, 11, 30, tzinfo=UTC)),
    ],
)
def test_a_projection_of_ones_own_may_have_fields_of_every_type(conn, type_of_field, type_of_column, value):
    row_type: Any = msgspec.defstruct("FieldRow", [("field", type_of_field)], bases=(Row,), frozen=True, kw_only=True)
    table: Table[Any] = Table("field", row_type)
    row = row_type(id=uuid4(), field=value)

    with conn.transaction(force_rollback=True):
        conn.execute("SET LOCAL search_path TO pg_temp")
        conn.execute(f"CREATE TEMP TABLE field (id uuid PRIMARY KEY, field {type_of_column})")
        insert(conn, table, row)
        for write in table.upserts([row]):
            conn.execute(*write)

        assert [row] == table.request(conn, [row.id])().rows


@pytest.mark.parametrize(
    ("field", "value"),
    [("number", 0.5), ("other_id", "no id"), ("moment", datetime(2026, 11, 30))],  # noqa: DTZ001
)
def test_a_value_that_is_not_of_the_type_of_its_field_is_refused_by_the_name_of_the_field(rows, field, value):
    rows.put(NOTE, note(**{field: value}))

    with pytest.raises(TypeError, match=f"note.{field} has a value"):
        rows.flush()


def test_texts_with_a_null_character_are_refused(rows, conn):
    for written in (note(text="a\0b"), note(doc=Doc("a\0b"))):
        rows.put(NOTE, written)
        with pytest.raises((ValueError, psycopg.DataError)), conn.transaction():
            rows.flush()
        rows._table_rows.clear()


def test_what_goes_together_is_no_larger_than_one_statement_may_be(monkeypatch):
    monkeypatch.setattr("projections.engine.folding.STATEMENT_BYTES", 100)
    writes = [Write(b"SELECT %b", [b"x" * size]) for size in (40, 60, 1, 200, 50)]

    parts = [[len(write.values[0]) for write in part] for part in _parts_within(writes)]

    assert [[40, 60], [1], [200], [50]] == parts


def test_long_lists_of_ids_count_as_bytes(rows, conn, monkeypatch):
    monkeypatch.setattr("projections.engine.table.STATEMENT_BYTES", 1_000)

    statements = [*NOTE._values_by_statement([note(ids=TWO_IDS * 10) for _ in range(4)])]

    assert 2 == len(statements)


def test_a_type_that_no_column_has_is_none():
    assert kind_of(tuple[str, ...]) is None
    assert kind_of(int | str) is None


@pytest.mark.parametrize("is_there", [True, False])
def test_a_row_that_goes_and_comes_back_within_a_batch_is_there(rows, conn, is_there):
    before, after = note(text="before"), "after"
    if is_there:
        insert(conn, NOTE, before)

    assert (rows.get(NOTE, before.id) is not None) is is_there
    rows.delete(NOTE, before.id)
    rows.put(NOTE, msgspec.structs.replace(before, text=after))
    rows.flush()

    assert after == stored_rows(conn)[before.id].text


@pytest.mark.parametrize("is_there", [True, False])
def test_a_row_that_comes_and_goes_within_a_batch_is_not_there(rows, conn, is_there):
    row = note(text="before")
    if is_there:
        insert(conn, NOTE, row)

    rows.get(NOTE, row.id)
    rows.put(NOTE, row)
    rows.delete(NOTE, row.id)
    rows.flush()

    assert {} == stored_rows(conn)


def test_a_statement_ends_with_the_row_that_takes_it_over_its_bytes(monkeypatch):
    monkeypatch.setattr("projections.engine.table.STATEMENT_BYTES", 10)

    assert [(0, 5)] == _cuts([["ab", None, "cd", "e", ""]], 5)
    assert [(0, 2), (2, 3), (3, 5)] == _cuts([["abcdef", None, "x" * 12, "", "y"], [None, b"12345", None, b"", b""]], 5)
    assert [(0, 3)] == _cuts([], 3)
