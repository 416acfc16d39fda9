"""Queries for the JSON documents that clients read: decoded in one go, or page by page within a bound of bytes."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import Generic, TypeVar, cast

import msgspec
from psycopg.sql import SQL

from domain.bounds.limits import DEFAULT
from projections.engine.read_model import Connection

LIGHT_BYTES = 512 * 1024  # as much as may be decoded without holding up an event loop
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
        self.query = SQL(f"SELECT q.doc::text FROM ({query}) q")
        self._part = SQL(f"SELECT q.doc::text, {f'q.{sorted_by}' if sorted_by else 'NULL::bigint'} FROM ({query}) q")
        self._prepared = prepared
        self._decode = msgspec.json.Decoder(list[document_type]).decode  # type: ignore[valid-type]

    def all(self, conn: Connection, **values: object) -> list[S]:
        """Return the documents of all rows that the query finds for these values."""
        rows = conn.execute(self.query, values, prepare=self._prepared)
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
        query, values, _ = self.part_query(limit=limit, **values)
        rows = cast("Generator[tuple[str, int | None]]", conn.cursor().stream(query, values, size=ROWS_IN_FLIGHT))
        with closing(rows):  # closing ends a query that is still running
            return self.part_of(rows, limit, max_bytes)

    def part_query(self, *, limit: int | None = None, **values: object) -> tuple[SQL, dict[str, object], bool]:
        """
        Return the query for the first documents, its values, and whether it is prepared.

        `part_of` makes what `part` returns of its rows.
        """
        return self._part, {**values, "limit": None if limit is None else limit + 1}, self._prepared

    def part_of(
        self, rows: Iterable[tuple[str, int | None]], limit: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
    ) -> Part[S]:
        """Return what `part` returns of the rows of its query."""
        docs, size, more, last = list[bytes](), 0, False, None
        for doc, place in rows:
            if len(docs) == limit:
                more = True
                continue
            body = doc.encode()
            size += len(body)
            if docs and size > max_bytes:
                more = True
                break
            docs.append(body)
            last = place
        return Part(self._decode(b"[%b]" % b",".join(docs)), more=more, last=last)

    def light_part_of(
        self, rows: Sequence[tuple[str, int | None]], limit: int | None, max_bytes: int
    ) -> Part[S] | None:
        """Return what `part_of` returns, or None for more than LIGHT_BYTES of documents."""
        return self.part_of(rows, limit, max_bytes) if sum(len(doc) for doc, _ in rows) <= LIGHT_BYTES else None

    def one(self, conn: Connection, **values: object) -> S | None:
        """Return the document of the first row that the query finds, or None."""
        return next(iter(self.all(conn, **values)), None)
