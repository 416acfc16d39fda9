"""Projects in the directory."""

from uuid import UUID

import msgspec

from domain.bounds.limits import DEFAULT
from domain.events import (
    ProjectCreated,
    ProjectDeleted,
    ProjectPaused,
    ProjectResumed,
    ProjectUpdated,
)
from domain.recorded import Recorded
from projections import responses
from projections.board.directory_rows import edit, of_company_by_position, stamps
from projections.engine.documents import Docs, Part
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.responses import time


class ProjectRow(Row, frozen=True):
    """A project of a company, which is also found by its `url_key`."""

    company_id: UUID
    url_key: str
    position: int
    doc: responses.Project


PROJECT = Table("project", ProjectRow)

_PROJECTS = Docs(of_company_by_position("project"), responses.Project, sorted_by="position")
_PROJECT = Docs("SELECT doc FROM project WHERE id = %(id)s", responses.Project)
_PROJECT_NAMED = Docs(
    "SELECT doc FROM project WHERE company_id = %(company_id)s AND url_key = %(url_key)s", responses.Project
)


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold an event of a project."""
    match recorded.event:
        case ProjectCreated() as event:
            rows.put(PROJECT, _project_row(recorded, event))
        case ProjectUpdated(details=details):
            edit(rows, PROJECT, recorded, **msgspec.structs.asdict(details))
        case ProjectPaused(reason=reason):
            edit(rows, PROJECT, recorded, paused_at=time(recorded.at), pause_reason=reason)
        case ProjectResumed():
            edit(rows, PROJECT, recorded, paused_at=None, pause_reason=None)
        case ProjectDeleted():
            rows.delete(PROJECT, recorded.stream_id)
        case _:
            pass


def _project_row(recorded: Recorded, event: ProjectCreated) -> ProjectRow:
    details = msgspec.structs.asdict(event.details)
    doc = responses.Project(**stamps(recorded), **details, company_id=recorded.known_company_id, url_key=event.url_key)
    return ProjectRow(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        url_key=event.url_key,
        position=recorded.position,
        doc=doc,
    )


def of_company(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Project]:
    """Return the projects of a company, oldest first, after a position."""
    return _PROJECTS.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def one(conn: Connection, id_: UUID) -> responses.Project | None:
    """Return the project with this id, or None."""
    return _PROJECT.one(conn, id=id_)


def find_by_url_key(conn: Connection, company_id: UUID, url_key: str) -> responses.Project | None:
    """Return the company's project with this URL key, or None."""
    return _PROJECT_NAMED.one(conn, company_id=company_id, url_key=url_key)
