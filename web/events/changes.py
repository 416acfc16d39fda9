"""The routes of change histories: who changed which field of a routine or a trigger, when and why (our addition)."""

import csv
import io
from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from application.access import Caller
from application.use_cases import change_history
from domain.audit import belonging, sentences
from domain.audit.changes import Change, changes_of
from domain.recorded import Recorded
from projections.audit import feed
from projections.engine.documents import Part
from projections.responses import ResponseBody, time
from web.events.formats import wanted_type
from web.http.backend import Backend
from web.http.media_types import JSON
from web.http.paging import NEXT, Paging, cursor_of, next_page_headers_from, paging, place_of
from web.http.path_ids import RoutineId, TriggerId
from web.http.requests import parse_whole_number
from web.http.routing import get

CSV = "text/csv"
USUAL, MOST = 50, 200  # events of a page
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a text that begins so for a formula
OPTIONS = {"forms": {CSV: {"type": "string"}}}


class FieldChange(ResponseBody, frozen=True, kw_only=True):
    """One field before and after an event, who changed it, and why: what the event did, in a sentence."""

    at: str
    field: str
    before: object
    after: object
    actor: str
    actor_name: str
    why: str
    cause: str | None
    kind: str
    version: int
    position: int


class Changes(Controller):
    """Who changed which field, when and why."""

    tags = ("events",)
    dependencies = {"paging": Provide(paging)}

    @get(
        "/routines/{routine_id:str}/changes",
        operation_id="listRoutineChanges",
        refuses=(403,),
        response_headers=NEXT,
        opt=OPTIONS,
    )
    def of_routine(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        routine_id: FromPath[RoutineId],
    ) -> Response[list[FieldChange]]:
        """
        Returns what was changed of the routine and its triggers, field by field, newest first: the changes of 50 events,
        or of `limit` from 1 to 200. With `Accept: text/csv` it is a table. Whoever sees its revisions may read it.
        Addresses and secrets are not shown.
        """
        history = backend.authorize(caller, change_history.of_routine, routine_id)
        return _answer_history(backend, paging, routine_id, history)

    @get(
        "/routine-triggers/{trigger_id:str}/changes",
        operation_id="listTriggerChanges",
        refuses=(403,),
        response_headers=NEXT,
        opt=OPTIONS,
    )
    def of_trigger(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        trigger_id: FromPath[TriggerId],
    ) -> Response[list[FieldChange]]:
        """Returns what was changed of the trigger, as `listRoutineChanges` does for a routine; also when it is deleted."""
        history = backend.authorize(caller, change_history.of_trigger, trigger_id)
        return _answer_history(backend, paging, trigger_id, history)


def _answer_history(backend: Backend, paging: Paging, id_: UUID, history: Sequence[Recorded]) -> Response[Any]:
    list_name, limit = f"changes of {id_}", parse_whole_number(paging.limit, "limit", USUAL, 1, MOST)
    before = place_of(paging.cursor, list_name, int)
    part = _page_of_changes(
        [change for change in changes_of(history) if before is None or change.recorded.version < before],
        limit,
        backend.limits.max_page_bytes,
    )
    rows = describe_changes(backend, part)
    headers = next_page_headers_from(paging, cursor_of(list_name, part.last)) if part.more else {}
    if wanted_type(paging.request.headers.get("accept", ""), (JSON, CSV)) == CSV:
        return Response(_csv_table(rows), media_type=f"{CSV}; charset=utf-8; header=present", headers=headers)
    return Response(rows, headers=headers)


def _page_of_changes(changes: Sequence[Change], limit: int, max_bytes: int) -> Part[Change]:
    """Return the changes of the newest events: of at most `limit`, and as fit into a page, but at least those of one."""
    by_event = [list(group) for _, group in groupby(reversed(changes), key=lambda change: change.recorded.version)]
    page: list[Change] = []
    size = 0
    for number, group in enumerate(by_event):
        size += len(msgspec.json.encode([(change.field, change.before, change.after) for change in group]))
        if number == limit or (page and size > max_bytes):
            return Part(page, more=True, last=page[-1].recorded.version)
        page += sorted(group, key=lambda change: change.field)
    return Part(page)


def describe_changes(backend: Backend, changes: Sequence[Change]) -> list[FieldChange]:
    """Return changes as clients read them, with who made each and why, in words."""
    events = {change.recorded.version: change.recorded for change in changes}
    where = {version: belonging.belonging_of(recorded) for version, recorded in events.items()}
    ids = set[UUID]().union(*(sentences.named_in(recorded, where[version]) for version, recorded in events.items()))
    with backend.consistent_read(*feed.NAMED_BY) as conn:
        names = feed.names_of(conn, ids)
    return [
        FieldChange(
            at=time(recorded.at),
            field=change.field,
            before=change.before,
            after=change.after,
            actor=recorded.actor,
            actor_name=sentences.doer(recorded.actor, names),
            why=sentences.sentence(recorded, where[recorded.version], names),
            cause=recorded.cause,
            kind=recorded.name,
            version=recorded.version,
            position=recorded.position,
        )
        for change in changes
        for recorded in [change.recorded]
    ]


def _csv_table(rows: Sequence[FieldChange]) -> bytes:
    """Return rows as CSV (RFC 4180). A value that is no text is written as JSON."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(FieldChange.__struct_encode_fields__)
    writer.writerows([_csv_cell(getattr(row, name)) for name in FieldChange.__struct_fields__] for row in rows)
    return table.getvalue().encode()


def _csv_cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text
