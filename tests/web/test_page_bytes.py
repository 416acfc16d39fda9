"""No answer of a list is larger than a page, whatever the rows hold; the headers lead to all that is left out."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from msgspec.structs import replace

from domain.bounds import limits
from domain.bounds.limits import KIB
from routines import bootstrap
from tests.api import Api
from web.http.paging import cursor_of

PAGE = 64 * KIB
TEXT = "x" * 20_000
MANY = 10


@pytest.fixture
def small_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Pages that a few rows fill."""
    monkeypatch.setattr(api.system.store, "limits", replace(limits.DEFAULT, max_page_bytes=PAGE))
    return api


def pages(api: Api, path: str, token: str | None) -> Iterator[httpx.Response]:
    """Each page that the last one leads to."""
    at: str | None = path
    while at is not None:
        more: dict[str, Any] = {"token": token} if token else {}
        answer = api.request("GET", at, **more)
        assert 200 == answer.status_code, answer.text
        yield answer
        next_link = answer.links.get("next")
        at = None if next_link is None else urljoin(str(answer.url), next_link["url"]).removeprefix(f"{api.url}/api")


class Clients:
    """A company in which there is much of everything."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.company = api.company()
        self.agent, self.token = api.agent(self.company)

    def post(self, path: str, **body: Any) -> str:
        return str(self.api.post(path, body)["id"])

    def issues(self) -> tuple[str, list[str]]:
        ids = [self.issue() for _ in range(MANY)]
        return f"/companies/{self.company}/issues", ids[::-1]

    def issue(self) -> str:
        path = f"/companies/{self.company}/issues"
        return self.post(path, title="Look", description=TEXT, assigneeAgentId=self.agent)

    def comments(self) -> tuple[str, list[str]]:
        issue = self.issue()
        ids = [self.post(f"/issues/{issue}/comments", body=TEXT) for _ in range(MANY)]
        return f"/issues/{issue}/comments", ids[::-1]

    def comments_from_the_oldest(self) -> tuple[str, list[str]]:
        path, ids = self.comments()
        return f"{path}?order=asc", ids[::-1]

    def routine(self) -> str:
        path = f"/companies/{self.company}/routines"
        policy = {"concurrencyPolicy": "always_enqueue"}
        return self.post(path, title="Check", description=TEXT, assigneeAgentId=self.agent, **policy)

    def routines(self) -> tuple[str, list[str]]:
        return f"/companies/{self.company}/routines", sorted(self.routine() for _ in range(MANY))

    def runs(self) -> tuple[str, list[str]]:
        routine = self.routine()
        ids = [self.post(f"/routines/{routine}/run", payload={"text": TEXT}) for _ in range(MANY)]
        return f"/routines/{routine}/runs", ids[::-1]

    def revisions(self) -> tuple[str, list[str]]:
        routine = self.routine()
        for number in range(MANY - 1):
            self.api.request("PATCH", f"/routines/{routine}", {"title": f"Check {number}"})
        return f"/routines/{routine}/revisions", []

    def agents(self) -> tuple[str, list[str]]:
        path = f"/companies/{self.company}/agents"
        return path, [
            self.agent,
            *(self.post(path, name="Rover", metadata={"a": TEXT}) for _ in range(MANY)),
        ]

    def projects(self) -> tuple[str, list[str]]:
        path = f"/companies/{self.company}/projects"
        return path, [self.post(path, name="Move", description=TEXT) for _ in range(MANY)]

    def goals(self) -> tuple[str, list[str]]:
        path = f"/companies/{self.company}/goals"
        return path, [self.post(path, title="Grow", description=TEXT) for _ in range(MANY)]


LISTS: dict[str, Callable[[Clients], tuple[str, list[str]]]] = {
    "issues": Clients.issues,
    "comments": Clients.comments,
    "comments from the oldest": Clients.comments_from_the_oldest,
    "routines": Clients.routines,
    "runs": Clients.runs,
    "revisions": Clients.revisions,
    "agents": Clients.agents,
    "projects": Clients.projects,
    "goals": Clients.goals,
}


@pytest.mark.parametrize("list_", LISTS.values(), ids=LISTS)
def test_a_page_ends_where_its_bytes_do_and_the_next_goes_on(
    small_pages: Api, list_: Callable[[Clients], tuple[str, list[str]]]
):
    path, expected = list_(Clients(small_pages))

    answers = list(pages(small_pages, path, None))

    ids = [one["id"] for answer in answers for one in answer.json()]
    assert len(answers) > 1
    assert max(len(answer.content) for answer in answers) <= PAGE * 1.1
    assert len(ids) == len(set(ids)) >= MANY
    if list_ is Clients.routines:
        ids = sorted(ids)
    assert ids == (expected or ids)


def test_a_page_that_is_full_is_read_to_its_end_without_cancelling_anything(api: Api, monkeypatch: pytest.MonkeyPatch):
    """To cancel what Postgres is at takes a second connection."""
    company, cancelled = api.company(), []
    for number in range(3):
        api.post(f"/companies/{company}/issues", {"title": str(number)})
    monkeypatch.setattr(psycopg.Connection, "_try_cancel", lambda *_, **__: cancelled.append(True))

    answers = list(pages(api, f"/companies/{company}/issues?limit=1", None))

    assert 3 == len(answers)
    assert [] == cancelled


def test_a_row_that_is_larger_than_a_page_has_one_of_its_own(small_pages: Api):
    crowd = Clients(small_pages)
    path = f"/companies/{crowd.company}/projects"
    large = [crowd.post(path, name="Move", description=TEXT * 5) for _ in range(3)]

    answers = list(pages(small_pages, path, None))

    assert [[one["id"] for one in answer.json()] for answer in answers] == [[id_] for id_ in large]


def test_an_inbox_reads_no_descriptions(small_pages: Api):
    crowd = Clients(small_pages)
    ids = [crowd.issue() for _ in range(MANY)]

    (answer,) = pages(small_pages, "/agents/me/inbox-lite", crowd.token)

    assert [one["id"] for one in answer.json()] == ids
    assert len(answer.content) < PAGE


def test_an_inbox_has_pages_too(api: Api, monkeypatch: pytest.MonkeyPatch):
    crowd = Clients(api)
    ids = [crowd.issue() for _ in range(MANY)]
    monkeypatch.setattr(api.system.store, "limits", replace(limits.DEFAULT, max_page_bytes=KIB))

    answers = list(pages(api, "/agents/me/inbox-lite", crowd.token))

    assert len(answers) > 1
    assert [one["id"] for answer in answers for one in answer.json()] == ids


def test_a_detail_shows_the_newest_runs_that_fit(small_pages: Api):
    path, ids = Clients(small_pages).runs()

    detail = small_pages.get(path.removesuffix("/runs"))

    assert [run["id"] for run in detail["recentRuns"]] == ids[: len(detail["recentRuns"])]
    assert 0 < len(detail["recentRuns"]) < MANY


def test_the_issues_above_an_issue_are_shown_as_far_as_they_fit(small_pages: Api):
    crowd = Clients(small_pages)
    path, parents = f"/companies/{crowd.company}/issues", [crowd.issue()]
    for _ in range(MANY):
        parents.append(crowd.post(path, title="Look", description=TEXT, parentId=parents[-1]))

    *above, leaf = parents
    issue = small_pages.get(f"/issues/{leaf}")["ancestors"]

    assert [one["id"] for one in issue] == above[::-1][: len(issue)]
    assert 0 < len(issue) < MANY


class Walk:
    """A list of five, of which the first page is shown, and how the last row of that page leaves the list."""

    def __init__(self, crowd: Clients) -> None:
        self.crowd = crowd
        self.company = f"/companies/{crowd.company}"

    def projects(self) -> tuple[str, Callable[[str], None]]:
        for _ in range(5):
            self.crowd.post(f"{self.company}/projects", name="Move", description=TEXT)
        return f"{self.company}/projects", lambda id_: self.send("DELETE", f"/projects/{id_}")

    def goals(self) -> tuple[str, Callable[[str], None]]:
        for _ in range(5):
            self.crowd.post(f"{self.company}/goals", title="Grow", description=TEXT)
        return f"{self.company}/goals", lambda id_: self.send("DELETE", f"/goals/{id_}")

    def endpoints(self) -> tuple[str, Callable[[str], None]]:
        path = f"{self.company}/webhook-endpoints"
        for number in range(5):
            self.crowd.post(path, url=f"https://receiver.example.com/{number}/{'x' * 500}", events=["run.*"])
        return path, lambda id_: self.send("DELETE", f"{path}/{id_}")

    def members(self) -> tuple[str, Callable[[str], None]]:
        path = f"{self.company}/members"
        for number in range(4):
            self.send(
                "POST", path, {"email": f"{uuid4()}@example.com", "name": f"{number}" * 190, "membershipRole": "member"}
            )
        return path, lambda id_: self.send("DELETE", f"{path}/{id_}")

    def inbox(self) -> tuple[str, Callable[[str], None]]:
        self.inbox_of_five()
        return "/agents/me/inbox-lite", lambda id_: self.send("PATCH", f"/issues/{id_}", {"status": "done"})

    def inbox_of_whom_it_leaves(self) -> tuple[str, Callable[[str], None]]:
        self.inbox_of_five()
        other, _ = self.crowd.api.agent(self.crowd.company)
        change = {"assigneeAgentId": other}
        return "/agents/me/inbox-lite", lambda id_: self.send("PATCH", f"/issues/{id_}", change)

    def inbox_of_five(self) -> None:
        for _ in range(5):
            self.crowd.post(f"{self.company}/issues", title="Look" * 50, assigneeAgentId=self.crowd.agent)

    def send(self, method: str, path: str, body: Any = None) -> None:
        answer = self.crowd.api.request(method, path, *([] if body is None else [body]))
        assert answer.status_code < 300, answer.text


LEFT: dict[str, tuple[Callable[[Walk], tuple[str, Callable[[str], None]]], int, str]] = {
    "a project is deleted": (Walk.projects, PAGE, "id"),
    "a goal is deleted": (Walk.goals, PAGE, "id"),
    "an endpoint is deleted": (Walk.endpoints, 3 * KIB, "id"),
    "a member is removed": (Walk.members, 2 * KIB, "userId"),
    "an issue is done": (Walk.inbox, KIB, "id"),
    "an issue is another's": (Walk.inbox_of_whom_it_leaves, KIB, "id"),
}


@pytest.mark.parametrize(("begin", "size", "key"), LEFT.values(), ids=LEFT)
def test_a_walk_goes_on_though_the_row_that_it_is_at_has_left_the_list(
    api: Api, monkeypatch: pytest.MonkeyPatch, begin: Any, size: int, key: str
):
    crowd = Clients(api)
    path, leave = begin(Walk(crowd))
    token = crowd.token if "inbox" in path else None
    (whole,) = pages(api, path, token)
    monkeypatch.setattr(api.system.store, "limits", replace(limits.DEFAULT, max_page_bytes=size))
    walk = pages(api, path, token)

    first = [one[key] for one in next(walk).json()]
    leave(first[-1])
    rest = [one[key] for answer in walk for one in answer.json()]

    assert 0 < len(first) < 5
    assert [one[key] for one in whole.json()] == first + rest


def test_a_cursor_that_names_a_row_is_none_of_a_list_that_is_sorted_by_position(small_pages: Api):
    mine, theirs = Clients(small_pages), Clients(small_pages)
    path, _ = mine.issues()

    answer = small_pages.request("GET", f"{path}?cursor={cursor_of(f'issues of {mine.company}', UUID(theirs.issue()))}")

    assert 400 == answer.status_code
    assert "cursor must be one that this list returned" == answer.json()["error"]


def test_no_place_in_a_list_shows_more_than_ones_own_rows(small_pages: Api):
    """Where a stranger's row stands is a place as any other: the caller's own list goes on there."""
    mine, theirs = Clients(small_pages), Clients(small_pages)
    older, foreign, newer = mine.issue(), theirs.issue(), mine.issue()
    with bootstrap.connect(small_pages.system.settings) as conn:
        (place,) = conn.execute("SELECT position FROM issue WHERE id = %s", (foreign,)).fetchone()
    cursor = cursor_of(f"issues of {mine.company}", place)

    answer = small_pages.get(f"/companies/{mine.company}/issues?cursor={cursor}")

    assert [older] == [one["id"] for one in answer]
    assert newer in {one["id"] for one in small_pages.get(f"/companies/{mine.company}/issues")}
