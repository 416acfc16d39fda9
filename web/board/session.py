"""
Sessions of the board in the browser: the cookie that holds one, and what every post has to prove (decision 0060).

A cookie counts only on the board's own paths: there it becomes the bearer token of the request, before anything else looks at
it. So a request of the board is checked, limited and attributed as one of the API is, and the API itself takes no cookie.

A post is accepted from a page of this origin (`Origin`) that knows the session's token against forgery. That is an HMAC
under the session's own token, so each process can tell whether it is right and none has to keep it.
"""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Iterable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from litestar.datastructures import Cookie
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from application import tokens
from web.apis import api_of

IN_COOKIE = "routines.board_session"  # where the state of a request holds the token that came in a cookie
FORGERY_FIELD = "csrf"
DEFAULT_PORTS = {"http": 80, "https": 443}


class SessionCookie:
    """The cookie of an installation that clients reach at `public_url`."""

    def __init__(self, public_url: str) -> None:
        url = urlsplit(public_url.lower())
        self.is_secure = url.scheme == "https"
        usual = DEFAULT_PORTS.get(url.scheme, 0)
        port = url.port or usual
        self._host = url.netloc.removesuffix(f":{usual}")  # the host as browsers name it in Origin
        # Cookies do not know ports, and `__Host-` no paths: two installations on one host must not sign each other out.
        of_port = [] if self.is_secure and port == usual else [str(port)]
        beginning = "__Host-routines" if self.is_secure else "routines"
        self.name = "-".join([beginning, *of_port, *re.findall(r"[a-z0-9]+", url.path)])

    def of(self, token: str, expires_at: datetime | None, now: datetime) -> Cookie:
        """Return the cookie that holds a session until it ends."""
        seconds = None if expires_at is None else max(int((expires_at - now).total_seconds()), 0)
        return self._make_cookie(token, seconds)

    def removed(self) -> Cookie:
        """Return the cookie that makes the browser forget the session."""
        return self._make_cookie("", 0)

    def _make_cookie(self, value: str, seconds: int | None) -> Cookie:
        return Cookie(
            key=self.name, value=value, path="/", httponly=True, samesite="lax", secure=self.is_secure, max_age=seconds
        )

    def token_of(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """
        Return the token in the cookies of a request; None without one that has the form of a token.

        Other services on the same host set cookies as well, in whatever form: they are passed over.
        """
        cookies = (value.decode("latin-1").split(";") for name, value in headers if name.lower() == b"cookie")
        pairs = (cookie.strip().partition("=") for part in cookies for cookie in part)
        return next((value for name, _, value in pairs if name == self.name and tokens.is_well_formed(value)), None)

    def is_same_origin(self, origin: str | None, host: str | None) -> bool:
        """
        Return whether a page of this service sent a post: its origin is the public address, or the one that was called.

        Where the public address has TLS, a page of the same host without it, which anybody on the way can write, is another.
        """
        scheme, _, called_host = (origin or "").lower().partition("://")
        if self.is_secure and (scheme, called_host) == ("http", self._host):
            return False
        return scheme in DEFAULT_PORTS and bool(called_host) and called_host in (self._host, (host or "").lower())


def with_session(app: ASGIApp, cookie: SessionCookie) -> ASGIApp:
    """Return the application in which the session of a request to the board stands in for its bearer token."""

    def handle(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == ScopeType.HTTP and api_of(scope) == "board":
            token = cookie.token_of(scope["headers"])
            if token is not None:
                other_headers = [header for header in scope["headers"] if header[0].lower() != b"authorization"]
                scope["headers"] = [*other_headers, (b"authorization", b"Bearer " + token.encode())]
                scope.setdefault("state", {})[IN_COOKIE] = token
        return app(scope, receive, send)

    return handle


def session_of(scope: Any) -> str | None:
    """Return the token of the session that a request has in its cookie, or None."""
    token: str | None = scope.get("state", {}).get(IN_COOKIE)
    return token


def forgery_token(session: str) -> str:
    """Return the token that every form of a session carries."""
    return hmac.new(session.encode(), b"routines board form", hashlib.sha256).hexdigest()


def is_from_own_form(session: str, token: str | None) -> bool:
    """Return whether a form carries the token of its session."""
    return token is not None and hmac.compare_digest(forgery_token(session).encode(), token.encode())
