"""Folders of routines."""

from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

from msgspec.structs import asdict, replace

from domain.bounds.limits import DEFAULT
from domain.errors import ImpossibleHistory
from domain.events import FolderCreated, FolderDeleted, FolderEvent, FolderUpdated
from domain.recorded import Recorded
from projections import responses
from projections.engine.documents import Docs, Part
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.responses import time


class FolderRow(Row, frozen=True):
    """A folder as clients read it."""

    company_id: UUID
    parent_id: UUID | None
    position: int
    doc: responses.Folder


FOLDER = Table("folder", FolderRow)

SCHEMA = """
CREATE TABLE folder (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, parent_id uuid, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON folder (company_id, position);
CREATE INDEX ON folder (parent_id);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event of a folder into its row."""
    match recorded.event:
        case FolderCreated(details=details):
            if recorded.company_id is None:
                raise ImpossibleHistory(None, recorded.event)
            timestamp = time(recorded.at)
            doc = responses.Folder(
                id=recorded.stream_id,
                company_id=recorded.company_id,
                created_at=timestamp,
                updated_at=timestamp,
                **asdict(details),
            )
            row = FolderRow(
                id=doc.id, company_id=doc.company_id, parent_id=doc.parent_id, position=recorded.position, doc=doc
            )
            rows.put(FOLDER, row)
        case FolderUpdated(details=details):
            changes = asdict(details) | {"updated_at": time(recorded.at)}
            rows.change(
                FOLDER,
                recorded.stream_id,
                lambda row: replace(row, parent_id=details.parent_id, doc=replace(row.doc, **changes)),
            )
        case FolderDeleted():
            rows.delete(FOLDER, recorded.stream_id)
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the key of the row that `fold` will change, so that it can be fetched before it."""
    if isinstance(recorded.event, FolderUpdated):
        yield FOLDER, recorded.stream_id


folders = ReadModel(
    name="folders",
    tables=(FOLDER,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(get_args(FolderEvent)),
)

_PAGE = Docs(
    "SELECT doc, position FROM folder WHERE company_id = %(company_id)s "
    "AND position > coalesce(%(after)s::bigint, 0) ORDER BY position",
    responses.Folder,
    sorted_by="position",
)
_FOLDER = Docs("SELECT doc FROM folder WHERE id = %(id)s", responses.Folder)


def page(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Folder]:
    """Return the folders of a company, oldest first, after a position."""
    return _PAGE.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def folder(conn: Connection, id_: UUID) -> responses.Folder | None:
    """Return the folder with this id, or None."""
    return _FOLDER.one(conn, id=id_)


def has_folder(conn: Connection, id_: UUID) -> bool:
    """Return whether another folder lies in this one."""
    return conn.execute("SELECT FROM folder WHERE parent_id = %s LIMIT 1", (id_,)).fetchone() is not None
