"""How an event is stored: its envelope and its JSON as the bytes of a row, with what can be erased of it sealed; and back."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
from eventsourcing.persistence import MapperDeserialisationError, Notification, StoredEvent

from application.event_store import sealing
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


def encode(recorded: Recorded, limits: Limits = limits.DEFAULT, keys: Keys | None = None) -> Encoded:
    """
    Encode an event as it is stored; without keys nothing of it is sealed.

    Raises Oversized when it is larger or nested deeper than an event may be, sealed or not.
    """
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


def from_stored(stored: StoredEvent) -> Recorded:
    """
    Decode a stored event into its envelope; what is sealed of it stays so.

    Raises UnreadableEvent, which names the stream and version, for bytes that are no event of ours.
    """
    return _decode_recorded(stored, _body_of(stored), None)


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
    except UnreadableEvent as unreadable:
        error = unreadable
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
    streams = {id_: list(events) for id_, events in groupby(decoded, key=lambda recorded: recorded.stream_id)}
    return {id_: streams.get(id_, []) for id_ in stream_ids}


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
