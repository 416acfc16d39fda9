"""
What clients read as it was at an earlier position of the log.

A read model is a fold, so what a query finds at a position is what it finds in the rows that the events up to there
give. For one thing these are few. So the streams on which an answer rests are read from the log up to the position and
folded in memory, by the folds of the read models; and the queries of today then run on these rows, which stand before
them as common table expressions that have the names of the tables. No rule is written a second time, nothing is stored.

Which streams an answer rests on is found in today's rows, by columns that never change (which routine a run is of, which
issue it opened) and by what cannot have been different then (an issue that has not changed since). Too many streams
rather than too few are chosen: the query leaves out what does not belong to its answer.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar, cast, get_args
from uuid import UUID

from msgspec import json
from msgspec.structs import asdict
from psycopg.sql import SQL, Composable, Composed, Identifier, Placeholder

from domain.errors import ImpossibleHistory, Oversized
from domain.events import NAMES as STORED_AS
from domain.events import IssueOpened, RoutineTriggerAdded
from domain.recorded import Recorded
from projections import responses
from projections.board import issues
from projections.board.directory import directory
from projections.board.issues import ISSUE, NUMBERING, NumberingRow
from projections.engine.documents import Part
from projections.engine.letter_case import fold_case
from projections.engine.rows import Rows
from projections.engine.rows_in_memory import RowsInMemory
from projections.engine.table import Connection, Table
from projections.firing import run_history
from projections.firing.run_history import ENDLESS
from projections.responses import RoutineDetail, RoutineListItem, RunStatus, RunSummary
from projections.routines import routine_list, routine_versions, routines
from projections.routines.routine_list import RoutinePlace
from projections.routines.routines import RECENT_RUNS, ROUTINE

MODELS = (routines.routines, run_history.run_history, issues.issues, directory)
# What today's rows must show: the log up to the position.
NAMES = ("event_index", "issues", "routine_versions", "routines", "run_history")
TABLES = tuple(table for model in MODELS for table in model.tables)
ADDED = STORED_AS[RoutineTriggerAdded]
WORD = re.compile(r"\w+")
MOST_AT_ONCE = 500  # candidates of a list that are loaded in one go after the first ones
NO_REFUSALS = SQL("webhook_refusals AS (SELECT * FROM webhook_refusals LIMIT 0)")  # a refused call leaves no event
P = TypeVar("P")  # a place in a list
Stored = tuple[UUID, int, str, bytes, int]  # an event: its stream, version, name, body and position
Decode = Callable[[Sequence[Stored]], Sequence[Recorded]]

_EVENTS = """
    SELECT stream_id, version, name, body, position FROM (
        SELECT e.*, sum(octet_length(body)) OVER (ROWS UNBOUNDED PRECEDING) - octet_length(body) AS bytes_before
        FROM unnest(%(ids)s::uuid[]) s(id), LATERAL (
            SELECT * FROM log.events WHERE stream_id = s.id AND position <= %(position)s ORDER BY version LIMIT %(most)s) e
        LIMIT %(most)s) found
    WHERE bytes_before < %(most_bytes)s"""
_NUMBERS = "SELECT id, identifier, (doc->>'issueNumber')::int FROM issue WHERE id = ANY(%s)"
# Who looks for the triggers of a routine looks at its whole stream: a trigger is there before the routine says so.
_ADDED = "SELECT stream_id, version, name, body, position FROM log.events WHERE stream_id = ANY(%s) AND name = %s"
# The newest firing of each trigger, and of each schedule the newest one from which it goes on (RunFired.is_scheduled).
_LAST_OF_TRIGGERS = """
    SELECT f.stream_id FROM unnest(%(triggers)s::uuid[]) t(id), LATERAL (
        SELECT stream_id FROM event WHERE trigger_id = t.id AND name = 'run.fired' AND position <= %(position)s
        ORDER BY position DESC LIMIT 1) f
    UNION SELECT f.stream_id FROM unnest(%(schedules)s::uuid[]) t(id), LATERAL (
        SELECT stream_id FROM event e JOIN run r ON r.id = e.stream_id
        WHERE e.trigger_id = t.id AND e.name = 'run.fired' AND e.position <= %(position)s
            AND r.doc->>'plannedAt' IS NOT NULL AND r.doc->>'backfillId' IS NULL
        ORDER BY e.position DESC LIMIT 1) f"""
# The newest runs of each routine, and the newest one that has an issue.
_LAST_OF_ROUTINES = """
    SELECT f.* FROM unnest(%(ids)s::uuid[]) o(id), LATERAL ((
        SELECT id, linked_issue_id, trigger_id FROM run WHERE routine_id = o.id AND position <= %(position)s
        ORDER BY position DESC LIMIT %(limit)s) UNION ALL (
        SELECT id, linked_issue_id, trigger_id FROM run
        WHERE routine_id = o.id AND position <= %(position)s AND linked_issue_id IS NOT NULL
        ORDER BY position DESC LIMIT 1)) f"""
# The issues that may have been the open one of a routine that had changed last: of those that have not changed since,
# the last changed one that is open; and all that have changed since.
_MAYBE_ACTIVE = """
    SELECT f.id FROM unnest(%(ids)s::uuid[]) o(id), LATERAL ((
        SELECT id FROM issue WHERE origin_id = o.id AND is_open AND changed <= %(position)s
        ORDER BY changed DESC LIMIT 1) UNION ALL (
        SELECT id FROM issue WHERE origin_id = o.id AND position <= %(position)s AND changed > %(position)s
        ORDER BY position DESC LIMIT %(most)s)) f"""
# Runs that may have met the filters then: a run that has ended since was live.
_MAYBE_RUNS = """
    SELECT id, linked_issue_id, trigger_id, position FROM run
    WHERE routine_id = %(routine_id)s AND position <= %(position)s AND position < %(before)s
        AND (%(source)s::text[] IS NULL OR source = ANY(%(source)s))
        AND (%(status)s::text[] IS NULL OR status = ANY(%(status)s) OR until > %(position)s)
    ORDER BY position DESC LIMIT %(limit)s"""
# The same of a company. Each condition but the last ones is of the index, by which all runs of a company are looked through
# without their rows: those of later positions, too, since the clock by which runs are sorted may have been set back. (A
# SELECT hides how many runs a position leaves, for which Postgres would take a worse index.) The agent of a run was another
# one only if its issue, or else its routine, has changed since.
_MAYBE_RUNS_OF_COMPANY = """
    SELECT found.* FROM unnest(%(maybe_status)s::text[]) one_status, unnest(%(source)s::text[]) one_source, LATERAL (
        SELECT id, linked_issue_id, trigger_id, routine_id, triggered_at, position FROM run r
        WHERE company_id = %(company_id)s AND status = one_status AND source = one_source
            AND triggered_at BETWEEN %(since)s AND %(until)s
            AND (triggered_at, position) < (%(triggered_at)s, %(position)s) AND position <= (SELECT %(as_of)s::bigint)
            AND until > CASE WHEN one_status = ANY(%(status)s) THEN 0 ELSE %(as_of)s END
            AND (%(routine_id)s::uuid IS NULL OR routine_id = %(routine_id)s)
            AND (%(agent_id)s::uuid IS NULL OR EXISTS (
                SELECT FROM issue i WHERE i.id = r.linked_issue_id
                AND (i.assignee_agent_id = %(agent_id)s OR i.changed > %(as_of)s)) OR EXISTS (
                SELECT FROM routine o WHERE o.id = r.routine_id AND ((o.doc->>'assigneeAgentId')::uuid = %(agent_id)s OR (
                    SELECT position FROM log.events WHERE stream_id = o.id ORDER BY version DESC LIMIT 1) > %(as_of)s)))
        ORDER BY triggered_at DESC, position DESC LIMIT %(limit)s) found
    ORDER BY triggered_at DESC, position DESC LIMIT %(limit)s"""
# Issues that may have met the filters then: those that have changed since may have been different.
_MAYBE_ISSUES = f"""
    SELECT id, position FROM issue
    WHERE company_id = %(company_id)s AND position <= %(position)s AND position < %(beyond)s
        AND (changed > %(position)s OR {issues.NARROWED})
    ORDER BY position DESC LIMIT %(limit)s"""


class Past:
    """
    The read models at a position, as far as it has loaded streams. Queries take it for a connection.

    Raises Oversized when more than `most_events`, or `most_bytes` of them, would be loaded.
    """

    def __init__(self, conn: Connection, position: int, decode: Decode, *, most_events: int, most_bytes: int) -> None:
        self.conn = conn  # shows today's rows
        self.position = position
        self.decode = decode
        self.left, self._most, self._left_bytes = most_events, most_events, most_bytes  # what may still be loaded
        self._known: set[UUID] = set()
        self._events: list[Recorded] = []
        self._numbers: dict[UUID, NumberingRow] = {}
        self._rows: RowsInMemory | None = None

    @property
    def connection(self) -> Connection:
        """The same, for functions that query read models."""
        return cast("Connection", self)

    @property
    def rows(self) -> RowsInMemory:
        """The rows of what is loaded."""
        if self._rows is None:
            self._rows = RowsInMemory()
            for recorded in sorted(self._events, key=lambda recorded: recorded.position):
                self._fold(recorded, self._rows)
        return self._rows

    def one(self, table: Table[Any], id_: UUID) -> Any:
        """Return the row of a thing; None if it did not exist."""
        self.load([id_])
        return self.rows.get(table, id_)

    def load(self, ids: Iterable[UUID | None]) -> None:
        """Read the events of these streams up to the position, unless they are there. Raise Oversized."""
        if not (missing_ids := {id_ for id_ in ids if id_ is not None} - self._known):
            return
        values = {
            "ids": list(missing_ids),
            "position": self.position,
            "most": self.left + 1,
            "most_bytes": self._left_bytes,
        }
        rows = self.conn.execute(_EVENTS, values).fetchall()
        self.left -= len(rows)
        self._left_bytes -= sum(len(body) for _, _, _, body, _ in rows)
        if self.left < 0 or self._left_bytes <= 0:
            raise Oversized(
                f"As of then, this would rest on more than {self._most:,} events, or on too large ones: ask for less"
            )
        events = self.decode(rows)
        opened_issues = [recorded.stream_id for recorded in events if isinstance(recorded.event, IssueOpened)]
        for id_, identifier, number in self.conn.execute(_NUMBERS, (opened_issues,)) if opened_issues else ():
            prefix = identifier.removesuffix(f"-{number}")
            self._numbers[id_] = NumberingRow(id=id_, prefix=prefix, last=number - 1)
        self._known |= missing_ids
        self._events += events
        self._rows = None

    def _fold(self, recorded: Recorded, rows: Rows) -> None:
        """Fold an event. One that a read model could not take is passed over, as it was then."""
        if isinstance(recorded.event, IssueOpened) and (numbering := self._numbers.get(recorded.stream_id)):
            rows.put(NUMBERING, _of_company(numbering, recorded.known_company_id))
        for model in MODELS:
            if model.events is not None and type(recorded.event) in model.events:
                with suppress(ImpossibleHistory):
                    model.fold(recorded, rows)

    def execute(self, query: str | Composable, values: Any = None, *, prepare: bool | None = None) -> Any:
        """Execute a query on the rows of then."""
        del prepare  # it is another query each time
        return self.conn.execute(*self._on_rows(query, values), prepare=False)

    def cursor(self) -> "Past":
        """Return what executes queries row by row, as a cursor does."""
        return self

    def stream(self, query: Composable, values: Any = None, *, size: int = 1) -> Iterator[Any]:
        """Execute a query on the rows of then and yield what it finds, a few rows at a time."""
        yield from self.conn.cursor().stream(*self._on_rows(query, values), size=size)

    def _on_rows(self, query: str | Composable, values: Any) -> tuple[Composed, Any]:
        by_name = isinstance(values, Mapping)
        text = SQL(query) if isinstance(query, str) else query
        words = set(WORD.findall(text.as_string()))
        named_tables = [table for table in TABLES if table.name in words]
        documents = {f"rows of {table.name}": json.encode(self.rows.all(table)).decode() for table in named_tables}
        tables = [
            SQL("{0} AS MATERIALIZED (SELECT * FROM json_populate_recordset(NULL::{0}, {1}::json))").format(
                Identifier(table.name), Placeholder(name if by_name else "")
            )
            for table, name in zip(named_tables, documents, strict=True)
        ]
        whole_query = SQL("WITH {} ").format(SQL(", ").join([*tables, NO_REFUSALS])) + text
        return whole_query, {**values, **documents} if by_name else (*documents.values(), *(values or ()))


def _of_company(numbering: NumberingRow, company_id: UUID) -> NumberingRow:
    return NumberingRow(id=company_id, prefix=numbering.prefix, last=numbering.last)


def routine_detail(past: Past, routine_id: UUID, max_bytes: int) -> RoutineDetail | None:
    """Return the routine with what belonged to it, as `routines.detail` did; without refused calls of its webhooks."""
    if (row := past.one(ROUTINE, routine_id)) is None:
        return None
    _load_routines(past, [routine_id], RECENT_RUNS)
    past.load([row.doc.project_id, row.doc.assignee_agent_id, row.doc.parent_issue_id])
    return routines.detail(past.connection, routine_id, max_bytes)


def routine_page(  # noqa: PLR0913, PLR0917 the arguments narrow the list
    past: Past, company_id: UUID, filters: routine_list.Filters, after: RoutinePlace | None, limit: int, max_bytes: int
) -> Part[RoutineListItem]:
    """Return a page of the routines of a company, as `routine_list.page` did; a text to search for is not compared."""
    ids = routine_versions.list_at(past.conn, company_id, past.position, filters, after, limit)
    past.load(ids)
    _load_routines(past, ids, 1)
    return routine_list.page(past.connection, company_id, filters, after=after, limit=limit, max_bytes=max_bytes)


def runs(  # noqa: PLR0913, PLR0917 the arguments narrow the list
    past: Past,
    routine_id: UUID,
    filters: run_history.Filters,
    before: int | None,
    limit: int,
    max_bytes: int,
) -> Part[RunSummary]:
    """Return the runs of a routine, newest first, as `run_history.recent_runs` did."""
    values: dict[str, Any] = {"routine_id": routine_id, "position": past.position}
    values |= {name: values_of_filter and list(values_of_filter) for name, values_of_filter in asdict(filters).items()}

    def candidates(beyond: int, many: int) -> list[int]:
        rows = past.conn.execute(_MAYBE_RUNS, values | {"before": beyond, "limit": many}, prepare=False).fetchall()
        past.load(id_ for row in rows for id_ in row[:3])
        return [position for *_, position in rows]

    def page() -> Part[RunSummary]:
        conn = past.connection
        return run_history.recent_runs(conn, routine_id, limit, filters=filters, before=before, max_bytes=max_bytes)

    return _load_until_full(candidates, page, ENDLESS if before is None else before, limit)


def company_runs(  # noqa: PLR0913, PLR0917 the arguments narrow the list
    past: Past,
    company_id: UUID,
    filters: run_history.CompanyFilters,
    period: tuple[datetime, datetime],
    after: run_history.Place | None,
    limit: int,
    max_bytes: int,
) -> Part[RunSummary]:
    """Return the runs of a company, newest first, as `run_history.of_company` did."""
    values = run_history.values_of_query(company_id, filters, period) | {"as_of": past.position}
    values["maybe_status"] = list({*(filters.status or get_args(RunStatus)), "completed", "failed"})

    def candidates(beyond: run_history.Place, many: int) -> list[run_history.Place]:
        bounds = beyond._asdict() | {"limit": many}
        rows = past.conn.execute(_MAYBE_RUNS_OF_COMPANY, values | bounds, prepare=False).fetchall()
        past.load(id_ for row in rows for id_ in row[: 3 if filters.assignee_agent_id is None else 4])
        return [run_history.Place(*row[4:]) for row in rows]

    def page() -> Part[RunSummary]:
        conn = past.connection
        return run_history.of_company(conn, company_id, filters, period, limit, after=after, max_bytes=max_bytes)

    return _load_until_full(candidates, page, after or run_history.FRONT, limit)


def issue_page(past: Past, company_id: UUID, filters: issues.Filters, max_bytes: int) -> Part[responses.Issue]:
    """Return issues of a company, newest first, as `issues.page` did."""
    values = asdict(filters) | {"folded": filters.text and fold_case(filters.text), "company_id": company_id}

    def candidates(beyond: int, many: int) -> list[int]:
        bounds = {"position": past.position, "beyond": beyond, "limit": many}
        rows = past.conn.execute(_MAYBE_ISSUES, values | bounds, prepare=False).fetchall()
        past.load(id_ for id_, _ in rows)
        return [position for _, position in rows]

    def page() -> Part[responses.Issue]:
        return issues.page(past.connection, company_id, filters, max_bytes=max_bytes)

    beyond = ENDLESS if filters.before is None else filters.before
    return _load_until_full(candidates, page, beyond, filters.limit)


def issue_with_ancestors(
    past: Past, issue_id: UUID, max_bytes: int
) -> tuple[responses.Issue, list[responses.Issue]] | None:
    """Return an issue and those above it, its parent first."""
    if (row := past.one(ISSUE, issue_id)) is None:
        return None
    visited_ids, ancestor_id = {issue_id}, row.parent_id
    while (
        ancestor_id is not None
        and ancestor_id not in visited_ids
        and (parent := past.one(ISSUE, ancestor_id)) is not None
    ):
        visited_ids.add(ancestor_id)
        ancestor_id = parent.parent_id
    return row.doc, issues.ancestors(past.connection, issue_id, max_bytes)


def _load_until_full(
    candidates: Callable[[P, int], Sequence[P]], page: Callable[[], Part[Any]], beyond: P, limit: int
) -> Part[Any]:
    """
    Load the candidates of a list, newest first, until a page of it is full or there are no more; return the page.

    `candidates` loads so many of them that come beyond a place in the list, and returns their places. Each time it is
    asked for twice as many: all that is loaded is folded again for each page.
    """
    many = limit + 1
    while True:
        places = candidates(beyond, many)
        part = page()
        if part.more or len(places) < many:
            return part
        beyond, many = places[-1], min(2 * many, MOST_AT_ONCE)


def _load_routines(past: Past, routine_ids: Sequence[UUID], many_runs: int) -> None:
    """Load what routines, whose own streams are loaded, are shown with: triggers, newest runs, open issues."""
    values = {"ids": list(routine_ids), "position": past.position, "limit": many_runs, "most": past.left}
    newest = past.conn.execute(_LAST_OF_ROUTINES, values).fetchall()
    added_triggers = past.decode(past.conn.execute(_ADDED, (list(routine_ids), ADDED)).fetchall())
    events = (recorded.event for recorded in added_triggers)
    kinds = {event.trigger_id: event.kind for event in events if isinstance(event, RoutineTriggerAdded)}
    triggers, schedules = list(kinds), [id_ for id_, kind in kinds.items() if kind == "schedule"]
    last_firings = past.conn.execute(
        _LAST_OF_TRIGGERS, values | {"triggers": triggers, "schedules": schedules}
    ).fetchall()
    active = past.conn.execute(_MAYBE_ACTIVE, values).fetchall()
    past.load([*triggers, *(id_ for row in newest for id_ in row), *(id_ for (id_,) in [*last_firings, *active])])
