"""
A cache of the documents that a process has read last, for as long as they are what Postgres would give.

They are of one place: a position of the log at which all the models stood from which they were made. Each read hears which
streams have got events since, and what these belong to: what shows one of them is dropped, and all else is of the new place as
well. What follows from no event is compared each time.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from projections.engine.present_positions import PresentPositions

MOST_BYTES = 32 * 1024 * 1024
OVERHEAD = 2_048  # bytes of memory that each takes beside its documents
MOST_VERSIONS = 10_000
T = TypeVar("T")  # the documents
Q = TypeVar("Q")  # the queries for them


class Place(NamedTuple):
    """A position of the log with the hash of its event, so of the whole log up to it, and which rows the models had there."""

    position: int
    hash: bytes
    made: str


class CachedDocuments(NamedTuple, Generic[T]):
    """Documents, the streams of which they show something, and what they show that follows from no event."""

    documents: T
    streams: frozenset[UUID]
    beside: Sequence[bytes | None]
    size: int


class DocumentCache(Generic[Q, T]):
    """
    What was read last at a place, up to `most_bytes`: then what was used longest ago is dropped.

    Beside the documents are the versions that streams have there, as far as somebody has asked.
    """

    def __init__(self, place: Place | None = None, *, most_bytes: int = MOST_BYTES) -> None:
        self.place = place
        self._most_bytes = most_bytes
        self._entries: OrderedDict[Q, CachedDocuments[T]] = OrderedDict()
        self._queries_by_stream: defaultdict[UUID, set[Q]] = defaultdict(set)
        self._size = 0
        self._versions: dict[UUID, int] = {}

    def __contains__(self, query: object) -> bool:
        """Return whether the documents of a query are cached."""
        return query in self._entries

    def get(self, query: Q) -> CachedDocuments[T] | None:
        """Return the documents of a query at the place; None if they are not cached."""
        if (entry := self._entries.get(query)) is not None:
            self._entries.move_to_end(query)
        return entry

    def put(self, query: Q, entry: CachedDocuments[T]) -> None:
        """Cache the documents that a query has found at the place."""
        self._drop(query)
        self._entries[query] = entry
        self._size += entry.size + OVERHEAD
        for id_ in entry.streams:
            self._queries_by_stream[id_].add(query)
        while self._size > self._most_bytes:
            self._drop(next(iter(self._entries)))

    def has_versions(self, versions: Mapping[UUID, int]) -> bool:
        """Return whether it is known that these are the versions of the streams at the place."""
        return versions.items() <= self._versions.items()

    def put_versions(self, versions: Mapping[UUID, int]) -> None:
        """Cache the versions that streams have at the place."""
        if len(self._versions) > MOST_VERSIONS:
            self._versions.clear()
        self._versions |= versions

    def advance_to(self, place: Place, changed: Collection[UUID]) -> None:
        """Drop what shows something of the streams that have changed up to a place, and their versions; the rest is of that as well."""
        for id_ in changed:
            self._versions.pop(id_, None)
            for query in tuple(self._queries_by_stream.get(id_, ())):
                self._drop(query)
        self.place = place

    def _drop(self, query: Q) -> None:
        if (entry := self._entries.pop(query, None)) is None:
            return
        self._size -= entry.size + OVERHEAD
        for id_ in entry.streams:
            queries = self._queries_by_stream[id_]
            queries.discard(query)
            if not queries:
                del self._queries_by_stream[id_]


def place_of(look: PresentPositions) -> Place | None:
    """Return the place at which all models stand; None if they stand at different ones."""
    (position, *others) = {*look.reached}
    if others or position is None or look.hash is None or look.made is None:
        return None
    return Place(position, look.hash, look.made)


def changed_since(place: Place, look: PresentPositions) -> Collection[UUID] | None:
    """
    Return the streams that have got events since a place, and what these belong to.

    None where that cannot be said: the log or the rows are others, the models stand at different places, or it is too much.
    """
    return look.changed if (look.hash_then, look.made) == (place.hash, place.made) else None
