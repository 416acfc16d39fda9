"""The list of routines: its filters, its order and its pages. Joins the read models `run_history` and `issues`."""

from collections.abc import Collection
from typing import Annotated
from uuid import UUID

import msgspec

from domain.bounds.limits import DEFAULT
from domain.values import RoutineStatus
from projections.board import issues
from projections.engine.documents import BatchedDocs, Docs, Part, beginning, joined_document, opened_document
from projections.engine.letter_case import fold_case
from projections.engine.table import Connection
from projections.firing import run_history
from projections.responses import RoutineListItem


class Filters(msgspec.Struct, frozen=True, rename="camel"):
    """The filters of a list of routines, as clients give them; None leaves a filter out."""

    status: tuple[RoutineStatus, ...] | None = None
    q: str | None = None  # text in the title or the description, in any case
    assignee_agent_id: UUID | None = None
    project_id: UUID | None = None
    folder_id: UUID | None = None


ALL = Filters()
Text = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00]*\Z")]  # Postgres refuses text with a null character


class RoutinePlace(msgspec.Struct, frozen=True, array_like=True):
    """The place of a routine in the list, which is sorted by these fields."""

    updated_at: Text
    title: Text
    id: UUID


FRONT = RoutinePlace(updated_at="9999", title="", id=UUID(int=0))  # comes before all routines


class SelectedRoutine(msgspec.Struct, frozen=True):
    """A routine that a request selects, with its status."""

    id: UUID
    status: RoutineStatus


NARROWED = """company_id = %(company_id)s AND (%(project_id)s::uuid IS NULL OR project_id = %(project_id)s)
    AND (%(folder_id)s::uuid IS NULL OR (doc->>'folderId')::uuid = %(folder_id)s)
    AND (%(assignee_agent_id)s::uuid IS NULL OR (doc->>'assigneeAgentId')::uuid = %(assignee_agent_id)s)
    AND (%(status)s::text[] IS NULL OR doc->>'status' = ANY(%(status)s))
    AND (%(q)s::text IS NULL
        OR EXISTS (SELECT FROM routine_text t WHERE t.id = routine.id AND strpos(t.folded, %(q)s) > 0))"""
# A RoutineListItem of the row `found` of a query, as text.
LISTED = f"""{joined_document("found.doc", opened_document("(SELECT doc FROM routine_firings WHERE id = found.id)"))}
    || ',"managedByPlugin":null,"triggers":[' || coalesce((
        SELECT string_agg({joined_document(beginning("t.doc", "companyId"), "f.doc")}, ',' ORDER BY position)
        FROM routine_trigger t JOIN trigger_firings f USING (id) WHERE routine_id = found.id), '')
    || '],"lastRun":' || coalesce((
        SELECT {run_history.LINKED} FROM run r WHERE routine_id = found.id ORDER BY position DESC LIMIT 1), 'null')
    || ',"activeIssue":' || coalesce((
        SELECT {issues.SUMMARY} FROM issue i WHERE origin_id = found.id AND is_open ORDER BY changed DESC LIMIT 1), 'null') || '}}'"""
_ONWARD = """updated_at <= %(updated_at)s::text
        AND (updated_at < %(updated_at)s::text OR (title, id) > (%(title)s::text, %(id)s::uuid))
        ORDER BY updated_at DESC, title, id LIMIT %(limit)s"""
# The routines of a page of the list, in its order: what follows WHERE in a query of a table `routine`.
FOUND = f"{NARROWED} AND {_ONWARD}"
LIST = Docs(
    f"SELECT {LISTED} AS doc FROM (SELECT * FROM routine WHERE {FOUND}) found",
    RoutineListItem,
    prepared=False,
)
WHOLE_LIST = Docs(
    f"""SELECT {LISTED} AS doc
    FROM (SELECT * FROM routine WHERE company_id = %(company_id)s AND {_ONWARD}) found""",
    RoutineListItem,
)
LISTS_OF_MANY = BatchedDocs(WHOLE_LIST, company_id="uuid", updated_at="text", title="text", id="uuid", limit="bigint")
_MEANT = Docs(
    f"""SELECT json_build_object('id', id, 'status', doc->>'status') AS doc FROM routine
    WHERE {NARROWED} AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s)) ORDER BY id LIMIT %(limit)s""",
    SelectedRoutine,
    prepared=False,
)


def page(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    company_id: UUID,
    filters: Filters = ALL,
    *,
    after: RoutinePlace | None = None,
    limit: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[RoutineListItem]:
    """
    Return the routines that meet the filters, last changed first, then by title: those after a place, as many as fit.

    Joins the read models `run_history` and `issues`.
    """
    values = values_of_query(company_id, filters, after)
    query = WHOLE_LIST if filters == ALL else LIST
    return query.part(conn, **values | {"limit": limit}, max_bytes=max_bytes)  # type: ignore[arg-type]


def values_of_query(
    company_id: UUID, filters: Filters = ALL, after: RoutinePlace | None = None, limit: int | None = None
) -> dict[str, object]:
    """Return the values for the queries `LIST` and `WHOLE_LIST`."""
    place = msgspec.structs.asdict(after or FRONT)
    status, text = filters.status and list(filters.status), filters.q and fold_case(filters.q)
    values = msgspec.structs.asdict(filters) | {"status": status, "q": text}
    return {"company_id": company_id, **values, **place, "limit": limit}


def select(
    conn: Connection, company_id: UUID, filters: Filters = ALL, *, ids: Collection[UUID] | None = None, limit: int
) -> list[SelectedRoutine]:
    """Return the routines that meet the filters and, if ids are given, have one of these, in the order of ids."""
    values = values_of_query(company_id, filters, limit=limit)
    return _MEANT.all(conn, **values, ids=None if ids is None else list(ids))


def place_of(item: "RoutineListItem | SortFields") -> RoutinePlace:
    """Return the place of an item in the list, after which the next page begins."""
    return RoutinePlace(item.updated_at, item.title, item.id)


class SortFields(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of an item by which the list is sorted."""

    updated_at: str
    title: str
    id: UUID


def place_in(doc: bytes) -> RoutinePlace:
    """Return the place of an item in the list, given its document."""
    return place_of(msgspec.json.decode(doc, type=SortFields))
