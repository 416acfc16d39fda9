"""The event store: envelopes in, envelopes out. The only writer of events."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol
from uuid import UUID

import msgspec
from eventsourcing.persistence import MapperDeserialisationError, Notification, StoredEvent

from application.recorder import Guards
from domain import limits
from domain.events import STORED_NAMES, AnyEvent, stored_name
from domain.limits import Limits
from domain.recorded import Recorded


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """The stored bytes of an event: its envelope less what the columns hold."""

    at: datetime
    actor: str
    event: AnyEvent
    company_id: UUID | None = None
    cause: str | None = None


class Recorder(Protocol):
    """What the store asks of Postgres or memory (application/recorder.py)."""

    def insert_events(self, stored_events: Sequence[StoredEvent], *, guards: Guards = ()) -> Sequence[int] | None: ...

    def select_streams(self, stream_ids: Sequence[UUID], read_from: str | None = None) -> Sequence[StoredEvent]: ...

    def select_versions(self, stream_ids: Sequence[UUID]) -> Sequence[tuple[UUID, int]]: ...

    def select_notifications(
        self, start: int | None, limit: int, *, inclusive_of_start: bool = True
    ) -> Sequence[Notification]: ...

    def max_notification_id(self) -> int | None: ...


class UnknownEvent(MapperDeserialisationError):
    """An event of a name that this version does not know: a newer one wrote it."""


class Unreadable(msgspec.Struct, frozen=True):
    """Stands for an event that cannot be read; a fold passes over it."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Body).decode


def to_stored(recorded: Recorded) -> StoredEvent:
    body = Body(recorded.at, recorded.actor, recorded.event, recorded.company_id, recorded.cause)
    return StoredEvent(recorded.stream_id, recorded.version, stored_name(recorded.event), _encode(body))


def from_stored(stored: StoredEvent) -> Recorded:
    """Raises MapperDeserialisationError, which names the place, for bytes that are no event of ours."""
    try:
        body = _decode(stored.state)
    except msgspec.MsgspecError as error:
        kind = MapperDeserialisationError if stored.topic in STORED_NAMES else UnknownEvent
        known = "" if stored.topic in STORED_NAMES else " (a name this version does not know)"
        where = f"{stored.topic}{known}, stream {stored.originator_id} version {stored.originator_version}"
        raise kind(f"{where}: {error}") from error
    return Recorded(
        stream_id=UUID(str(stored.originator_id)) if isinstance(stored.originator_id, str) else stored.originator_id,
        version=stored.originator_version,
        at=body.at,
        actor=body.actor,
        company_id=body.company_id,
        event=body.event,
        cause=body.cause,
        position=getattr(stored, "id", 0),
    )


def _readable(stored: Notification) -> Recorded:
    try:
        return from_stored(stored)
    except MapperDeserialisationError:
        unread: Any = Unreadable()
        return Recorded(
            stream_id=UUID(str(stored.originator_id)),
            version=stored.originator_version,
            at=datetime.min.replace(tzinfo=UTC),
            actor="unreadable",
            company_id=None,
            event=unread,
            position=stored.id,
        )


class EventStore:
    """Appends batches and reads streams and the log."""

    def __init__(self, recorder: Recorder, limits: Limits = limits.DEFAULT) -> None:
        self.recorder = recorder
        self.limits = limits

    def append(self, batch: Sequence[Recorded], guards: Guards = ()) -> int:
        """Records all of the batch or nothing; returns the position of its last event. Raises IntegrityError."""
        positions = self.recorder.insert_events([to_stored(recorded) for recorded in batch], guards=guards)
        return positions[-1] if positions else self.head()

    def load(self, stream_ids: Sequence[UUID], read_from: str | None = None) -> dict[UUID, list[Recorded]]:
        """The events of each stream with their positions, in one round trip; an unknown stream has none."""
        found = map(from_stored, self.recorder.select_streams(stream_ids, read_from))
        by_stream = {id_: list(events) for id_, events in groupby(found, key=lambda recorded: recorded.stream_id)}
        return {id_: by_stream.get(id_, []) for id_ in stream_ids}

    def versions(self, stream_ids: Iterable[UUID]) -> dict[UUID, int]:
        """The newest version of each stream; 0 for an unknown one."""
        return dict(self.recorder.select_versions(list(stream_ids)))

    def after(self, position: int, limit: int) -> Sequence[Recorded]:
        """The next events of the log after a position, in order."""
        found = self.recorder.select_notifications(position, limit, inclusive_of_start=False)
        return [from_stored(stored) for stored in found]

    def readable_after(self, position: int, limit: int) -> Sequence[Recorded]:
        """The same for those who must go on whatever the log holds: Unreadable stands for what cannot be read."""
        found = self.recorder.select_notifications(position, limit, inclusive_of_start=False)
        return [_readable(stored) for stored in found]

    def history(self, after: int = 0, page: int = 5_000) -> Iterator[Recorded]:
        """The whole log after a position."""
        while batch := self.after(after, page):
            yield from batch
            after = batch[-1].position

    def head(self) -> int:
        """The position of the newest event; 0 for an empty log."""
        return self.recorder.max_notification_id() or 0
