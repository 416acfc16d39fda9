import asyncio
import re

import httpx
import pytest

from application.use_cases.board.sessions import SESSION_NAME
from tests.web.board.conftest import Browser, Page
from tests.web.served import serve_further
from web.board import pages
from web.board.session import SessionCookie, forgery_token
from web.board.sign_in import own_path


def link_of(api, token=None):
    headers = {"Authorization": f"Bearer {token or api.token}"}
    answer = httpx.post(f"{api.url}/board/sign-in-links", headers=headers)
    assert 201 == answer.status_code
    return answer.text.removeprefix("https://routines.example")


def test_whoever_is_not_signed_in_is_asked_for_a_token_and_comes_back_to_the_page(api, browser, company):
    wanted = f"/board/companies/{company}/routines?q=x"
    door = browser.get(wanted)
    assert "Board token" in door.text

    page = browser.send(door, "/board/sign-in", token=api.token)

    assert wanted == page.response.url.raw_path.decode()
    assert 200 == page.status


class WatchedClock:
    """The clock of a system, which asks Postgres each time, and whether it was asked in an event loop."""

    is_outdated = True

    def __init__(self, tell_time):
        self.tell_time = tell_time
        self.in_event_loop = []

    def __call__(self):
        self.in_event_loop.append(asyncio._get_running_loop() is not None)
        return self.tell_time()


def test_to_sign_in_and_to_look_at_a_page_asks_postgres_for_the_time_beside_the_event_loop(
    api, browser, company, monkeypatch
):
    clock = WatchedClock(api.system.executor.clock)
    monkeypatch.setattr(api.system.executor, "clock", clock)

    page = browser.send(browser.get(f"/board/companies/{company}"), "/board/sign-in", token=api.token)

    assert 200 == page.status
    assert {False} == set(clock.in_event_loop)


def test_the_cookie_of_a_session_is_for_this_host_only_and_no_script_reads_it(api, browser):
    form = browser.get("/board/sign-in").form("/board/sign-in")
    answer = browser.client.post(
        "/board/sign-in", data={**form["fields"], "token": api.token}, headers={"Origin": api.url}
    )

    header = answer.headers["set-cookie"]
    assert header.startswith("__Host-routines=pcp_board_")
    for part in ("HttpOnly", "Path=/", "SameSite=lax", "Secure", "Max-Age=43"):
        assert part in header
    assert api.token not in header


def test_without_tls_the_cookie_has_the_port_in_its_name():
    cookie = SessionCookie("http://127.0.0.1:3100")
    assert ("routines-3100", False) == (cookie.name, cookie.is_secure)


def test_two_installations_on_one_host_do_not_sign_each_other_out():
    urls = ("https://example.org", "https://example.org:8443", "https://example.org/a", "https://example.org/a/b")
    names = [SessionCookie(url).name for url in (*urls, "http://example.org", "http://example.org/a")]
    assert ["__Host-routines", "__Host-routines-8443", "__Host-routines-a", "__Host-routines-a-b"] == names[:4]
    assert ["routines-80", "routines-80-a"] == names[4:]


@pytest.mark.parametrize(
    ("public_url", "origin", "host", "is_ours"),
    [
        ("https://routines.example", "https://routines.example", "upstream:3100", True),
        ("https://routines.example:443", "https://routines.example", "upstream:3100", True),
        ("https://Routines.example/path", "https://routines.example", "routines.example", True),
        ("https://routines.example", "http://routines.example", "routines.example", False),
        ("https://routines.example", "https://routines.example.evil", "routines.example", False),
        ("https://routines.example", "http://127.0.0.1:3100", "127.0.0.1:3100", True),
        ("http://127.0.0.1:3100", "http://localhost:3100", "localhost:3100", True),
        ("http://127.0.0.1:3100", "file://localhost:3100", "localhost:3100", False),
        ("http://127.0.0.1:3100", None, "127.0.0.1:3100", False),
        ("http://127.0.0.1:3100", "http://", "", False),
    ],
)
def test_a_form_comes_from_the_public_address_or_the_one_that_was_called(public_url, origin, host, is_ours):
    assert is_ours == SessionCookie(public_url).is_same_origin(origin, host)


@pytest.mark.parametrize("token", ["", "nonsense", "pcp_board_2DVMuTm1hYULLAq854L0rMhrOcv9exr82C9d1D"])
def test_a_token_that_is_not_good_signs_nobody_in(browser, token):
    page = browser.sign_in(token)

    assert 422 == page.status
    assert "not a board token that is good now" in page.text
    assert token == "" or token not in page.html


def test_an_agent_does_not_sign_in(api, browser, company):
    assert 422 == browser.sign_in(api.agent(company)[1]).status


def test_a_session_is_no_token_of_the_api_and_the_api_takes_no_cookie(board):
    assert 401 == board.client.get("/api/companies").status_code


def test_signing_out_ends_the_session_itself_and_not_only_the_cookie(api, board):
    token = next(cookie.value for cookie in board.client.cookies.jar if cookie.name == "__Host-routines")

    page = board.send(board.show("/routines"), "/board/sign-out")

    assert "Board token" in page.text
    assert 401 == api.request("GET", "/cli-auth/me", token=token).status_code
    assert 200 == api.request("GET", "/cli-auth/me").status_code


def test_signing_out_everywhere_ends_the_sessions_of_other_browsers(api, board, browser):
    browser.sign_in(api.token)
    confirmation = board.send(board.show("/routines"), "/sign-out-everywhere")
    assert "Sign out everywhere?" in confirmation.text
    assert "Board token" not in browser.get(f"/board/companies/{board.company}").text

    board.confirm(confirmation)

    assert "Board token" in browser.get(f"/board/companies/{board.company}").text
    assert [] == [
        key["id"] for key in api.get("/board-api-keys") if key["name"] == SESSION_NAME and not key["revokedAt"]
    ]


def test_a_session_holds_in_every_web_process_also_in_one_that_has_just_started(api, board):
    cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in board.client.cookies.jar)
    with serve_further(api, public_url="https://routines.example") as other:
        answer = httpx.get(f"{other.url}/board/companies/{board.company}", headers={"Cookie": cookie})
    assert 200 == answer.status_code


def test_a_session_ends_with_the_key_that_it_rests_on(api, browser, company):
    key = api.post("/board-api-keys", {"name": "for the board"})
    browser.sign_in(key["token"])
    assert "Board token" not in browser.get(f"/board/companies/{company}").text

    api.request("DELETE", f"/board-api-keys/{key['id']}")

    assert "Board token" in browser.get(f"/board/companies/{company}").text


def test_a_link_signs_in_once_and_looking_at_it_does_not_use_it_up(api, browser):
    link = link_of(api)
    browser.get(link)

    page = browser.send(browser.get(link), link)

    assert "Board token" not in page.text
    again = browser.post(link, {})
    assert "This link has been used" in again.text
    assert 422 == again.status


def test_a_link_is_made_for_a_board_key_and_not_for_a_session_or_an_agent(api, board, company):
    assert 403 == board.post("/board/sign-in-links", {}).status
    agent = {"Authorization": f"Bearer {api.agent(company)[1]}"}
    assert 403 == httpx.post(f"{api.url}/board/sign-in-links", headers=agent).status_code
    assert 401 == httpx.post(f"{api.url}/board/sign-in-links").status_code


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1.evil.example"])
def test_a_form_of_another_origin_is_refused_even_with_its_token(board, origin):
    fields = board.show("/routines").form("/board/sign-out")["fields"]
    assert 403 == board.post("/board/sign-out", fields, Origin=origin).status
    assert 403 == board.post("/board/sign-in", {"token": board.api.token}, Origin=origin).status


def test_a_form_without_the_token_of_its_session_is_refused(board):
    for fields in ({}, {"csrf": "x"}, {"csrf": forgery_token("pcp_board_other")}):
        page = board.post("/board/sign-out", fields)
        assert 403 == page.status
        assert "not sent by a page of the board" in page.text
    assert "Board token" not in board.show().text


def test_the_public_address_is_an_origin_of_its_own(board):
    fields = board.get("/board/settings").form("/board/settings")["fields"]
    page = board.post("/board/settings", {**fields, "zone": "Asia/Tokyo"}, Origin="https://routines.example")
    assert 200 == page.status


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/api/companies", "/board/\\evil", "/board//evil", ""]
)
def test_signing_in_leads_nowhere_but_to_the_board(path):
    assert own_path(path) == ""


def test_no_post_goes_without_these_checks():
    """A page reads its form by its visit, which checks it; those that are for nobody in particular check the origin."""
    unchecked = [
        handler.operation_id
        for handler in pages.PAGES
        if "POST" in handler.http_methods and "visit" not in handler.fn.__annotations__
    ]
    assert unchecked == []


def test_a_cookie_is_found_among_others_and_what_is_no_token_is_none():
    cookie, token = SessionCookie("https://routines.example"), "pcp_board_2DVMuTm1hYULLAq854L0rMhrOcv9exr82C9d1D"

    def token_in(text):
        return cookie.token_of([(b"cookie", text.encode())])

    assert token == token_in(f"a=b; __Host-routines={token}; c=d")
    assert token == token_in(f'other={{"is": "JSON, with [brackets]"}}; =; ;é; __Host-routines={token}')
    assert [None] * 4 == [
        token_in(text) for text in ("", "__Host-routines=x", f"routines-443={token}", "__Host-routines")
    ]


def test_behind_a_path_every_link_form_and_way_on_begins_with_it_and_the_cookie_is_of_it(api, company, agent):
    routine = api.routine(company, agent)
    with serve_further(api, public_url="https://routines.example/below") as other:
        browser = Browser(other.url)
        headers = {"Origin": "https://routines.example"}
        answer = browser.client.post("/board/sign-in", data={"token": api.token}, headers=headers)
        assert ("/below/", True) == (
            answer.headers["location"],
            answer.headers["set-cookie"].startswith("__Host-routines-below=pcp_board_"),
        )
        for path in ("", "/routines", f"/routines/{routine}", "/log", "/people"):
            page = Page(browser.client.get(f"/board/companies/{company}{path}"))
            assert 200 == page.status
            addresses = [
                *page.links,
                *(form["action"] for form in page.forms),
                *re.findall('hx-get="([^"]*)"', page.html),
            ]
            assert addresses
            assert {address for address in addresses if not address.startswith(("/below/", "#"))} == set()
        csrf = page.form("/sign-out")["fields"]["csrf"]
        answer = browser.client.post("/board/sign-out", data={"csrf": csrf}, headers=headers)
        assert "/below/board/sign-in" == answer.headers["location"]
        assert (
            "/below/board/sign-in?next=%2Fboard%2Fsettings" == browser.client.get("/board/settings").headers["location"]
        )
        browser.client.close()


def test_signing_in_again_ends_the_session_that_the_browser_had(api, board):
    before = next(cookie.value for cookie in board.client.cookies.jar if cookie.name == "__Host-routines")
    for _ in range(2):
        board.sign_in(api.token)

    assert 401 == api.request("GET", "/cli-auth/me", token=before).status_code
    assert 200 == board.show().status
