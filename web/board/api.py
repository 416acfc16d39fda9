"""
The API as the board calls it: in this process, as the user, through the same routes, checks and answers as any client.

So a page knows nothing that the API does not tell its user, and does nothing that it would refuse. Paths below `/v1` are
those of the Jetty API.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import unquote, urlencode

import msgspec
from litestar import Response
from litestar.types import ASGIApp, HTTPRequestEvent, Message, Receive, ReceiveMessage, Scope, Send

from application.event_store.stream_cache import StreamCache
from application.event_store.unit_of_work import SHARED_STREAMS, UNCHANGED_SINCE
from web.board.sentences import FILL_IN, field_of, plain
from web.http import json_body
from web.http.backend import POSITION_HEADER
from web.http.requests import DECODED_BODY

ABSENT = ("null", "undefined")  # how the API calls what was not given
FORBIDDEN = 403
REFUSED = 400  # the first status of a refusal
NOT_FOUND = 404
UNPROCESSABLE = 422
HELD = "Nothing is saved yet, since this form is of an earlier session. Look at it, and send it again."
HELD_BUTTON = (
    "You have signed in again since that page was opened, so nothing was changed. Open it again and repeat it."
)
OF_A_FILE = (b"content-type", b"content-disposition", b"cache-control")  # what is kept of the headers of a file
POSITION = POSITION_HEADER.lower().encode()
BODY = "body"  # how the Jetty API calls a body as a whole
Query = Mapping[str, Any]


class ApiRefusal(Exception):
    """The API has refused a call: its status, its sentence, and what is wrong with which field."""

    def __init__(self, status: int, message: str, details: Any, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.headers = headers

    def by_field(self, fields: Collection[str] = ()) -> dict[str, str]:
        """
        Return the message for each field that is wrong, by its path with dots; those without a field under ''.

        A message about the whole may speak of one of the `fields` of the form: then it is of that one.

        Raise the refusal itself for a missing right: no field is at fault, and the page may not have the form any more.
        """
        if self.status == FORBIDDEN:
            raise self
        issues = self.details if isinstance(self.details, list) else []
        messages: dict[str, str] = {}
        for issue in issues or [{}]:
            text = FILL_IN if issue.get("received") in ABSENT else str(issue.get("message", self.message))
            name = ".".join(str(step) for step in issue.get("path", [])) or field_of(text, fields)
            messages.setdefault(name, plain(text))
        return messages


class Held(ApiRefusal):
    """Nothing is changed, since the form that asks for it is of another session."""

    def __init__(self) -> None:
        super().__init__(UNPROCESSABLE, HELD, None, {})


class Answer(msgspec.Struct, frozen=True):
    """What the API has answered: the JSON, and the cursor of the next page of a list."""

    value: Any
    next_cursor: str | None


class Api:
    """Calls of the API in the name of one request's user."""

    def __init__(self, app: ASGIApp, scope: Any) -> None:
        self._app = app
        self._scope = scope
        self.is_held = False  # nothing is to be changed: the form that asks for it is of another session
        self._streams = StreamCache()

    @contextmanager
    def unchanged_since(self, position: int) -> Iterator[None]:
        """Let the API refuse what would change something that has changed after a position of the log, with 412."""
        before = UNCHANGED_SINCE.set(position)
        try:
            yield
        finally:
            UNCHANGED_SINCE.reset(before)

    @contextmanager
    def share_streams(self) -> Iterator[None]:
        """
        Let questions rest on the keys, members and companies that were read for this page before.

        Otherwise each reads them anew, a moment later. What changes something reads them again, and so does what comes after it.
        """
        before = SHARED_STREAMS.set(self._streams)
        try:
            yield
        finally:
            SHARED_STREAMS.reset(before)

    async def get(self, path: str, query: Query | None = None) -> Any:
        """Return the JSON of a GET. Raise ApiRefusal."""
        return (await self.call("GET", path, query=query)).value

    async def get_or_none(self, path: str) -> Any:
        """Return the JSON of a GET; None for what there is not. Raise ApiRefusal for any other refusal."""
        try:
            return await self.get(path)
        except ApiRefusal as refusal:
            if refusal.status != NOT_FOUND:
                raise
            return None

    async def page(self, path: str, query: Query | None = None) -> Answer:
        """Return a page of a list. Raise ApiRefusal."""
        return await self.call("GET", path, query=query)

    async def text(self, path: str) -> str:
        """Return the text of a GET of an operation that answers with one. Raise ApiRefusal."""
        status, headers, content = await self._send("GET", f"/api{path}", b"", "")
        if status >= REFUSED:
            raise _read_refusal(status, msgspec.json.decode(content), headers)
        return content.decode()

    async def post(self, path: str, body: object = None) -> Any:
        """Return the JSON of a POST. Raise ApiRefusal."""
        return (await self.call("POST", path, {} if body is None else body)).value

    async def patch(self, path: str, body: object, query: Query | None = None) -> Any:
        """Return the JSON of a PATCH. Raise ApiRefusal."""
        return (await self.call("PATCH", path, body, query=query)).value

    async def delete(self, path: str, query: Query | None = None) -> Any:
        """Return the JSON of a DELETE, None if it has none. Raise ApiRefusal."""
        return (await self.call("DELETE", path, query=query)).value

    async def call(self, method: str, path: str, body: object = None, *, query: Query | None = None) -> Answer:
        """Call an operation and return its answer. Raise ApiRefusal for any that is no success."""
        if self.is_held and method != "GET":
            raise Held
        try:
            content = b"" if body is None else msgspec.json.encode(body)
        except OverflowError as error:
            raise ApiRefusal(400, "A number in it is too large", None, {}) from error
        status, headers, text = await self._send(method, f"/api{path}", content, _query(query or {}))
        value = msgspec.json.decode(text) if text else None
        if status >= REFUSED:
            raise _read_refusal(status, value if isinstance(value, dict) else {}, headers)
        return Answer(value, headers.get("x-next-cursor"))

    def file(self, path: str, query: Query) -> Response[Any]:
        """Return the answer that passes a file of the API on while it is written; one that has a next file goes on with that."""
        return FilesOfApi(self, path, query)

    async def pass_on(self, path: str, query: Query, receive: Receive, send: Send) -> None:
        """Let the API answer a GET to another reader than this program, until they leave."""
        has_begun = False

        async def receive_departure() -> Any:
            nonlocal has_begun
            if has_begun:
                return await receive()
            has_begun = True
            return HTTPRequestEvent(type="http.request", body=b"", more_body=False)

        await self._app(self._scope_of("GET", f"/api{path}", _query(query), {}), receive_departure, send)

    async def _send(self, method: str, path: str, content: bytes, query: str) -> tuple[int, dict[str, str], bytes]:
        state: dict[str, Any] = {}
        if content:
            try:
                state[DECODED_BODY] = json_body.read(content)
            except json_body.Unsound as unsound:
                raise ApiRefusal(400, str(unsound), None, {}) from unsound
        answer = _Received()
        with self.share_streams() if method == "GET" else nullcontext():
            await self._app(self._scope_of(method, path, query, state), _receive_body(content), answer.send)
        if method != "GET":
            self._streams.clear()
        return answer.status, answer.headers, b"".join(answer.parts)

    def _scope_of(self, method: str, path: str, query: str, state: dict[str, Any]) -> Any:
        authorization = [header for header in self._scope["headers"] if header[0].lower() == b"authorization"]
        return {
            "type": "http",
            "asgi": self._scope["asgi"],
            "http_version": "1.1",
            "method": method,
            "scheme": self._scope["scheme"],
            # An escaped slash stays part of a name instead of splitting the path.
            "path": unquote(path.replace("%2F", "%252F")),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), *authorization],
            "client": self._scope.get("client"),
            "server": self._scope.get("server"),
            "state": state,
        }


class FilesOfApi(Response[Any]):
    """The file with which the API answers a GET, followed by those that its answer leads to, as one file."""

    def __init__(self, api: Api, path: str, query: Query) -> None:
        super().__init__(None)
        self._api, self._path, self._query = api, path, query

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Return what sends the file."""
        return self._send

    async def _send(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file. Raise ApiRefusal if the API refuses it, or, when a part is sent already, cut the reader off."""
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        part, query = _FilePart(send, headers), self._query
        await self._api.pass_on(self._path, query, receive, part.send)
        while part.is_complete and part.position is not None:
            part, query = _FilePart(send, None), {**query, "after": part.position}
            await self._api.pass_on(self._path, query, receive, part.send)
        if part.is_complete:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _FilePart:
    """Passes a file on: with its headers if it is the first one (`headers`), else without the line that names the columns."""

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]] | None) -> None:
        self._send, self._headers = send, headers
        self._refusal: _Received | None = None
        self._is_head_to_skip = False
        self.is_complete = False  # it has been sent to its end
        self.position: str | None = None  # after which the next file begins, if there is one

    async def send(self, message: Message) -> None:
        """Pass a message on. Raise ApiRefusal when the whole of a refusal is there."""
        if message["type"] == "http.response.start" and message["status"] >= REFUSED:
            self._refusal = _Received()
        if self._refusal is not None:
            await self._refuse(self._refusal, message)
        elif message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body":
            body = self._without_head(message["body"])
            self.is_complete = not message.get("more_body", False)
            if body:
                await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _refuse(self, refusal: "_Received", message: Message) -> None:
        await refusal.send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            raise _read_refusal(refusal.status, msgspec.json.decode(b"".join(refusal.parts)), refusal.headers)

    async def _begin(self, message: Any) -> None:
        headers = {name.lower(): value for name, value in message["headers"]}
        self.position = headers[POSITION].decode() if b"link" in headers else None
        if self._headers is None:
            self._is_head_to_skip = headers[b"content-type"].startswith(b"text/csv")
        else:
            file_headers = [(name, value) for name, value in headers.items() if name in OF_A_FILE]
            await self._send({"type": "http.response.start", "status": 200, "headers": [*file_headers, *self._headers]})

    def _without_head(self, body: bytes) -> bytes:
        """Return what is left of a chunk without the line that names the columns, if that is not over yet."""
        if not self._is_head_to_skip:
            return body
        _, end, rest = body.partition(b"\n")
        self._is_head_to_skip = not end
        return rest


def _read_refusal(status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> ApiRefusal:
    """Return what an API has said, in the form of the Paperclip API; the Jetty API says it in a `detail`."""
    details: list[dict[str, Any]] | None = None
    match problem:
        case {"error": message}:
            details = problem.get("details")
        case {"detail": {"message": message, "field": field}} if field != BODY:
            details = [{"path": field.split("."), "message": message.removeprefix(f"{field}: ")}]
        case {"detail": [_, *_] as issues}:
            details = [_convert_issue(issue) for issue in issues]
            message = details[0]["message"]
        case {"detail": {"message": message}} | {"detail": message}:
            pass
        case _:
            message = "The request was refused"
    return ApiRefusal(status, str(message), details, headers)


def _convert_issue(issue: Mapping[str, Any]) -> dict[str, Any]:
    received_field = {"received": ABSENT[0]} if issue["msg"] == "is required" else {}
    return {"path": list(issue["loc"][1:]), "message": issue["msg"], **received_field}


class _Received:
    def __init__(self) -> None:
        self.status = 500
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self.parts.append(message["body"])


def _receive_body(content: bytes) -> Any:
    async def receive() -> ReceiveMessage:
        return HTTPRequestEvent(type="http.request", body=content, more_body=False)

    return receive


def _query(query: Query) -> str:
    return urlencode({name: value for name, value in query.items() if value not in (None, "")})
