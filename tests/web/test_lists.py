"""Lists page by page and narrowed: routines (contract 3.1) and runs (5.5), beyond what the contract asks for."""

import base64
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import quote, urljoin
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from application.request_bodies.routines import RoutineDraft, RunRequest
from application.use_cases.runs import fire_by_hand
from application.use_cases.triggers import create_routine
from domain.events import RoutineCreated
from domain.values import RoutineSettings
from projections import overview
from projections.engine import positions
from projections.routines.routine_list import Filters, RoutinePlace
from tests.api import Api
from web.http.paging import cursor_of, place_of
from web.http.validation import Invalid, parse

PLACES = st.builds(RoutinePlace, st.text(), st.text(), st.uuids()).filter(
    lambda place: "\x00" not in place.updated_at + place.title
)
NOT_OURS = "cursor must be one that this list returned"


def ids(answer: httpx.Response) -> list[str]:
    assert 200 == answer.status_code, answer.text
    return [row["id"] for row in answer.json()]


def list_ids(api: Api, company: str, query: str = "") -> list[str]:
    return ids(api.request("GET", f"/companies/{company}/routines{query}"))


def pages(api: Api, path: str) -> Iterator[httpx.Response]:
    """Each page that the last one leads to, from a first path on."""
    at: str | None = path
    while at is not None:
        answer = api.request("GET", at)
        yield answer
        at = None
        if "next" in answer.links:
            at = urljoin(str(answer.url), answer.links["next"]["url"]).removeprefix(f"{api.url}/api")
            assert f"cursor={answer.headers['X-Next-Cursor']}" in at


def walk_pages(api: Api, path: str) -> list[str]:
    return [id_ for answer in pages(api, path) for id_ in ids(answer)]


def import_routines(api: Api, company: str, titles: list[str]) -> None:
    """Routines of one moment."""
    created = {uuid4(): RoutineCreated(settings=RoutineSettings(title=title, status="paused")) for title in titles}

    def record(work: Any) -> None:
        for id_, event in created.items():
            work.record(id_, [event], UUID(company))

    api.system.executor.attempt(record)


def refusal(api: Api, path: str) -> tuple[int, str, Any]:
    answer = api.request("GET", path)
    assert 400 == answer.status_code, answer.text
    (issue,) = answer.json()["details"]
    return answer.status_code, issue["message"], issue["path"]


def test_nothing_is_paged_unless_it_is_asked_for(api: Api, company: str):
    import_routines(api, company, [f"{number}" for number in range(120)])

    answer = api.request("GET", f"/companies/{company}/routines")

    assert 120 == len(ids(answer))
    assert not {"X-Next-Cursor", "Link"} & answer.headers.keys()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 1000])
def test_the_pages_together_are_the_list(api: Api, company: str, limit: int):
    for title in "cabdfge":
        api.routine(company, None, title=title)

    answers = list(pages(api, f"/companies/{company}/routines?limit={limit}"))

    assert list_ids(api, company) == [id_ for answer in answers for id_ in ids(answer)]
    assert {limit} >= {len(ids(answer)) for answer in answers[:-1]}
    assert -(-7 // limit) == len(answers)


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_routines_of_the_same_moment_and_title_are_paged_without_a_gap(api: Api, company: str, limit: int):
    import_routines(api, company, ["same", "same", "Same", "", "same", 'é\\"%', "same", "zz", "same", "same"])

    routine_ids = walk_pages(api, f"/companies/{company}/routines?limit={limit}")

    assert 10 == len(set(routine_ids)) == len(routine_ids)
    assert list_ids(api, company) == routine_ids


@settings(max_examples=15)
@for_all(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=6), min_size=1, max_size=3), st.integers(1, 4))
def test_each_item_is_on_one_page_however_many_are_of_one_moment(api: Api, batches: list[list[str]], limit: int):
    """Of a batch all routines are made, planned and fired at the same time."""
    company = api.company()
    agent, _ = api.agent(company)
    schedule = {"kind": "schedule", "cronExpression": "0 9 * * *", "enabled": True}

    def make_and_fire(work: Any, by: Any, titles: list[str]) -> None:
        for title in titles:
            body = {"title": title, "assigneeAgentId": agent, "triggers": [schedule]}
            routine = create_routine(work, by, UUID(company), parse(RoutineDraft, body)).routine_id
            fire_by_hand(work, by, routine, RunRequest())

    for titles in batches:
        api.ask(make_and_fire, titles)

    for list_ in ("routines", "runs"):
        item_ids = walk_pages(api, f"/companies/{company}/{list_}?limit={limit}")
        assert ids(api.request("GET", f"/companies/{company}/{list_}")) == item_ids
        assert sum(map(len, batches)) == len(set(item_ids)) == len(item_ids)
    for order in get_args(overview.Order):
        walk = walk_in_order(api, UUID(company), order, limit)
        assert sum(map(len, batches)) == len(set(walk)) == len(walk)


def walk_in_order(api: Api, company: UUID, order: overview.Order, limit: int) -> list[UUID]:
    """The routines of all pages of the board."""
    routine_ids, after = list[UUID](), None
    with api.system.pool.connection() as conn:
        positions.wait(conn, overview.LIST_MODELS, 20)
        while True:
            page = overview.in_order(conn, company, Filters(), order, after=after, limit=limit)
            routine_ids += [row.item.id for row in page]
            if not page.more:
                return routine_ids
            after = overview.ListPlace(page[-1].key, page[-1].item.id)


def test_a_cursor_alone_gives_pages_of_a_hundred(api: Api, company: str):
    import_routines(api, company, [f"{number:03}" for number in range(101)])

    ids_of_pages = [ids(answer) for answer in pages(api, f"/companies/{company}/routines?cursor=")]

    assert [100, 1] == [len(page) for page in ids_of_pages]
    assert list_ids(api, company) == [*ids_of_pages[0], *ids_of_pages[1]]


def test_a_walk_shows_what_stays_once_and_what_changes_at_most_once(api: Api, company: str):
    """Later titles sort first, as later changes do: so the order is the same for changes of one millisecond."""
    routines = [api.routine(company, None, title=title) for title in "ihgfed"][::-1]
    shown, unseen = routines[0], routines[4]
    walk = pages(api, f"/companies/{company}/routines?limit=2")
    routine_ids = ids(next(walk))

    api.patch(f"/routines/{shown}", {"title": "c, shown and changed"})
    api.patch(f"/routines/{unseen}", {"title": "b, changed before it was shown"})
    new = api.routine(company, None, title="a")
    routine_ids += [id_ for answer in walk for id_ in ids(answer)]

    assert [*routines[:4], routines[5]] == routine_ids
    assert [new, unseen, shown] == list_ids(api, company, "?limit=3")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "abc", "2.5", "1e2", "%C2%B2", ""])
def test_a_limit_that_is_none_is_refused(api: Api, company: str, limit: str):
    path = f"/companies/{company}/routines?limit={limit}"

    assert (400, "limit must be a positive integer up to 1000", ["limit"]) == refusal(api, path)


def test_routines_are_narrowed_by_status(api: Api, company: str):
    agent, _ = api.agent(company)
    routine_by_status = {
        status: api.routine(company, agent, title=status, status=status) for status in ("active", "paused", "archived")
    }

    def named(query: str) -> set[str]:
        return {
            status for status, id_ in routine_by_status.items() if id_ in list_ids(api, company, f"?status={query}")
        }

    assert {"active"} == named("active")
    assert {"active", "archived"} == named("archived,active") == named("active,%20archived,,active")
    assert set(routine_by_status) == named("") == named(",") == named("active,paused,archived")


@pytest.mark.parametrize("query", ["status=gone", "status=active,gone", "status=gone,paused"])
def test_an_unknown_status_is_named(api: Api, company: str, query: str):
    answer = api.request("GET", f"/companies/{company}/routines?{query}")

    (issue,) = answer.json()["details"]
    assert (400, "gone", "status") == (answer.status_code, issue["received"], issue["path"][0])
    assert ["active", "paused", "archived"] == issue["options"]


def test_routines_are_found_by_a_part_of_their_title_or_description(api: Api, company: str):
    texts = {
        "inbox": api.routine(company, None, title="Check the INBOX", description=None),
        "percent": api.routine(company, None, title="x", description="Is 100% done?"),
        "score": api.routine(company, None, title="a_b", description=""),
        "slash": api.routine(company, None, title="c\\d", description="Not the inbox"),
        "plain": api.routine(company, None, title="acb cd", description="100 done"),
        "street": api.routine(company, None, title="y", description="Straße fegen"),
    }

    def matching_texts(text: str) -> set[str]:
        shown = list_ids(api, company, f"?q={quote(text)}")
        return {name for name, id_ in texts.items() if id_ in shown}

    assert {"inbox", "slash"} == matching_texts("inbox") == matching_texts("InBoX") == matching_texts("nbo")
    assert {"percent"} == matching_texts("%") == matching_texts("100%")
    assert {"score"} == matching_texts("_") == matching_texts("a_b")
    assert {"slash"} == matching_texts("\\") == matching_texts("c\\D")
    assert {"percent", "plain"} == matching_texts("done")
    assert {"street"} == matching_texts("STRASSE") == matching_texts("straße")
    assert set() == matching_texts("nowhere") == matching_texts("' OR true --") == matching_texts("%_%")
    assert set(texts) == matching_texts("")


def test_routines_are_narrowed_by_their_agent(api: Api, company: str):
    agent, _ = api.agent(company)
    mine, other = api.routine(company, agent, title="b"), api.routine(company, None, title="a")

    assert [mine] == list_ids(api, company, f"?assigneeAgentId={agent}")
    assert [] == list_ids(api, company, f"?assigneeAgentId={uuid4()}")
    assert [other, mine] == list_ids(api, company, "?assigneeAgentId=")
    assert (400, "Invalid uuid", ["assigneeAgentId"]) == refusal(
        api, f"/companies/{company}/routines?assigneeAgentId=me"
    )


def test_filters_hold_on_every_page(api: Api, company: str):
    agent, _ = api.agent(company)
    for number in range(4):
        api.routine(company, agent, title=f"one & all {number}")
        api.routine(company, None, title=f"one & all {number}")
        api.routine(company, agent, title="another")
    query = f"?q={quote('One & All')}&status=active,archived&assigneeAgentId={agent}"

    whole = list_ids(api, company, query)

    assert 4 == len(whole)
    assert whole == walk_pages(api, f"/companies/{company}/routines{query}&limit=1")


def test_all_that_is_wrong_with_the_filters_is_said_at_once(api: Api, company: str):
    answer = api.request("GET", f"/companies/{company}/routines?status=x&assigneeAgentId=y&projectId=z")

    assert {"status", "assigneeAgentId", "projectId"} == {issue["path"][0] for issue in answer.json()["details"]}


def encode_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_a_cursor_that_the_list_did_not_give_is_refused(api: Api, company: str):
    routine = api.routine(company, None)
    for title in "ab":
        api.routine(company, None, title=title)
    own = f"/companies/{company}/routines"
    cursor = api.request("GET", f"{own}?limit=1").headers["X-Next-Cursor"]
    elsewhere = api.company()
    nul = cursor_of(f"routines of {company}", RoutinePlace("\x00", "\x00", uuid4()))

    assert 2 == len(list_ids(api, company, f"?cursor={cursor}"))
    for path in (
        f"/companies/{elsewhere}/routines?cursor={cursor}",
        f"/routines/{routine}/runs?cursor={cursor}",
        *(f"{own}?cursor={quote(wrong)}" for wrong in ("x", "=", " ", "é", "null", f"{cursor}=", f"{cursor}A", nul)),
        *(f"{own}?cursor={wrong}" for wrong in (cursor[:-4], cursor[4:], cursor[::-1], cursor.swapcase())),
        *(
            f"{own}?cursor={encode_cursor(text)}"
            for text in ("{}", "[]", "[1]", '[1,"",[]]', "[" * 2_000, '[1,"","\\ud83d"]')
        ),
    ):
        assert (400, NOT_OURS, ["cursor"]) == refusal(api, path), path


@for_all(PLACES, st.text())
def test_a_cursor_leads_back_to_its_place(place: RoutinePlace, list_: str):
    assert place == place_of(cursor_of(list_, place), list_, RoutinePlace)


@for_all(PLACES, st.data())
def test_an_altered_cursor_leads_nowhere(place: RoutinePlace, data: st.DataObject):
    cursor = cursor_of("routines", place)
    index = data.draw(st.integers(0, len(cursor) - 1))
    altered = cursor[:index] + data.draw(st.sampled_from("Aa0-_=+/é\x00").filter(lambda c: c != cursor[index]))
    for wrong in (altered, altered + cursor[index + 1 :]):
        with pytest.raises(Invalid):
            place_of(wrong, "routines", RoutinePlace)


@for_all(st.text(min_size=1))
def test_any_text_is_a_cursor_or_refused(text: str):
    with pytest.raises(Invalid):
        place_of(text, "runs", UUID)


@pytest.fixture
def routine(api: Api, company: str) -> str:
    return api.routine(company, api.agent(company)[0])


def fire(api: Api, routine: str, **fields: Any) -> str:
    return str(api.post(f"/routines/{routine}/run", fields)["id"])


def test_the_pages_of_runs_together_are_the_history(api: Api, routine: str):
    runs = [fire(api, routine) for _ in range(7)][::-1]

    for limit in (1, 2, 3, 7, "2.9"):
        assert runs == walk_pages(api, f"/routines/{routine}/runs?limit={limit}")
    whole = api.request("GET", f"/routines/{routine}/runs")
    assert runs == ids(whole)
    assert not {"X-Next-Cursor", "Link"} & whole.headers.keys()


def test_runs_that_come_during_a_walk_are_not_in_it(api: Api, routine: str):
    runs = [fire(api, routine) for _ in range(5)][::-1]
    walk = pages(api, f"/routines/{routine}/runs?limit=2")
    run_ids = ids(next(walk))
    fire(api, routine)
    run_ids += [id_ for answer in walk for id_ in ids(answer)]

    assert runs == run_ids


def test_the_first_fifty_runs_lead_to_the_rest(api: Api, routine: str):
    runs = [fire(api, routine) for _ in range(53)][::-1]

    first = api.request("GET", f"/routines/{routine}/runs")
    rest = api.request("GET", f"/routines/{routine}/runs?cursor={first.headers['X-Next-Cursor']}")

    assert (runs[:50], runs[50:]) == (ids(first), ids(rest))


def test_runs_are_narrowed_by_status_and_source(api: Api, routine: str):
    by_code = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    first = fire(api, routine)
    second = fire(api, routine, source="api", triggerId=by_code)
    api.patch(f"/issues/{api.get(f'/routines/{routine}')['activeIssue']['id']}", {"status": "done"})
    third = fire(api, routine, source="api", triggerId=by_code)
    fourth = fire(api, routine)

    expected = {
        "": [fourth, third, second, first],
        "status=": [fourth, third, second, first],
        "status=coalesced": [fourth, second],
        "status=completed": [first],
        "status=completed,coalesced": [fourth, second, first],
        "status=coalesced,coalesced": [fourth, second],
        "status=failed,skipped": [],
        "source=manual": [fourth, first],
        "source=api": [third, second],
        "source=api,manual": [fourth, third, second, first],
        "source=api&status=issue_created": [third],
        "source=webhook": [],
    }
    for query, runs in expected.items():
        assert runs == ids(api.request("GET", f"/routines/{routine}/runs?{query}")), query
        assert runs == walk_pages(api, f"/routines/{routine}/runs?{query}&limit=1"), query


@pytest.mark.parametrize("name", ["status", "source"])
def test_an_unknown_word_narrows_no_runs(api: Api, routine: str, name: str):
    answer = api.request("GET", f"/routines/{routine}/runs?{name}=gone")

    (issue,) = answer.json()["details"]
    assert (400, "gone", name) == (answer.status_code, issue["received"], issue["path"][0])


def test_the_cursor_of_another_routines_runs_is_refused(api: Api, company: str, routine: str):
    for _ in range(2):
        fire(api, routine)
    cursor = api.request("GET", f"/routines/{routine}/runs?limit=1").headers["X-Next-Cursor"]
    other = api.routine(company, None)

    assert (400, NOT_OURS, ["cursor"]) == refusal(api, f"/routines/{other}/runs?cursor={cursor}")
    assert (400, NOT_OURS, ["cursor"]) == refusal(api, f"/companies/{company}/routines?cursor={cursor}")


def test_the_parameters_and_headers_of_paging_are_described(api: Api):
    paths = api.get("/openapi.json", token=None)["paths"]

    for path, names in (
        (
            "/api/companies/{company_id}/routines",
            {"status", "q", "assigneeAgentId", "projectId", "folderId", "limit", "cursor", "asOf"},
        ),
        ("/api/routines/{routine_id}/runs", {"status", "source", "limit", "cursor", "asOf"}),
    ):
        described = paths[path]["get"]
        assert names == {one["name"] for one in described["parameters"] if one["in"] == "query"}
        assert {"X-Next-Cursor", "Link"} <= described["responses"]["200"]["headers"].keys()
