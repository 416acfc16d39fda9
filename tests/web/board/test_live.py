"""A page is told that something of it has changed: what of, by which right, from which position on, and for how long."""

import re
import threading
from contextlib import contextmanager

import httpx
import pytest

from tests.web import people
from tests.web.board.conftest import Board
from tests.web.served import serve_further


class Stream:
    """What a page is told, as the positions up to which something has changed."""

    def __init__(self, response):
        self._lines = response.iter_lines()
        assert "retry: 2000" == next(self._lines)

    def position(self):
        """Wait until something has changed."""
        last = 0
        for line in self._lines:
            if line.startswith("id: "):
                last = int(line.removeprefix("id: "))
            if line.startswith("data"):
                return last
        raise AssertionError("the stream has ended")

    def end(self):
        """What comes until the stream ends by itself."""
        return [line for line in self._lines if line.startswith("data")]


@contextmanager
def follow_page(board, page="", *, url=None, **headers):
    """Follow a page as its script does."""
    address = address_of(board.show(page))
    with httpx.stream(
        "GET", f"{url or board.url}{address}", headers=headers, cookies=dict(board.client.cookies), timeout=20
    ) as response:
        assert 200 == response.status_code, response.read()
        yield Stream(response)


def address_of(page):
    return re.search('data-live="([^"]+)"', page.html)[1].replace("&amp;", "&")


def after_of(page):
    return int(re.search(r"after=(\d+)", address_of(page))[1])


def goal(api, company):
    api.post(f"/companies/{company}/goals", {"title": "Grow"})
    return api.system.store.head()


def test_a_page_is_told_up_to_which_position_something_has_changed(board, api, company):
    with follow_page(board) as stream:
        position = goal(api, company)

        assert position == stream.position()
    assert position <= after_of(board.show())


def test_a_page_of_one_thing_is_told_of_that_thing_only(board, api, company, agent):
    routine, other = api.routine(company, agent), api.routine(company, agent)
    with follow_page(board, f"/routines/{routine}") as stream:
        api.patch(f"/routines/{other}", {"title": "Other"})
        goal(api, company)
        api.patch(f"/routines/{routine}", {"title": "Changed"})

        assert api.system.store.head() == stream.position()


def test_a_run_is_told_of_comments_on_its_issue(board, api, company, agent):
    run = api.post(f"/routines/{api.routine(company, agent)}/run", {})
    with follow_page(board, f"/runs/{run['id']}") as stream:
        api.post(f"/issues/{run['linkedIssueId']}/comments", {"body": "Half of it is done."})

        assert api.system.store.head() == stream.position()


def test_what_happens_between_the_page_and_its_stream_is_not_missed(board, api, company):
    page = board.show()
    position = goal(api, company)
    goal(api, api.company("Other"))

    with board.client.stream("GET", address_of(page)) as response:
        assert position <= Stream(response).position()


def test_whoever_comes_back_is_told_of_what_happened_meanwhile_once(board, api, company):
    page = board.show()
    first = goal(api, company)
    with board.client.stream("GET", address_of(page), headers={"Last-Event-ID": str(first)}) as response:
        stream = Stream(response)
        second = goal(api, company)

        assert second == stream.position()


def test_a_viewer_is_told_too_and_not_of_deliveries(viewer, board, api, company):
    endpoint = api.post(
        f"/companies/{company}/webhook-endpoints", {"url": "https://hooks.example.org/in", "events": ["run.failed"]}
    )
    path = f"/companies/{company}/webhook-endpoints/{endpoint['id']}"
    with follow_page(viewer) as theirs, follow_page(board) as ours:
        api.patch(path, {"enabled": False})
        changed = ours.position()
        position = goal(api, company)

        assert changed < position == theirs.position()


@pytest.mark.parametrize("how", ["signs out", "signs out everywhere", "loses the token", "is no member any more"])
def test_the_stream_ends_when_the_session_does(api, company, how):
    member = Board(api, company, token := people.member(api, company, "viewer"))
    page = member.show()
    with follow_page(member) as stream:
        match how:
            case "loses the token":
                key = next(one for one in api.get("/board-api-keys", token=token) if not one.get("session"))
                api.request("DELETE", f"/board-api-keys/{key['id']}", token=token)
            case "is no member any more":
                api.request("DELETE", f"/companies/{company}/members/{api.get('/cli-auth/me', token=token)['userId']}")
            case "signs out everywhere":
                member.send_surely(page, "/sign-out-everywhere")
            case _:
                member.send(page, "/sign-out")
        goal(api, company)

        assert len(stream.end()) <= 1  # of its own end
    gone = member.client.get(address_of(page), headers={"Accept": "text/event-stream"}).status_code
    assert gone == (403 if how == "is no member any more" else 204)  # with which browsers come back no more
    member.client.close()


def test_the_stream_ends_with_its_process_and_goes_on_at_another_one(board, api, company):
    began = threading.Event()

    def follow(url):
        with follow_page(board, url=url) as stream:
            began.set()
            stream.end()

    with serve_further(api) as here:
        reader = threading.Thread(target=follow, args=(here.url,))
        reader.start()
        began.wait()
    reader.join()  # the server has ended while a page was open
    position = goal(api, company)
    with serve_further(api) as here, follow_page(board, url=here.url, **{"Last-Event-ID": str(position - 1)}) as stream:
        assert position == stream.position()


@pytest.mark.parametrize(
    ("query", "headers", "name"),
    [
        ("after=99999999999", {}, "after"),
        ("after=x", {}, "after"),
        ("", {}, "after"),
        ("routine=x", {}, "routine"),
        ("after=0", {"Last-Event-ID": "x"}, "Last-Event-ID"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_name_of_what_is_wrong(board, query, headers, name):
    answer = board.client.get(f"/board/companies/{board.company}/live?{query}", headers=headers)
    assert (400, True) == (answer.status_code, name in answer.text)


def test_a_key_that_is_no_session_follows_no_page(api, company):
    headers = {"Authorization": f"Bearer {api.token}"}
    answer = httpx.get(f"{api.url}/board/companies/{company}/live?after=0", headers=headers)
    assert 303 == answer.status_code


def test_a_page_that_a_post_shows_does_not_renew_itself(board, api, company, agent):
    run = api.post(f"/routines/{api.routine(company, agent)}/run", {})
    page = board.send(board.show(f"/issues/{run['linkedIssueId']}"), "/comments", body="")
    assert (422, True) == (page.status, 'data-live=""' in page.html)
