"""Handlers are called with what the framework would call them with, whichever of both works out the arguments."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import PermissionDeniedException
from litestar.params import FromPath, FromQuery, HeaderParameter, QueryParameter
from litestar.testing import TestClient

from web.http.errors import to_response
from web.http.path_ids import RoutineId
from web.http.routing import Route, get

ID = "1b6b6a1e-4e0a-4a52-9d2e-54bb0a3bb0a1"


async def name(
    request: Request[Any, Any, Any], asked: Annotated[str | None, HeaderParameter(name="X-Name")] = None
) -> str:
    return f"{asked} at {request.url.path}"


async def greeting(name: NamedDependency[str], q: FromQuery[str | None] = None) -> str:
    return f"hello {name}, {q}"


@get("/routines/{routine_id:str}", operation_id="one")
async def one(routine_id: FromPath[RoutineId], greeting: NamedDependency[str]) -> dict[str, Any]:
    return {"id": routine_id, "kind": type(routine_id).__name__, "greeting": greeting}


@get("/flags", operation_id="flags")
async def flags(
    flag: FromQuery[bool], most: Annotated[str | None, QueryParameter(name="most", max_length=3)] = None
) -> list[Any]:
    return [flag, most]


guarded = list[Any]()


async def guard(_: ASGIConnection[Any, Any, Any, Any], handler: Any) -> None:
    guarded.append(handler)
    if handler.operation_id == "shut":
        raise PermissionDeniedException("It is shut")


@get("/shut", operation_id="shut")
async def shut() -> None:
    raise AssertionError


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    app = Litestar(
        [one, flags, shut],
        dependencies={"name": Provide(name), "greeting": Provide(greeting)},
        guards=[guard],
        exception_handlers={Exception: to_response},
        openapi_config=None,
        logging_config=None,
    )
    with TestClient(app) as asking:
        yield asking


def test_ids_are_made_of_texts_and_dependencies_of_what_they_depend_on(client: TestClient[Litestar]):
    routine = client.get(f"/routines/{ID}", params={"q": "you"}, headers={"x-name": "Ann"}).json()
    assert {"id": ID, "kind": "RoutineId", "greeting": f"hello Ann at /routines/{ID}, you"} == routine


def test_what_is_absent_has_its_default(client: TestClient[Litestar]):
    assert f"hello None at /routines/{ID}, None" == client.get(f"/routines/{ID}").json()["greeting"]


def test_a_malformed_id_is_not_found(client: TestClient[Litestar]):
    answer = client.get("/routines/1b6b")
    assert (404, "Routine not found") == (answer.status_code, answer.json()["error"])


def test_what_has_to_be_converted_or_bounded_is(client: TestClient[Litestar]):
    assert [True, "abc"] == client.get("/flags", params={"flag": "true", "most": "abc"}).json()
    assert 400 == client.get("/flags", params={"flag": "perhaps"}).status_code
    assert 400 == client.get("/flags", params={"flag": "true", "most": "abcd"}).status_code
    assert 400 == client.get("/flags").status_code


def test_a_guard_gets_the_route_and_may_refuse(client: TestClient[Litestar]):
    guarded.clear()
    assert 200 == client.get(f"/routines/{ID}").status_code
    assert (403, "It is shut") == ((refused := client.get("/shut")).status_code, refused.json()["error"])
    assert ["one", "shut"] == [handler.operation_id for handler in guarded]
    assert all(isinstance(handler, Route) for handler in guarded)
