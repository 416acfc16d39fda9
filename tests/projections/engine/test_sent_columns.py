"""What Postgres has of the rows that it is sent is what they held."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import msgspec
import pytest

from projections.engine.read_model import Row, Rows, Table, _cuts
from projections.engine.sent_columns import kind_of


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
    ids: tuple[UUID, ...]


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


def stored(conn):
    keys = [id_ for (id_,) in conn.execute("SELECT id FROM note")]
    return {row.id: row for row in NOTE.request(conn, keys)().rows}


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

    assert {row.id: row for row in written} == stored(conn)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_is_too_large_is_refused(rows, number):
    rows.put(NOTE, note(number=number))

    with pytest.raises(Exception, match=r"int too large|range"):
        rows.flush()


def test_a_type_that_no_column_has_is_none():
    assert kind_of(tuple[str, ...]) is None
    assert kind_of(int | str) is None


@pytest.mark.parametrize("is_there", [True, False])
def test_a_row_that_goes_and_comes_back_within_a_batch_is_there(rows, conn, is_there):
    before, after = note(text="before"), "after"
    if is_there:
        NOTE.add(conn, [before])

    assert (rows.get(NOTE, before.id) is not None) is is_there
    rows.delete(NOTE, before.id)
    rows.put(NOTE, msgspec.structs.replace(before, text=after))
    rows.flush()

    assert after == stored(conn)[before.id].text


@pytest.mark.parametrize("is_there", [True, False])
def test_a_row_that_comes_and_goes_within_a_batch_is_not_there(rows, conn, is_there):
    row = note(text="before")
    if is_there:
        NOTE.add(conn, [row])

    rows.get(NOTE, row.id)
    rows.put(NOTE, row)
    rows.delete(NOTE, row.id)
    rows.flush()

    assert {} == stored(conn)


def test_a_statement_ends_with_the_row_that_takes_it_over_its_bytes(monkeypatch):
    monkeypatch.setattr("projections.engine.read_model.STATEMENT_BYTES", 10)

    assert [(0, 5)] == _cuts([["ab", None, "cd", "e", ""]], 5)
    assert [(0, 2), (2, 3), (3, 5)] == _cuts([["abcdef", None, "x" * 12, "", "y"], [None, b"12345", None, b"", b""]], 5)
    assert [(0, 3)] == _cuts([], 3)
