"""
The log as an event loop reads and writes it: over connections of its own, and never waiting in the middle of anything.

It is a short way for what goes well. Whatever goes otherwise is left to a thread and the recorder of threads, which knows
what to do about broken connections, lost answers and a database that is away: an append comes back as GroupFailed, anything
else as NeedsThread.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import Notification

from application.event_store.at_hand import HEAVY_BYTES, NeedsThread
from application.event_store.codec import by_stream
from application.event_store.lane import Connection, Connections, Lane, NoConnection
from application.event_store.postgres_errors import CONFLICTS, conflict, is_reported
from application.event_store.recorder import (
    APPEND,
    APPEND_EACH,
    HEAD,
    MOST_BATCHES,
    MOST_GROUP_BYTES,
    STREAMS,
    STREAMS_FROM,
    VERSIONS,
    Batch,
    GroupFailed,
    together,
    verdicts,
)
from application.event_store.sealing import Keys
from domain.recorded import Recorded

MOST_QUERIES = 32  # the most queries that go to Postgres in one round trip

Row = tuple[Any, ...]
Query = tuple[str, tuple[Any, ...]]  # its text and its values


class LoopQueries:
    """
    Answers queries for the tasks of an event loop, over a connection of its own.

    Those that wait together wait for the slowest of them, and for its locks.
    """

    def __init__(self, connections: Connections) -> None:
        self._queries = Lane[Query, list[Row]](connections, _answer_each, many=1, most_items=MOST_QUERIES)

    async def query(self, text: str, *values: Any) -> list[Row]:
        """Return the rows that a query finds. Raises NeedsThread when it cannot be asked now."""
        try:
            return await self._queries.submit((text, values))
        except (NoConnection, psycopg.Error):
            raise NeedsThread from None


class LoopRecorder(LoopQueries):
    """Appends batches and answers queries about the log, and about nothing else, for the tasks of an event loop."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._appends = Lane[Batch, int | Exception | GroupFailed](
            connections, _append_each, many=1, most_items=MOST_BATCHES, most_size=MOST_GROUP_BYTES
        )

    @property
    def many_waiting(self) -> int:
        """How many batches wait to be appended together."""
        return self._appends.many_waiting

    async def append(self, batch: Batch) -> int | Exception | GroupFailed:
        """
        Append a small batch, together with others that wait. Return what becomes of it.

        That is the position of its last event, the error that refuses it, or GroupFailed: it is to be appended by a thread.
        """
        try:
            return await self._appends.submit(batch, batch.size)
        except NoConnection:
            return GroupFailed(was_sent=False)

    async def load(
        self, stream_ids: Sequence[UUID], read_from: str | None, keys: Keys | None = None
    ) -> Mapping[UUID, list[Recorded]]:
        """Return the events of each stream. Raises NeedsThread also when they are too much for the loop."""
        ids = list(stream_ids)
        rows = await (
            self.query(STREAMS, ids, HEAVY_BYTES)
            if read_from is None
            else self.query(STREAMS_FROM, ids, read_from, HEAVY_BYTES)
        )
        stored = [Notification(*row) for row in rows]
        if sum(len(event.state) for event in stored) > HEAVY_BYTES:
            raise NeedsThread
        return by_stream(ids, stored, keys)

    async def versions(self, stream_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        """Return the newest version of each stream; 0 for one that does not exist."""
        return dict(await self.query(VERSIONS, list(stream_ids)))

    async def head(self) -> int:
        """Return the position of the newest event; 0 for an empty log."""
        return int((await self.query(HEAD))[0][0])


async def _append_each(connection: Connection, batches: Sequence[Batch]) -> Sequence[int | Exception | GroupFailed]:
    """Append batches in one transaction, each by its own verdict, as PostgresRecorder.append_each does."""
    try:
        if len(batches) == 1:
            return [(await _fetch_rows(connection, APPEND, batches[0].values))[0][0]]
        return verdicts(await _fetch_rows(connection, APPEND_EACH, together(batches)))
    except psycopg.Error as error:
        if len(batches) == 1 and isinstance(error, CONFLICTS):
            return [conflict(error)]
        await connection.close()
        return [GroupFailed(was_sent=not is_reported(error))] * len(batches)


async def _answer_each(connection: Connection, queries: Sequence[Query]) -> Sequence[list[Row]]:
    """Return the rows of each query, in one round trip; what is asked twice is sent once."""
    try:
        if len(queries) == 1:
            return [await _fetch_rows(connection, *queries[0])]
        keys = [repr(query) for query in queries]
        async with connection.pipeline():
            cursors = {
                key: await connection.execute(text, values, prepare=True)
                for key, (text, values) in dict(zip(keys, queries, strict=True)).items()
            }
            rows = {key: await cursor.fetchall() for key, cursor in cursors.items()}
    except psycopg.Error:
        await connection.close()
        raise
    return [rows[key] for key in keys]


async def _fetch_rows(connection: Connection, text: str, values: Sequence[Any]) -> list[Row]:
    return await (await connection.execute(text, values, prepare=True)).fetchall()
