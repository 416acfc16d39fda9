"""
The routines of a company as its list had them at any position of the log: one row for each event of a routine.

It finds the routines that a past page of the list has. What the page shows of them is folded from their events
(projections/audit/as_of.py).
"""

from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

from msgspec.structs import replace

from domain.events import RoutineCreated, RoutineEvent, RoutineRestored, RoutineUpdated
from domain.identity import revision_of
from domain.recorded import Recorded
from domain.values import RoutineSettings, RoutineStatus
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.firing.run_history import ENDLESS
from projections.responses import ResponseBody
from projections.routines import routine_list, routines
from projections.routines.routine_list import Filters, RoutinePlace


class Narrowing(ResponseBody, frozen=True, kw_only=True):
    """What the list is narrowed by, as the document of a routine has it."""

    status: RoutineStatus
    assignee_agent_id: UUID | None
    folder_id: UUID | None


class VersionRow(Row, frozen=True):
    """The place of a routine in the list of its company, from one of its events to the next; the id is the revision's."""

    company_id: UUID
    routine_id: UUID
    since: int  # positions: of the event, and of the next one
    until: int
    updated_at: str
    title: str
    project_id: UUID | None
    doc: Narrowing


VERSION = Table("routine_version", VersionRow)

SCHEMA = """
CREATE TABLE routine_version (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, routine_id uuid NOT NULL, since bigint NOT NULL, until bigint NOT NULL,
    updated_at text NOT NULL, title text NOT NULL, project_id uuid, doc json NOT NULL);
CREATE INDEX ON routine_version (company_id, updated_at DESC, title, routine_id);
"""

_LISTED = f"""SELECT id FROM (
        SELECT routine_id AS id, company_id, updated_at, title, project_id, doc FROM routine_version
        WHERE company_id = %(company_id)s AND since <= %(position)s AND until > %(position)s) routine
    WHERE {routine_list.FOUND}"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event of a routine: it ends the row of the event before, and begins its own."""
    if not isinstance(event := recorded.event, RoutineEvent):
        return
    before = rows.get(VERSION, revision_of(recorded.stream_id, recorded.version - 1)) if recorded.version > 1 else None
    if before is not None:
        rows.put(VERSION, replace(before, until=recorded.position))
    match event:
        case RoutineCreated(settings=settings) | RoutineUpdated(settings=settings) | RoutineRestored(settings=settings):
            filter_fields = _filter_fields(settings)
        case _ if before is not None:
            filter_fields = {"title": before.title, "project_id": before.project_id, "doc": before.doc}
        case _:
            return
    row = VersionRow(
        id=revision_of(recorded.stream_id, recorded.version),
        company_id=recorded.known_company_id,
        routine_id=recorded.stream_id,
        since=recorded.position,
        until=ENDLESS,
        updated_at=routines.updated_at(before.updated_at if before else None, recorded),
        **filter_fields,
    )
    rows.add(VERSION, row)


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Return the key of the row that the event ends, so that it can be fetched before it."""
    return () if recorded.version == 1 else ((VERSION, revision_of(recorded.stream_id, recorded.version - 1)),)


def _filter_fields(settings: RoutineSettings) -> dict[str, Any]:
    doc = Narrowing(status=settings.status, assignee_agent_id=settings.assignee_agent_id, folder_id=settings.folder_id)
    return {"title": settings.title, "project_id": settings.project_id, "doc": doc}


routine_versions = ReadModel(
    name="routine_versions",
    tables=(VERSION,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(get_args(RoutineEvent)),
)


def list_at(  # noqa: PLR0913, PLR0917 the arguments narrow the list
    conn: Connection, company_id: UUID, position: int, filters: Filters, after: RoutinePlace | None, limit: int
) -> list[UUID]:
    """
    Return the routines of a page of the list as it was at a position, in its order, and the one that follows.

    A text to search for is not compared.
    """
    values = routine_list.values_of_query(company_id, filters, after, limit + 1) | {"position": position}
    return [id_ for (id_,) in conn.execute(_LISTED, values, prepare=False)]
