"""Tasks of a collection, as Jetty's clients read them."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from domain.events import TaskCreated, TaskDeleted, TaskUpdated
from domain.recorded import Recorded
from domain.values import TaskDetails
from projections.engine.documents import Docs, Part
from projections.engine.letter_case import fold_case
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.jetty.responses import Task, TaskFields, time


class TaskRow(Row, frozen=True):
    """A task of a collection; `number` is the id by which clients know it, the position of its first event."""

    company_id: UUID
    number: int
    name: str
    folded: str  # name and description, as searches compare them
    doc: TaskFields


TASK = Table("task", TaskRow)

SCHEMA = """
CREATE TABLE task (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, number bigint NOT NULL, name text NOT NULL,
    folded text NOT NULL, doc json NOT NULL);
CREATE INDEX ON task (company_id, number);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event of a task into its row; each update raises the version by one."""
    match recorded.event:
        case TaskCreated() as event:
            rows.put(TASK, _task_row(recorded, event))
        case TaskUpdated() as event:
            rows.change(TASK, recorded.stream_id, lambda row: _updated_row(row, recorded, event))
        case TaskDeleted():
            rows.delete(TASK, recorded.stream_id)
        case _:
            pass


def _task_row(recorded: Recorded, event: TaskCreated) -> TaskRow:
    timestamp, details = time(recorded.at), event.details
    doc = TaskFields(
        id=recorded.position,
        name=details.name,
        description=details.description,
        workflow=details.workflow,
        version=1,
        created_at=timestamp,
        updated_at=timestamp,
    )
    return TaskRow(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        number=recorded.position,
        name=details.name,
        folded=_searchable_text(details),
        doc=doc,
    )


def _updated_row(row: TaskRow, recorded: Recorded, event: TaskUpdated) -> TaskRow:
    details = event.details
    doc = replace(
        row.doc,
        name=details.name,
        description=details.description,
        workflow=details.workflow,
        version=row.doc.version + 1,
        updated_at=time(recorded.at),
    )
    return replace(row, name=details.name, folded=_searchable_text(details), doc=doc)


def _searchable_text(details: TaskDetails) -> str:
    return fold_case(f"{details.name}\n{details.description or ''}")


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the key of the row that `fold` will change, so that it can be fetched before it."""
    if isinstance(recorded.event, TaskUpdated):
        yield TASK, recorded.stream_id


tasks = ReadModel(
    name="tasks",
    version=2,
    tables=(TASK,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({TaskCreated, TaskUpdated, TaskDeleted}),
)

_TASK = """
    SELECT json_build_object('id', t.number, 'name', t.name, 'description', t.doc->'description',
        'workflow', t.doc->'workflow', 'version', t.doc->'version', 'created_at', t.doc->'created_at',
        'updated_at', t.doc->'updated_at', 'collection_id', c.number, 'collection_name', c.doc->'name') AS doc, t.number
    FROM task t JOIN collection c ON c.id = t.company_id WHERE"""  # json, since jsonb loses the order of parameters
_AFTER = "(%(after)s::bigint IS NULL OR t.number > %(after)s) ORDER BY t.number"
_OF = Docs(f"{_TASK} t.company_id = %(company_id)s AND {_AFTER}", Task, sorted_by="number")
_ONE = Docs(f"{_TASK} t.id = %(id)s", Task)
_LIKE = Docs(
    f"{_TASK} t.company_id = %(company_id)s AND strpos(t.folded, %(text)s) > 0 AND {_AFTER}",
    Task,
    sorted_by="number",
)


def of_collection(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[Task]:
    """Return the tasks of a collection, oldest first, after a number. Joins the read model `collections`."""
    return _OF.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def one(conn: Connection, id_: UUID) -> Task | None:
    """Return the task with this id, or None."""
    return _ONE.one(conn, id=id_)


def search_tasks(
    conn: Connection, company_id: UUID, text: str, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[Task]:
    """Return the tasks of a collection with this text in name or description, in any case, after a number."""
    return _LIKE.part(conn, company_id=company_id, text=fold_case(text), after=after, max_bytes=max_bytes)
