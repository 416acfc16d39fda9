"""
Issues; the fold numbers those of each company in the order of the log.

The read model has the comments on them as well, whose rows and queries are in comments.py.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain.board.issue import OPEN, status_when_freed
from domain.bounds.limits import DEFAULT
from domain.errors import ImpossibleHistory
from domain.events import (
    CommentAdded,
    CompanyCreated,
    IssueCheckedOut,
    IssueEdited,
    IssueEvent,
    IssueFreed,
    IssueLeaseRenewed,
    IssueMoved,
    IssueOpened,
    IssueReleased,
)
from domain.recorded import Recorded
from domain.values import IssueDetails, IssueStatus, Workspace
from projections import responses
from projections.board import comments
from projections.engine.documents import Docs, Part, beginning
from projections.engine.letter_case import fold_case
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.engine.views import View
from projections.responses import ResponseBody, time


class IssueRow(Row, frozen=True):
    """An issue as clients read it, beside the columns by which issues are looked up and narrowed."""

    company_id: UUID
    identifier: str
    status: IssueStatus
    is_open: bool
    assignee_agent_id: UUID | None
    project_id: UUID | None
    parent_id: UUID | None
    origin_kind: str
    origin_id: UUID | None
    title: str
    folded_title: str  # as searches compare it
    position: int  # the position of the event that opened it
    changed: int  # position of the event that changed it last
    doc: responses.Issue


class NumberingRow(Row, frozen=True):
    """A company's issue prefix and the last number that an issue of it has got; its id is the company's."""

    prefix: str
    last: int


ISSUE = Table("issue", IssueRow, over="NOT is_open")
NUMBERING = Table("issue_numbering", NumberingRow)

NOT_HELD: dict[str, Any] = {"checkout_run_id": None, "execution_run_id": None, "checkout_lease_until": UNSET}

SCHEMA = """
CREATE TABLE issue (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, identifier text NOT NULL, status text NOT NULL,
    is_open boolean NOT NULL, assignee_agent_id uuid, project_id uuid, parent_id uuid, origin_kind text NOT NULL,
    origin_id uuid, title text NOT NULL, folded_title text NOT NULL, position bigint NOT NULL, changed bigint NOT NULL,
    doc json NOT NULL);
CREATE INDEX ON issue (company_id, position) INCLUDE (id, status, changed);
CREATE INDEX ON issue (company_id, position) WHERE is_open;
CREATE INDEX ON issue (company_id, position) WHERE status = 'cancelled';
CREATE INDEX ON issue (identifier);
CREATE INDEX ON issue (origin_id, changed) WHERE is_open;
CREATE INDEX ON issue (origin_id, position);
CREATE INDEX ON issue (assignee_agent_id, position) WHERE is_open;
CREATE TABLE comment (id uuid PRIMARY KEY, issue_id uuid NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON comment (issue_id, position);
CREATE TABLE issue_numbering (id uuid PRIMARY KEY, prefix text NOT NULL, last integer NOT NULL);
"""

ISSUES = View(
    name="issues",
    about="An issue: a piece of work for an agent, whether a run opened it or a person.",
    source="issue",
    moment="created_at",
    columns={
        "id": ("id", "The issue"),
        "company_id": ("company_id", "Its company"),
        "identifier": ("identifier", "What people call it, such as ACM-12"),
        "title": ("title", "Its title"),
        "status": ("status", "backlog, todo, in_progress, in_review, blocked, done or cancelled"),
        "is_open": ("is_open", "Whether it is neither done nor cancelled"),
        "priority": ("doc->>'priority'", "critical, high, medium or low"),
        "assignee_agent_id": ("assignee_agent_id", "The agent who is to do it"),
        "project_id": ("project_id", "Its project"),
        "goal_id": ("(doc->>'goalId')::uuid", "Its goal"),
        "parent_id": ("parent_id", "The issue that it is a part of"),
        "origin_kind": ("origin_kind", "routine_execution or manual"),
        "routine_id": ("origin_id", "The routine whose run opened it"),
        "run_id": ("(doc->>'originRunId')::uuid", "The run that opened it"),
        "planned_at": ("(doc->>'originPlannedAt')::timestamptz", "The planned moment of the occurrence that it is for"),
        "checkout_count": ("coalesce((doc->>'checkoutCount')::int, 0)", "How often it was checked out"),
        "created_at": ("(doc->>'createdAt')::timestamptz", "When it was opened"),
        "started_at": ("(doc->>'startedAt')::timestamptz", "When work on it began"),
        "completed_at": ("(doc->>'completedAt')::timestamptz", "When it was done"),
        "cancelled_at": ("(doc->>'cancelledAt')::timestamptz", "When it was cancelled"),
        "updated_at": ("(doc->>'updatedAt')::timestamptz", "When it was changed last"),
        "position": ("position", "Place in the log of the event that opened it"),
    },
)


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the rows of issues and comments.

    Raises ImpossibleHistory for an issue of an unknown company, since it has no number.
    """
    match recorded.event:
        case CompanyCreated(issue_prefix=prefix):
            rows.put(NUMBERING, NumberingRow(id=recorded.stream_id, prefix=prefix, last=0))
        case IssueOpened() as event:
            rows.add(ISSUE, _opened_row(recorded, event, _take_number(recorded, rows)))
        case IssueEdited(details=details):
            rows.change(ISSUE, recorded.stream_id, lambda row: _edited_row(row, recorded, details))
        case IssueMoved(status=status):
            _change_issue(rows, recorded, status=status, **_times_of_status(status, time(recorded.at)))
        case IssueCheckedOut() as checkout:
            rows.change(ISSUE, recorded.stream_id, lambda row: _checked_out(row, recorded, checkout))
        case IssueLeaseRenewed(until=until):
            rows.change(ISSUE, recorded.stream_id, lambda row: _row_with_lease(row, until))
        case IssueReleased():
            rows.change(ISSUE, recorded.stream_id, lambda row: _freed_row(row, recorded, assignee_agent_id=None))
        case IssueFreed():
            rows.change(ISSUE, recorded.stream_id, lambda row: _freed_row(row, recorded))
        case CommentAdded() as event:
            rows.add(comments.COMMENT, comments.comment_row(recorded, event))
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` will change, so that they can be fetched together before it."""
    match recorded.event:
        case IssueOpened() if recorded.company_id is not None:
            yield NUMBERING, recorded.company_id
        case IssueEdited() | IssueMoved() | IssueCheckedOut() | IssueLeaseRenewed() | IssueReleased() | IssueFreed():
            yield ISSUE, recorded.stream_id
        case _:
            pass


def _take_number(recorded: Recorded, rows: Rows) -> NumberingRow:
    """Take the next number of the company. It follows the order of the log, so a rebuild gives the same numbers."""
    if (numbering := rows.get(NUMBERING, recorded.known_company_id)) is None:
        raise ImpossibleHistory(None, recorded.event)
    numbering = replace(numbering, last=numbering.last + 1)
    rows.put(NUMBERING, numbering)
    return numbering


def _workspace_fields(workspace: Workspace | None) -> dict[str, Any]:
    if workspace is None:
        return {}
    return {
        "execution_workspace_id": workspace.id,
        "execution_workspace_preference": workspace.preference,
        "execution_workspace_settings": workspace.settings,
        "project_workspace_id": workspace.project_workspace_id,
    }


def _opened_row(recorded: Recorded, event: IssueOpened, numbering: NumberingRow) -> IssueRow:
    details, timestamp = event.details, time(recorded.at)
    by_user = None if event.created_by_user_id is None else str(event.created_by_user_id)
    doc = responses.Issue(
        **msgspec.structs.asdict(details),
        **_workspace_fields(event.workspace),
        id=recorded.stream_id,
        company_id=numbering.id,
        status=event.status,
        created_by_agent_id=event.created_by_agent_id,
        created_by_user_id=by_user,
        issue_number=numbering.last,
        identifier=f"{numbering.prefix}-{numbering.last}",
        origin_kind="manual" if event.routine_id is None else "routine_execution",
        origin_id=event.routine_id,
        origin_run_id=event.run_id,
        origin_planned_at=UNSET if event.occurrence is None else time(event.occurrence),
        created_at=timestamp,
        updated_at=timestamp,
        **_times_of_status(event.status, timestamp),
    )
    return _row_of(doc, position=recorded.position, changed=recorded.position)


def _row_of(doc: responses.Issue, *, position: int, changed: int) -> IssueRow:
    return IssueRow(
        id=doc.id,
        company_id=doc.company_id,
        identifier=doc.identifier,
        status=doc.status,
        is_open=doc.status in OPEN,
        assignee_agent_id=doc.assignee_agent_id,
        project_id=doc.project_id,
        parent_id=doc.parent_id,
        origin_kind=doc.origin_kind,
        origin_id=doc.origin_id,
        title=doc.title,
        folded_title=fold_case(doc.title),
        position=position,
        changed=changed,
        doc=doc,
    )


def _change_issue(rows: Rows, recorded: Recorded, **changes: Any) -> None:
    rows.change(ISSUE, recorded.stream_id, lambda row: _with_document(row, recorded, replace(row.doc, **changes)))


def _with_document(row: IssueRow, recorded: Recorded, doc: responses.Issue) -> IssueRow:
    return _row_of(replace(doc, updated_at=time(recorded.at)), position=row.position, changed=recorded.position)


def _checked_out(row: IssueRow, recorded: Recorded, event: IssueCheckedOut) -> IssueRow:
    count = 0 if isinstance(row.doc.checkout_count, UnsetType) else row.doc.checkout_count
    doc = replace(
        row.doc,
        status="in_progress",
        **_times_of_status("in_progress", time(recorded.at)),
        assignee_agent_id=event.agent_id,
        checkout_run_id=event.run_id,
        execution_run_id=event.run_id,
        checkout_lease_until=UNSET if event.lease_until is None else time(event.lease_until),
        checkout_count=count + 1,
    )
    return _with_document(row, recorded, doc)


def _row_with_lease(row: IssueRow, until: datetime) -> IssueRow:
    """Return the row with its new lease; that counts as no change of the issue, which stays where lists have it."""
    return replace(row, doc=replace(row.doc, checkout_lease_until=time(until)))


def _freed_row(row: IssueRow, recorded: Recorded, **changes: Any) -> IssueRow:
    status = status_when_freed(row.doc.status)
    marks = _times_of_status(status, time(recorded.at)) if status != row.status else NOT_HELD
    return _with_document(row, recorded, replace(row.doc, status=status, **changes, **marks))


def _edited_row(row: IssueRow, recorded: Recorded, details: IssueDetails) -> IssueRow:
    marks = {} if details.assignee_agent_id == row.assignee_agent_id else NOT_HELD
    return _with_document(row, recorded, replace(row.doc, **msgspec.structs.asdict(details), **marks))


def _times_of_status(status: IssueStatus, timestamp: str) -> dict[str, Any]:
    """
    Return the times and the holder that a status sets or clears.

    Leaving a status clears its time. Only `backlog` and `todo` clear `started_at`: in every other status the work
    remains started (contract 7.5).
    """
    marks: dict[str, Any] = {
        "completed_at": timestamp if status == "done" else None,
        "cancelled_at": timestamp if status == "cancelled" else None,
    }
    if status in ("backlog", "todo", "in_progress"):
        marks["started_at"] = timestamp if status == "in_progress" else None
    return marks if status == "in_progress" else marks | NOT_HELD


issues = ReadModel(
    name="issues",
    version=5,
    tables=(ISSUE, comments.COMMENT, NUMBERING),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({CompanyCreated, CommentAdded, *get_args(IssueEvent)}),
    views=(ISSUES,),
)


SUMMARY = beginning("i.doc", "companyId")  # an IssueSummary of the issue `i`


class Filters(msgspec.Struct, frozen=True):
    """The filters of a list of issues; None leaves a filter out."""

    statuses: Sequence[str] | None = None
    assignee_agent_id: UUID | None = None
    project_id: UUID | None = None
    parent_id: UUID | None = None
    origin_kind: str | None = None
    origin_id: UUID | None = None
    text: str | None = None
    limit: int = 500
    offset: int = 0
    before: int | None = None  # only issues opened before this position


class InboxItem(ResponseBody, frozen=True, kw_only=True):
    """An open issue of an agent, as its inbox lists it."""

    id: UUID
    identifier: str
    title: str
    status: str
    priority: str
    project_id: UUID | None
    goal_id: UUID | None
    parent_id: UUID | None
    updated_at: str
    active_run: None = None
    dependency_ready: bool = True
    unresolved_blocker_count: int = 0
    unresolved_blocker_issue_ids: tuple[UUID, ...] = ()


NARROWED = """(%(statuses)s::text[] IS NULL OR status = ANY(%(statuses)s))
    AND (%(assignee_agent_id)s::uuid IS NULL OR assignee_agent_id = %(assignee_agent_id)s)
    AND (%(project_id)s::uuid IS NULL OR project_id = %(project_id)s)
    AND (%(parent_id)s::uuid IS NULL OR parent_id = %(parent_id)s)
    AND (%(origin_kind)s::text IS NULL OR origin_kind = %(origin_kind)s)
    AND (%(origin_id)s::uuid IS NULL OR origin_id = %(origin_id)s)
    AND (%(text)s::text IS NULL OR strpos(folded_title, %(folded)s) > 0 OR identifier = upper(%(text)s))"""
_PAGE = Docs(
    f"""SELECT doc, position FROM issue WHERE company_id = %(company_id)s AND {NARROWED}
    AND (NOT %(are_open)s::boolean OR is_open)
    AND (%(before)s::bigint IS NULL OR position < %(before)s)
    ORDER BY position DESC LIMIT %(limit)s OFFSET %(offset)s""",
    responses.Issue,
    prepared=False,
    sorted_by="position",
)
_ONE = Docs("SELECT doc FROM issue WHERE id = %(id)s", responses.Issue)
_IDENTIFIED = Docs("SELECT doc FROM issue WHERE identifier = upper(%(identifier)s)", responses.Issue)
_ANCESTORS = Docs(
    """WITH RECURSIVE up(id, parent_id, doc, depth) AS (
        SELECT id, parent_id, doc, 0 FROM issue WHERE id = %(id)s
        UNION ALL SELECT i.id, i.parent_id, i.doc, up.depth + 1 FROM issue i JOIN up ON i.id = up.parent_id
        WHERE up.depth < 50)
    SELECT doc FROM up WHERE depth > 0 ORDER BY depth""",
    responses.Issue,
)
_ACTIVE = Docs(
    "SELECT doc FROM issue WHERE origin_id = %(routine_id)s AND is_open ORDER BY changed DESC LIMIT 1", responses.Issue
)
_INBOX = Docs(
    f"""SELECT left({SUMMARY}, -1) || ',"projectId":' || coalesce(to_json(i.project_id)::text, 'null')
        || ',"parentId":' || coalesce(to_json(i.parent_id)::text, 'null') || ',"goalId":' || (i.doc->'goalId')::text || '}}'
        AS doc, position
    FROM issue i WHERE assignee_agent_id = %(agent_id)s AND is_open AND status IN ('todo', 'in_progress', 'blocked')
    AND position > coalesce(%(after)s::bigint, 0) ORDER BY position""",
    InboxItem,
    sorted_by="position",
)


def page(
    conn: Connection, company_id: UUID, filters: Filters, *, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Issue]:
    """Return the issues of a company that meet the filters, newest first."""
    values = msgspec.structs.asdict(filters) | {"folded": filters.text and fold_case(filters.text)}
    # An index has the open ones alone.
    values["are_open"] = bool(filters.statuses) and set(OPEN).issuperset(filters.statuses or ())
    return _PAGE.part(conn, company_id=company_id, max_bytes=max_bytes, **values)


def issue(conn: Connection, id_: UUID) -> responses.Issue | None:
    """Return the issue with this id, or None."""
    return _ONE.one(conn, id=id_)


def find_by_identifier(conn: Connection, identifier: str) -> responses.Issue | None:
    """Return the issue with this identifier (`ACM-7`), or None; prefixes are unique in the installation."""
    return _IDENTIFIED.one(conn, identifier=identifier)


def ancestors(conn: Connection, id_: UUID, max_bytes: int = DEFAULT.max_page_bytes) -> list[responses.Issue]:
    """Return the issues above this one, its parent first; those that are too far up to fit are left out."""
    return _ANCESTORS.part(conn, id=id_, max_bytes=max_bytes)


def active(conn: Connection, routine_id: UUID) -> responses.Issue | None:
    """Return the routine's open execution issue that changed last, or None."""
    return _ACTIVE.one(conn, routine_id=routine_id)


def inbox(
    conn: Connection, agent_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[InboxItem]:
    """
    Return the agent's issues that are to do, in progress or blocked, oldest first.

    `after` narrows the list to those opened after a position.
    """
    return _INBOX.part(conn, agent_id=agent_id, after=after, max_bytes=max_bytes)


def last_numbers(conn: Connection, companies: Sequence[UUID]) -> dict[UUID, int]:
    """Return the newest issue number of each company; 0 for one without issues."""
    rows = conn.execute("SELECT id, last FROM issue_numbering WHERE id = ANY(%s)", (list(companies),))
    return dict.fromkeys(companies, 0) | dict(rows.fetchall())
