"""A browser without a screen: it keeps cookies, sends forms as they stand, and reads pages as text."""

import re
from functools import cached_property
from html import unescape
from uuid import UUID

import httpx
import pytest

from application.access import Caller
from application.use_cases import read_access
from application.use_cases.board import sessions
from domain.errors import Unauthenticated
from tests.running import PUBLIC_URL
from tests.web import people
from web.board.session import SessionCookie

# Pages are read as their templates write them: every < and every quote in a text is escaped.
TAG = r"""<{}[^>"']*(?:(?:"[^"]*"|'[^']*')[^>"']*)*>"""
UNREAD = re.compile(r"(?s)<(script|style|title)\b.*?</\1>|" + TAG.format(""))
PART_OF_FORM = re.compile(TAG.format("(/?(?:form|input|select|textarea|option))\\b"))
LINK = re.compile(TAG.format("a\\s"))
ATTRIBUTE = re.compile(r"""([^\s"'<>=]+)(?:=(?:"([^"]*)"|'([^']*)'))?""")


class Page:
    """A page: its text as people read it, its links, and its forms with what is in them."""

    def __init__(self, response):
        self.response, self.status, self.html = response, response.status_code, response.text

    @cached_property
    def text(self):
        return " ".join(unescape(UNREAD.sub(" ", self.html)).split())

    @cached_property
    def links(self):
        return [_attributes(link[0]).get("href") for link in LINK.finditer(self.html)]

    @cached_property
    def forms(self):
        """The forms; of a choice nothing but what is chosen, and of a box nothing unless it is ticked."""
        forms, fields, select = [], None, None
        for part in PART_OF_FORM.finditer(self.html):
            has = _attributes(part[0])
            name = has.get("name")
            of_form = fields
            if "form" in has:
                of_form = next((form["fields"] for form in forms if form["id"] == has["form"]), None)
            match part[1]:
                case "form":
                    fields = {}
                    forms.append({"action": has.get("action"), "fields": fields, "id": has.get("id")})
                case "/form":
                    fields = None
                case "input" if of_form is not None and name and (has.get("type") != "checkbox" or "checked" in has):
                    of_form[name] = has.get("value", "")
                case "textarea" if of_form is not None:
                    of_form[name] = unescape(self.html[part.end() : self.html.index("</textarea", part.end())])
                    of_form[name] = of_form[name].removeprefix("\n")
                case "select" if of_form is not None:
                    select, of_form[name], has_option = (of_form, name), "", False
                case "/select":
                    select = None
                case "option" if select and ("selected" in has or not has_option):
                    select[0][select[1]], has_option = has.get("value", ""), True
        return forms

    def form(self, ending):
        """The form whose action ends so."""
        return next(form for form in self.forms if (form["action"] or "").endswith(ending))

    def has_form(self, ending):
        return any((form["action"] or "").endswith(ending) for form in self.forms)


def _attributes(tag):
    _, *pairs = ATTRIBUTE.findall(tag)
    return {name: unescape(double or single) for name, double, single in pairs}


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


# The session of each token that one was opened for. How somebody signs in is tested in test_sign_in.py.
SESSIONS: dict[str, str] = {}


class Board(Browser):
    """A browser that is signed in, and the company that it looks at."""

    def __init__(self, api, company, token=None):
        super().__init__(api.url)
        self.api, self.company = api, company
        cookie = SessionCookie(api.system.settings.public_url or PUBLIC_URL)
        host = self.client.base_url.host
        self.client.cookies.set(cookie.name, _open_session(api.system.executor, token or api.token), domain=host)

    def show(self, path=""):
        return self.get(f"/board/companies/{self.company}{path}")


def _open_session(executor, token):
    try:
        executor.query_as(Caller(token=SESSIONS.get(token)), read_access.anyone)
    except Unauthenticated:  # it has ended, or there was none
        SESSIONS[token] = executor.execute(Caller(token=token), sessions.open_session).result.token
    return SESSIONS[token]


def make_many(api, use_case, owner_id, drafts):
    """
    What a use case makes of each draft, in a company or another thing that it belongs to, in one commit.

    Requests for them would take longer than what is tested.
    """
    return api.ask(lambda work, by: [use_case(work, by, UUID(owner_id), draft) for draft in drafts])


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
