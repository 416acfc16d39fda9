"""Comments on issues; the read model is that of issues.py."""

from typing import Literal
from uuid import UUID

from domain.bounds.limits import DEFAULT
from domain.events import CommentAdded
from domain.recorded import Recorded
from projections import responses
from projections.engine.documents import Docs, Part
from projections.engine.table import Connection, Row, Table
from projections.responses import ResponseBody, time


class CommentRow(Row, frozen=True):
    """A comment on an issue, as clients read it."""

    issue_id: UUID
    position: int
    doc: responses.Comment


COMMENT = Table("comment", CommentRow, over="true")


class CommentCursor(ResponseBody, frozen=True, kw_only=True):
    """The number of comments of an issue, and its newest comment."""

    total_comments: int
    latest_comment_id: UUID | None
    latest_comment_at: str | None


_COMMENTS = {
    order: Docs(
        f"""SELECT doc FROM comment WHERE issue_id = %(issue_id)s
        AND position > %(after)s AND (%(beyond)s::bigint IS NULL OR position {side} %(beyond)s)
        ORDER BY position {order} LIMIT %(limit)s""",
        responses.Comment,
        prepared=False,
    )
    for order, side in (("asc", ">"), ("desc", "<"))
}
_COMMENT_POSITION = "SELECT position FROM comment WHERE issue_id = %s AND id = %s"
_COMMENT = Docs("SELECT doc FROM comment WHERE id = %(id)s AND issue_id = %(issue_id)s", responses.Comment)


_CURSOR = Docs(
    """SELECT json_build_object('totalComments', counted.total, 'latestCommentId', latest.id,
        'latestCommentAt', latest.doc->>'createdAt') AS doc
    FROM (SELECT count(*) AS total FROM comment WHERE issue_id = %(issue_id)s) counted LEFT JOIN (
        SELECT id, doc FROM comment WHERE issue_id = %(issue_id)s ORDER BY position DESC LIMIT 1) latest ON true""",
    CommentCursor,
)


def comment_row(recorded: Recorded, event: CommentAdded) -> CommentRow:
    """Return the row of a comment that was added."""
    timestamp = time(recorded.at)
    doc = responses.Comment(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        issue_id=event.issue_id,
        author_agent_id=event.agent_id,
        author_user_id=None if event.user_id is None else str(event.user_id),
        author_type=_author_type(event),
        created_by_run_id=event.run_id,
        body=event.body,
        created_at=timestamp,
        updated_at=timestamp,
    )
    return CommentRow(id=recorded.stream_id, issue_id=event.issue_id, position=recorded.position, doc=doc)


def _author_type(event: CommentAdded) -> Literal["agent", "user", "system"]:
    if event.agent_id is not None:
        return "agent"
    return "user" if event.user_id is not None else "system"


def page(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    issue_id: UUID,
    *,
    after: int = 0,
    newest_first: bool,
    limit: int,
    beyond: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[responses.Comment]:
    """
    Return the comments of an issue after the position `after`, oldest first unless `newest_first`.

    With `beyond`, only those that come after that position in the chosen order.
    """
    query = _COMMENTS["desc" if newest_first else "asc"]
    return query.part(conn, issue_id=issue_id, after=after, beyond=beyond, limit=limit, max_bytes=max_bytes)


def one(conn: Connection, issue_id: UUID, id_: UUID) -> responses.Comment | None:
    """Return the comment with this id if it belongs to the issue, else None."""
    return _COMMENT.one(conn, issue_id=issue_id, id=id_)


def find_position(conn: Connection, issue_id: UUID, comment_id: UUID) -> int | None:
    """Return the position of a comment in the log; None if the issue has no such comment."""
    row = conn.execute(_COMMENT_POSITION, (issue_id, comment_id), prepare=True).fetchone()
    return row[0] if row else None


def cursor(conn: Connection, issue_id: UUID) -> CommentCursor:
    """Return the number of comments of an issue and its newest one; 0 and null if it has none."""
    return _CURSOR.all(conn, issue_id=issue_id)[0]
