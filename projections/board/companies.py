"""Companies in the directory, and which of them a user sees."""

from uuid import UUID

import msgspec

from domain.bounds.limits import DEFAULT
from domain.events import (
    CompanyArchived,
    CompanyCreated,
    CompanyUpdated,
)
from domain.recorded import Recorded
from projections import responses
from projections.board.directory_rows import AFTER, edit, stamps
from projections.engine.documents import Docs, Part
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table


class CompanyRow(Row, frozen=True):
    """A company as clients read it; lists are sorted by `position`, that of its first event."""

    position: int
    doc: responses.Company


COMPANY = Table("company", CompanyRow)

_ALL_COMPANIES = Docs(
    f"SELECT doc, position FROM company WHERE {AFTER} ORDER BY position LIMIT %(limit)s",
    responses.Company,
    sorted_by="position",
)
_COMPANIES_OF = Docs(
    "SELECT c.doc, c.position FROM company c JOIN member m ON m.company_id = c.id WHERE m.user_id = %(user_id)s "
    f"AND c.{AFTER} ORDER BY c.position LIMIT %(limit)s",
    responses.Company,
    sorted_by="position",
)
_COMPANY = Docs("SELECT doc FROM company WHERE id = %(id)s", responses.Company)


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold an event of a company."""
    match recorded.event:
        case CompanyCreated() as event:
            rows.put(COMPANY, _company_row(recorded, event))
        case CompanyUpdated(details=details):
            edit(rows, COMPANY, recorded, **msgspec.structs.asdict(details))
        case CompanyArchived():
            edit(rows, COMPANY, recorded, status="archived")
        case _:
            pass


def _company_row(recorded: Recorded, event: CompanyCreated) -> CompanyRow:
    details = msgspec.structs.asdict(event.details)
    doc = responses.Company(**stamps(recorded), **details, issue_prefix=event.issue_prefix)
    return CompanyRow(id=recorded.stream_id, position=recorded.position, doc=doc)


def all_companies(
    conn: Connection, *, after: int | None = None, limit: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Company]:
    """Return all companies, oldest first, after a position, at most `limit`."""
    return _ALL_COMPANIES.part(conn, after=after, limit=limit, max_bytes=max_bytes)


def of_user(
    conn: Connection,
    user_id: UUID,
    *,
    after: int | None = None,
    limit: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[responses.Company]:
    """Return the companies that the user is a member of, oldest first, after a position, at most `limit`."""
    return _COMPANIES_OF.part(conn, user_id=user_id, after=after, limit=limit, max_bytes=max_bytes)


def one(conn: Connection, id_: UUID) -> responses.Company | None:
    """Return the company with this id, archived or not, or None."""
    return _COMPANY.one(conn, id=id_)
