"""
Queries for the JSON documents that clients read: decoded in one go, page by page within a bound of bytes, or as bytes.

A document is stored as clients read it, so what Postgres holds can be sent on as it is. A summary of a thing is the
beginning of its document: the type of the document is made from that of the summary, so its fields come first.
"""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import msgspec
from psycopg.sql import SQL

from domain.bounds.limits import DEFAULT
from projections.engine.table import Connection

LIGHT_BYTES = 512 * 1024  # as much as may be decoded without holding up an event loop
VALUE = re.compile(r"%\((\w+)\)s")  # in a query
ROWS_IN_FLIGHT = 4  # rows fetched at a time when a list is cut by its bytes
S = TypeVar("S")
T = TypeVar("T")


class Part(list[S]):
    """
    The beginning of a list. `more` says whether the list goes on; `last` is the number by which its last row is sorted.

    The next part can be asked for by `last` even if that row has been changed or deleted since.
    """

    def __init__(self, rows: Iterable[S] = (), *, more: bool = False, last: int | None = None) -> None:
        super().__init__(rows)
        self.more = more
        self.last = last

    def of(self, rows: Iterable[T]) -> "Part[T]":
        """Return the same part of another list that has one row for each row of this one."""
        return Part(rows, more=self.more, last=self.last)


def first_documents(rows: Iterable[tuple[bytes, int | None]], limit: int | None, max_bytes: int) -> Part[bytes]:
    """Return the first of these documents: at most `limit`, and as many as fit into `max_bytes`, but at least one."""
    docs, size, more, last = list[bytes](), 0, False, None
    for doc, place in rows:
        if len(docs) == limit:
            more = True
            continue
        size += len(doc)
        if docs and size > max_bytes:
            more = True
            break
        docs.append(doc)
        last = place
    return Part(docs, more=more, last=last)


def array(docs: Iterable[bytes]) -> bytes:
    """Return the JSON array of these documents."""
    return b"[%b]" % b",".join(docs)


def beginning(doc: str, end: str) -> str:
    """
    Return SQL for a document, as text, with the fields only that come before the field `end`.

    The name of a field between quotes that are not escaped cannot occur within a text of the document, so the first
    occurrence is the field, unless one before it holds an object.
    """
    return f"""split_part({doc}::text, ',"{end}":', 1) || '}}'"""


def opened_document(doc: str) -> str:
    """Return SQL for a document, as text, without its end, so that fields can follow. Postgres counts its characters for that."""
    return f"left({doc}::text, -1)"


def joined_document(doc: str, other: str) -> str:
    """Return SQL for a document, as text, with the fields of two documents, of which each has some. It is open if `other` is."""
    return f"{opened_document(doc)} || ',' || substr({other}::text, 2)"


def records(rows: Iterable[Mapping[str, object]]) -> str:
    """Return the value for `json_to_recordset`: psycopg takes ten times as long to write an array for each column."""
    return msgspec.json.encode(list(rows)).decode()


class Docs(Generic[S]):
    """
    A query for the `doc` column of some rows, which are decoded all at once.

    A query that is not `prepared` is planned for the values of each call, which suits filters that may be absent.
    `sorted_by` names a column of different numbers by which the rows are sorted: with it the next part can be asked
    for.
    """

    def __init__(
        self, query: str, document_type: type[S], *, prepared: bool = True, sorted_by: str | None = None
    ) -> None:
        self.text = query
        self.query = SQL(f"SELECT q.doc::text FROM ({query}) q")
        self._part = SQL(f"SELECT q.doc::text, {f'q.{sorted_by}' if sorted_by else 'NULL::bigint'} FROM ({query}) q")
        self._is_prepared = prepared
        self._decode = msgspec.json.Decoder(list[document_type]).decode  # type: ignore[valid-type]

    def all(self, conn: Connection, **values: object) -> list[S]:
        """Return the documents of all rows that the query finds for these values."""
        rows = conn.execute(self.query, values, prepare=self._is_prepared)
        return self._decode(f"[{','.join(doc for (doc,) in rows)}]")

    def part(
        self,
        conn: Connection,
        *,
        limit: int | None = None,
        max_bytes: int = DEFAULT.max_page_bytes,
        **values: object,
    ) -> Part[S]:
        """
        Return the first documents: at most `limit`, and as many as fit into `max_bytes`, but at least one.

        The rows are fetched from Postgres a few at a time, so neither side ever holds what is not returned. A query
        with a LIMIT gets `%(limit)s` as one more than `limit` and is read to its end, because stopping a query early
        takes another connection.
        """
        values["limit"] = None if limit is None else limit + 1
        cursor = conn.cursor().stream(self._part, values, size=ROWS_IN_FLIGHT)
        rows = cast("Generator[tuple[str, int | None]]", cursor)
        with closing(rows):  # closing ends a query that is still running
            return self.decode(first_documents(((doc.encode(), place) for doc, place in rows), limit, max_bytes))

    def decode(self, part: Part[bytes]) -> Part[S]:
        """Return the documents of a part that has their bytes."""
        return part.of(self._decode(array(part)))

    def one(self, conn: Connection, **values: object) -> S | None:
        """Return the document of the first row that the query finds, or None."""
        return next(iter(self.all(conn, **values)), None)


class BatchedDocs(Generic[S]):
    """
    The query of `docs` for many who ask at once. Its one value is what `values` makes of the values of each of them.

    `kinds` are the types of the values by their names. There is a row for each who asks: their number, from 1, and an array
    of the bytes of documents, NULL for those with which they are more than LIGHT_BYTES, since all would wait until they have
    come.

    `streams` finds the streams whose events, or those of what belongs to them, may change what this query finds, and
    `beside` what of it follows from no event: both of the first value.
    """

    def __init__(
        self,
        docs: Docs[S],
        *,
        streams: "BatchedDocs[list[UUID | None]] | None" = None,
        beside: "BatchedDocs[Any] | None" = None,
        **kinds: str,
    ) -> None:
        columns = ", ".join(f'"{name}"' for name in kinds)
        typed = ", ".join(f'"{name}" {kind}' for name, kind in kinds.items())
        of_one = VALUE.sub(r'a."\1"', docs.text)
        self.docs = docs
        self.streams, self.beside = streams, beside
        self.names = tuple(kinds)
        self.query = f"""SELECT a.n::int, ARRAY(
                SELECT CASE WHEN sum(octet_length(doc)) OVER (ROWS UNBOUNDED PRECEDING) <= {LIGHT_BYTES} THEN convert_to(doc, 'UTF8') END
                FROM (SELECT q.doc::text AS doc FROM ({of_one}) q OFFSET 0) made)
            FROM ROWS FROM (json_to_recordset(%s::json) AS ({typed})) WITH ORDINALITY a({columns}, n)"""

    def values(self, of_each: Iterable[Sequence[object]]) -> str:
        """Return the value of the query, given the values of each who asks in the order of the names."""
        return records(dict(zip(self.names, values, strict=True)) for values in of_each)
