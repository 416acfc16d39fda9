"""Reading of requests to the Jetty API: the caller, the names in the path, bodies of JSON or of form parts."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from litestar.concurrency import sync_to_thread
from litestar.params import FromPath

from application.access import Caller, Principal
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.jetty import RunCreate
from application.use_cases import names
from application.use_cases.jetty import collections
from application.use_cases.names import RoutinePath, TaskPath
from web.http import json_body
from web.http.backend import Backend
from web.http.media_types import FORMS, URL_ENCODED
from web.http.requests import ReadRequest, bearer_token
from web.http.tolerated_fields import tolerated_in
from web.http.unknown_names import shorten
from web.http.validation import invalid, parse

MOST_FIELDS, MOST_ESCAPES = 1_000, 100_000  # of a form; parsing one takes far longer than sending it
OBJECTS = ("init_params", "secret_params")  # parts of a form that hold JSON
MOST_RUNS, USUAL_RUNS = 200, 50


class JettyRequest(ReadRequest):
    """A request whose body is checked against the type that the route declares."""

    async def json(self) -> Any:
        """Return the body as the type that the route declares. Raise Invalid with everything that is wrong with it."""
        field, body = self.route_handler.parsed_data_field, await self.body()
        shape: Any = object if field is None else field.annotation
        return await json_body.read_aside(len(body), lambda: parse(shape, self._read(body)))

    def _read(self, body: bytes) -> object:
        """Return the JSON value of a body. Raise Invalid."""
        if not json_body.is_announced(self.headers.get("content-type", "application/json")):
            raise invalid("Content-Type must be application/json in UTF-8")
        try:
            return json_body.read(body)
        except json_body.Unsound as unsound:
            raise invalid(str(unsound), *unsound.path) from unsound

    async def run(self) -> RunCreate:
        """Return the body of a call, which is JSON or a form; files in it are dropped. Raise Invalid."""
        kind, body = self.headers.get("content-type", "").lower(), await self.body()
        if not kind.startswith(FORMS):
            return await json_body.read_aside(len(body), lambda: parse(RunCreate, self._read(body)))
        if kind.startswith(URL_ENCODED):  # the framework would cache it, whatever its size
            return await json_body.read_aside(len(body), lambda: _run_of(_url_encoded(body)))
        form = await self.form()
        return await json_body.read_aside(len(body), lambda: _run_of(list(form.items())))


async def caller(request: JettyRequest) -> Caller:
    """Return the caller of a request, which has a bearer token and no work session. It is a dependency."""
    return Caller(token=bearer_token(request), by_jetty=True)


async def known_first(request: JettyRequest) -> None:
    """Check the credential and the names in the path before the body is checked (Jetty contract 1)."""
    backend: Backend = request.app.state.backend
    asking = await caller(request)
    await sync_to_thread(backend.authorize, asking, _check_reachable, dict(request.path_params))


async def task_path(collection: FromPath[str], task: FromPath[str]) -> TaskPath:
    """Return the task that a path names. It is a dependency."""
    return TaskPath(collection=collection, task=task)


async def routine_path(collection: FromPath[str], task: FromPath[str], name: FromPath[str]) -> RoutinePath:
    """Return the routine that a path names. It is a dependency."""
    return RoutinePath(collection=collection, task=task, name=name)


def limit_of(text: str | None) -> int:
    """Return the `limit` of a query: USUAL_RUNS if absent, MOST_RUNS at most. Raise Invalid."""
    if text is None:
        return USUAL_RUNS
    if not (text.isascii() and text.isdigit()) or int(text[:9]) < 1:
        raise invalid("limit must be a positive integer", "limit")
    return min(int(text[:9]), MOST_RUNS)


def number_of(text: str) -> int:
    """Return the number that a path names, or 0, which no row has, for a text that is not a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0  # noqa: PLR2004 digits of a bigint


def _check_reachable(work: UnitOfWork, principal: Principal, fields: dict[str, Any]) -> None:
    collection, task, name = (fields.get(part) for part in ("collection", "task", "name"))
    if collection is not None and task is not None and name is not None:
        names.routine(work, principal, RoutinePath(collection=collection, task=task, name=name))
    elif collection is not None and task is not None:
        names.task(work, principal, TaskPath(collection=collection, task=task))
    elif collection is not None:
        collections.enter(work, principal, collection)


def _url_encoded(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form. Raise Invalid if it has too many fields or escapes."""
    if body.count(b"&") >= MOST_FIELDS or body.count(b"%") > MOST_ESCAPES:
        raise invalid(
            f"A form must have at most {MOST_FIELDS} fields and {MOST_ESCAPES} escapes; a JSON body may be larger"
        )
    return parse_qsl(body.decode("latin-1"), keep_blank_values=True)


def _run_of(form: Sequence[tuple[str, object]]) -> RunCreate:
    """Return the body of a call from the fields of a form. Raise Invalid, also for one that has an effect and is given twice."""
    counts, ignored_names = Counter(name for name, _ in form), tolerated_in(RunCreate).ignored
    if repeated := next((name for name in counts.keys() - ignored_names if counts[name] > 1), None):
        raise invalid(f"{shorten(repeated)} must be given once", shorten(repeated))
    fields: dict[str, object] = {}
    for name, value in form:
        if name in OBJECTS:
            fields[name] = _read_object(name, value)
        elif name == "use_trial_keys":
            fields[name] = str(value).lower() == "true"
        elif name not in RunCreate.__struct_fields__ or value != "":  # an empty field is an absent one
            fields[name] = value
    return parse(RunCreate, fields)


def _read_object(name: str, value: object) -> object:
    try:
        return json_body.read(str(value).encode())
    except json_body.Unsound as unsound:
        raise invalid(f"{name} must be a JSON object: {unsound}", name) from unsound
