"""
The documents that a process has found last, for as long as they are what Postgres would give.

They are of one place: a position of the log at which all the models stood from which they were made. Each read hears which
streams have got events since, and what these belong to: what shows one of them is dropped, and all else is of the new place as
well. What follows from no event is compared each time.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Sequence
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from projections.engine.positions import PresentPositions

MOST_BYTES = 32 * 1024 * 1024
OVERHEAD = 2_048  # bytes of memory that each takes beside its documents
T = TypeVar("T")  # the documents
W = TypeVar("W")  # what is wanted


class Place(NamedTuple):
    """A position of the log with the hash of its event, so of the whole log up to it, and which rows the models had there."""

    position: int
    hash: bytes
    made: str


class KeptDocument(NamedTuple, Generic[T]):
    """Documents, the streams of which they show something, and what they show that follows from no event."""

    documents: T
    streams: frozenset[UUID]
    beside: Sequence[bytes | None]
    size: int


class KeptDocuments(Generic[W, T]):
    """What was found last at a place, up to `most_bytes`: then what was used longest ago is dropped."""

    def __init__(self, place: Place | None = None, *, most_bytes: int = MOST_BYTES) -> None:
        self.place = place
        self._most_bytes = most_bytes
        self._kept: OrderedDict[W, KeptDocument[T]] = OrderedDict()
        self._wanted_by_stream: defaultdict[UUID, set[W]] = defaultdict(set)
        self._size = 0

    def __contains__(self, wanted: object) -> bool:
        """Return whether something is kept for it."""
        return wanted in self._kept

    def get(self, wanted: W) -> KeptDocument[T] | None:
        """Return what was found at the place."""
        if (kept := self._kept.get(wanted)) is not None:
            self._kept.move_to_end(wanted)
        return kept

    def put(self, wanted: W, kept: KeptDocument[T]) -> None:
        """Keep what was found at the place."""
        self._drop(wanted)
        self._kept[wanted] = kept
        self._size += kept.size + OVERHEAD
        for id_ in kept.streams:
            self._wanted_by_stream[id_].add(wanted)
        while self._size > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def go_on_to(self, place: Place, changed: Collection[UUID]) -> None:
        """Drop what shows something of the streams that have changed up to a place; the rest is of that as well."""
        for id_ in changed:
            for wanted in tuple(self._wanted_by_stream.get(id_, ())):
                self._drop(wanted)
        self.place = place

    def _drop(self, wanted: W) -> None:
        if (kept := self._kept.pop(wanted, None)) is None:
            return
        self._size -= kept.size + OVERHEAD
        for id_ in kept.streams:
            others = self._wanted_by_stream[id_]
            others.discard(wanted)
            if not others:
                del self._wanted_by_stream[id_]


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
