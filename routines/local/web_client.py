"""Requests of `routines up` to its own web process: plain HTTP, for which a client of the whole web takes long to import."""

from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

LIMIT_S = 2.0


class WebAnswer(NamedTuple):
    """What the web process has answered."""

    status: int
    text: str


class WebClient:
    """Asks the web process at a URL, over a connection of its own for each request."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def ask(self, method: str, path: str, token: str | None = None) -> WebAnswer | None:
        """Return the answer to a request, or None if there is none, as for a token that no header can hold."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            with closing(HTTPConnection(self._address, timeout=LIMIT_S)) as connection:
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                return WebAnswer(answer.status, answer.read().decode())
        except (OSError, HTTPException, ValueError):
            return None
