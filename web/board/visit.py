"""A visit of a page: who asks, in which company, with what rights, and how the page is made from it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.concurrency import sync_to_thread
from litestar.datastructures import Cookie
from litestar.response import Redirect
from litestar.types import ASGIApp

from application.access import Caller, Principal
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import read_access
from application.use_cases.read_access import Rights
from domain.board import access
from domain.board.access import Membership
from domain.errors import Forbidden, NotFound
from web.board import words
from web.board.api import NOT_FOUND, Api, ApiRefusal
from web.board.forms import Form, is_of_session, must_be_same_origin, read_form, whole_number
from web.board.reader_zone import zone_of
from web.board.rendering import DONE, HTML, MORE, PAGES
from web.board.session import SessionCookie, forgery_token, session_of
from web.http.backend import Backend
from web.http.paging import not_of_list
from web.http.public_path import public_path
from web.http.requests import bearer_token
from web.http.validation import UUID_TEXT

P = ParamSpec("P")
R = TypeVar("R")
NOT_SIGNED_IN = (401, 403)  # what the API answers to nobody, and to those who are no board users
OWNED = {
    "agents": "Agent",
    "goals": "Goal",
    "projects": "Project",
    "routine-backfills": "Backfill",
    "routines": "Routine",
    "routine-runs": "Run",
    "issues": "Issue",
}
NOTHING_SENT = Form({})
NEEDS = "needs"  # in the options of a form's page: the right without which it could not be sent
WHO_MAY: Mapping[str, tuple[str, Callable[[Membership], bool]]] = {
    "assign": ("who may assign work", access.may_assign),
    "administer": ("who may write", lambda member: member.role not in access.READ_ONLY),
    "entrust": ("who may assign work", access.may_assign),
    "manage": ("who may manage members and keys", access.may_manage),
}
COMPANIES = 20  # in the menu of every page; the search finds the others
ROWS = 50  # of a list that shares its page with others
NAMED = 5  # members whom a page names


class SignInNeeded(Exception):
    """The page needs somebody who is signed in. `form` is what they have sent."""

    def __init__(self, form: Form = NOTHING_SENT) -> None:
        super().__init__()
        self.form = form


class User(msgspec.Struct, frozen=True):
    """Who is signed in."""

    id: str
    name: str
    is_instance_admin: bool
    key_id: str


class ListedRows(NamedTuple):
    """The part of a list that a page shows, with the addresses of the next part and of the first one, if there are others."""

    rows: Sequence[Any]
    following: str | None
    first: str | None


class Visit:
    """A request for a page, with what all pages show."""

    def __init__(self, request: Request[Any, Any, Any], backend: Backend, app: ASGIApp) -> None:
        self.request = request
        self.backend = backend
        self.api = Api(app, request.scope)
        self.now: datetime  # from `begin` on
        self.session = session_of(request.scope)
        self.caller = Caller(token=bearer_token(request))
        self.zone = zone_of(request)
        self.form = NOTHING_SENT
        self.base = public_path(request)
        self.user: User | None = None
        self.companies: Sequence[Mapping[str, Any]] = ()  # the first ones, for the menu
        self.has_more_companies = False
        self.company: Mapping[str, Any] | None = None
        self.rights = Rights()

    async def begin(self, cookie: SessionCookie) -> None:
        """
        Find out who asks, and the company of the address; read the form of a post, which must come from this origin.

        A form of another session, as one that was open while its sender signed in again, changes nothing: it is shown once
        more with what was typed. Raise SignInNeeded, Forbidden for a form from elsewhere, or NotFound for a company of others.
        """
        if self.request.method == "POST":
            self.form = await read_form(self.request)
            must_be_same_origin(self.request, cookie)
            self.api.is_held = not is_of_session(self.request, self.form)
        try:
            self.now, identity, companies = await asyncio.gather(
                sync_to_thread(self.backend.executor.clock),
                self.api.get("/cli-auth/me"),
                self.api.page("/companies", {"limit": COMPANIES}),
            )
        except ApiRefusal as refusal:
            if refusal.status in NOT_SIGNED_IN:
                raise SignInNeeded(self.form) from refusal
            raise
        user, self.companies, self.has_more_companies = identity["user"], companies.value, bool(companies.next_cursor)
        self.user = User(
            user["id"], user["name"] or user["email"] or "Board", identity["isInstanceAdmin"], identity["keyId"]
        )
        company_id = self.request.path_params.get("company_id")
        if company_id is not None:
            await self._enter_company(str(company_id))

    async def _enter_company(self, company_id: str) -> None:
        if not UUID_TEXT.fullmatch(company_id):
            raise NotFound("There is no such company")
        listed = next((company for company in self.companies if company["id"] == company_id.lower()), None)
        self.company = listed or await self.api.get(f"/companies/{company_id}")
        self.rights = await sync_to_thread(self.authorize, read_access.rights, UUID(company_id))
        if (needed_right := self.request.route_handler.opt.get(NEEDS)) is not None:
            await self.must_have(needed_right)

    def authorize(
        self, question: Callable[Concatenate[UnitOfWork, Principal, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return the answer to a question of what the reader may see. Raise as `Backend.authorize` does."""
        with self.api.share_streams():
            return self.backend.authorize(self.caller, question, *args, **kwargs)

    async def must_have(self, right: str) -> None:
        """Raise Forbidden, with the names of those who may, unless the reader has a right: a form is useless without."""
        if not getattr(self.rights, right):
            raise Forbidden(await self._who_may(right))

    async def _who_may(self, right: str) -> str:
        """Return who has a right that the reader has not, as a sentence."""
        words_, has = WHO_MAY[right]
        names = [
            member["name"]
            for member in await self.api.get(self.api_path("members"))
            if has(Membership(role=member["membershipRole"], permissions=tuple(member["permissions"])))
        ]
        more = [words.count_noun(len(names) - NAMED, "other")] if len(names) > NAMED else []
        name_list = f": {', '.join([*names[:NAMED], *more])}" if names else ""
        return f"This form is for members {words_}{name_list}."

    async def own(self, kind: str, id_: object) -> Any:
        """
        Return something of the company that the page is about, by its kind in paths of the API. Raise ApiRefusal.

        What belongs to another company of the reader is not there: the page has the name and the rights of this one.
        """
        resource = await self.api.get(f"/{kind}/{_quoted(str(id_))}")
        if resource["companyId"] != self.company_id:
            raise ApiRefusal(NOT_FOUND, f"{OWNED[kind]} not found", None, {})
        return resource

    async def listed(
        self, page: str, name: str, path: str, is_shown: Callable[[Any], bool] | None = None
    ) -> "ListedRows":
        """
        Return the part of a list of the API that a page of the company shows, which has the place in its address by a name.

        The place is a number of rows of a page of the API that are left out and, after a dot, the cursor of that page.
        Raise Invalid for any other.
        """
        start, _, cursor = self.parameter(name).partition(".")
        left_out = whole_number(start or "0")
        if left_out is None:
            raise not_of_list(name)
        answer = await self.api.page(path, {"cursor": cursor})
        rows = [row for row in answer.value if is_shown is None or is_shown(row)][left_out:]
        following = f"{left_out + ROWS}.{cursor}" if len(rows) > ROWS else None
        if following is None and answer.next_cursor:
            following = f"0.{answer.next_cursor}"
        query = dict(self.request.query_params)
        addresses = [
            None if place is None else f"{self.path(page, query={**query, name: place, 'done': None})}#{name}"
            for place in (following, "" if start else None)
        ]
        return ListedRows(rows[:ROWS], *addresses)

    async def one_of(self, path: str, is_wanted: Callable[[Any], bool], missing: str) -> Mapping[str, Any]:
        """Return one thing of a list of the API that has no address of its own. Raise ApiRefusal if the list does not have it."""
        cursor = None
        while True:
            answer = await self.api.page(path, {"cursor": cursor})
            cursor = answer.next_cursor
            if (row := next(filter(is_wanted, answer.value), None)) is not None:
                return dict(row)
            if cursor is None:
                raise ApiRefusal(NOT_FOUND, missing, None, {})

    async def choices(self, kind: str, query: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        """
        Return what one can choose from among the things of a kind of the company: their ids and names.

        They are as many as a page of the API has. If there are more, the last option says so.
        """
        answer = await self.api.page(self.api_path(kind), query)
        options = [(str(one["id"]), str(one.get("name") or one["title"])) for one in answer.value]
        return [*options, MORE] if answer.next_cursor else options

    async def names(self, kind: str, chosen_id: str | None = None) -> dict[str, str]:
        """
        Return the names of the company's agents, projects, goals or folders by their ids, as many as a page of the API has.

        The agent or project that is chosen is among them. Raise ApiRefusal for one of elsewhere.
        """
        names = dict(await self.choices(kind))
        if chosen_id and chosen_id.lower() not in names and kind in OWNED:
            resource = await self.own(kind, chosen_id)
            names[resource["id"]] = resource["name"]
        return names

    @property
    def company_id(self) -> str:
        """The id of the company that the page is about."""
        if self.company is None:
            raise NotFound("There is no such company")
        return str(self.company["id"])

    def parameter(self, name: str) -> str:
        """Return a parameter of the address, empty if it is absent."""
        return str(self.request.query_params.get(name, ""))

    def parameters(self, names: Iterable[str]) -> dict[str, str]:
        """Return those of these parameters of the address that are not empty."""
        return {name: text for name in names if (text := self.parameter(name))}

    def path(self, *parts: object, query: Mapping[str, object] | None = None) -> str:
        """Return the address of a page of this company."""
        return self.address("board", "companies", self.company_id, *parts, query=query)

    def address(self, *parts: object, query: Mapping[str, object] | None = None) -> str:
        """Return the address of any page. A parameter may have several values."""
        parameters = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        path = "/".join(_quoted(str(part)) for part in parts)
        return f"{self.base}/{path}" + (f"?{urlencode(parameters, doseq=True)}" if parameters else "")

    async def live(self, **filters: object) -> str:
        """
        Return the address that tells the page when something changes of the company, or of one thing in it.

        It tells of what happens from now on, so a page asks for it before it reads anything.
        """
        return self.path("live", query={**filters, "after": await self.position()})

    async def position(self) -> int:
        """Return the last position of the log."""
        return await sync_to_thread(self.backend.executor.store.head)

    def api_path(self, *parts: object) -> str:
        """Return a path of the API below the company."""
        return "/".join(["/companies", self.company_id, *(_quoted(str(part)) for part in parts)])

    def status_of_filters(self, errors: Mapping[str, str]) -> int:
        """Return the status of a list whose filters may be wrong; 200 for scripts, which show nothing of another answer."""
        return 422 if errors and "hx-request" not in self.request.headers else 200

    def show(self, template: str, *, status: int = 200, **values: Any) -> Response[str]:
        """Return a page. What a post shows cannot renew itself: its address is that of the post."""
        values = {**self._shared_values(), **values} | ({"live": ""} if self.request.method == "POST" else {})
        text = PAGES.get_template(template).render(visit=self, **values)
        return Response(text, media_type=HTML, status_code=status)

    def _shared_values(self) -> dict[str, Any]:
        return {
            "csrf": forgery_token(self.session) if self.session else "",
            "done": DONE.get(self.parameter("done")),
            "rights": self.rights,
            "now": self.now,
            "when": self.when,
            "away": self.away,
            "is_ahead": self.is_ahead,
            "live": "",
            "path": self.path if self.company else None,
            "address": self.address,
        }

    def when(self, moment: datetime | str | None, zone: str | None = None) -> str:
        """Return a moment in words, in the zone of the reader unless another one is given."""
        local_time = words.parse(moment) if isinstance(moment, str) else moment
        return "" if local_time is None else words.moment_in_words(local_time, zone or self.zone, self.now)

    def away(self, moment: datetime | str | None) -> str:
        """Return how far a moment is away."""
        local_time = words.parse(moment) if isinstance(moment, str) else moment
        return "" if local_time is None else words.distance(local_time, self.now)

    def places(self) -> Sequence[tuple[str, tuple[str, ...], str]]:
        """Return the places in the menu that the reader may see: the name of each, its path, and its word."""
        return [
            ("home", (), "Home"),
            ("routines", ("routines",), "Routines"),
            ("runs", ("runs",), "Runs"),
            ("issues", ("issues",), "Issues"),
            ("tasks", ("tasks",), "Tasks"),
            ("variables", ("variables",), "Variables"),
            ("structure", ("structure",), "Projects"),
            *([("deliveries", ("deliveries",), "Deliveries")] if self.rights.administer else []),
            ("people", ("people",), "People and keys"),
            *([("log", ("log",), "Log")] if self.rights.audit else []),
            ("system", ("system",), "System"),
        ]

    def is_ahead(self, text: str | None) -> bool:
        """Return whether a moment of the API is still to come."""
        return (moment := words.parse(text)) is not None and moment > self.now

    def go(self, *parts: object, done: str | None = None, **query: object) -> Redirect:
        """Return the way to another page of the company, after a change."""
        return see_other(self.path(*parts, query={**query, "done": done}))


@lru_cache(maxsize=10_000)
def _quoted(part: str) -> str:
    """Return a part of a path; a page names the same ones many times."""
    return quote(part, safe="")


def period(visit: Visit, parameters: Mapping[str, str], errors: dict[str, str]) -> dict[str, str | None]:
    """Return the moments `from` and `to` of a filter as the API reads them, without those that have an error."""
    moments = {name: words.read_field(parameters.get(name, ""), visit.zone, name, errors) for name in ("from", "to")}
    if moments["from"] and moments["to"] and moments["to"] < moments["from"]:
        errors["to"] = "This is before From: nothing lies between the two."
        moments["to"] = None
    return moments


def see_other(address: str, cookies: Sequence[Cookie] = ()) -> Redirect:
    """Return the way to another page, which the browser asks for with GET."""
    return Redirect(address, status_code=303, cookies=list(cookies))
