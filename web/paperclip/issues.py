"""The routes of issues and of the work on them (contract 7.5)."""

from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Struct
from msgspec.structs import replace

from application.access import Caller
from application.request_bodies.issues import Checkout, CommentDraft, IssueDraft, IssuePatch
from application.use_cases import read_access, routine_environment
from application.use_cases.board import issues as use_cases
from domain.errors import NotFound
from domain.values import IssueStatus
from projections import responses
from projections.board import comments, goals, issues, projects
from projections.board.issues import Filters
from projections.engine.table import Connection
from projections.responses import ResponseBody
from web.http.backend import PAST_POSITION, Backend
from web.http.paging import NEXT, Paging, Position, make_page, paging, place_of, row_of
from web.http.path_ids import CommentId, CompanyId
from web.http.requests import parse_whole_number, uuid_or_none
from web.http.routing import get, patch, post
from web.http.validation import UUID_TEXT, parse
from web.paperclip import past_answers
from web.paperclip.past_answers import Moment
from web.paperclip.routines import words

LIMIT, MOST = 500, 1_000
MOST_COMMENTS = 500


class IssueDetail(responses.Issue, frozen=True, kw_only=True):
    """An issue with its ancestors."""

    ancestors: list[responses.Issue]


class IssueUpdated(responses.Issue, frozen=True, kw_only=True):
    """A changed issue, and the comment that was added with the change, if any."""

    comment: responses.Comment | None = None


class HeartbeatContext(ResponseBody, frozen=True, kw_only=True):
    """What an agent needs to begin work on an issue."""

    issue: responses.Issue
    ancestors: list[responses.Issue]
    project: responses.Project | None
    goal: responses.Goal | None
    comment_cursor: comments.CommentCursor
    wake_comment: None = None
    attachments: tuple[str, ...] = ()


class CommentPart(NamedTuple):
    """The part of the comments that a request asks for."""

    after: UUID | None
    newest_first: bool


class Statuses(Struct, frozen=True):
    """The statuses of a list of issues; None: any."""

    status: tuple[IssueStatus, ...] | None


async def filters(  # noqa: PLR0913, PLR0917 the contract's filters
    status: FromQuery[str | None] = None,
    assignee_agent_id: Annotated[str | None, QueryParameter(name="assigneeAgentId")] = None,
    project_id: Annotated[str | None, QueryParameter(name="projectId")] = None,
    parent_id: Annotated[str | None, QueryParameter(name="parentId")] = None,
    origin_kind: Annotated[str | None, QueryParameter(name="originKind")] = None,
    origin_id: Annotated[str | None, QueryParameter(name="originId")] = None,
    q: FromQuery[str | None] = None,
    offset: FromQuery[str | None] = None,
) -> Filters:
    """Return the filters of a list of issues. It is a dependency. Raise Invalid."""
    statuses = parse(Statuses, {"status": words(status)}).status
    return Filters(
        statuses=None if statuses is None else list(statuses),
        assignee_agent_id=uuid_or_none(assignee_agent_id, "assigneeAgentId"),
        project_id=uuid_or_none(project_id, "projectId"),
        parent_id=uuid_or_none(parent_id, "parentId"),
        origin_kind=origin_kind or None,
        origin_id=uuid_or_none(origin_id, "originId"),
        text=q or None,
        offset=parse_whole_number(offset, "offset", 0, 0, 10**9),
    )


async def comment_part(
    after: FromQuery[str | None] = None,
    after_comment_id: Annotated[str | None, QueryParameter(name="afterCommentId")] = None,
    order: FromQuery[Literal["asc", "desc"]] = "desc",
) -> CommentPart:
    """Return the part of the comments that a request asks for. It is a dependency. Raise Invalid."""
    return CommentPart(after=uuid_or_none(after or after_comment_id, "after"), newest_first=order == "desc")


class IssueEnvironment(ResponseBody, frozen=True, kw_only=True):
    """The environment variables for the work on an issue."""

    environment_variables: dict[str, str]
    missing: list[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.environment_variables)} variables)"


class Issues(Controller):
    """Issues, their comments, and the work of agents on them."""

    tags = ("issues",)
    dependencies = {
        "as_of": Provide(past_answers.moment_of_request),
        "filters": Provide(filters),
        "part": Provide(comment_part),
        "paging": Provide(paging),
    }

    @get(
        "/companies/{company_id:str}/issues",
        operation_id="listIssues",
        refuses=(403, 422),
        response_headers=(*NEXT, *PAST_POSITION),
    )
    def list_(  # noqa: PLR0913, PLR0917 the caller, the filters, the part of the list
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        filters: NamedDependency[Filters],
        paging: NamedDependency[Paging],
        as_of: NamedDependency[Moment | None],
        company_id: FromPath[CompanyId],
    ) -> Response[list[responses.Issue]]:
        """
        Returns the issues of the company, newest first. `status` takes several statuses, joined by commas. With `asOf` it
        is the list as it was then, by at most 100 a page.
        """
        list_name, limit = f"issues of {company_id}", parse_whole_number(paging.limit, "limit", LIMIT, 1, MOST)
        filters = replace(filters, limit=limit, before=place_of(paging.cursor, list_name, Position))
        if as_of is not None:
            page = (paging, list_name, None if paging.limit is None else limit)
            return past_answers.issue_page(backend, caller, as_of, company_id, filters, page)
        backend.authorize(caller, read_access.company, company_id)
        with backend.consistent_read("issues", eventual=eventual) as conn:
            part = issues.page(conn, company_id, filters, max_bytes=backend.limits.max_page_bytes)
        return make_page(paging, list_name, part)

    @post("/companies/{company_id:str}/issues", operation_id="createIssue", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[IssueDraft],
    ) -> Response[responses.Issue]:
        """Creates an issue."""
        changed = backend.change(caller, ("issues",), use_cases.create, company_id, data)
        return changed.answer(lambda conn: issues.issue(conn, changed.result), 201)

    @get("/issues/{issue_id:str}", operation_id="getIssue", refuses=(422,), response_headers=PAST_POSITION)
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        as_of: NamedDependency[Moment | None],
        issue_id: FromPath[str],
    ) -> Response[IssueDetail]:
        """Returns the issue with this id or identifier (`ACM-7`), with its ancestors, now or as they were at `asOf`."""
        issue = _find_issue(backend, caller, issue_id, eventual=eventual)
        if as_of is not None:
            return past_answers.issue(backend, as_of, issue.id, _with_ancestors)
        with backend.consistent_read(eventual=True) as conn:
            above = issues.ancestors(conn, issue.id, backend.limits.max_page_bytes)
        return Response(_with_ancestors(issue, above))

    @get("/issues/{issue_id:str}/heartbeat-context", operation_id="getHeartbeatContext")
    def heartbeat_context(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], issue_id: FromPath[str]
    ) -> HeartbeatContext:
        """Returns what an agent needs to begin work on the issue."""
        issue = _find_issue(backend, caller, issue_id)
        with backend.consistent_read(eventual=True) as conn:
            return HeartbeatContext(
                issue=issue,
                ancestors=issues.ancestors(conn, issue.id, backend.limits.max_page_bytes),
                project=projects.one(conn, issue.project_id) if issue.project_id else None,
                goal=goals.one(conn, issue.goal_id) if issue.goal_id else None,
                comment_cursor=comments.cursor(conn, issue.id),
            )

    @patch("/issues/{issue_id:str}", operation_id="updateIssue", refuses=(403, 409, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        issue_id: FromPath[str],
        data: JSONBody[IssuePatch],
    ) -> Response[IssueUpdated]:
        """
        Changes the fields that are given. The statuses done and cancelled end the run that opened the issue. A comment
        may be given as well.
        """
        id_ = _id_of(backend, caller, issue_id)
        changed = backend.change(caller, ("issues",), use_cases.update, id_, data, caller.run_id)

        def read_updated(conn: Connection) -> IssueUpdated | None:
            issue = issues.issue(conn, id_)
            comment = comments.one(conn, id_, changed.result) if changed.result else None
            return IssueUpdated(**_fields_of_issue(issue), comment=comment) if issue else None

        return changed.answer(read_updated)

    @post("/issues/{issue_id:str}/checkout", operation_id="checkoutIssue", refuses=(403, 409, 422), status_code=200)
    def checkout(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        issue_id: FromPath[str],
        data: JSONBody[Checkout],
    ) -> Response[responses.Issue]:
        """
        Gives the issue to an agent for its work session (X-Paperclip-Run-Id). Do not repeat a request that was answered
        with 409.

        With `leaseSeconds` the checkout lasts so long, and the same request of the same session renews it, if
        `expectedStatuses` is `["in_progress"]`: with `todo` among them, it would take an issue anew that was lost. When a
        lease runs out, the issue is `todo` again for its assignee, a comment says so, and what that session still sends
        about the issue is answered with 409, except for comments. Without `leaseSeconds` a checkout lasts until it ends.
        """
        id_ = _id_of(backend, caller, issue_id)
        changed = backend.change(caller, ("issues",), use_cases.check_out, id_, data, caller.run_id)
        return changed.answer(lambda conn: issues.issue(conn, id_))

    @get("/issues/{issue_id:str}/environment", operation_id="getIssueEnvironment", refuses=(403, 409))
    def environment(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], issue_id: FromPath[str]
    ) -> IssueEnvironment:
        """
        Returns the environment variables of the routine that opened the issue, with their values, to the agent that has
        checked the issue out in this work session (X-Paperclip-Run-Id). `missing` names those that have no
        value any more, since the variable of the company that they are bound to is gone.
        """
        id_ = _id_of(backend, caller, issue_id)
        environment = backend.authorize(caller, routine_environment.of_issue, id_, caller.run_id)
        return IssueEnvironment(environment_variables=environment.variables, missing=list(environment.missing))

    @post("/issues/{issue_id:str}/release", operation_id="releaseIssue", refuses=(403, 409), status_code=200)
    def release(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], issue_id: FromPath[str]
    ) -> Response[responses.Issue]:
        """Gives the issue back. It is `todo` again if it was in progress, and nobody is assigned to it."""
        id_ = _id_of(backend, caller, issue_id)
        changed = backend.change(caller, ("issues",), use_cases.release, id_, caller.run_id)
        return changed.answer(lambda conn: issues.issue(conn, id_))

    @post(
        "/issues/{issue_id:str}/admin/force-release", operation_id="forceReleaseIssue", refuses=(403,), status_code=200
    )
    def force_release(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], issue_id: FromPath[str]
    ) -> Response[responses.Issue]:
        """
        Takes the issue from whoever holds it. It is `todo` again for its assignee, and a comment says who released it.
        What the work session that had it still sends about it is answered with 409. Only board users may do this.
        """
        id_ = _id_of(backend, caller, issue_id)
        changed = backend.change(caller, ("issues",), use_cases.force_release, id_)
        return changed.answer(lambda conn: issues.issue(conn, id_))

    @get("/issues/{issue_id:str}/comments", operation_id="listComments", response_headers=NEXT)
    def comments(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        part: NamedDependency[CommentPart],
        paging: NamedDependency[Paging],
        issue_id: FromPath[str],
    ) -> Response[list[responses.Comment]]:
        """
        Returns the comments on the issue, newest first, or oldest first with `order=asc`; those after a comment, if
        one is named.
        """
        limit = parse_whole_number(paging.limit, "limit", MOST_COMMENTS, 1, MOST_COMMENTS)
        issue = _find_issue(backend, caller, issue_id)
        list_name = f"comments on {issue.id}, newest first: {part.newest_first}"
        beyond = place_of(paging.cursor, list_name, UUID)
        with backend.consistent_read(eventual=True) as conn:

            def position(comment_id: UUID) -> int | None:
                return comments.find_position(conn, issue.id, comment_id)

            selection = comments.page(
                conn,
                issue.id,
                after=row_of(part.after, position, "after") or 0,
                newest_first=part.newest_first,
                limit=limit,
                beyond=row_of(beyond, position),
                max_bytes=backend.limits.max_page_bytes,
            )
        return make_page(paging, list_name, selection, lambda comment: comment.id)

    @post("/issues/{issue_id:str}/comments", operation_id="createComment", refuses=(403,))
    def create_comment(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        issue_id: FromPath[str],
        data: JSONBody[CommentDraft],
    ) -> Response[responses.Comment]:
        """Adds a comment to the issue."""
        id_ = _id_of(backend, caller, issue_id)
        changed = backend.change(caller, ("issues",), use_cases.comment, id_, data, caller.run_id)
        return changed.answer(lambda conn: comments.one(conn, id_, changed.result), 201)

    @get("/issues/{issue_id:str}/comments/{comment_id:str}", operation_id="getComment")
    def comment(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        issue_id: FromPath[str],
        comment_id: FromPath[str],
    ) -> responses.Comment:
        """Returns the comment."""
        issue = _find_issue(backend, caller, issue_id)
        with backend.consistent_read(eventual=True) as conn:
            comment = comments.one(conn, issue.id, CommentId(comment_id))
        if comment is None:
            raise NotFound("Comment not found")
        return comment


def _find_issue(backend: Backend, caller: Caller, issue_id: str, *, eventual: bool = False) -> responses.Issue:
    """Return the issue with this id or identifier. Raise NotFound if there is none or the caller may not see it."""

    def read(conn: Connection) -> responses.Issue | None:
        if UUID_TEXT.fullmatch(issue_id):
            return issues.issue(conn, UUID(issue_id))
        return issues.find_by_identifier(conn, issue_id)

    return backend.find_authorized(caller, ("issues", "directory"), "Issue", read, eventual=eventual)


def _id_of(backend: Backend, caller: Caller, issue_id: str) -> UUID:
    return UUID(issue_id) if UUID_TEXT.fullmatch(issue_id) else _find_issue(backend, caller, issue_id).id


def _with_ancestors(issue: responses.Issue, ancestors: list[responses.Issue]) -> IssueDetail:
    return IssueDetail(**_fields_of_issue(issue), ancestors=ancestors)


def _fields_of_issue(issue: responses.Issue) -> dict[str, Any]:
    return {name: getattr(issue, name) for name in responses.Issue.__struct_fields__}
