"""The event store, which encodes and appends events and reads them back. Nothing else writes events."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Protocol
from uuid import UUID

import msgspec
from eventsourcing.persistence import MapperDeserialisationError, Notification, StoredEvent

from application.event_store.recorder import FOREVER, Guards
from application.event_store.stream_cache import memory_of
from domain.bounds import json_size, limits
from domain.bounds.limits import Limits
from domain.errors import Oversized
from domain.events import FLAT_EVENTS, STORED_NAMES, AnyEvent, stored_name
from domain.recorded import Recorded, Unreadable


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored as the bytes of an event: its envelope without what the columns of the log hold."""

    at: datetime
    actor: str
    event: AnyEvent
    company_id: UUID | None = None
    cause: str | None = None


class Recorder(Protocol):
    """What the store needs from Postgres or memory. Both are in application/event_store/recorder.py."""

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


class UnreadableEvent(MapperDeserialisationError):
    """An event that this version cannot read. The message names its stream and version."""

    def __init__(self, stored: StoredEvent, error: Exception) -> None:
        remark = "" if stored.topic in STORED_NAMES else " (a name this version does not know)"
        where = f"{stored.topic}{remark}, stream {stored.originator_id} version {stored.originator_version}"
        super().__init__(f"{where}: {type(error).__name__}: {error}")


class UnknownEvent(UnreadableEvent):
    """An event whose name this version does not know, because a newer version wrote it."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Body).decode


def to_stored(recorded: Recorded, limits: Limits = limits.DEFAULT) -> StoredEvent:
    """
    Encode an event as it is stored.

    Raises Oversized when it is larger or nested deeper than an event may be.
    """
    if isinstance(recorded.event, Unreadable):
        raise TypeError(recorded)
    name = recorded.name
    body = Body(recorded.at, recorded.actor, recorded.event, recorded.company_id, recorded.cause)
    try:
        encoded = _encode(body)
    except RecursionError:
        raise Oversized(f"{name} would be nested deeper than {limits.max_event_depth} levels") from None
    if len(encoded) > limits.max_event_bytes:
        raise Oversized(
            f"{name} would have {len(encoded):,} bytes, and an event may have at most {limits.max_event_bytes:,}"
        )
    if type(recorded.event) not in FLAT_EVENTS and not json_size.is_within(encoded, limits.max_event_depth):
        raise Oversized(f"{name} would be nested deeper than {limits.max_event_depth} levels")
    return StoredEvent(recorded.stream_id, recorded.version, name, encoded)


def _check_name(event: AnyEvent, name: str) -> None:
    """Raise ValueError unless the row has the name of the event, since log.sql checks events by the row's name."""
    if STORED_NAMES.get(name) is not type(event):
        msg = f"it says that it is {stored_name(event)}"
        raise ValueError(msg)


def from_stored(stored: StoredEvent, *, is_kept: bool = False) -> Recorded:
    """
    Decode a stored event into its envelope. With `is_kept` the memory that it takes is estimated as well.

    Raises UnreadableEvent, which names the stream and version, for bytes that are no event of ours.
    """
    try:
        body = _decode(stored.state)
        _check_name(body.event, stored.topic)
    except Exception as error:  # any error: a bad row must be reported as one, whatever is in it
        kind = UnreadableEvent if stored.topic in STORED_NAMES else UnknownEvent
        raise kind(stored, error) from error
    return Recorded(
        stream_id=UUID(str(stored.originator_id)) if isinstance(stored.originator_id, str) else stored.originator_id,
        version=stored.originator_version,
        at=body.at,
        actor=body.actor,
        company_id=body.company_id,
        event=body.event,
        cause=body.cause,
        position=getattr(stored, "id", 0),
        size=len(stored.state),
        memory=memory_of(body.event, stored.state) if is_kept else 0,
    )


def from_stored_or_unreadable(stored: Notification) -> Recorded:
    """Decode a stored event; one that cannot be read is returned as Unreadable."""
    try:
        return from_stored(stored)
    except UnreadableEvent as error:
        return Recorded(
            stream_id=UUID(str(stored.originator_id)),
            version=stored.originator_version,
            at=datetime.min.replace(tzinfo=UTC),
            actor="unreadable",
            company_id=None,
            event=Unreadable(stored.topic, type(error.__cause__).__name__),
            position=stored.id,
        )


def by_stream(stream_ids: Sequence[UUID], stored: Iterable[StoredEvent]) -> dict[UUID, list[Recorded]]:
    """Return the decoded events of each of these streams. Raises UnreadableEvent."""
    decoded = (from_stored(event, is_kept=True) for event in stored)
    by_stream = {id_: list(events) for id_, events in groupby(decoded, key=lambda recorded: recorded.stream_id)}
    return {id_: by_stream.get(id_, []) for id_ in stream_ids}


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
    """Appends batches of events, and reads single streams and the whole log."""

    def __init__(self, recorder: Recorder, limits: Limits = limits.DEFAULT) -> None:
        self.recorder = recorder
        self.limits = limits

    def append(
        self, batch: Sequence[Recorded], guards: Guards = (), stored: Sequence[StoredEvent] | None = None
    ) -> int:
        """
        Record all of the batch or nothing, and return the position of its last event.

        `stored` are the same events in their stored form, for callers that have encoded them already. Raises
        IntegrityError, and Oversized when an event, or all of them together, is more than may be recorded.
        """
        stored = stored or [to_stored(recorded, self.limits) for recorded in batch]
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
        return by_stream(stream_ids, stored)

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
        return [from_stored_or_unreadable(stored) for stored in rows]

    def history(self, after: int = 0, page: int = 5_000) -> Iterator[Recorded]:
        """Return the whole log after a position, read page by page."""
        while batch := self.after(after, page):
            yield from batch
            after = batch[-1].position

    def head(self) -> int:
        """Return the position of the newest event; 0 for an empty log."""
        return self.recorder.max_notification_id() or 0
