"""The board as an application of its own: pages, forms, the headers of all of them, and errors as pages."""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar, Request, Response
from litestar.di import NamedDependency, Provide
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, ControllerRouterHandler

from web.board import sign_in
from web.board.api import FORBIDDEN, HELD_BUTTON, ApiRefusal, Held
from web.board.files import static_file
from web.board.rendering import HTML, PAGES
from web.board.session import SessionCookie
from web.board.visit import SignInNeeded, Visit, see_other
from web.events.feeds import Feeds
from web.events.formats import EVENT_STREAM
from web.http.arguments import provide_always
from web.http.backend import Backend
from web.http.errors import describe_error, headers_of, note_refusal
from web.http.public_path import public_path, state_with
from web.http.routing import Application, RoutesOfApi

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
TITLES = {
    400: "That cannot be read",
    401: "You are not signed in",
    403: "You may not do this",
    404: "There is nothing here",
    409: "It has changed meanwhile",
    412: "It has changed meanwhile",
    413: "That is too much at once",
    422: "That is not possible",
    429: "Too much at once",
    503: "Not now",
}
ADVICE = {
    401: "Sign in in another tab; if you have sent a form, go back to it in this one, and send it again.",
    403: "Ask an owner or an admin of the company if you need to.",
    404: "It may have been deleted, or belong to a company that you are no member of.",
    429: "Try again in a minute.",
    503: "Try again in a moment. The system page says how the service is.",
}


def board(
    backend: Backend, apis: ASGIApp, feeds: Feeds, public_url: str, pages: Sequence[ControllerRouterHandler]
) -> Litestar:
    """
    Return the application.

    `apis` answers what the pages ask for, `feeds` tells them what changes; `pages` are the routes for those who are signed in.
    """
    cookie = SessionCookie(public_url)

    async def provide_visit(request: Request[Any, Any, Any], backend: NamedDependency[Backend]) -> Visit:
        visit = Visit(request, backend, apis)
        await visit.begin(cookie)
        return visit

    doors = [
        sign_in.sign_in_page,
        sign_in.sign_in,
        sign_in.link_page,
        sign_in.follow_link,
        sign_in.make_link,
        sign_in.sign_out,
        static_file,
    ]
    return Application(
        [RoutesOfApi("/", route_handlers=[*doors, *pages])],
        state=state_with(public_url),
        dependencies={
            **provide_always(backend=backend, cookie=cookie, feeds=feeds, public_url=public_url),
            "visit": Provide(provide_visit),
        },
        request_max_body_size=None,
        exception_handlers={Exception: to_page},
        after_request=_with_headers,
        openapi_config=None,
        logging_config=None,
    )


def to_page(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Return the page for an error: the way to sign in, or what is wrong as a sentence."""
    base = public_path(request)
    if isinstance(error, SignInNeeded):
        note_refusal(request.scope, error, 401, "not signed in")
        is_stream = request.headers.get("accept") == EVENT_STREAM
        if request.method == "POST":
            return _with_headers(sign_in.page_that_keeps(request, error.form))
        # A request of a script: tell it to reload the page, which then shows the sign-in.
        if is_stream or "hx-request" in request.headers:
            return _with_headers(Response(None, status_code=204, headers={"HX-Refresh": "true"}))
        own = sign_in.own_path(sign_in.address_of(request))
        return _with_headers(see_other(sign_in.door(base, own)))
    status, message, headers = _describe(error)
    note_refusal(request.scope, error, status, message)
    return _with_headers(
        Response(error_page(status, message, base), media_type=HTML, status_code=status, headers=headers)
    )


def _describe(error: Exception) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, Held):  # of a button: a form is shown again
        return error.status, HELD_BUTTON, {}
    if isinstance(error, ApiRefusal):
        retry_headers = {name: value for name, value in error.headers.items() if name == "retry-after"}
        return error.status, _with_fields(error), retry_headers
    if isinstance(error, NotFoundException | MethodNotAllowedException):
        return 404, "No page of the board has this address.", {}
    status, message, details = describe_error(error)
    return status, _with_fields(ApiRefusal(status, message, details, {})), headers_of(status, error)


def _with_fields(refusal: ApiRefusal) -> str:
    """Return what is wrong with which field; the sentence of the refusal if it names none."""
    fields = refusal.by_field() if isinstance(refusal.details, list) and refusal.status != FORBIDDEN else {}
    named_texts = (f"{field}: {text}" if field and field not in text else text for field, text in fields.items())
    return "; ".join(named_texts) or refusal.message


def error_page(status: int, message: str, base: str) -> str:
    """Return a page that says what is wrong and what to do."""
    title = TITLES.get(status, "Something went wrong")
    sentence = message if message.endswith((".", "!", "?")) else f"{message}."
    return PAGES.get_template("error.html").render(
        title=title, message=sentence, advice=ADVICE.get(status, ""), status=status, base=base
    )


def error_response(base: str) -> Any:
    """Return what makes the answer to a request that is refused before the application sees it."""

    def respond(status: int, message: str, headers: dict[str, str], _details: Any) -> ASGIResponse:
        body = error_page(status, message, base).encode()
        return ASGIResponse(body=body, status_code=status, media_type=HTML, headers={**HEADERS, **headers})

    return respond


def _with_headers(response: Response[Any]) -> Response[Any]:
    response.headers.update({name: value for name, value in HEADERS.items() if name not in response.headers})
    return response
