"""
Reads of documents in the event loop: what waits together is read in one round trip, by one statement for each kind.

A read says on which versions of streams it was decided who may read. The same round trip tells whether these are still
the newest, and where the log and the read models are. Documents come as the bytes that Postgres holds.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from application.event_store.at_hand import Elsewhere
from application.event_store.lane import Connection, Connections, Lane, NoConnection
from projections import catalogue
from projections.engine import positions
from projections.engine.documents import BatchedDocs, Part, array, first
from projections.engine.positions import Present
from web.http.fair_queue import TENANT

CONNECTIONS = 2  # for reads; decisions wait for none of them
MOST_READS = 32  # in one round trip
HEAVY_S = 5.0
MOST_HEAVY = 10_000  # tenants and kinds that are remembered
MODELS = {model.name: model for model in catalogue.ALL}
Versions = Mapping[UUID, int]


class Wanted(NamedTuple):
    """Documents that are wanted: the query for them, its values in the order of its names, and how many of them fit."""

    query: BatchedDocs[Any]
    values: tuple[Any, ...]
    limit: int | None
    max_bytes: int


class Documents:
    """The documents that a query has found, as bytes. Those who want the same share them. Of heavy ones the last are missing."""

    def __init__(self, rows: Sequence[bytes | None], wanted: Wanted) -> None:
        docs = [doc for doc in rows if doc is not None]
        self.are_light = len(docs) == len(rows)
        self.part: Part[bytes] = first(((doc, None) for doc in docs), wanted.limit, wanted.max_bytes)

    @cached_property
    def array(self) -> bytes:
        """The JSON array of those that fit."""
        return array(self.part)


class Read(NamedTuple):
    """What is asked: whether streams still have their versions, where the models are, and for documents, if there are any."""

    versions: Versions
    models: tuple[str, ...]
    wanted: Wanted | None


class Answer(NamedTuple):
    """What is found: the documents as bytes, beside where the log and the models were just before."""

    head: int
    is_unchanged: bool  # the streams have their versions
    reached: int | None  # by the slowest model; None if the rows of one are not this version's
    documents: Documents | None  # None if none were wanted


class HeavyReads:
    """
    Which kinds of documents were heavy for which tenants a moment ago.

    All who read wait until Postgres has put them together, only to hear that they are heavy. So for HEAVY_S the tenant's
    reads of that kind are left to threads, which tenants share fairly.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[str, BatchedDocs[Any]], float] = {}

    def note(self, wanted: Wanted) -> None:
        """Note that what the tenant of the context wanted was heavy."""
        while len(self._until) >= MOST_HEAVY:
            del self._until[next(iter(self._until))]
        self._until[TENANT.get(), wanted.query] = self._clock() + HEAVY_S

    def are_expected(self, wanted: Wanted) -> bool:
        """Return whether documents of this kind were heavy for the tenant of the context a moment ago."""
        return self._until.get((TENANT.get(), wanted.query), 0.0) > self._clock()


class Reader:
    """Reads documents for the tasks of an event loop."""

    def __init__(self, connections: Connections) -> None:
        self._lane = Lane[Read, Answer](connections, _find_each, many=CONNECTIONS, most_items=MOST_READS)

    async def find(self, read: Read) -> Answer:
        """Return what is found. Raises Elsewhere when it cannot be asked now."""
        try:
            return await self._lane.submit(read)
        except (NoConnection, psycopg.Error):
            raise Elsewhere from None


async def _find_each(connection: Connection, reads: Sequence[Read]) -> Sequence[Answer]:
    """Return what each of the reads finds. Those that want the same documents share them."""
    versions, are_one = _newest(reads)
    names = list(dict.fromkeys(name for models in {read.models for read in reads} for name in models))
    look = positions.present_values([MODELS[name] for name in names], versions)
    wanted: dict[BatchedDocs[Any], dict[Wanted, None]] = {}  # each kind, without what is wanted twice
    for read in reads:
        if read.wanted is not None:
            wanted.setdefault(read.wanted.query, {})[read.wanted] = None
    try:
        async with connection.pipeline():
            looked = await connection.execute(positions.PRESENT, look, prepare=True)
            cursors = [
                await connection.execute(docs.query, _arrays(alike), prepare=True, binary=True)
                for docs, alike in wanted.items()
            ]
            present = Present(*(await looked.fetchall())[0])
            documents = dict[Wanted | None, Documents | None]({None: None})
            for alike, cursor in zip(wanted.values(), cursors, strict=True):
                for one, docs in zip(alike, _by_number(await cursor.fetchall(), len(alike)), strict=True):
                    documents[one] = Documents(docs, one)
    except psycopg.Error:
        await connection.close()
        raise
    reached = dict(zip(names, present.reached, strict=True))
    moved = frozenset(present.moved_streams)
    return [
        Answer(
            present.head,
            moved.isdisjoint(read.versions)
            and (are_one or all(versions[id_] == version for id_, version in read.versions.items())),
            _slowest(reached, read.models),
            documents[read.wanted],
        )
        for read in reads
    ]


def _arrays(alike: Iterable[Wanted]) -> list[list[Any]]:
    """Return an array for each value of their query."""
    return [list(values) for values in zip(*(one.values for one in alike), strict=True)]


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


def _by_number(rows: Sequence[tuple[int, bytes | None]], many: int) -> Sequence[list[bytes | None]]:
    """Return the documents of each who asks, whose number the rows begin with."""
    by_number: list[list[bytes | None]] = [[] for _ in range(many)]
    for number, doc in rows:
        by_number[number - 1].append(doc)
    return by_number
