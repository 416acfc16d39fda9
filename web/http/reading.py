"""
Reads of documents in the event loop: what waits together is read in one round trip, by one statement for each kind.

A read says on which versions of streams it was decided who may read. The same round trip tells whether these are still
the newest, and where the log and the read models are. Documents come as the bytes that Postgres holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from application.event_store.at_hand import Elsewhere
from application.event_store.lane import Connection, Connections, Lane, NoConnection
from projections import catalogue
from projections.engine import positions
from projections.engine.documents import BatchedDocs
from projections.engine.positions import Present

CONNECTIONS = 2  # for reads; decisions wait for none of them
MOST_READS = 32  # in one round trip
MODELS = {model.name: model for model in catalogue.ALL}
Versions = Mapping[UUID, int]


class Documents(NamedTuple):
    """Documents that are wanted: the query for them, and its values in the order of its names."""

    query: BatchedDocs[Any]
    values: tuple[Any, ...]


class Read(NamedTuple):
    """What is asked: whether streams still have their versions, where the models are, and for documents, if there are any."""

    versions: Versions
    models: tuple[str, ...]
    documents: Documents | None


class Found(NamedTuple):
    """What is found: the documents as bytes, beside where the log and the models were just before."""

    head: int
    is_unchanged: bool  # the streams have their versions
    reached: int | None  # by the slowest model; None if the rows of one are not this version's
    documents: Sequence[bytes]


class Reader:
    """Reads documents for the tasks of an event loop."""

    def __init__(self, connections: Connections) -> None:
        self._lane = Lane[Read, Found](connections, _find_each, many=CONNECTIONS, most_items=MOST_READS)

    async def find(self, read: Read) -> Found:
        """Return what is found. Raises Elsewhere when it cannot be asked now."""
        try:
            return await self._lane.submit(read)
        except (NoConnection, psycopg.Error):
            raise Elsewhere from None


async def _find_each(connection: Connection, reads: Sequence[Read]) -> Sequence[Found]:
    """Return what each of the reads finds. Those that want the same documents share them."""
    versions, are_one = _newest(reads)
    names = list(dict.fromkeys(name for models in {read.models for read in reads} for name in models))
    look = positions.present_values([MODELS[name] for name in names], versions)
    wanted: dict[BatchedDocs[Any], dict[tuple[Any, ...], int]] = {}
    for read in reads:
        if read.documents is not None:
            places = wanted.setdefault(read.documents.query, {})
            places.setdefault(read.documents.values, len(places))
    try:
        async with connection.pipeline():
            looked = await connection.execute(positions.PRESENT, look, prepare=True)
            cursors = {
                docs: await connection.execute(
                    docs.query, [*map(list, zip(*places, strict=True))], prepare=True, binary=True
                )
                for docs, places in wanted.items()
            }
            present = Present(*(await looked.fetchall())[0])
            found = {docs: _by_place(await cursor.fetchall(), len(wanted[docs])) for docs, cursor in cursors.items()}
    except psycopg.Error:
        await connection.close()
        raise
    reached = dict(zip(names, present.reached, strict=True))
    moved = dict.fromkeys(present.moved_streams)
    return [
        Found(
            present.head,
            (not moved or moved.keys().isdisjoint(read.versions))
            and (are_one or all(versions[id_] == version for id_, version in read.versions.items())),
            _slowest(reached, read.models),
            ()
            if read.documents is None
            else found[read.documents.query][wanted[read.documents.query][read.documents.values]],
        )
        for read in reads
    ]


def _newest(reads: Sequence[Read]) -> tuple[dict[UUID, int], bool]:
    """Return the newest version of each stream that a read names, and whether no read names an older one."""
    newest: dict[UUID, int] = {}
    are_one = True
    for read in reads:
        for id_, version in read.versions.items():
            if (known := newest.setdefault(id_, version)) != version:
                are_one = False
                newest[id_] = max(known, version)
    return newest, are_one


def _slowest(reached: Mapping[str, int | None], models: Sequence[str]) -> int | None:
    positions = [reached[name] for name in models]
    return None if None in positions else min(position for position in positions if position is not None)


def _by_place(rows: Sequence[tuple[int, bytes]], many: int) -> Sequence[list[bytes]]:
    found: list[list[bytes]] = [[] for _ in range(many)]
    for number, doc in rows:
        found[number - 1].append(doc)
    return found
