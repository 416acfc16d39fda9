"""How a page learns that something of what it shows has changed: it is told so, and asks for itself again (decision 0066)."""

from typing import Any
from uuid import UUID

from litestar import Request, get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from application.access import Caller
from application.use_cases import event_access
from domain.errors import NotFound, Unauthenticated
from projections.audit.feed import Filters
from web.board.session import session_of
from web.board.visit import SignInNeeded
from web.events.feeds import Feeds
from web.events.live import LiveFeed
from web.http.requests import MOST_NUMBER, bearer_token, parse_whole_number, uuid_or_none
from web.http.validation import UUID_TEXT


@get("/board/companies/{company_id:str}/live", operation_id="boardLive")
async def live(request: Request[Any, Any, Any], feeds: NamedDependency[Feeds]) -> LiveFeed:
    """
    Say, as Server-Sent Events, up to which position something has changed: of the company, or of one thing in it.

    It begins after the position at which the page was read, or after `Last-Event-ID`; it ends with the session.
    """
    if session_of(request.scope) is None:
        raise SignInNeeded
    company_id, query = str(request.path_params["company_id"]), request.query_params
    if not UUID_TEXT.fullmatch(company_id):
        raise NotFound("There is no such company")
    watched_events = Filters(
        routine_id=uuid_or_none(query.get("routine"), "routine"),
        trigger_id=uuid_or_none(query.get("trigger"), "trigger"),
        run_id=uuid_or_none(query.get("run"), "run"),
        issue_id=uuid_or_none(query.get("issue"), "issue"),
    )
    last_event_id = request.headers.get("last-event-id")
    name = "after" if last_event_id is None else "Last-Event-ID"
    begins = parse_whole_number(
        query.get("after", "") if last_event_id is None else last_event_id, name, 0, 0, MOST_NUMBER
    )
    caller = Caller(token=bearer_token(request))
    try:
        return await sync_to_thread(
            feeds.watch, caller, watched_events, begins, event_access.of_changes, UUID(company_id)
        )
    except Unauthenticated as error:
        raise SignInNeeded from error
