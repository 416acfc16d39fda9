"""A browser without a screen: it keeps cookies, sends forms as they stand, and reads pages as text."""

import re
from html.parser import HTMLParser

import httpx
import pytest

from tests.web import people

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """A page: its text as people read it, its links, and its forms with what is in them."""

    def __init__(self, response):
        super().__init__()
        self.response, self.status, self.html = response, response.status_code, response.text
        self.forms, self.links, self._text, self._open, self._field, self._has_option = [], [], [], [], None, False
        self.feed(self.html)
        self.text = re.sub(r"\s+", " ", " ".join(self._text)).strip()

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "form":
            self.forms.append({"action": has.get("action"), "fields": {}, "id": has.get("id")})
        if tag == "a":
            self.links.append(has.get("href"))
        fields = self._open_fields(has)
        is_sent = has.get("type") != "checkbox" or "checked" in has
        if tag == "input" and fields is not None and has.get("name") and is_sent:
            fields[has["name"]] = has.get("value") or ""
        if tag in ("select", "textarea") and fields is not None:
            self._field, self._has_option = has.get("name"), False
            fields[self._field] = ""
        if tag == "option" and fields is not None and self._field and ("selected" in has or not self._has_option):
            fields[self._field], self._has_option = has.get("value") or "", True

    def _open_fields(self, has):
        if "form" in has:
            return next((form["fields"] for form in self.forms if form["id"] == has["form"]), None)
        return self.forms[-1]["fields"] if "form" in self._open else None

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass
        if tag in ("select", "textarea"):
            self._field = None

    def handle_data(self, data):
        if self._field and self._open[-1:] == ["textarea"]:
            self.forms[-1]["fields"][self._field] += data.removeprefix("\n")
        if not {"script", "style", "title"} & set(self._open):
            self._text.append(data)

    def form(self, ending):
        """The form whose action ends so."""
        return next(form for form in self.forms if (form["action"] or "").endswith(ending))

    def has_form(self, ending):
        return any((form["action"] or "").endswith(ending) for form in self.forms)


class Browser:
    def __init__(self, url):
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=20, event_hooks={"response": [self._as_if_over_tls]})

    def _as_if_over_tls(self, _response):
        """The service is told that clients reach it by https, through a proxy that these tests do without."""
        for cookie in self.client.cookies.jar:
            cookie.secure = False

    def get(self, path):
        return Page(self.client.get(path, follow_redirects=True))

    def post(self, path, fields, **headers):
        """A post as a page of this origin sends it; the answer is what the browser shows in the end."""
        return Page(self.client.post(path, data=fields, headers={"Origin": self.url, **headers}, follow_redirects=True))

    def send(self, page, ending, **changed):
        """Send a form of a page, with some of its fields changed."""
        form = page.form(ending)
        return self.post(form["action"], {**form["fields"], **changed})

    def send_surely(self, page, ending, **changed):
        """Press a button that takes something away, and then that of the question."""
        return self.confirm(self.send(page, ending, **changed))

    def confirm(self, confirmation, **changed):
        """Press the button of a question."""
        form = next(form for form in confirmation.forms if "sure" in form["fields"])
        return self.post(form["action"], {**form["fields"], **changed})

    def sign_in(self, token):
        return self.send(self.get("/board/sign-in"), "/board/sign-in", token=token)


# The cookies of a sign-in by the token that signed in. How somebody signs in is tested in test_sign_in.py.
SESSIONS: dict[str, httpx.Cookies] = {}


class Board(Browser):
    """A browser that is signed in, and the company that it looks at."""

    def __init__(self, api, company, token=None):
        super().__init__(api.url)
        self.api, self.company = api, company
        self.client.cookies.update(SESSIONS.get(token or api.token))
        if self.get("/board/settings").has_form("/board/sign-in"):  # the session has ended, or there was none
            self.sign_in(token or api.token)
            # A copy: what a test does with its browser, as choosing a zone, must not reach the next one.
            SESSIONS[token or api.token] = httpx.Cookies(self.client.cookies)

    def show(self, path=""):
        return self.get(f"/board/companies/{self.company}{path}")


@pytest.fixture
def company(api):
    return api.company()


@pytest.fixture
def agent(api, company):
    return api.agent(company)[0]


@pytest.fixture
def browser(api):
    browser = Browser(api.url)
    yield browser
    browser.client.close()


@pytest.fixture
def board(api, company):
    board = Board(api, company)
    yield board
    board.client.close()


@pytest.fixture
def viewer(api, company):
    """The same company as somebody sees it who may only read."""
    board = Board(api, company, people.member(api, company, "viewer"))
    yield board
    board.client.close()
