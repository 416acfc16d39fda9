"""The event store, which appends events and reads them back. Nothing else writes events."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol
from uuid import UUID

from eventsourcing.persistence import Notification, StoredEvent

from application.event_store.codec import Encoded, all_from_stored, by_stream, encode
from application.event_store.recorder import FOREVER, Guards
from application.event_store.sealing import Keys
from domain.bounds import limits
from domain.bounds.limits import Limits
from domain.errors import Oversized
from domain.recorded import Recorded


class Recorder(Protocol):
    """What the store needs of Postgres (recorder.py) or of memory (in_memory.py)."""

    def insert_events(self, stored_events: Sequence[StoredEvent], *, guards: Guards = ()) -> Sequence[int] | None:
        """Record all events or none, and return their positions."""

    def select_streams(
        self, stream_ids: Sequence[UUID], read_from: str | None = None, most_bytes: int = FOREVER
    ) -> Sequence[StoredEvent]:
        """Return the events of these streams; with `read_from` only from the last event of that name on."""

    def select_versions(self, stream_ids: Sequence[UUID]) -> Sequence[tuple[UUID, int]]:
        """Return the newest version of each of these streams; 0 for one that does not exist."""

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        *,
        inclusive_of_start: bool = True,
        without: Sequence[str] = (),
    ) -> Sequence[Notification]:
        """Return the next events of the log from a position on, without those that have a name in `without`."""

    def max_notification_id(self) -> int | None:
        """Return the position of the newest event; None for an empty log."""


class ReadBudget:
    """The bytes of stored events that one unit of work may read."""

    def __init__(self, most: int) -> None:
        self.left = self._most = most

    def spend(self, size: int) -> None:
        """Deduct a number of bytes. Raises Oversized when the budget is overspent, and at every call after that."""
        self.left -= size
        if self.left < 0:
            raise Oversized(f"This would read more than {self._most:,} bytes of history at once: do it in parts")


class EventStore:
    """
    Appends batches of events, and reads single streams and the whole log.

    With keys, what can be erased of an event is sealed under the key of whom it belongs to.
    """

    def __init__(self, recorder: Recorder, limits: Limits = limits.DEFAULT, keys: Keys | None = None) -> None:
        self.recorder = recorder
        self.limits = limits
        self.keys = keys

    def encode(self, recorded: Recorded) -> Encoded:
        """Encode an event as it is stored. Raises Oversized, and OperationalError when there is no getting at its key."""
        return encode(recorded, self.limits, self.keys)

    def append(
        self, batch: Sequence[Recorded], guards: Guards = (), stored: Sequence[StoredEvent] | None = None
    ) -> int:
        """
        Record all of the batch or nothing, and return the position of its last event.

        `stored` are the same events in their stored form, for callers that have encoded them already. Raises
        IntegrityError, and Oversized when an event, or all of them together, is more than may be recorded.
        """
        stored = stored or [self.encode(recorded).stored for recorded in batch]
        self.check(stored)
        positions = self.recorder.insert_events(stored, guards=guards)
        return positions[-1] if positions else self.head()

    def check(self, batch: Sequence[StoredEvent]) -> None:
        """Raise Oversized when these events together are more than may be recorded."""
        if len(batch) > (many := self.limits.max_transaction_events):
            raise Oversized(
                f"This would record {len(batch):,} events at once, and at most {many:,} may be: do it in parts"
            )
        if (size := sum(len(event.state) for event in batch)) > (most := self.limits.max_transaction_bytes):
            raise Oversized(f"This would record {size:,} bytes at once, and at most {most:,} may be")

    def load(
        self, stream_ids: Sequence[UUID], read_from: str | None = None, budget: ReadBudget | None = None
    ) -> dict[UUID, list[Recorded]]:
        """
        Return the events of each stream with their positions, in one round trip; an unknown stream has none.

        Raises UnreadableEvent, and Oversized when they are more than is left of the budget, because no decision may
        rest on a part of a stream.
        """
        budget = budget or ReadBudget(self.limits.max_read_bytes)
        stored = self.recorder.select_streams(stream_ids, read_from, budget.left)
        budget.spend(sum(len(event.state) for event in stored))
        return by_stream(stream_ids, stored, self.keys)

    def versions(self, stream_ids: Iterable[UUID]) -> dict[UUID, int]:
        """Return the newest version of each stream; 0 for an unknown one."""
        return dict(self.recorder.select_versions(list(stream_ids)))

    def after(
        self, position: int, limit: int, *, until: int | None = None, without: Sequence[str] = ()
    ) -> Sequence[Recorded]:
        """
        Return the next events of the log after a position, in order: at most `limit`, fewer when they are large.

        They end with the position `until`, and those whose stored name is in `without` are left out. An event that
        cannot be read is returned as Unreadable, so that a reader that follows the log can pass over it.
        """
        rows = self.recorder.select_notifications(position, limit, until, inclusive_of_start=False, without=without)
        return all_from_stored(rows, self.keys)

    def history(self, after: int = 0, page: int = 5_000) -> Iterator[Recorded]:
        """Return the whole log after a position, read page by page."""
        while batch := self.after(after, page):
            yield from batch
            after = batch[-1].position

    def head(self) -> int:
        """Return the position of the newest event; 0 for an empty log."""
        return self.recorder.max_notification_id() or 0
