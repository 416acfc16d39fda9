"""How events are shown: as JSON, as lines of JSON, as CloudEvents 1.0, and as Server-Sent Events."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import Notification

from application.event_store.codec import all_from_stored
from application.event_store.data_keys import ReadKeys
from domain import disclosure
from domain.audit import sentences
from domain.audit.belonging import Belonging
from domain.events import NameClaimed
from domain.recorded import Recorded, Unreadable
from projections.audit import feed
from projections.audit.feed import LogEntry
from projections.engine.table import Connection
from projections.responses import ResponseBody, time
from web.http.media_types import JSON

NDJSON = "application/x-ndjson"
CLOUD_EVENT = "application/cloudevents+json"
CLOUD_EVENTS = "application/cloudevents-batch+json"
EVENT_STREAM = "text/event-stream"
OF_PAGES = (JSON, NDJSON, CLOUD_EVENTS)
OF_FEEDS = (*OF_PAGES, EVENT_STREAM)
OF_EVENTS = (JSON, NDJSON, CLOUD_EVENT)
SCHEMA_PATH = "/api/events/schema"
CLOUD_EVENT_SCHEMA = {  # of CloudEvents 1.0, as far as it goes for all of ours
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        **{name: {"type": "string", "minLength": 1} for name in ("id", "source", "type", "subject", "sequence")},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": ["object", "null"]},
    },
}
TEXT = {"type": "string"}
FEED_FORMS = {NDJSON: TEXT, CLOUD_EVENTS: {"type": "array", "items": CLOUD_EVENT_SCHEMA}, EVENT_STREAM: TEXT}
EVENT_FORMS = {NDJSON: TEXT, CLOUD_EVENT: CLOUD_EVENT_SCHEMA}


class Event(ResponseBody, frozen=True, kw_only=True):
    """A recorded event: `data` holds its fields as the log keeps them, with addresses masked; the rest is its envelope."""

    position: int
    kind: str
    sentence: str
    at: str
    recorded_at: str
    actor: str
    cause: str | None
    company_id: UUID | None
    stream_id: UUID
    version: int
    routine_id: UUID | None
    trigger_id: UUID | None
    run_id: UUID | None
    issue_id: UUID | None
    data: dict[str, Any] | None


def describe(conn: Connection, entries: Sequence[LogEntry]) -> list[Event]:
    """Return entries of the log as readers see them. Joins the read models `feed.NAMED_BY`."""
    recorded = all_from_stored(
        [Notification(entry.stream_id, entry.version, entry.name, entry.body, entry.position) for entry in entries],
        ReadKeys(conn),
    )
    pairs = list(zip(entries, recorded, strict=True))
    names = feed.names_of(conn, set().union(*(sentences.named_in(one, entry.belonging) for entry, one in pairs)))
    return [_describe_event(entry, one, names) for entry, one in pairs]


def _describe_event(entry: LogEntry, recorded: Recorded, names: sentences.Names) -> Event:
    where: Belonging = entry.belonging
    is_readable = not isinstance(recorded.event, Unreadable)
    return Event(
        position=entry.position,
        kind=entry.name,
        sentence=sentences.sentence(recorded, where, names),
        at=time(recorded.at if is_readable else entry.recorded_at),
        recorded_at=time(entry.recorded_at),
        actor=entry.actor,
        cause=recorded.cause,
        company_id=entry.company_id,
        stream_id=entry.stream_id,
        version=entry.version,
        routine_id=where.routine_id,
        trigger_id=where.trigger_id,
        run_id=where.run_id,
        issue_id=where.issue_id,
        data=data_of(recorded.event) if is_readable else None,
    )


def data_of(event: Any) -> dict[str, Any]:
    """Return the fields of an event as the log keeps them, with addresses masked."""
    data = msgspec.to_builtins(disclosure.mask_addresses(event))
    return {**data, "name": disclosure.MASK} if isinstance(event, NameClaimed) else dict(data)


def cloud_event(event: Event, address: str) -> dict[str, Any]:
    """
    Return the event as a CloudEvent. `address` is that of the API, below which its source and its schema are.

    Attributes that CloudEvents does not have are extensions, in their lower case without marks.
    """
    of_company = "" if event.company_id is None else f"/companies/{event.company_id}"
    extensions = {
        "actor": event.actor,
        "cause": event.cause,
        "companyid": event.company_id,
        "recordedat": event.recorded_at,
        "sentence": event.sentence,
        "streamversion": str(event.version),
        "routineid": event.routine_id,
        "triggerid": event.trigger_id,
        "runid": event.run_id,
        "issueid": event.issue_id,
    }
    return {
        "specversion": "1.0",
        "id": str(event.position),
        "source": f"{address}/api{of_company}/events",
        "type": event.kind,
        "subject": str(event.stream_id),
        "time": event.at,
        "datacontenttype": JSON,
        "dataschema": f"{address}{SCHEMA_PATH}#/$defs/{event.kind}",
        "sequence": f"{event.position:019}",  # compared as text, it orders events as the log does
        **{name: value for name, value in extensions.items() if value is not None},
        "data": event.data,
    }


def encode_page(events: Sequence[Event], media_type: str, address: str) -> bytes:
    """Return events as the body of a page."""
    match media_type:
        case "application/x-ndjson":
            return b"".join(msgspec.json.encode(event) + b"\n" for event in events)
        case "application/cloudevents-batch+json":
            return msgspec.json.encode([cloud_event(event, address) for event in events])
        case "application/cloudevents+json":
            return msgspec.json.encode(cloud_event(events[0], address))
        case _:
            return msgspec.json.encode(events)


def frame(event: Event) -> bytes:
    """Return the event as one of Server-Sent Events, whose id is its position."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, event.kind.encode(), msgspec.json.encode(event))


def wanted_type(accept: str, offered_types: Sequence[str]) -> str:
    """
    Return which of the offered media types suits an Accept header best; JSON if none does, as everywhere in the API.

    Among types that suit equally the one that the client names first is taken, and JSON for a range such as `*/*`.
    """
    choices = [(_quality_of(part), -number, _media_type_of(part)) for number, part in enumerate(accept.split(","))]
    suits: Callable[[str], bool] = lambda kind: kind in offered_types or kind.endswith("/*")  # noqa: E731
    best = max((choice for choice in choices if choice[0] > 0 and suits(choice[2])), default=(0.0, 0, JSON))[2]
    return best if best in offered_types else JSON


def _media_type_of(part: str) -> str:
    return part.partition(";")[0].strip().lower()


def _quality_of(part: str) -> float:
    values: Iterable[str] = (word.strip()[2:] for word in part.split(";")[1:] if word.strip().startswith("q="))
    try:
        return float(next(iter(values), "1"))
    except ValueError:
        return 0.0
