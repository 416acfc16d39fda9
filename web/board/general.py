"""The pages that belong to no subject: the way in and out of all sessions, the first company, and the zone of times."""

from typing import Any

from litestar import Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from domain.schedule import zones
from web.board.api import HELD, ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.reader_zone import ZONE_COOKIE, known_zone
from web.board.session import SessionCookie
from web.board.sign_in import close_all, door, own_path
from web.board.visit import Visit, see_other

YEAR_S = 365 * 86_400


@get("/", operation_id="boardStart")
async def start(visit: NamedDependency[Visit]) -> Response[Any]:
    """Lead to the first company that is not archived; say what to do where there is none."""
    companies = sorted(await visit.api.get("/companies"), key=lambda company: company["status"] == "archived")
    if not companies:
        return visit.show("welcome.html", name="", error="")
    return see_other(visit.address("board", "companies", companies[0]["id"]))


@get("/board", operation_id="boardRoot")
async def root(visit: NamedDependency[Visit]) -> Response[Any]:
    """Lead to the start."""
    return see_other(visit.address(""))


@get("/board/new-company", operation_id="boardNewCompany")
async def new_company(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the form of a new company."""
    return visit.show("welcome.html", name="", error="")


@post("/board/companies", operation_id="boardCreateCompany")
async def create_company(visit: NamedDependency[Visit]) -> Response[Any]:
    """Create a company and lead to it."""
    form = visit.form
    try:
        company = await visit.api.post("/companies", {"name": form.text("name")})
    except ApiRefusal as refusal:
        error = next(iter(refusal.by_field().values()))
        return visit.show("welcome.html", status=refusal.status, name=form.text("name"), error=error)
    return see_other(visit.address("board", "companies", company["id"]))


@get("/board/settings", operation_id="boardSettings")
async def settings(visit: NamedDependency[Visit]) -> Response[Any]:
    """Ask in which zone the reader wants times."""
    return _show_settings(visit, visit.zone, own_path(visit.parameter("back")))


@post("/board/settings", operation_id="boardSaveSettings")
async def save_settings(visit: NamedDependency[Visit], cookie: NamedDependency[SessionCookie]) -> Response[Any]:
    """Keep the zone in a cookie of this browser."""
    form = visit.form
    zone = known_zone(form.text("zone").strip())
    back = own_path(form.text("back"))
    if visit.api.is_held:
        return _show_settings(visit, form.text("zone"), back, error=HELD, status=422)
    if zone is None:
        text = form.text("zone")
        return _show_settings(
            visit, text, back, error="There is no such zone: use a name such as Europe/Amsterdam.", status=422
        )
    response = see_other(f"{visit.base}{back}" if back else visit.address("board", "settings", query={"done": "zone"}))
    response.set_cookie(ZONE_COOKIE, zone, max_age=YEAR_S, samesite="lax", httponly=True, secure=cookie.is_secure)
    return response


@post("/board/sign-out-everywhere", operation_id="boardCloseSessions")
async def sign_out_everywhere(visit: NamedDependency[Visit], cookie: NamedDependency[SessionCookie]) -> Response[Any]:
    """End all sessions of the reader."""
    consequence = "All your sessions of the board end, in every browser, and links that open one. Your keys stay good."
    confirmation = Confirmation("Sign out everywhere?", consequence, "Sign out everywhere", visit.address(""))
    if (question := pending_question(visit, confirmation)) is not None:
        return question
    await sync_to_thread(close_all, visit.backend, visit.caller)
    return see_other(door(visit.base, ""), [cookie.removed()])


def _show_settings(visit: Visit, chosen_zone: str, back: str, *, error: str = "", status: int = 200) -> Response[Any]:
    names = sorted(name for name in zones.data().names if "/" in name or name == "UTC")
    return visit.show("settings.html", status=status, names=names, chosen=chosen_zone, back=back, error=error)
