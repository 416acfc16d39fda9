"""Connections over which a client sends as much as it likes, from addresses of its own."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace

from domain.bounds.limits import DEFAULT, Limits
from tests.api import Api
from tests.web.raw_http import split_answers

ID = "11111111-1111-4111-8111-111111111111"
PUBLIC = "/api/routine-triggers/public"

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TRUSTING: dict[str, Any] = {"trusted_proxies": "127.0.0.0/8"}


def limits_with(**fields: int) -> Limits:
    return replace(DEFAULT, **fields)


@contextmanager
def connected_client(api: Api, *, address: str = "127.0.0.1") -> Iterator[socket.socket]:
    url = httpx.URL(api.url)
    with closing(socket.create_connection((url.host, url.port), source_address=(address, 0))) as client:
        client.settimeout(20)
        yield client


def request_head(method: str, path: str, length: int, *lines: str) -> bytes:
    fields = ("Host: routines.example", "Content-Type: application/json", f"Content-Length: {length}", *lines)
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode()


def read_answer(client: socket.socket) -> tuple[int, Any]:
    """Status and error of the one answer, after which we leave."""
    data = client.recv(65_536)
    ((status, headers, body),) = split_answers(data)
    return status, error_of(body) | {"retry": headers.get("retry-after")}


def error_of(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(body)
    return {"error": document.get("error", document.get("detail"))}
