"""Signing in with a board token or a link, and signing out."""

import contextlib
from typing import Any
from urllib.parse import quote, urlencode

from litestar import MediaType, Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath

from application.access import Caller, require_board
from application.use_cases import read_access
from application.use_cases.board import sessions
from application.use_cases.board.keys import NewKey
from domain.errors import Forbidden, Unauthenticated
from projections.board import keys
from web.board.forms import Form, must_be_same_origin, parse_form, read_form, read_own_form
from web.board.rendering import HTML, PAGES
from web.board.session import SessionCookie, session_of
from web.board.visit import see_other
from web.http.backend import Backend
from web.http.json_body import SMALL
from web.http.public_path import public_path
from web.http.requests import bearer_token

ROOM = 512  # for the token and the names of the fields, in what the sign-in sends
WRONG = "This is not a board token that is good now. It begins with pcp_board_; `routines board-key` makes another."


def _show_page(request: Request[Any, Any, Any], *, status: int = 200, **values: Any) -> Response[str]:
    base = public_path(request)
    shown_values = {"base": base, "error": "", "link": "", "next": "", "typed": None, "too_long": False, **values}
    status = 422 if shown_values["error"] else status
    return Response(PAGES.get_template("sign_in.html").render(**shown_values), media_type=HTML, status_code=status)


@get("/board/sign-in", operation_id="boardSignIn", sync_to_thread=False)
def sign_in_page(request: Request[Any, Any, Any]) -> Response[str]:
    """Ask for a board token."""
    return _show_page(request, next=own_path(request.query_params.get("next", "")))


def page_that_keeps(request: Request[Any, Any, Any], form: Form) -> Response[str]:
    """
    Ask for a board token in answer to a form whose session has ended, and keep what was typed in it.

    Whoever has signed in then is led to the form with it. Nothing is saved by that, and no secret is kept. The sign-in could
    not be sent with more than is read of somebody who is not known: that much is left to the browser.
    """
    following, typed = own_path(address_of(request)), urlencode(form.fields_to_repeat())
    if len(urlencode({"next": following, "typed": typed})) + ROOM > SMALL:
        return _show_page(request, status=401, too_long=True)
    return _show_page(request, status=401, next=following, typed=typed)


@post("/board/sign-in", operation_id="boardOpenSession")
async def sign_in(
    request: Request[Any, Any, Any], backend: NamedDependency[Backend], cookie: NamedDependency[SessionCookie]
) -> Response[Any]:
    """Open a session for the holder of a board token. The token itself is not kept anywhere."""
    form = await read_form(request)
    must_be_same_origin(request, cookie)
    caller, following = Caller(token=form.given("token")), own_path(form.text("next"))
    typed = form.text("typed") if form.has("typed") else None
    typed_form = parse_form((typed or "").encode())
    try:
        commit_result = await sync_to_thread(backend.executor.execute, caller, sessions.open_session)
    except (Unauthenticated, Forbidden):
        return _show_page(request, error=WRONG, next=following, typed=typed)
    if typed is not None and following:
        page = PAGES.get_template("typed.html").render(
            base=public_path(request), address=following, fields=typed_form.fields_to_repeat()
        )
        return await _signed_in(
            request, cookie, commit_result.result, backend, Response(page, media_type=HTML, status_code=200)
        )
    return await _signed_in(request, cookie, commit_result.result, backend, _way_to(request, following))


@get("/board/sign-in/{link:str}", operation_id="boardLink", sync_to_thread=False)
def link_page(request: Request[Any, Any, Any], link: FromPath[str]) -> Response[str]:
    """Show the button that uses the link: looking at it, as programs that preview links do, does not use it up."""
    return _show_page(request, link=link)


@post("/board/sign-in/{link:str}", operation_id="boardFollowLink")
async def follow_link(
    request: Request[Any, Any, Any],
    backend: NamedDependency[Backend],
    cookie: NamedDependency[SessionCookie],
    link: FromPath[str],
) -> Response[Any]:
    """Open the session of a link, once."""
    must_be_same_origin(request, cookie)
    try:
        commit_result = await sync_to_thread(backend.executor.attempt, lambda work: sessions.follow_link(work, link))
    except Unauthenticated:
        return _show_page(
            request, error="This link has been used, or is older than ten minutes. Sign in with a board token."
        )
    return await _signed_in(request, cookie, commit_result.result, backend, _way_to(request, ""))


@post("/board/sign-in-links", operation_id="boardMakeLink", media_type=MediaType.TEXT, status_code=201)
async def make_link(
    request: Request[Any, Any, Any], backend: NamedDependency[Backend], public_url: NamedDependency[str]
) -> str:
    """Return a link that signs the holder of the bearer token in, once, within ten minutes. Raise Forbidden for a cookie."""
    if session_of(request.scope) is not None:
        raise Forbidden("A link is made for a board key, not for a session")
    caller = Caller(token=bearer_token(request))
    commit_result = await sync_to_thread(backend.executor.execute, caller, sessions.make_link)
    return f"{public_url}/board/sign-in/{commit_result.result.token}"


@post("/board/sign-out", operation_id="boardCloseSession")
async def sign_out(
    request: Request[Any, Any, Any],
    backend: NamedDependency[Backend],
    cookie: NamedDependency[SessionCookie],
) -> Response[Any]:
    """End this session."""
    await read_own_form(request, cookie)
    with contextlib.suppress(Unauthenticated, Forbidden):  # it has ended already
        await sync_to_thread(_close, backend, Caller(token=bearer_token(request)))
    return see_other(f"{public_path(request)}/board/sign-in", [cookie.removed()])


def _close(backend: Backend, caller: Caller) -> None:
    backend.executor.execute(caller, sessions.close_session)


def close_all(backend: Backend, caller: Caller) -> None:
    """End all sessions of a user."""
    user = require_board(backend.authorize(caller, read_access.board))
    # A key that is not in the read model yet ends with the session that it rests on.
    with backend.consistent_read("directory", eventual=True) as conn:
        key_ids = [key.id for key in keys.of_user(conn, user.user_id) if key.revoked_at is None]
    backend.executor.execute(caller, sessions.close_all, key_ids)


def _way_to(request: Request[Any, Any, Any], following: str) -> Response[Any]:
    return see_other(f"{public_path(request)}{following or '/'}")


async def _signed_in(
    request: Request[Any, Any, Any], cookie: SessionCookie, new_key: NewKey, backend: Backend, response: Response[Any]
) -> Response[Any]:
    """Give the browser its new session with a response. The one that it had before is ended, since nothing could end it from there any more."""
    if (before := session_of(request.scope)) is not None:
        with contextlib.suppress(Unauthenticated, Forbidden):  # it has ended already
            await sync_to_thread(_close, backend, Caller(token=before))
    now = await sync_to_thread(backend.executor.clock)
    response.set_cookie(cookie.of(new_key.token, new_key.expires_at, now))
    return response


def address_of(request: Request[Any, Any, Any]) -> str:
    """Return the path of a request with its query, as a link has it."""
    query = request.scope["query_string"].decode("latin-1")
    return quote(request.scope["path"]) + (f"?{query}" if query else "")


def own_path(text: str) -> str:
    """Return a path of the board, and nothing for any other text: nobody is led elsewhere by signing in."""
    return text if text.startswith("/board/") and "\\" not in text and "//" not in text else ""


def door(base: str, following: str) -> str:
    """Return the address of the page to sign in, from which one comes back to a path."""
    return f"{base}/board/sign-in" + (f"?{urlencode({'next': following})}" if following else "")
