"""Goals in the directory."""

from uuid import UUID

import msgspec

from domain.bounds.limits import DEFAULT
from domain.events import (
    GoalCreated,
    GoalDeleted,
    GoalUpdated,
)
from domain.recorded import Recorded
from projections import responses
from projections.board.directory_rows import edit, of_company_by_position, stamps
from projections.engine.documents import Docs, Part
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table


class GoalRow(Row, frozen=True):
    """A goal of a company."""

    company_id: UUID
    position: int
    doc: responses.Goal


GOAL = Table("goal", GoalRow)

_GOALS = Docs(of_company_by_position("goal"), responses.Goal, sorted_by="position")
_GOAL = Docs("SELECT doc FROM goal WHERE id = %(id)s", responses.Goal)


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold an event of a goal."""
    match recorded.event:
        case GoalCreated() as event:
            rows.put(GOAL, _goal_row(recorded, event))
        case GoalUpdated(details=details):
            edit(rows, GOAL, recorded, **msgspec.structs.asdict(details))
        case GoalDeleted():
            rows.delete(GOAL, recorded.stream_id)
        case _:
            pass


def _goal_row(recorded: Recorded, event: GoalCreated) -> GoalRow:
    doc = responses.Goal(
        **stamps(recorded), **msgspec.structs.asdict(event.details), company_id=recorded.known_company_id
    )
    return GoalRow(id=recorded.stream_id, company_id=recorded.known_company_id, position=recorded.position, doc=doc)


def of_company(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Goal]:
    """Return the goals of a company, oldest first, after a position."""
    return _GOALS.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def one(conn: Connection, id_: UUID) -> responses.Goal | None:
    """Return the goal with this id, or None."""
    return _GOAL.one(conn, id=id_)
