"""
What a process remembers of streams it has read or written.

A memory may be old: another process may have appended since. So only a decision that a commit proves may rest on
it: the commit is guarded by the versions that were read, and refused when one of them has moved on.
"""

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any
from uuid import UUID

import msgspec

from domain.recorded import Recorded

LONGEST = 128  # events of a stream that is worth remembering


class Remembered(msgspec.Struct, frozen=True):
    """A stream up to a version, and the state of its first `folded` events."""

    recorded: Sequence[Recorded]
    state: Any
    folded: int


class Memory:
    """At most `most` streams; those that were learned first are forgotten first. Threads share it."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._streams: dict[UUID, Remembered] = {}
        self._lock = Lock()

    def recall(self, stream_id: UUID) -> Remembered | None:
        return self._streams.get(stream_id)

    def learn(self, found: Iterable[tuple[UUID, Remembered]]) -> None:
        with self._lock:
            for id_, stream in found:
                self._streams.pop(id_, None)
                if len(stream.recorded) <= LONGEST:
                    self._streams[id_] = stream
            while len(self._streams) > self._most:
                del self._streams[next(iter(self._streams))]
