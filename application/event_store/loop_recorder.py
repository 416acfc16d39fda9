"""
The log as an event loop reads and writes it: over connections of its own, and never waiting in the middle of anything.

It is a short way for what goes well. Whatever goes otherwise is left to a thread and the recorder of threads, which knows
what to do about broken connections, lost answers and a database that is away: an append comes back as Again, anything
else as Elsewhere.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import Notification

from application.event_store.at_hand import HEAVY_BYTES, Elsewhere
from application.event_store.lane import Connection, Connections, Lane, NoConnection
from application.event_store.recorder import (
    APPEND,
    APPEND_EACH,
    CONFLICTS,
    HEAD,
    MOST_BATCHES,
    MOST_GROUP_BYTES,
    STREAMS,
    STREAMS_FROM,
    VERSIONS,
    Again,
    Batch,
    conflict,
    is_reported,
    together,
    verdicts,
)
from application.event_store.sealing import Keys
from application.event_store.store import by_stream
from domain.recorded import Recorded

READERS = 2  # connections for the answers of reads; one more is for what decisions rest on
MOST_QUERIES = 32  # that go to Postgres in one round trip


Row = tuple[Any, ...]
Values = Sequence[Any] | Mapping[str, Any]


class Query(NamedTuple):
    """
    A query and its values, and what is made of its rows. It is planned for the values of each call unless `prepared`.

    Those with the same text and values that wait together are sent once, so they must make the same of the rows. What
    cannot be made of them is None.
    """

    text: Any
    values: Values
    prepared: bool = True
    make: Callable[[list[Row]], Any] | None = None


class LoopRecorder:
    """Appends batches and answers queries about the log, for the tasks of an event loop."""

    def __init__(self, connections: Connections) -> None:
        self._appends = Lane[Batch, int | Exception | Again](
            connections, _append_each, many=1, most_items=MOST_BATCHES, most_size=MOST_GROUP_BYTES
        )
        self._loads, self._reads = (
            Lane[Sequence[Query], list[Any]](connections, _answer_each, many=many, most_items=MOST_QUERIES)
            for many in (1, READERS)
        )

    @property
    def many_waiting(self) -> int:
        """How many batches wait to be appended together."""
        return self._appends.many_waiting

    async def append(self, batch: Batch) -> int | Exception | Again:
        """
        Append a small batch, together with others that wait. Return what becomes of it.

        That is the position of its last event, the error that refuses it, or Again: it is to be appended by a thread.
        """
        try:
            return await self._appends.submit(batch, batch.size)
        except NoConnection:
            return Again(was_sent=False)

    async def query(self, text: str, *values: Any) -> list[Row]:
        """Return the rows that a query about the log finds. Raises Elsewhere when it cannot be asked now."""
        rows: list[Row] = (await _asked(self._loads, [Query(text, values)]))[0]
        return rows

    async def query_all(self, queries: Sequence[Query]) -> list[Any]:
        """
        Return what is made of each query, sent in this order in one round trip. Raises Elsewhere as `query` does.

        They may take longer than those about the log, which do not wait for them.
        """
        return await _asked(self._reads, queries)

    async def load(
        self, stream_ids: Sequence[UUID], read_from: str | None, keys: Keys | None = None
    ) -> Mapping[UUID, list[Recorded]]:
        """Return the events of each stream. Raises Elsewhere also when they are too much for the loop."""
        ids = list(stream_ids)
        rows = await (
            self.query(STREAMS, ids, HEAVY_BYTES)
            if read_from is None
            else self.query(STREAMS_FROM, ids, read_from, HEAVY_BYTES)
        )
        stored = [Notification(*row) for row in rows]
        if sum(len(event.state) for event in stored) > HEAVY_BYTES:
            raise Elsewhere
        return by_stream(ids, stored, keys)

    async def versions(self, stream_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        """Return the newest version of each stream; 0 for one that does not exist."""
        return dict(await self.query(VERSIONS, list(stream_ids)))

    async def head(self) -> int:
        """Return the position of the newest event; 0 for an empty log."""
        return int((await self.query(HEAD))[0][0])


async def _asked(lane: Lane[Sequence[Query], list[Any]], queries: Sequence[Query]) -> list[Any]:
    try:
        return await lane.submit(queries)
    except (NoConnection, psycopg.Error):
        raise Elsewhere from None


async def _append_each(connection: Connection, batches: Sequence[Batch]) -> Sequence[int | Exception | Again]:
    """Append batches in one transaction, each by its own verdict, as PostgresRecorder.append_each does."""
    try:
        if len(batches) == 1:
            return [(await _rows(connection, APPEND, batches[0]))[0][0]]
        return verdicts(await _rows(connection, APPEND_EACH, together(batches)))
    except psycopg.Error as error:
        if len(batches) == 1 and isinstance(error, CONFLICTS):
            return [conflict(error)]
        await connection.close()
        return [Again(was_sent=not is_reported(error))] * len(batches)


async def _answer_each(connection: Connection, groups: Sequence[Sequence[Query]]) -> Sequence[list[Any]]:
    """Answer groups of queries in one round trip, those of a group in their order."""
    try:
        if len(groups) == len(groups[0]) == 1:
            (query,) = groups[0]
            return [[_made(query, await _rows(connection, query.text, query.values, query.prepared))]]
        keys = [tuple((id(one.text), repr(one.values)) for one in queries) for queries in groups]
        once = dict(zip(keys, groups, strict=True))
        async with connection.pipeline():
            cursors = {
                key: [await connection.execute(one.text, one.values, prepare=one.prepared) for one in queries]
                for key, queries in once.items()
            }
            rows = {key: [await cursor.fetchall() for cursor in those] for key, those in cursors.items()}
    except psycopg.Error:
        await connection.close()
        raise
    answers = dict[Any, list[Any]]()
    for key, those in rows.items():
        answers[key] = list(map(_made, once[key], those))
        await asyncio.sleep(0)  # what is made of many rows for all of them would hold up the loop
    return [answers[key] for key in keys]


def _made(query: Query, rows: list[Row]) -> Any:
    if query.make is None:
        return rows
    try:
        return query.make(rows)
    except Exception:  # noqa: BLE001 rows of another version, mostly; it concerns this query alone
        return None


async def _rows(connection: Connection, text: Any, values: Values, prepared: bool = True) -> list[Row]:
    return await (await connection.execute(text, values, prepare=prepared)).fetchall()
