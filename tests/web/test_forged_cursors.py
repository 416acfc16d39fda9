"""Cursors that nobody was given: their checksum is right, what they say is anybody's."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from application.use_cases import event_access
from application.use_cases.event_access import EventAccess
from projections.audit.feed import Filters
from projections.firing.occurrences import Place
from projections.routines.routine_list import RoutinePlace
from tests.api import Api
from tests.web.hooks import refusal_of
from tests.web.past import Past
from web.events.requests import FeedRequest
from web.http.paging import Paging, Position, place_of
from web.http.validation import Invalid

NOT_OURS = "cursor must be one that this list returned"
TOO_LONG = "The query must have at most 4096 bytes and 100 parameters"
ODD = (
    None,
    True,
    -1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    2**64,
    10**400,
    1.5,
    1e308,
    "",
    "\x00",
    "a\x00b",
    "x" * 5_000,
    "NaN",
    "0001-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-14:00",
    "10000-01-01T00:00:00Z",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00:00Z",
    "infinity",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "not-a-uuid",
    [],
    {},
    [[[[[]]]]],
)
PARTS = st.one_of(
    st.sampled_from(ODD),
    st.integers(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    st.uuids().map(str),
    st.datetimes(timezones=st.sampled_from([UTC])).map(datetime.isoformat),
)
PLACES = st.one_of(PARTS, st.lists(PARTS, max_size=4))
# Where each list reads its cursors, and as what.
READ: dict[str, tuple[str, Any]] = {
    "routines": ("web.paperclip.routines", RoutinePlace),
    "runs": ("web.paperclip.routines", UUID),
    "all runs": ("web.paperclip.company_runs", UUID),
    "backfills": ("web.paperclip.backfills", UUID),
    "occurrences": ("web.paperclip.schedules", Place),
    "deliveries": ("web.paperclip.endpoints", tuple[int, UUID]),
    "deliveries of an endpoint": ("web.paperclip.endpoints", tuple[int, UUID]),
    "events": ("web.events.requests", Position),
    "issues": ("web.paperclip.issues", Position),
    **dict.fromkeys(("members", "endpoints", "keys"), ("web.http.paging", Position)),
}
ZERO = str(UUID(int=0))
ODD_PLACES = (
    *ODD,
    *([odd] for odd in ODD),
    *([odd, ZERO] for odd in ODD),
    *([odd, odd] for odd in ODD),
    *([odd, "x", ZERO] for odd in ODD),
    *(["2026-01-01T00:00:00.000Z", odd, ZERO] for odd in ODD),
)


def forge_cursor(list_: str, place: Any) -> str:
    """A cursor as the service makes them, of whatever place."""
    text = json.dumps([list_, place], separators=(",", ":"), ensure_ascii=False)
    checksum = hashlib.sha256(text.encode()).hexdigest()[:8]
    body = json.dumps([1, checksum, place], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def events_of(company: str) -> str:
    """The name by which cursors know the feed of a company, newest first and without a filter."""
    access = EventAccess(company_id=UUID(str(company)), hidden=event_access.OF_NO_COMPANY)
    request = FeedRequest(Filters(), "newest", Paging(None, None, None), 100, "application/json", None)
    return request.list_name(access)


@pytest.fixture(scope="module")
def lists(api: Api) -> dict[str, tuple[str, str]]:
    """The path of each list that comes in pages, and the name by which its cursors know it."""
    past = Past(api, datetime(2024, 11, 20, 12, 0, 30, tzinfo=UTC))
    routine = past.routine()
    trigger = past.schedule(routine, cron_expression="0 * * * *")
    past.at(14)
    past.tick(trigger)
    company = past.company
    body = {"url": "https://receiver.example.com/x", "events": ["run.*"]}
    endpoint = api.post(f"/companies/{company}/webhook-endpoints", body)["id"]
    return {
        "routines": (f"/companies/{company}/routines", f"routines of {company}"),
        "runs": (f"/routines/{routine}/runs", f"runs of {routine}"),
        "all runs": (f"/companies/{company}/runs", f"all runs of {company}"),
        "backfills": (f"/routine-triggers/{trigger}/backfills", f"backfills of {trigger}"),
        "occurrences": (f"/routine-triggers/{trigger}/occurrences", f"occurrences of {trigger}"),
        "deliveries": (f"/companies/{company}/deliveries", f"deliveries {company}"),
        "deliveries of an endpoint": (
            f"/companies/{company}/webhook-endpoints/{endpoint}/deliveries",
            f"deliveries {endpoint}",
        ),
        **{name: (f"/companies/{company}/{name}", f"{name} of {company}") for name in ("issues", "members", "keys")},
        "events": (f"/companies/{company}/events", events_of(company)),
        "endpoints": (f"/companies/{company}/webhook-endpoints", f"webhook endpoints of {company}"),
    }


def is_taken(list_: str, place: Any, shape: Any) -> bool:
    """Whether a list looks for the place of a cursor, and does not refuse it."""
    try:
        place_of(forge_cursor(list_, place), list_, shape)
    except Invalid:
        return False
    return True


def ask(api: Api, path: str, list_: str, place: Any) -> httpx.Response:
    return api.request("GET", f"{path}?cursor={quote(forge_cursor(list_, place))}")


@pytest.mark.parametrize("name", READ)
def test_each_list_reads_its_cursors_as_what_they_are_tried_as(
    api: Api, lists, name: str, monkeypatch: pytest.MonkeyPatch
):
    (path, list_), (module, shape), shapes = lists[name], READ[name], []

    def note_shape(cursor: str | None, list_: str, shape: Any) -> Any:
        shapes.append(shape)
        return place_of(cursor, list_, shape)

    monkeypatch.setattr(f"{module}.place_of", note_shape)
    answer = ask(api, path, list_, [[[[[]]]]])

    assert [shape] == shapes
    assert (400, NOT_OURS) == (answer.status_code, answer.json()["error"])
    assert (400, TOO_LONG) == refusal_of(ask(api, path, list_, "x" * 5_000))


@pytest.mark.parametrize("name", READ)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(place=PLACES)
def test_a_forged_cursor_is_followed_or_refused(api: Api, lists, name, place):
    path, list_ = lists[name]

    if is_taken(list_, place, READ[name][1]):
        answer = ask(api, path, list_, place)

        assert answer.status_code in (200, 400, 431), (place, answer.text)
        assert answer.status_code != 400 or answer.json()["error"] in {NOT_OURS, TOO_LONG}


@pytest.mark.parametrize("name", READ)
def test_no_odd_place_is_an_error_of_ours(api: Api, lists, name):
    path, list_ = lists[name]
    taken = [place for place in ODD_PLACES if is_taken(list_, place, READ[name][1])]

    answers = [(place, ask(api, path, list_, place)) for place in taken]

    assert taken
    assert [] == [(place, answer.text) for place, answer in answers if answer.status_code not in (200, 400, 431)]


def test_rows_of_others_are_no_place_in_a_list_and_are_refused_as_unknown_ones_are(api: Api, lists):
    company = api.company()
    own = api.routine(company, api.agent(company)[0])
    foreign = str(api.get(lists["runs"][0])[0]["id"])
    assert api.post(f"/routines/{own}/run", {})["id"] != foreign
    refusals = [
        api.request("GET", f"/routines/{own}/runs?cursor={forge_cursor(f'runs of {own}', run)}")
        for run in (foreign, str(uuid4()))
    ]

    assert [(400, NOT_OURS)] * 2 == [(answer.status_code, answer.json()["error"]) for answer in refusals]
    assert refusals[0].json() == refusals[1].json()


def test_a_backfill_of_another_trigger_is_no_place_in_a_list(api: Api, lists):
    path, list_ = lists["backfills"]

    assert api.request("GET", f"{path}?cursor={forge_cursor(list_, str(uuid4()))}").json()["error"] == NOT_OURS


def test_a_comment_of_another_issue_is_no_place_among_comments(api: Api):
    company, stranger = api.company(), api.company()
    own, other = (api.post(f"/companies/{one}/issues", {"title": "Look"})["id"] for one in (company, stranger))
    mine, foreign = (api.post(f"/issues/{one}/comments", {"body": "?"})["id"] for one in (own, other))

    answers = [
        api.request("GET", f"/issues/{own}/comments?{name}={comment}")
        for comment in (foreign, str(uuid4()))
        for name in ("after", "afterCommentId")
    ]

    assert [(400, "after must be one that this list returned")] * 4 == [
        (answer.status_code, answer.json()["error"]) for answer in answers
    ]
    assert [] == api.get(f"/issues/{own}/comments?after={mine}")
