"""The event store, which encodes and appends events and reads them back. Nothing else writes events."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID

import msgspec
from eventsourcing.persistence import MapperDeserialisationError, Notification, StoredEvent

from application.event_store import sealing
from application.event_store.recorder import FOREVER, Guards
from application.event_store.sealing import CannotOpen, Keys
from application.event_store.stream_cache import memory_of
from domain import erasure
from domain.bounds import json_size, limits
from domain.bounds.flat_events import is_flat
from domain.bounds.limits import Limits
from domain.errors import Oversized
from domain.events import STORED_NAMES, AnyEvent, stored_name
from domain.recorded import Recorded, Unreadable


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What is stored as the bytes of an event: its envelope without what the columns of the log hold.

    `sealed` are the parts of the event that can be erased, under the data key of `subject_id`, or of the company if that is
    None. Events from before there was erasure have them in their places.
    """

    at: datetime
    actor: str
    event: AnyEvent
    company_id: UUID | None = None
    cause: str | None = None
    subject_id: UUID | None = None
    sealed: str | None = None


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
_decode_parts = msgspec.json.Decoder(dict[str, Any]).decode


class KnownKeys(NamedTuple):
    """What opens some events: data keys by whom they belong to, and whose are destroyed."""

    keys: Mapping[UUID, bytes]
    erased: Collection[UUID]
    is_complete: bool


class Encoded(NamedTuple):
    """An event as it is stored, and its JSON before anything was sealed."""

    stored: StoredEvent
    plain: bytes


def to_stored(recorded: Recorded, limits: Limits = limits.DEFAULT, keys: Keys | None = None) -> StoredEvent:
    """
    Encode an event as it is stored; without keys nothing of it is sealed.

    Raises Oversized when it is larger or nested deeper than an event may be, sealed or not.
    """
    return encode(recorded, limits, keys).stored


def encode(recorded: Recorded, limits: Limits = limits.DEFAULT, keys: Keys | None = None) -> Encoded:
    """Encode an event as `to_stored` does."""
    event = recorded.event
    if isinstance(event, Unreadable):
        raise TypeError(recorded)
    body = Body(recorded.at, recorded.actor, event, recorded.company_id, recorded.cause)
    plain = _encode_within(body, recorded.name, limits)
    state = plain if keys is None else _seal_parts(recorded, event, body, keys) or plain
    return Encoded(StoredEvent(recorded.stream_id, recorded.version, recorded.name, state), plain)


def _encode_within(body: Body, name: str, limits: Limits) -> bytes:
    try:
        encoded = _encode(body)
    except RecursionError:
        raise Oversized(f"{name} would be nested deeper than {limits.max_event_depth} levels") from None
    if len(encoded) > limits.max_event_bytes:
        raise Oversized(
            f"{name} would have {len(encoded):,} bytes, and an event may have at most {limits.max_event_bytes:,}"
        )
    if not is_flat(type(body.event)) and not json_size.is_within(encoded, limits.max_event_depth):
        raise Oversized(f"{name} would be nested deeper than {limits.max_event_depth} levels")
    return encoded


def _seal_parts(recorded: Recorded, event: AnyEvent, body: Body, keys: Keys) -> bytes | None:
    """
    Return the body with the parts that can be erased sealed; None if it has none, or belongs to nobody.

    Where the key is destroyed they are left out: they are erased before they are stored.
    """
    rest, parts = erasure.split_erasable(event) if erasure.has_erasable(type(event)) else (event, {})
    subject_id = erasure.subject_of(recorded.stream_id, recorded.company_id, event) if parts else None
    if subject_id is None:
        return None
    if (key := keys.to_seal(subject_id)) is None:
        return _encode(msgspec.structs.replace(body, event=erasure.read_erased(event)))
    return _encode(
        Body(
            body.at,
            body.actor,
            rest,
            body.company_id,
            body.cause,
            None if subject_id == body.company_id else subject_id,
            sealing.seal(key, recorded.stream_id, recorded.version, _encode(parts)),
        )
    )


def _check_name(event: AnyEvent, name: str) -> None:
    """Raise ValueError unless the row has the name of the event, since log.sql checks events by the row's name."""
    if STORED_NAMES.get(name) is not type(event):
        msg = f"it says that it is {stored_name(event)}"
        raise ValueError(msg)


def from_stored(stored: StoredEvent, keys: Keys | None = None, *, is_kept: bool = False) -> Recorded:
    """
    Decode a stored event into its envelope. With `is_kept` the memory that it takes is estimated as well.

    Raises UnreadableEvent, which names the stream and version, for bytes that are no event of ours. Without keys, what is
    sealed stays so.
    """
    body = _body_of(stored)
    return _decode_recorded(stored, body, _keys_for([body], keys), is_kept=is_kept)


def all_from_stored(stored: Sequence[Notification], keys: Keys | None = None) -> list[Recorded]:
    """Decode stored events, for which keys are asked once; one that cannot be read is returned as Unreadable."""
    bodies = [_body_or_error(one) for one in stored]
    known_keys = _keys_for((body for body in bodies if isinstance(body, Body)), keys)
    return [_recorded_or_unreadable(one, body, known_keys) for one, body in zip(stored, bodies, strict=True)]


def _recorded_or_unreadable(
    stored: Notification, body: "Body | UnreadableEvent", known_keys: KnownKeys | None
) -> Recorded:
    try:
        if isinstance(body, Body):
            return _decode_recorded(stored, body, known_keys)
        error = body
    except UnreadableEvent as found:
        error = found
    return Recorded(
        stream_id=UUID(str(stored.originator_id)),
        version=stored.originator_version,
        at=datetime.min.replace(tzinfo=UTC),
        actor="unreadable",
        company_id=None,
        event=Unreadable(stored.topic, type(error.__cause__).__name__),
        position=stored.id,
        hash=getattr(stored, "hash", b""),
    )


def by_stream(
    stream_ids: Sequence[UUID], stored: Iterable[StoredEvent], keys: Keys | None = None
) -> dict[UUID, list[Recorded]]:
    """Return the decoded events of each of these streams. Raises UnreadableEvent."""
    pairs = [(one, _body_of(one)) for one in stored]
    known_keys = _keys_for((body for _, body in pairs), keys)
    decoded = (_decode_recorded(one, body, known_keys, is_kept=True) for one, body in pairs)
    by_stream = {id_: list(events) for id_, events in groupby(decoded, key=lambda recorded: recorded.stream_id)}
    return {id_: by_stream.get(id_, []) for id_ in stream_ids}


def _body_of(stored: StoredEvent) -> Body:
    try:
        body = _decode(stored.state)
        _check_name(body.event, stored.topic)
    except Exception as error:  # any error: a bad row must be reported as one, whatever is in it
        raise _unreadable_event(stored, error) from error
    return body


def _body_or_error(stored: StoredEvent) -> "Body | UnreadableEvent":
    try:
        return _body_of(stored)
    except UnreadableEvent as error:
        return error


def _keys_for(bodies: Iterable[Body], keys: Keys | None) -> KnownKeys | None:
    """Return what opens these events."""
    if keys is None:
        return None
    subjects = {body.subject_id or body.company_id for body in bodies if body.sealed is not None} - {None}
    data_keys = keys.load(cast("set[UUID]", subjects)) if subjects else {}
    return KnownKeys(data_keys, keys.erased_subjects(), keys.is_complete)


def _decode_recorded(
    stored: StoredEvent, body: Body, known_keys: KnownKeys | None, *, is_kept: bool = False
) -> Recorded:
    event, parts = body.event, b""
    stream_id = stored.originator_id if isinstance(stored.originator_id, UUID) else UUID(stored.originator_id)
    if known_keys is not None and (body.sealed is not None or known_keys.erased):
        try:
            event, parts = _open_sealed(stream_id, stored.originator_version, body, known_keys)
        except Exception as error:  # any error: a bad row must be reported as one
            raise _unreadable_event(stored, error) from error
    return Recorded(
        stream_id=stream_id,
        version=stored.originator_version,
        at=body.at,
        actor=body.actor,
        company_id=body.company_id,
        event=event,
        cause=body.cause,
        position=getattr(stored, "id", 0),
        hash=getattr(stored, "hash", b""),
        size=len(stored.state),
        memory=memory_of(event, stored.state[: -len(body.sealed or "") or None] + parts) if is_kept else 0,
    )


def _open_sealed(stream_id: UUID, version: int, body: Body, known_keys: KnownKeys) -> tuple[AnyEvent, bytes]:
    """
    Return the event with the parts that were sealed, and those as JSON.

    Whatever belongs to somebody who is erased has other words in their places, also in an event that was never sealed.
    """
    subject_id = body.subject_id or (
        body.company_id if body.sealed is not None else erasure.subject_of(stream_id, body.company_id, body.event)
    )
    if subject_id in known_keys.erased:
        return erasure.read_erased(body.event), b""
    if body.sealed is None:
        return body.event, b""
    if (data_key := known_keys.keys.get(cast("UUID", subject_id))) is not None:
        parts = sealing.unseal(data_key, stream_id, version, body.sealed)
        return erasure.join_erasable(body.event, _decode_parts(parts)), parts
    if known_keys.is_complete:
        raise CannotOpen(f"there is no data key of {subject_id}")
    return body.event, b""


def key_of(stored: StoredEvent, keys: Keys) -> bytes | None:
    """Return the key that opens what is sealed of this one event; None where nothing is, or the key is not to be had."""
    body = _body_of(stored)
    subject_id = body.subject_id or body.company_id
    if body.sealed is None or subject_id is None or (data_key := keys.load({subject_id}).get(subject_id)) is None:
        return None
    return sealing.key_of_event(data_key, UUID(str(stored.originator_id)), stored.originator_version, body.sealed)


def _unreadable_event(stored: StoredEvent, error: Exception) -> "UnreadableEvent":
    return (UnreadableEvent if stored.topic in STORED_NAMES else UnknownEvent)(stored, error)


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
