"""
Pages of the event feed: places are looked up in the read model `event_index`, the events are read from the log.

One part of a filter leads the search, by an index that has the events in their order; the others only pass or leave out
what that gives. A part that has few events leads before all others, so what is rare is found at once in a log of any length. The parts that only do that are written so that no index can serve them: Postgres would now and then rather
follow a larger index in the hope of early matches.
"""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from msgspec import to_builtins
from psycopg.errors import QueryCanceled
from psycopg.sql import SQL, Composable, Composed, Identifier, Placeholder

from domain.audit.belonging import Belonging
from domain.bounds.limits import DEFAULT
from domain.errors import RuleViolation
from domain.values import Value
from projections.engine import moments
from projections.engine.documents import Part
from projections.engine.table import Connection

MODELS = ("event_index",)
NAMED_BY = ("directory", "event_index", "issues", "routines", "tasks")  # the read models of `names_of`
FEW = 1_000  # events through which a search goes in no time
TOO_FAR = (
    "These events are not found within {:g} s: each part of the filter has very many, and few or none of them are the same. "
    "Narrow it by from and to, or by after and before."
)
BUSY = ("scheduler", "system")  # actors of most events, which lead no search within a company
CLOCK_STEP = timedelta(minutes=1)  # by which the log's times may go back when the database's clock is put right
MOST_POSITION = 2**63 - 1
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class Filters(Value, frozen=True):
    """What the events of a feed have in common; each part is None, or empty, where it does not matter."""

    company_id: UUID | None = None
    kinds: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()  # kinds that the reader is not shown
    stream_id: UUID | None = None
    actor: str | None = None
    routine_id: UUID | None = None
    trigger_id: UUID | None = None
    run_id: UUID | None = None
    issue_id: UUID | None = None
    since: datetime | None = None  # when the database recorded the event, both ends included
    until: datetime | None = None
    after: int | None = None  # positions, both ends left out
    before: int | None = None


class LogEntry(Value, frozen=True):
    """An event as the log keeps it, with what it belongs to."""

    position: int
    stream_id: UUID
    version: int
    name: str
    body: bytes
    recorded_at: datetime
    company_id: UUID | None
    actor: str
    routine_id: UUID | None
    trigger_id: UUID | None
    run_id: UUID | None
    issue_id: UUID | None

    @property
    def belonging(self) -> Belonging:
        """What the event belongs to."""
        return Belonging(
            routine_id=self.routine_id, trigger_id=self.trigger_id, run_id=self.run_id, issue_id=self.issue_id
        )

    def meets(self, filters: Filters) -> bool:
        """Return whether a feed with these filters has the event."""
        return (
            (not filters.kinds or self.name in filters.kinds)
            and self.name not in filters.hidden
            and self._includes(filters)
            and (filters.since is None or self.recorded_at >= filters.since)
            and (filters.until is None or self.recorded_at <= filters.until)
            and (filters.after is None or self.position > filters.after)
            and (filters.before is None or self.position < filters.before)
        )

    def _includes(self, filters: Filters) -> bool:
        for name in EQUALITIES:
            value = getattr(filters, name)
            if value is not None and value != getattr(self, name):
                return False
        return True


Order = Literal["asc", "desc"]
# From the rarest on: the first that a filter names leads the query.
THINGS = ("run_id", "issue_id", "stream_id", "trigger_id", "routine_id")
EQUALITIES = ("company_id", "actor", *THINGS)

_PAGE = SQL("""
    SELECT position, stream_id, version, name, body, recorded_at, company_id, actor, routine_id, trigger_id, run_id, issue_id,
        many
    FROM (
        SELECT f.*, e.version, e.body, e.recorded_at, count(*) OVER () AS many,
            sum(octet_length(e.body)) OVER (ORDER BY f.id {order}) - octet_length(e.body) AS bytes_before
        FROM ({places}) f JOIN log.events e USING (position)) p
    WHERE bytes_before < %(max_bytes)s ORDER BY id {order}""")
_PLACES = SQL("SELECT i.* FROM event i WHERE {conditions} ORDER BY {place} {order} LIMIT %(limit)s")
_PLACES_BY_KIND = SQL("""
    SELECT place.* FROM unnest(%(kinds)s::text[]) kind, LATERAL (
        SELECT i.* FROM event i WHERE i.name = kind AND {conditions} ORDER BY i.position {order} LIMIT %(limit)s) place
    ORDER BY place.position {order} LIMIT %(limit)s""")
# Whether a part of a filter has few events: then its index leads the search, however many the other parts have.
_HAS_FEW = SQL("""
    SELECT count(*) < %(few)s FROM (
        SELECT FROM event i WHERE {conditions} AND i.position BETWEEN %(first)s AND %(last)s LIMIT %(few)s) first_few""")
_BOUNDED = "SELECT set_config('statement_timeout', %s, true)"
_RECORDED_WITHIN = SQL(
    "(SELECT recorded_at FROM log.events e WHERE e.position = i.position) BETWEEN %(since)s AND %(until)s"
)
_REACHED = "SELECT position FROM positions WHERE name = 'event_index'"
_NAMES = SQL("""
    SELECT id, name FROM person WHERE id = ANY(%(ids)s)
    UNION ALL SELECT id, doc->>'name' FROM company WHERE id = ANY(%(ids)s)
    UNION ALL SELECT id, doc->>'name' FROM agent WHERE id = ANY(%(ids)s)
    UNION ALL SELECT id, doc->>'name' FROM project WHERE id = ANY(%(ids)s)
    UNION ALL SELECT id, doc->>'title' FROM goal WHERE id = ANY(%(ids)s)
    UNION ALL SELECT id, title FROM routine WHERE id = ANY(%(ids)s)
    UNION ALL SELECT id, identifier FROM issue WHERE id = ANY(%(ids)s)
    UNION ALL SELECT id, name FROM task WHERE id = ANY(%(ids)s)""")


def page(  # noqa: PLR0913 which events, and which part of them
    conn: Connection,
    filters: Filters,
    *,
    order: Order = "desc",
    after: int | None = None,
    limit: int,
    max_bytes: int = DEFAULT.max_page_bytes,
    limit_s: float | None = None,
) -> Part[LogEntry]:
    """
    Return the events that meet the filters, in this order of their positions, beginning after a position.

    Raises RuleViolation if they are not found within `limit_s`: two parts of the filter have very many events, and few or
    none in common.
    """
    if not _is_of_its_company(conn, filters):
        return Part()
    first, last = _position_bounds(conn, filters)
    if after is not None:
        first, last = (max(first, after + 1), last) if order == "asc" else (first, min(last, after - 1))
    if first > last or last < 1:
        return Part()
    values = {
        **to_builtins(filters, builtin_types=(UUID, datetime)),
        "kinds": list(filters.kinds),
        "hidden": list(filters.hidden),
        "first": first,
        "last": last,
        "first_id": UUID(int=first),
        "last_id": UUID(int=last),
        "since": filters.since or EARLIEST,
        "until": filters.until or LATEST,
        "limit": limit + 1,
        "max_bytes": max_bytes,
    }
    query = _query(filters, _choose_index(conn, filters, values), order)
    try:
        with conn.transaction() if limit_s is not None else nullcontext():
            if limit_s is not None:
                conn.execute(_BOUNDED, (f"{limit_s * 1000:.0f}",))
            rows = conn.execute(query, values, prepare=False).fetchall()
    except QueryCanceled:
        if limit_s is None:
            raise
        raise RuleViolation(TOO_FAR.format(limit_s)) from None
    entries = [LogEntry(**dict(zip(LogEntry.__struct_fields__, row, strict=False))) for row in rows[:limit]]
    more = bool(rows) and rows[0][-1] > len(entries)
    return Part(entries, more=more, last=entries[-1].position if entries else None)


def one(conn: Connection, position: int, filters: Filters) -> LogEntry | None:
    """Return the event at a position, or None if there is none, or none that meets the filters."""
    entries = page(conn, filters, order="asc", after=position - 1, limit=1)
    return next((entry for entry in entries if entry.position == position), None)


def reached_position(conn: Connection) -> int:
    """Return the position up to which the index shows the log."""
    row = conn.execute(_REACHED, prepare=True).fetchone()
    return int(row[0]) if row else 0


def names_of(conn: Connection, ids: Iterable[UUID]) -> Mapping[UUID, str]:
    """Return the present names of those things that have one."""
    return dict(conn.execute(_NAMES, {"ids": list(ids)}).fetchall())


def _is_of_its_company(conn: Connection, filters: Filters) -> bool:
    """Return whether the thing that leads the search belongs to the company; all of one that does not would be gone through."""
    leader = next((name for name in THINGS if getattr(filters, name) is not None), None)
    if filters.company_id is None or leader is None:
        return True
    query = SQL("SELECT company_id FROM event WHERE {} = %s AND company_id IS NOT NULL LIMIT 1").format(
        Identifier(leader)
    )
    return conn.execute(query, (getattr(filters, leader),)).fetchone() == (filters.company_id,)


def _position_bounds(conn: Connection, filters: Filters) -> tuple[int, int]:
    """Return the first and the last position at which there may be an event that was recorded within the times."""
    first, last = (filters.after or 0) + 1, MOST_POSITION if filters.before is None else filters.before - 1
    if filters.since is not None:
        first = max(first, moments.first_since(conn, filters.since - CLOCK_STEP))
    if filters.until is not None:
        last = min(last, moments.position_at(conn, filters.until + CLOCK_STEP))
    return first, last


def _query(filters: Filters, leader: str | None, order: Order) -> Composed:
    """Return the query for a page. The part of the filter that leads is compared by `=`, each other by a test."""
    leading_conditions = _conditions_of(filters, leader)
    conditions: list[Composable] = [*leading_conditions.values()]
    conditions += [
        SQL("i.{} IS NOT DISTINCT FROM {}").format(Identifier(name), Placeholder(name))
        for name in EQUALITIES
        if getattr(filters, name) is not None and name not in leading_conditions
    ]
    if filters.kinds and leader != "kinds":
        conditions.append(SQL("i.name = ANY(%(kinds)s)"))
    if filters.hidden:
        conditions.append(SQL("i.name <> ALL(%(hidden)s)"))
    if filters.since is not None or filters.until is not None:
        conditions.append(_RECORDED_WITHIN)
    place = SQL("i.id" if leader is None else "i.position")
    bounds = SQL(
        "i.id BETWEEN %(first_id)s AND %(last_id)s" if leader is None else "i.position BETWEEN %(first)s AND %(last)s"
    )
    places = _PLACES_BY_KIND if leader == "kinds" else _PLACES
    direction = SQL(order.upper())
    return _PAGE.format(
        places=places.format(conditions=SQL(" AND ").join([*conditions, bounds]), place=place, order=direction),
        order=direction,
    )


def _conditions_of(filters: Filters, leader: str | None) -> dict[str, Composable]:
    """Return the conditions by which an index leads, by the parts of the filter; kinds are compared where they are listed."""
    name = "company_id" if leader == "kinds" else leader
    if name is None or getattr(filters, name) is None:
        return {}
    return {name: SQL("i.{} = {}").format(Identifier(name), Placeholder(name))}


def _choose_index(conn: Connection, filters: Filters, values: Mapping[str, object]) -> str | None:
    """
    Return the part of the filter by whose index the page is found; None for the feed of all events.

    It is one that has few events, if there is one; else the one that usually has the fewest.
    """
    parts = _leading_parts(filters)
    if len(parts) > 1:
        for part in parts:
            conditions = [*_conditions_of(filters, part).values()]
            if part == "kinds":
                conditions.append(SQL("i.name = ANY(%(kinds)s)"))
            query = _HAS_FEW.format(conditions=SQL(" AND ").join(conditions))
            if conn.execute(query, {**values, "few": FEW}).fetchone() == (True,):
                return part
    return next(iter(parts), None)


def _leading_parts(filters: Filters) -> list[str]:
    """Return the parts of the filter that may lead the search, in the order of how few events they usually have."""
    subjects = [name for name in THINGS if getattr(filters, name) is not None]
    is_doer = filters.actor is not None and (filters.company_id is None or filters.actor not in BUSY)
    return [
        *subjects,
        *["kinds"] * bool(filters.kinds),
        *["actor"] * is_doer,
        *["company_id"]
        * (filters.company_id is not None and not subjects),  # a thing has one company, which is looked at
    ]
