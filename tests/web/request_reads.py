"""What the application reads of a request, noted while it reads: the names of headers, and whether its body."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Request
from litestar.datastructures import Headers

from tests.web.described_apis import DescribedApi
from web.http.requests import ReadRequest
from web.openapi.description import Operation

# What the security scheme, the media types of a body, or any HTTP message says.
PROTOCOL = {
    *("accept", "authorization", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"),
    *("traceparent", "tracestate"),
}


class Reads:
    """What is read of the requests that the application takes: names of headers in lower case, and bodies."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.headers = set[str]()
        self.body = False
        for name in ("__contains__", "__getitem__", "get", "getall"):
            patch.setattr(Headers, name, self._noting_name(getattr(Headers, name)), raising=False)
        for name in ("body", "stream", "form"):
            patch.setattr(Request, name, self._noting_body(getattr(Request, name)))
        patch.setattr(ReadRequest, "raw_body", self._noting_body(ReadRequest.raw_body))

    def _noting_name(self, read: Any) -> Any:
        def noted(headers: Headers, name: str, *default: Any) -> Any:
            self.headers.add(name.lower())
            return read(headers, name, *default)

        return noted

    def _noting_body(self, read: Any) -> Any:
        def noted(request: Any) -> Any:
            self.body = True
            return read(request)

        return noted

    def named(self, raw: bytes) -> bytes:
        """The name of a header that notes the names with which it is compared."""
        return ComparedBytes(raw).noting(self.headers)


class ComparedBytes(bytes):
    """Notes what it is compared with, and so does what is made of it."""

    def noting(self, names: set[str]) -> "ComparedBytes":
        self.names = names
        return self

    def lower(self) -> "ComparedBytes":
        return ComparedBytes(super().lower()).noting(self.names)

    def decode(self, *args: Any, **kwargs: Any) -> str:
        return ComparedText(super().decode(*args, **kwargs)).noting(self.names)

    def __eq__(self, other: object) -> bool:
        if type(other) is bytes:
            self.names.add(other.decode("latin-1").lower())
        return super().__eq__(other)

    __hash__ = bytes.__hash__


class ComparedText(str):
    """The same for text."""

    __slots__ = ("names",)

    def noting(self, names: set[str]) -> "ComparedText":
        self.names = names
        return self

    def lower(self) -> "ComparedText":
        return ComparedText(super().lower()).noting(self.names)

    def __eq__(self, other: object) -> bool:
        if type(other) is str:
            self.names.add(other.lower())
        return super().__eq__(other)

    __hash__ = str.__hash__


def reads_of(
    described: DescribedApi, one: Operation, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[set[str], bool]:
    """
    The names of the headers that an operation reads, those of the protocol left out, and whether it reads the body.

    It is sent the body, or the one of its example.
    """
    if body is None and (examples := list(described.examples.requests.get(one.id, {}).values())):
        body = msgspec.json.encode(examples[0])
    if body is not None:
        headers = {**headers, "Content-Type": "application/json"}
    with pytest.MonkeyPatch.context() as patch:
        reads = Reads(patch)

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            named = [(reads.named(name), value) for name, value in scope["headers"]]
            read_scope: Any = {**scope, "headers": named}
            await described.asgi(read_scope, receive, send)

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=watched)
            async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
                return await client.request(one.method, path, headers=headers, content=body)

        answer = asyncio.run(send())
    assert answer.status_code < 500, answer.text
    return reads.headers - PROTOCOL, reads.body


def told_by(one: Operation) -> tuple[set[str], bool]:
    """The same, as the description says it."""
    headers = {parameter["name"].lower() for parameter in one.document["parameters"] if parameter["in"] == "header"}
    return headers, "requestBody" in one.document
