"""
Reads of documents in the event loop: what waits together is read by one statement.

A read says on which versions of streams it was decided who may read. The same statement tells whether these are still
the newest, and where the log and the read models are. Documents come as the bytes that Postgres holds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from application.event_store.at_hand import Elsewhere
from application.event_store.lane import Connection, Connections, Lane, NoConnection
from projections import catalogue
from projections.engine import positions
from projections.engine.documents import BatchedDocs, Part, array, first
from projections.engine.positions import Present
from web.http.etag import tag_of
from web.http.fair_queue import TENANT

CONNECTIONS = 2  # for reads; decisions wait for none of them
MOST_READS, MOST_DOCS = 32, 1_600  # in one round trip, pages of 50 together: all who go along wait for the last of them
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

    @cached_property
    def tag(self) -> str:
        """The ETag of that array."""
        return tag_of(self.array).decode()


class Read(NamedTuple):
    """What is asked: whether streams still have their versions, where the models are, and for documents, if there are any."""

    versions: Versions
    models: tuple[str, ...]
    wanted: Wanted | None

    @property
    def many_docs(self) -> int:
        """How many documents it may find."""
        return 0 if self.wanted is None else self.wanted.limit or 1


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
        self._lane = Lane[Read, Answer](
            connections, _find_each, many=CONNECTIONS, most_items=MOST_READS, most_size=MOST_DOCS
        )

    async def find(self, read: Read) -> Answer:
        """Return what is found. Raises Elsewhere when it cannot be asked now."""
        try:
            return await self._lane.submit(read, read.many_docs, shared_by=read.wanted)
        except (NoConnection, psycopg.Error):
            raise Elsewhere from None


async def _find_each(connection: Connection, reads: Sequence[Read]) -> Sequence[Answer]:
    """Return what each of the reads finds. Those that want the same documents share them."""
    versions, are_one = _newest_versions(reads)
    names = tuple(sorted({name for models in {read.models for read in reads} for name in models}))
    by_kind: dict[BatchedDocs[Any], dict[Wanted, None]] = {}  # without what is wanted twice
    for read in reads:
        if read.wanted is not None:
            by_kind.setdefault(read.wanted.query, {})[read.wanted] = None
    kinds = tuple(sorted(by_kind, key=lambda kind: kind.query))
    values = [positions.versions_value(versions), *(kind.values(one.values for one in by_kind[kind]) for kind in kinds)]
    try:
        cursor = await connection.execute(_statement(names, kinds), values, prepare=True, binary=True)
        rows = await cursor.fetchall()
    except psycopg.Error:
        await connection.close()
        raise
    docs_by_place = {(kind, number): docs for kind, number, docs, *_ in rows}
    documents = dict[Wanted | None, Documents | None]({None: None})
    for place, kind in enumerate(kinds, 1):
        for number, one in enumerate(by_kind[kind], 1):
            documents[one] = Documents(docs_by_place[place, number], one)
    present = Present(*next(look for kind, _, _, *look in rows if not kind))
    reached = dict(zip(names, present.reached, strict=True))
    moved = frozenset(present.moved_streams)
    return [
        Answer(
            present.head,
            moved.isdisjoint(read.versions)
            and (are_one or all(versions[id_] == version for id_, version in read.versions.items())),
            _slowest_position(reached, read.models),
            documents[read.wanted],
        )
        for read in reads
    ]


@cache
def _statement(names: tuple[str, ...], kinds: tuple[BatchedDocs[Any], ...]) -> str:
    return positions.present([MODELS[name] for name in names], kinds)


def _newest_versions(reads: Sequence[Read]) -> tuple[dict[UUID, int], bool]:
    """Return the newest version of each stream that a read names, and whether no read names an older one."""
    newest: dict[UUID, int] = {}
    are_one = True
    for read in reads:
        for id_, version in read.versions.items():
            if (known := newest.setdefault(id_, version)) != version:
                are_one = False
                newest[id_] = max(known, version)
    return newest, are_one


def _slowest_position(reached: Mapping[str, int | None], models: Sequence[str]) -> int | None:
    positions = [reached[name] for name in models]
    return None if None in positions else min(position for position in positions if position is not None)
