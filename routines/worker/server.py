"""A client of the API: repeats requests while the server is in trouble, and raises refusals."""

import time
from collections.abc import Callable, Iterator, Mapping
from threading import Event as Stop
from typing import Any, TypeVar
from uuid import UUID

import httpx

from routines.worker.errors import CannotWork, MachineNotReady, RequestRefused, Stopped

REQUEST_LIMIT_S = 30.0
TRY_LIMIT_S = 10.0  # time limit of a request that is made again anyway
LONGEST_PAUSE_S = 30.0

T = TypeVar("T")
Say = Callable[[str], None]


class Server:
    """A client with the key of an agent or a collection. Waits out trouble for `patience_s`, and tells `say` of it."""

    def __init__(self, url: str, token: str, *, stop: Stop, say: Say, patience_s: float) -> None:
        self.url = url
        self._stop = stop
        self._say = say
        self._patience_s = patience_s
        self._client = client(url, token)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, method: str, path: str, body: Any = None, *, session: UUID | None = None) -> Any:
        """
        Send a request and return the JSON of its answer. Raises RequestRefused, CannotWork and Stopped.

        Returns None also when the change is recorded but the read models are late, so that the answer cannot be read.
        """
        response = self._send_request(method, path, body, session, {})
        return None if response is None else answer(response)

    def try_once(self, method: str, path: str, body: Any = None, *, session: UUID | None = None) -> Any:
        """
        Send a request and return the JSON of its answer; None when the server is in trouble or slow.

        Raises RequestRefused and CannotWork.
        """
        try:
            response = self._client.request(
                method, path, json=body, headers=_session_header(session), timeout=TRY_LIMIT_S
            )
        except httpx.TransportError:
            return None
        return None if _is_trouble(response) else answer(response)

    def list_rows(self, path: str) -> Iterator[Any]:
        """Yield every row of a list, page after page. Raises as `ask` does."""
        query: dict[str, str] = {}
        while (response := self._send_request("GET", path, None, None, query)) is not None:
            yield from answer(response)
            if not (cursor := response.headers.get("X-Next-Cursor")):
                return
            query = {"cursor": cursor}

    def repeat(self, step: Callable[[], T]) -> T:
        """Return what the step returns, after more tries where it raises MachineNotReady. Raises CannotWork and Stopped."""
        give_up_at = time.monotonic() + self._patience_s
        for pause_s in pauses():
            try:
                return step()
            except MachineNotReady as trouble:
                self._wait(str(trouble), pause_s, give_up_at)
        raise AssertionError

    def _send_request(
        self, method: str, path: str, body: Any, session: UUID | None, query: Mapping[str, str]
    ) -> httpx.Response | None:
        headers = _session_header(session)
        give_up_at = time.monotonic() + self._patience_s
        for pause_s in pauses():
            try:
                response = self._client.request(method, path, json=body, headers=headers, params=query)
            except httpx.TransportError as error:
                trouble = f"{self.url} cannot be reached ({str(error) or type(error).__name__})"
            else:
                if not _is_trouble(response):
                    return response
                if "position" in details(response):  # the change is recorded, only the read model is late
                    return None
                trouble = f"{self.url} is in trouble ({response.status_code}: {message(response)})"
            self._wait(trouble, pause_s, give_up_at)
        raise AssertionError

    def _wait(self, trouble: str, pause_s: float, give_up_at: float) -> None:
        if time.monotonic() + pause_s > give_up_at:
            raise CannotWork(f"{trouble}; giving up")
        self._say(f"{trouble}; the next try is in {pause_s:.0f} s")
        if self._stop.wait(pause_s):
            raise Stopped


def pauses() -> Iterator[float]:
    """Yield pauses of 1, 2, 4, 8 and 16 seconds, then of 30 seconds for ever."""
    pause_s = 1.0
    while True:
        yield pause_s
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


def client(url: str, token: str) -> httpx.Client:
    """Return an HTTP client with the token; it uses no proxy of the environment for a server on this machine."""
    nearby = httpx.URL(url).host in ("localhost", "127.0.0.1", "::1")
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=REQUEST_LIMIT_S, trust_env=not nearby)


def answer(response: httpx.Response) -> Any:
    """Return the JSON of a success, None for 204. Raises RequestRefused, and CannotWork for a bad token or URL."""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise CannotWork(
            f"the server does not take the token (401: {message(response)}); is it the key of an agent, or of a collection?"
        )
    if not response.is_success:
        raise RequestRefused(response.status_code, message(response), details(response))
    if response.status_code == httpx.codes.NO_CONTENT:
        return None
    try:
        return response.json()
    except ValueError:
        raise CannotWork(f"{response.url} answers, but not as Routines does; is the URL right?") from None


def _session_header(session: UUID | None) -> dict[str, str]:
    return {} if session is None else {"X-Paperclip-Run-Id": str(session)}


def _is_trouble(response: httpx.Response) -> bool:
    return response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS


def message(response: httpx.Response) -> str:
    """Return the server's message about an error, as one line."""
    body = _read_body(response)
    return " ".join(str(body.get("error", body.get("detail", response.reason_phrase))).split())


def details(response: httpx.Response) -> dict[str, Any]:
    """Return the `details` of an error, if they are an object; else an empty one."""
    value = _read_body(response).get("details")
    return value if isinstance(value, dict) else {}


def _read_body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
