"""Routines that call a task, as Jetty's clients read them. Those that open issues are in routines/routines.py."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from domain.disclosure import MASK
from domain.events import RoutineCreated, RoutineRestored, RoutineUpdated, RunFired
from domain.jetty import cadence, task_call
from domain.recorded import Recorded
from domain.values import Cadence, ConcurrencyPolicy, RoutineSettings, Started, TaskCall
from projections.engine.documents import Docs, Part
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.jetty.responses import CadenceRead, ResponseBody, RoutineRead, time_or_none

OVERLAP: dict[ConcurrencyPolicy, str] = {
    "skip_if_active": "skip",
    "coalesce_if_active": "coalesce",
    "always_enqueue": "allow",
    "cancel_previous": "cancel",
}


class CallFields(ResponseBody, frozen=True, kw_only=True):
    """The call of a routine: when it recurs, its parameters, its callback, and the names of its secrets."""

    name: str
    cadence: Cadence
    overrides: dict[str, Any]
    secrets: tuple[str, ...]  # their names
    webhook_url: str | None
    is_signed: bool
    paused: bool
    overlap_policy: str


class CallRow(Row, frozen=True):
    """A routine that calls a task and is not archived."""

    company_id: UUID
    task_id: UUID
    number: int
    last_run_at: datetime | None
    doc: CallFields


CALL = Table("task_call", CallRow)

SCHEMA = """
CREATE TABLE task_call (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, task_id uuid NOT NULL, number bigint NOT NULL,
    last_run_at timestamptz, doc json NOT NULL);
CREATE INDEX ON task_call (company_id, number);
CREATE INDEX ON task_call (task_id, number);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the rows of routines that call a task; other routines have no row."""
    id_ = recorded.stream_id
    match recorded.event:
        case RoutineCreated(settings=RoutineSettings(call=TaskCall() as call) as settings):
            rows.put(CALL, _call_row(recorded, call, settings))
        case (
            RoutineUpdated(settings=RoutineSettings(call=TaskCall() as call) as settings)
            | RoutineRestored(settings=RoutineSettings(call=TaskCall() as call) as settings)
        ):
            if settings.status == "archived":
                rows.delete(CALL, id_)
            else:
                rows.change(CALL, id_, lambda row: replace(row, doc=_call_fields(call, settings)))
        case RunFired(routine_id=routine_id, outcome=Started()):
            rows.change(CALL, routine_id, lambda row: replace(row, last_run_at=recorded.at))
        case _:
            pass


def _call_row(recorded: Recorded, call: TaskCall, settings: RoutineSettings) -> CallRow:
    return CallRow(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        task_id=call.task_id,
        number=recorded.position,
        last_run_at=None,
        doc=_call_fields(call, settings),
    )


def _call_fields(call: TaskCall, settings: RoutineSettings) -> CallFields:
    return CallFields(
        name=call.name,
        cadence=call.cadence,
        overrides=call.overrides,
        secrets=call.secrets.names if call.secrets else (),
        webhook_url=call.callback.url if call.callback else None,
        is_signed=call.callback is not None and call.callback.secret_id is not None,
        paused=settings.status == "paused",
        overlap_policy=OVERLAP[settings.concurrency_policy],
    )


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the key of the row that `fold` will change, so that it can be fetched before it."""
    match recorded.event:
        case RoutineUpdated() | RoutineRestored():
            yield CALL, recorded.stream_id
        case RunFired(routine_id=routine_id, outcome=Started()):
            yield CALL, routine_id
        case _:
            pass


calls = ReadModel(
    name="calls",
    version=1,
    tables=(CALL,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({RoutineCreated, RoutineUpdated, RoutineRestored, RunFired}),
)


class RoutineWithCall(msgspec.Struct):
    """A routine with its task and collection, from the read models of those."""

    number: int
    last_run_at: datetime | None
    call: CallFields
    task_name: str
    workflow: dict[str, Any]  # only its `init_params`
    collection_name: str

    def read_routine(self, now: datetime) -> RoutineRead:
        """Return the routine as clients read it now: `next_run_at` is after `now`, or None while it is paused."""
        call = self.call
        warnings = task_call.warnings(call.overrides, self.workflow, self.task_name)
        return RoutineRead(
            id=self.number,
            name=call.name,
            task_name=self.task_name,
            collection_name=self.collection_name,
            cadence=CadenceRead.of(call.cadence),
            init_params_overrides=call.overrides,
            secret_params=dict.fromkeys(call.secrets, MASK),
            webhook_url=call.webhook_url,
            webhook_secret=MASK if call.is_signed else None,
            paused=call.paused,
            last_run_at=time_or_none(self.last_run_at),
            next_run_at=None if call.paused else time_or_none(cadence.next_after(call.cadence, now)),
            overlap_policy=call.overlap_policy,
            warnings=warnings or msgspec.UNSET,
        )


_FOUND = """
    SELECT json_build_object('number', r.number, 'last_run_at', r.last_run_at, 'call', r.doc, 'task_name', t.name,
        'workflow', json_build_object('init_params', t.doc->'workflow'->'init_params'), 'collection_name', c.doc->>'name') AS doc,
        r.number
    FROM task_call r JOIN task t ON t.id = r.task_id JOIN collection c ON c.id = r.company_id WHERE"""
_AFTER = "(%(after)s::bigint IS NULL OR r.number > %(after)s) ORDER BY r.number"
_OF_COLLECTION = Docs(f"{_FOUND} r.company_id = %(company_id)s AND {_AFTER}", RoutineWithCall, sorted_by="number")
_OF_TASK = Docs(f"{_FOUND} r.task_id = %(task_id)s AND {_AFTER}", RoutineWithCall, sorted_by="number")
_ONE = Docs(f"{_FOUND} r.id = %(id)s", RoutineWithCall)


def of_collection(
    conn: Connection,
    company_id: UUID,
    now: datetime,
    *,
    after: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[RoutineRead]:
    """
    Return the routines of a collection, oldest first, after a number.

    Joins the read models `tasks` and `collections`, as all queries of this module do.
    """
    rows = _OF_COLLECTION.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)
    return rows.of(row.read_routine(now) for row in rows)


def of_task(
    conn: Connection,
    task_id: UUID,
    now: datetime,
    *,
    after: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[RoutineRead]:
    """Return the routines that call a task, oldest first, after a number."""
    rows = _OF_TASK.part(conn, task_id=task_id, after=after, max_bytes=max_bytes)
    return rows.of(row.read_routine(now) for row in rows)


def one(conn: Connection, id_: UUID, now: datetime) -> RoutineRead | None:
    """Return the routine with this id if it calls a task and is not archived, else None."""
    row = _ONE.one(conn, id=id_)
    return None if row is None else row.read_routine(now)
