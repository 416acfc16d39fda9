"""
The cache of streams that a process has read or written, so that the next decision need not read them again.

A cached stream may be old, because another process may have appended since. So only a decision that ends in a commit
may rest on it: the commit is guarded by the versions that were read, and refused when one of them has moved on.

The cache is bounded by the memory that it takes. That is estimated from the JSON of the events: text takes little more
than its bytes, but an empty object of two bytes takes sixty.
"""

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any
from uuid import UUID

import msgspec

from application.event_store.stream_kinds import Kind
from domain.bounds import limits
from domain.bounds.flat_events import is_flat
from domain.bounds.limits import Limits
from domain.events import AnyEvent
from domain.recorded import Recorded

STREAM_BYTES, EVENT_BYTES = 500, 200  # memory that a stream and an event take besides their JSON
# Bytes of memory for each byte of JSON; one letter beyond ASCII makes a whole text wider.
TEXT_FACTOR, WIDE_TEXT_FACTOR = 2, 4
# Deleted from a JSON text to count its items: every byte except `,`, `[` and `{`.
NO_MARKS = bytes(set(range(256)) - set(b",[{"))
FREE_ITEMS, ITEM_BYTES = 30, 100  # items beyond the fields of an ordinary event, and the memory that each takes


class CachedStream(msgspec.Struct, frozen=True):
    """A stream up to a version, the state of its first `folded` events, and the memory that its events take."""

    recorded: Sequence[Recorded]
    state: Any
    folded: int
    size: int
    kind: Kind[Any] | None = None  # the kind by whose fold the state was made


class StreamCache:
    """The streams that were put last, as many as fit into `max_cache_bytes`. Threads share one cache."""

    def __init__(self, limits: Limits = limits.DEFAULT) -> None:
        self._limits = limits
        # By the id as an integer, which Python hashes faster than a UUID.
        self._streams: dict[int, CachedStream] = {}
        self._size = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        """The bytes of memory that the cache takes, by estimate."""
        return self._size

    @property
    def has_room(self) -> bool:
        """Whether it is less than half full: what is cached then stays in its place, and need not be put again."""
        return self._size < self._limits.max_cache_bytes // 2

    def get(self, stream_id: UUID) -> CachedStream | None:
        """Return a stream as it was put last, or None when it is not cached."""
        return self._streams.get(stream_id.int)

    def put(self, streams: Iterable[tuple[UUID, CachedStream]]) -> None:
        """
        Cache streams, and forget those that were put first when there are too many.

        A stream that is larger than `max_cached_stream_bytes` is forgotten, because it would push out all others. What is
        cached as it is stays in its place while the cache has room.
        """
        with self._lock:
            for id_, stream in streams:
                if self.has_room and self._streams.get(id_.int) is stream:
                    continue
                self._forget(id_.int)
                if stream.size <= self._limits.max_cached_stream_bytes:
                    self._streams[id_.int] = stream
                    self._size += STREAM_BYTES + stream.size
            while self._size > self._limits.max_cache_bytes:
                self._forget(next(iter(self._streams)))

    def clear(self) -> None:
        """Forget all streams."""
        with self._lock:
            self._streams.clear()
            self._size = 0

    def _forget(self, number: int) -> None:
        if (old := self._streams.pop(number, None)) is not None:
            self._size -= STREAM_BYTES + old.size


def size_of(events: Iterable[Recorded]) -> int:
    """Return the bytes of memory that events take, by estimate."""
    return sum(recorded.memory for recorded in events)


def memory_of(event: AnyEvent, body: bytes) -> int:
    """Estimate the bytes of memory that an event takes, from its stored JSON."""
    size = EVENT_BYTES + (TEXT_FACTOR if body.isascii() else WIDE_TEXT_FACTOR) * len(body)
    if is_flat(type(event)):
        return size
    if _count_items(body) <= FREE_ITEMS:
        return size
    return size + ITEM_BYTES * max(0, _count_items(_without_texts(body)) - FREE_ITEMS)


def _count_items(body: bytes) -> int:
    marks = body.translate(None, NO_MARKS)
    return len(marks) + marks.count(b"{")


def _without_texts(body: bytes) -> bytes:
    """Return the JSON without its texts, in which a comma begins nothing."""
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    return b"".join(plain.split(b'"')[::2])
