"""
Reads of documents in the event loop: what waits together is read by one statement.

A read says on which versions of streams it was decided who may read. The same statement tells whether these are still
the newest, and where the log and the read models are. Documents come as the bytes that Postgres holds. Those that the process
has cached are not read again: the statement tells what has changed since, and only what has is asked for once more.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from application.event_store.at_hand import NeedsThread
from application.event_store.lane import Connection, Connections, Lane, NoConnection
from projections import catalogue
from projections.engine.documents import BatchedDocs, Part, array, first_documents
from projections.engine.present_positions import PresentPositions, positions_query, same_place_query, versions_value
from projections.engine.read_model import ReadModel
from projections.firing.routine_streams import OWNERS
from web.http.document_cache import CachedDocuments, DocumentCache, Place, changed_since, place_of
from web.http.etag import tag_of
from web.http.fair_queue import TENANT

CONNECTIONS = 2  # for reads; decisions wait for none of them
MOST_READS, MOST_DOCS = 32, 1_600  # in one round trip, pages of 50 together: all who go along wait for the last of them
HEAVY_S = 5.0
MOST_HEAVY = 10_000  # tenants and kinds that are remembered
MODELS = {model.name: model for model in catalogue.ALL}
CACHED_MODELS = ("directory", "issues", "routines", "run_history")  # of which documents are cached
Versions = Mapping[UUID, int]
Source = Literal["memory", "database"]
Lookup = tuple[BatchedDocs[Any], tuple[Any, ...]]  # a query and its values
MakeQuery = Callable[[Sequence[ReadModel], Sequence[BatchedDocs[Any]]], str]
DocsByLookup = dict[Lookup | None, list[bytes | None]]
_decode_streams = msgspec.json.Decoder(list[UUID | None]).decode


class DocumentQuery(NamedTuple):
    """A query for documents: its kind, its values in the order of their names, and how many documents fit."""

    kind: BatchedDocs[Any]
    values: tuple[Any, ...]
    limit: int | None
    max_bytes: int

    @property
    def documents(self) -> Lookup:
        """The lookup of the documents."""
        return self.kind, self.values

    @property
    def streams(self) -> Lookup | None:
        """The lookup of the streams of which they show something; None if nobody knows: then they are not cached."""
        return None if self.kind.streams is None else (self.kind.streams, self.values[:1])

    @property
    def beside(self) -> Lookup | None:
        """The lookup of what they show that follows from no event; None if there is nothing."""
        return None if self.kind.beside is None else (self.kind.beside, self.values[:1])


class Documents:
    """The documents that a query has found, as bytes. Those who ask for the same share them. Of heavy ones the last are missing."""

    def __init__(self, rows: Sequence[bytes | None], query: DocumentQuery) -> None:
        docs = [doc for doc in rows if doc is not None]
        self.are_light = len(docs) == len(rows)
        self.part: Part[bytes] = first_documents(((doc, None) for doc in docs), query.limit, query.max_bytes)

    @cached_property
    def array(self) -> bytes:
        """The JSON array of those that fit."""
        return array(self.part)

    @cached_property
    def tag(self) -> str:
        """The ETag of that array."""
        return tag_of(self.array).decode()

    @cached_property
    def first_tag(self) -> str:
        """The ETag of the first of them alone."""
        return tag_of(self.part[0]).decode()


class Read(NamedTuple):
    """
    What is asked: whether streams still have their versions, where the models are, and for documents, if there are any.

    `anew` says that they are not to be those that are cached.
    """

    versions: Versions
    models: tuple[str, ...]
    query: DocumentQuery | None
    anew: bool = False


class Answer(NamedTuple):
    """What is found: the documents as bytes, beside where the log and the models were just before."""

    head: int
    is_unchanged: bool  # the streams have their versions
    reached: int | None  # by the slowest model; None if the rows of one are not this version's
    documents: Documents | None  # None if the read has no query, or if those that are cached may have changed


class HeavyReads:
    """
    Which kinds of documents were heavy for which tenants a moment ago.

    All who read wait until Postgres has put them together, only to hear that they are heavy. So for HEAVY_S the tenant's
    reads of that kind are left to threads, which tenants share fairly.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[str, BatchedDocs[Any]], float] = {}

    def note(self, query: DocumentQuery) -> None:
        """Note that the documents of a query by the tenant of the context were heavy."""
        while len(self._until) >= MOST_HEAVY:
            del self._until[next(iter(self._until))]
        self._until[TENANT.get(), query.kind] = self._clock() + HEAVY_S

    def are_expected(self, query: DocumentQuery) -> bool:
        """Return whether documents of this kind were heavy for the tenant of the context a moment ago."""
        return self._until.get((TENANT.get(), query.kind), 0.0) > self._clock()


class Reader:
    """Reads documents for the tasks of an event loop, and caches those of which it can tell whether they have changed."""

    def __init__(self, connections: Connections) -> None:
        self._lane = Lane[Read, Answer](
            connections, self._find_each, many=CONNECTIONS, most_items=MOST_READS, most_size=MOST_DOCS
        )
        self._cache = DocumentCache[DocumentQuery, Documents]()
        self._are_apart = False  # whether the models stood at different places when last seen: then nobody can tell
        self._is_still = False  # whether the log was where it had been when last seen: then it mostly is so again
        self.counts = Counter[Source]()  # answers, by where their documents came from

    async def find(self, read: Read) -> Answer:
        """Return what is found. Raises NeedsThread when it cannot be asked now."""
        query, many_docs = read.query, 0
        if query is not None and (read.anew or self._are_apart or query not in self._cache):
            many_docs = query.limit or 1
        try:
            return await self._lane.submit(read, many_docs, shared_by=query)
        except (NoConnection, psycopg.Error):
            raise NeedsThread from None

    def forget(self) -> None:
        """Forget what is cached. May be called in any thread."""
        self._cache = DocumentCache()

    async def _find_each(self, connection: Connection, reads: Sequence[Read]) -> Sequence[Answer]:
        """Return what each of the reads finds. Those that have the same query share its documents."""
        cache, since = self._cache, self._cache.place
        queries = dict.fromkeys(read.query for read in reads if read.query is not None)
        anew = {read.query for read in reads if read.anew or self._are_apart}
        entries = {query: entry for query in queries if query not in anew and (entry := cache.get(query)) is not None}
        new_queries = [query for query in queries if query not in entries]
        lookups = (
            *(query.documents for query in new_queries),
            *(query.streams for query in new_queries),
            *(query.beside for query in queries),
        )
        versions, are_one = _newest_versions(reads)
        names = tuple(sorted({*CACHED_MODELS, *(name for read in reads for name in read.models)}))
        may_be_same = self._is_still and not new_queries and cache.has_versions(versions)
        present, docs = await _look(connection, names, since, versions, lookups, may_be_same=may_be_same)
        changed = None if since is None else changed_since(since, present)
        documents: dict[DocumentQuery | None, Documents | None] = {None: None}
        for query, entry in entries.items():
            is_same = changed is not None and entry.streams.isdisjoint(changed) and entry.beside == docs[query.beside]
            documents[query] = entry.documents if is_same else None
            self.counts["memory"] += is_same
        self.counts["database"] += len(new_queries)
        documents |= {query: Documents(docs[query.documents], query) for query in new_queries}
        moved, reached = frozenset(present.moved_streams), dict(zip(names, present.reached, strict=True))
        place = place_of(present)
        self._are_apart = place is None
        self._is_still = place is not None and place == since and place.position == present.head
        if cache is self._cache and place is not None:
            cache = self._advance_cache(cache, place, changed)
            if cache.place == place:
                cache.put_versions({id_: version for id_, version in versions.items() if id_ not in moved})
                for query in new_queries:
                    if entry := _entry_of(documents[query], docs[query.streams], docs[query.beside]):
                        cache.put(query, entry)
        return [
            Answer(
                present.head,
                moved.isdisjoint(read.versions)
                and (are_one or all(versions[id_] == version for id_, version in read.versions.items())),
                _slowest_position(reached, read.models),
                documents[read.query],
            )
            for read in reads
        ]

    def _advance_cache(
        self, cache: DocumentCache[DocumentQuery, Documents], place: Place, changed: Collection[UUID] | None
    ) -> DocumentCache[DocumentQuery, Documents]:
        """Return the cache at a place, without what has changed until then; an empty one if nobody knows what has."""
        if changed is None or cache.place is None:
            self._cache = cache = DocumentCache(place)
        elif cache.place.position <= place.position:  # else another read was quicker, and has seen more
            cache.advance_to(place, changed)
        return cache


def _entry_of(
    documents: Documents | None, streams: Sequence[bytes | None], beside: Sequence[bytes | None]
) -> CachedDocuments[Documents] | None:
    """Return documents as they are cached; None if they are heavy, or if nobody can tell when they change."""
    if documents is None or not documents.are_light or None in (*streams, *beside) or not streams:
        return None
    ids = frozenset(id_ for doc in streams if doc for id_ in _decode_streams(doc) if id_ is not None)
    return CachedDocuments(documents, ids, beside, 2 * sum(map(len, documents.part)))  # once more as an array


async def _look(  # noqa: PLR0913 what is asked, and what is known
    connection: Connection,
    names: tuple[str, ...],
    since: Place | None,
    versions: Versions,
    lookups: Sequence[Lookup | None],
    *,
    may_be_same: bool,
) -> tuple[PresentPositions, DocsByLookup]:
    """
    Look at streams and models, and look these up, at one moment.

    Where `may_be_same`, these were the versions at the place: so it is asked first whether the log and the models are still there.
    """
    if may_be_same and since is not None:
        place = [str(since.position), since.hash, since.made]
        (is_same,), docs = await _look_up(connection, same_place_query, names, place, lookups)
        if is_same:
            reached: list[int | None] = [since.position] * len(names)
            return PresentPositions(since.position, [], reached, since.made, since.hash, since.hash, []), docs
    values = [versions_value(versions), None if since is None else str(since.position)]
    row, docs = await _look_up(connection, _positions_query, names, values, lookups)
    return PresentPositions(*row), docs


async def _look_up(
    connection: Connection,
    query: MakeQuery,
    names: tuple[str, ...],
    values: Sequence[object],
    lookups: Iterable[Lookup | None],
) -> tuple[Sequence[Any], DocsByLookup]:
    """Return what the look of a query finds, and look these up, at one moment."""
    by_kind: dict[BatchedDocs[Any], dict[tuple[Any, ...], None]] = {}  # each lookup once
    for lookup in lookups:
        if lookup is not None:
            by_kind.setdefault(lookup[0], {})[lookup[1]] = None
    kinds = tuple(sorted(by_kind, key=lambda kind: kind.query))
    all_values = [*values, *(kind.values(by_kind[kind]) for kind in kinds)]
    try:
        cursor = await connection.execute(_statement(query, names, kinds), all_values, prepare=True, binary=True)
        rows = await cursor.fetchall()
    except psycopg.Error:
        await connection.close()
        raise
    docs_by_place = {(kind, number): docs for kind, number, docs, *_ in rows}
    docs_by_lookup: DocsByLookup = {None: []}
    for place, kind in enumerate(kinds, 1):
        for number, values_of_one in enumerate(by_kind[kind], 1):
            docs_by_lookup[kind, values_of_one] = docs_by_place[place, number]
    return next(look for kind, _, _, *look in rows if not kind), docs_by_lookup


def _positions_query(models: Sequence[ReadModel], kinds: Sequence[BatchedDocs[Any]]) -> str:
    return positions_query(models, kinds, owners=OWNERS)


@cache
def _statement(query: MakeQuery, names: tuple[str, ...], kinds: tuple[BatchedDocs[Any], ...]) -> str:
    return query([MODELS[name] for name in names], kinds)


def _newest_versions(reads: Sequence[Read]) -> tuple[dict[UUID, int], bool]:
    """Return the newest version of each stream that a read names, and whether no read names an older one."""
    newest: dict[UUID, int] = {}
    are_one = True
    for read in reads:
        for id_, version in read.versions.items():
            if (other := newest.setdefault(id_, version)) != version:
                are_one = False
                newest[id_] = max(other, version)
    return newest, are_one


def _slowest_position(reached: Mapping[str, int | None], models: Sequence[str]) -> int | None:
    positions = [reached[name] for name in models]
    return None if None in positions else min(position for position in positions if position is not None)
