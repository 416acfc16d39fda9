"""What a request asks of a feed: filters, direction, size and beginning, and the form of the answer."""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Request
from litestar.params import FromQuery, QueryParameter
from msgspec.structs import replace

from application.use_cases.event_access import EventAccess
from domain.events import STORED_NAMES
from projections.audit.feed import Filters, Order
from web.events.formats import EVENT_STREAM, OF_FEEDS, wanted_type
from web.http.moments import check_order, moment_of
from web.http.paging import Paging, Position, place_of
from web.http.requests import MOST_DIGITS, MOST_NUMBER, parse_whole_number, uuid_or_none
from web.http.validation import invalid

USUAL, MOST = 100, 1_000  # events of a page
ACTOR = re.compile(r"scheduler|system|delivery|(user|agent|key|trigger):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ACTORS = "user:<id>, agent:<id>, key:<id>, trigger:<id>, scheduler, delivery or system"
ORDERS: dict[str, Order] = {"newest": "desc", "oldest": "asc"}


class FeedRequest(NamedTuple):
    """A request for a feed, whose parameters are sound; whose events it gets is added by the reader's right."""

    filters: Filters
    order: str
    paging: Paging
    limit: int
    media_type: str
    resumed_after: int | None  # the last event that the reader of a live feed has had

    @property
    def is_live(self) -> bool:
        """Whether the events are asked for as they happen."""
        return self.media_type == EVENT_STREAM

    def filters_of(self, access: EventAccess) -> Filters:
        """Return the filters within what the reader may see."""
        return replace(self.filters, company_id=access.company_id, hidden=access.hidden)

    def list_name(self, access: EventAccess) -> str:
        """Return the name by which cursors know this feed: they hold for the same events in the same order only."""
        digest = hashlib.sha256(msgspec.json.encode(self.filters_of(access))).hexdigest()[:16]
        return f"events {self.order} {digest}"

    def place(self, access: EventAccess) -> int | None:
        """Return the position after which the page begins, None for the beginning. Raise Invalid."""
        return place_of(self.paging.cursor, self.list_name(access), Position)


async def feed_request(  # noqa: PLR0913, PLR0917 the filters
    request: Request[Any, Any, Any],
    kind: FromQuery[str | None] = None,
    stream: Annotated[str | None, QueryParameter(name="streamId")] = None,
    actor: FromQuery[str | None] = None,
    routine: Annotated[str | None, QueryParameter(name="routineId")] = None,
    trigger: Annotated[str | None, QueryParameter(name="triggerId")] = None,
    run: Annotated[str | None, QueryParameter(name="runId")] = None,
    issue: Annotated[str | None, QueryParameter(name="issueId")] = None,
    since: Annotated[str | None, QueryParameter(name="from")] = None,
    to: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> FeedRequest:
    """Return what a request asks of a feed. It is a dependency. Raise Invalid."""
    begin, end = moment_of(since, "from"), moment_of(to, "to")
    check_order(begin, end)
    filters = Filters(
        kinds=_parse_kinds(kind),
        stream_id=uuid_or_none(stream, "streamId"),
        actor=_parse_actor(actor),
        routine_id=uuid_or_none(routine, "routineId"),
        trigger_id=uuid_or_none(trigger, "triggerId"),
        run_id=uuid_or_none(run, "runId"),
        issue_id=uuid_or_none(issue, "issueId"),
        since=begin,
        until=_whole_millisecond(end),
        after=_parse_position(after, "after"),
        before=_parse_position(before, "before"),
    )
    if order is not None and order not in ORDERS:
        raise invalid("order must be newest or oldest", "order")
    media_type = wanted_type(request.headers.get("accept", ""), OF_FEEDS)
    if media_type == EVENT_STREAM:
        pages_only = {
            "to": to,
            "before": before,
            "order": order if order == "newest" else None,
            "cursor": cursor,
            "limit": limit,
        }
        for name, value in pages_only.items():
            if value is not None:
                raise invalid(f"{name} is for pages: a live feed goes on for as long as it is read", name)
    return FeedRequest(
        filters=filters,
        order=order or "newest",
        paging=Paging(request, cursor, limit),
        limit=parse_whole_number(limit, "limit", USUAL, 1, MOST),
        media_type=media_type,
        resumed_after=_parse_position(request.headers.get("last-event-id"), "Last-Event-ID"),
    )


def _parse_kinds(text: str | None) -> tuple[str, ...]:
    """Return the stored names that a text names, joined by commas; `run.*` are all that begin with `run.`."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    kinds: set[str] = set()
    for word in words:
        names = {name for name in STORED_NAMES if name == word or (word.endswith(".*") and name.startswith(word[:-1]))}
        if not names:
            raise invalid("kind must name kinds of events, such as run.fired or run.*", "kind")
        kinds |= names
    return tuple(sorted(kinds))


def _parse_actor(text: str | None) -> str | None:
    if not text:
        return None
    if not ACTOR.fullmatch(text):
        raise invalid(f"actor must be {ACTORS}", "actor")
    return text


def _whole_millisecond(moment: datetime | None) -> datetime | None:
    """Return the end of a millisecond that a moment names: times are shown in milliseconds, and recorded more exactly."""
    is_whole = moment is not None and moment.microsecond % 1_000 == 0
    return moment + timedelta(microseconds=999) if moment is not None and is_whole else moment


def _parse_position(text: str | None, name: str) -> int | None:
    return None if text is None else parse_whole_number(text, name, 0, 0, MOST_NUMBER)


def position_or_none(text: str) -> int | None:
    """Return the position that a path names; None for a text that is none, which is answered like an unknown one."""
    is_number = text.isascii() and text.isdigit() and len(text) < MOST_DIGITS
    return int(text) if is_number and int(text) else None
