"""
What people see of a company at a glance: its routines in the order of their next runs, their last runs, and its numbers.

The queries join the read models `routines`, `triggers_due`, `run_history`, `issues` and `deliveries`; they are bounded by
what a page shows, or count rows of an index.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import cache
from typing import Annotated, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec

from domain.bounds.limits import DEFAULT
from domain.values import RunSource, TriggerKind
from projections.engine.documents import Docs, Part
from projections.engine.table import Connection
from projections.responses import RoutineListItem, RunStatus
from projections.routines import routine_list
from projections.routines.routine_list import Filters

LIST_MODELS = ("routines", "run_history", "issues", "triggers_due")
HOME_MODELS = (*LIST_MODELS, "deliveries")
STRIP = 20  # the runs of a strip
MOST_COUNTED = 10_000
MOST_AN_HOUR = 1_000  # runs of a status and a source
STATUSES, SOURCES = list(get_args(RunStatus)), list(get_args(RunSource))
MOST_SCHEDULES = 20_000  # the most schedules that the grid of coming runs counts
Order = Literal["next", "title", "changed"]
Text = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00]*\Z", max_length=300)]


class ListPlace(msgspec.Struct, frozen=True, array_like=True):
    """The place of a routine in a list: the text of what the list is sorted by, and the routine."""

    key: Text
    id: UUID


class ListedRoutine(msgspec.Struct, frozen=True):
    """A routine of a list, and when its next occurrence comes due; None if none is planned."""

    item: RoutineListItem
    due_at: datetime | None
    key: str  # what the list is sorted by, for the place of the next page


class Bar(msgspec.Struct, frozen=True):
    """A run of a strip: its status, the reason if it was skipped for one or failed, and how long it took, if it has ended."""

    id: UUID
    status: RunStatus
    reason: str | None
    took: timedelta | None


class Schedule(msgspec.Struct, frozen=True, rename="camel"):
    """What says when a schedule fires, as it is stored; many have the same."""

    cron_expression: str | None = None
    timezone: str | None = None
    run_at: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    excluded_dates: tuple[date, ...] = ()


class FoundTrigger(NamedTuple):
    """A trigger that a search has found, with the title of its routine; the label is empty if it has none."""

    id: UUID
    routine_id: UUID
    routine: str
    label: str
    kind: TriggerKind


class Numbers(NamedTuple):
    """Counts of a company, each up to MOST_COUNTED; of runs, those of each source."""

    routines: int
    active: int
    runs: Mapping[str, int]  # by status, since a moment
    overdue: int
    dead_deliveries: int
    open_issues: int


_FOREVER = "'9999-12-31T00:00:00Z'::timestamptz"
_SORTED_BY = {  # the key of each order, the type of the key, and how it is compared with the place before
    "next": (f"coalesce(planned.due_at, {_FOREVER})", "timestamptz", ">", "ASC"),
    "title": ("lower(r.title)", "text", ">", "ASC"),
    "changed": ("r.updated_at", "text", "<", "DESC"),
}
# Conditions that leave out what cannot meet a filter, without reading documents: the text of one is searched for an id, which
# takes a tenth of the time, and only routines that are not active are asked for their status. NARROWED then decides.
_PROMISING = {
    "status": """(SELECT NOT a.active AND r.doc->>'status' = ANY(%(status)s) FROM routine_activity a WHERE a.id = r.id)""",
    "project_id": "r.project_id = %(project_id)s",
    "assignee_agent_id": "strpos(r.doc::text, %(assignee_agent_id)s::uuid::text) > 0",
    "folder_id": "strpos(r.doc::text, %(folder_id)s::uuid::text) > 0",
    "q": """r.id IN (SELECT t.id FROM routine o JOIN routine_text t ON t.id = o.id
        WHERE o.company_id = %(company_id)s AND strpos(t.folded, %(q)s) > 0)""",
}


@cache
def _list_query(order: Order, filters: tuple[str, ...]) -> Docs[ListedRoutine]:
    """Return the query for an order that begins with what these filters leave."""
    key, kind, comparison, direction = _SORTED_BY[order]
    promising = " AND ".join(["r.company_id = %(company_id)s", *(_PROMISING[name] for name in filters)])
    return Docs(
        f"""SELECT json_build_object('item', ({routine_list.LISTED})::json, 'due_at', due_at, 'key', key) AS doc
        FROM (
            -- The order needs no document, so those after the page are not looked into.
            SELECT sorted.*, doc FROM (
                SELECT r.id, planned.due_at, {key} AS key FROM routine r LEFT JOIN (
                    SELECT routine_id, min(due_at) AS due_at FROM schedule
                    WHERE company_id = %(company_id)s AND enabled AND routine_active GROUP BY routine_id
                ) planned ON planned.routine_id = r.id
                WHERE {promising}
                AND (%(id)s::uuid IS NULL OR ({key}, r.id) {comparison} (%(key)s::{kind}, %(id)s::uuid))
                ORDER BY key {direction}, r.id {direction}
            ) sorted, LATERAL (
                SELECT doc FROM routine WHERE routine.id = sorted.id AND {routine_list.NARROWED} LIMIT 1) one
            ORDER BY sorted.key {direction}, sorted.id {direction} LIMIT %(limit)s) found""",
        ListedRoutine,
        prepared=False,
    )


# A label is looked into only where there is one, which tells the text of a document without reading it.
_TRIGGERS = """
    SELECT t.id, r.id, r.title, coalesce(t.doc->>'label', ''), t.doc->>'kind'
    FROM routine r JOIN routine_trigger t ON t.routine_id = r.id
    WHERE r.company_id = %(company_id)s AND (t.id = %(id)s OR strpos(t.doc::text, %(address)s) > 0
        OR strpos(t.doc::text, '"label":null') = 0 AND strpos(lower(t.doc->>'label'), %(text)s) > 0)
    ORDER BY r.title, t.id LIMIT %(limit)s"""
_TITLES = "SELECT id, title FROM routine WHERE company_id = %s AND id = ANY(%s)"
_STRIPS = """
    SELECT r.routine_id, r.id, r.status, r.doc->>'failureReason', r.doc->>'completedAt', r.triggered_at
    FROM unnest(%s::uuid[]) one(id), LATERAL (
        SELECT * FROM run WHERE routine_id = one.id ORDER BY position DESC LIMIT %s) r
    ORDER BY r.position"""
_ACTIVE = """
    SELECT count(*), count(*) FILTER (WHERE a.active) FROM (
        SELECT id FROM routine WHERE company_id = %s LIMIT %s) r JOIN routine_activity a ON a.id = r.id"""
_RUNS = """
    SELECT one_status, sum((SELECT count(*) FROM (
        SELECT FROM run WHERE company_id = %s AND status = one_status AND source = one_source
        AND triggered_at >= %s LIMIT %s) counted))::int
    FROM unnest(%s::text[]) one_status, unnest(%s::text[]) one_source GROUP BY one_status"""
_BY_HOUR = """
    SELECT one_status, sum((SELECT count(*) FROM (
        SELECT FROM run WHERE company_id = %s AND status = one_status AND source = one_source
        AND triggered_at >= hour AND triggered_at < hour + interval '1 hour' LIMIT %s) counted))::int
    FROM unnest(%s::text[]) one_status, unnest(%s::text[]) one_source, generate_series(%s::timestamptz, %s, interval '1 hour') hour
    GROUP BY one_status, hour ORDER BY one_status, hour"""
_OVERDUE = """
    SELECT count(*) FROM (
        SELECT FROM schedule WHERE company_id = %s AND enabled AND routine_active AND due_at < %s LIMIT %s) counted"""
_DEAD = """
    SELECT count(*) FROM (SELECT FROM delivery WHERE company_id = %s AND status = 'dead' LIMIT %s) counted"""
_OPEN = "SELECT count(*) FROM (SELECT FROM issue WHERE company_id = %s AND is_open LIMIT %s) counted"
# Many schedules are alike: what tells them apart is cut out of the text of their documents and counted there, which takes less
# than reading each. No text within a document has a name of a field between quotes that are not escaped.
_SCHEDULES = """
    SELECT '{"cronExpression":' || schedule || '}', count(*) FROM (
        SELECT split_part(split_part(t.doc::text, ',"cronExpression":', 2), ',"companyId":', 1) || ',"runAt":'
            || split_part(split_part(t.doc::text, ',"runAt":', 2), ',"jitterSec":', 1) AS schedule
        FROM schedule s JOIN routine_trigger t ON t.id = s.id
        WHERE s.company_id = %s AND s.enabled AND s.routine_active AND s.due_at IS NOT NULL LIMIT %s) one
    GROUP BY schedule"""


def in_order(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    company_id: UUID,
    filters: Filters,
    order: Order,
    *,
    after: ListPlace | None = None,
    limit: int,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[ListedRoutine]:
    """Return the routines that meet the filters, in an order, after a place. Those without a next run come last."""
    values = routine_list.values_of_query(company_id, filters) | {"key": after and after.key, "id": after and after.id}
    del values["limit"]  # `part` asks for one more
    few = tuple(
        name for name in _PROMISING if values[name] and not (name == "status" and "active" in (filters.status or ()))
    )
    return _list_query(order, few).part(conn, limit=limit, max_bytes=max_bytes, **values)


def titles(conn: Connection, company_id: UUID, routine_ids: Collection[UUID]) -> Mapping[UUID, str]:
    """Return the titles of those of the routines that the company has."""
    return dict(conn.execute(_TITLES, (company_id, list(routine_ids)), prepare=True).fetchall())


def triggers(
    conn: Connection, company_id: UUID, text: str, trigger_id: UUID | None, *, limit: int
) -> Sequence[FoundTrigger]:
    """Return the triggers of a company that have an id, or a text in their label or as the id in the path of their webhook."""
    values = {
        "company_id": company_id,
        "text": text.lower(),
        "id": trigger_id,
        "address": f'"publicId":{msgspec.json.encode(text).decode()}',
        "limit": limit,
    }
    return [FoundTrigger(*row) for row in conn.execute(_TRIGGERS, values)]


def strips(conn: Connection, routine_ids: Collection[UUID]) -> Mapping[UUID, Sequence[Bar]]:
    """Return the last runs of each routine, at most STRIP, oldest first; nothing for one that never ran."""
    bars: dict[UUID, list[Bar]] = {}
    for routine_id, run_id, status, reason, ended_at, began_at in conn.execute(
        _STRIPS, (list(routine_ids), STRIP), prepare=True
    ):
        took = None if ended_at is None else datetime.fromisoformat(ended_at) - began_at
        bars.setdefault(routine_id, []).append(Bar(run_id, status, reason, took))
    return bars


def numbers(conn: Connection, company_id: UUID, since: datetime, late: datetime) -> Numbers:
    """Return the counts of a company: its runs since a moment, and its schedules that were due before `late`."""
    counts = conn.execute(_ACTIVE, (company_id, MOST_COUNTED)).fetchone() or (0, 0)
    with _by_index(conn):
        runs: dict[str, int] = dict(
            conn.execute(_RUNS, (company_id, since, MOST_COUNTED, STATUSES, SOURCES)).fetchall()
        )
    return Numbers(
        routines=counts[0],
        active=counts[1],
        runs=runs,
        overdue=_count(conn, _OVERDUE, company_id, late, MOST_COUNTED),
        dead_deliveries=_count(conn, _DEAD, company_id, MOST_COUNTED),
        open_issues=_count(conn, _OPEN, company_id, MOST_COUNTED),
    )


def runs_by_hour(conn: Connection, company_id: UUID, first: datetime, last: datetime) -> Mapping[str, Sequence[int]]:
    """Return how many runs of a company began in each hour from the first to the last, by status; of each source at most MOST_AN_HOUR."""
    counts: dict[str, list[int]] = {}
    with _by_index(conn):
        rows = conn.execute(_BY_HOUR, (company_id, MOST_AN_HOUR, STATUSES, SOURCES, first, last)).fetchall()
    for status, count in rows:
        counts.setdefault(status, []).append(count)
    return counts


def schedules(conn: Connection, company_id: UUID) -> Counter[Schedule]:
    """Return the enabled schedules of active routines that have a next occurrence, at most MOST_SCHEDULES, with how many are alike."""
    rows = conn.execute(_SCHEDULES, (company_id, MOST_SCHEDULES)).fetchall()
    return Counter({msgspec.json.decode(text, type=Schedule): count for text, count in rows})


@contextmanager
def _by_index(conn: Connection) -> Iterator[None]:
    """
    Let what is counted in the block be found by indexes.

    Postgres does not know which status a pair asks for, and takes all for equally frequent. Where most runs of a company are of
    the last day, it would therefore read all documents once for each pair: seconds instead of milliseconds.
    """
    with conn.transaction():
        conn.execute("SET LOCAL enable_seqscan = off")
        yield


def _count(conn: Connection, query: str, *values: object) -> int:
    row = conn.execute(query, values).fetchone()
    return int(row[0]) if row else 0
