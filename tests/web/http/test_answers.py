"""Answers made in one step are those that the framework would make."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from litestar import Litestar, Response, get
from litestar.datastructures import Cookie
from litestar.params import FromPath
from litestar.testing import TestClient

from web.http.answers import Answer
from web.http.path_ids import RunId

ID = "1b6b6a1e-4e0a-4a52-9d2e-54bb0a3bb0a1"


class Thing(msgspec.Struct, rename="camel"):
    """About as much as an answer has: an id, also one from a path, a moment, and a text that is no ASCII."""

    thing_id: UUID
    run_id: RunId
    made_at: datetime
    text: str = "é"


THING = Thing(UUID(ID), RunId(ID), datetime(2026, 3, 2, tzinfo=UTC))
MADE: dict[str, dict[str, Any]] = {
    "value": {"content": THING},
    "list": {"content": [THING], "headers": {"X-Position": "7"}, "status_code": 202},
    "bytes": {"content": b"[1]", "headers": {"X-Name": "Ann"}},
    "nothing": {"content": None, "status_code": 204},
    "null": {"content": None},
    "text": {"content": "plain", "media_type": "text/plain"},
    "json_text": {"content": "[2]"},
    "cookie": {"content": [1], "cookies": [Cookie("a", "b")]},
}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    @get("/{kind:str}/{name:str}")
    async def made(kind: FromPath[str], name: FromPath[str]) -> Response[Any]:
        return (Answer if kind == "ours" else Response)(**MADE[name])

    @get("/data")
    async def data() -> Thing:
        return THING

    with TestClient(Litestar([made, data], response_class=Answer, openapi_config=None)) as asking:
        yield asking


@pytest.mark.parametrize("name", MADE)
def test_an_answer_is_what_the_framework_would_send(client: TestClient[Litestar], name: str):
    ours, framework = (client.get(f"/{kind}/{name}") for kind in ("ours", "framework"))
    assert (framework.status_code, framework.content) == (ours.status_code, ours.content)
    assert framework.headers.multi_items() == ours.headers.multi_items()


def test_what_a_handler_returns_by_itself_is_json(client: TestClient[Litestar]):
    answer = client.get("/data")
    assert "application/json" == answer.headers["content-type"]
    assert {"thingId": ID, "runId": ID, "madeAt": "2026-03-02T00:00:00Z", "text": "é"} == answer.json()
