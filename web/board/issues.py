"""Issues: the work that runs have opened, an agent's inbox, and what a member can do with an issue."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from domain.values import IssueStatus
from web.board import conflicts, words
from web.board.api import ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.conflicts import CONFLICT, Difference
from web.board.routine import names_of_authors
from web.board.visit import NEEDS, Visit

PAGE = 50
OPEN = "backlog,todo,in_progress,in_review,blocked"
STATUSES = {"": "Open", "all": "All", **{status: status.replace("_", " ") for status in get_args(IssueStatus)}}
FILTERS = ("status", "agent", "q")
Json = Mapping[str, Any]


@get("/board/companies/{company_id:str}/issues", operation_id="boardIssues")
async def issues(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the issues that match, newest first; with an agent, that agent's inbox."""
    live = await visit.live()
    parameters = visit.parameters(FILTERS)
    status = parameters.get("status", "")
    query = {
        "status": None if status == "all" else status or OPEN,
        "assigneeAgentId": parameters.get("agent"),
        "q": parameters.get("q"),
        "cursor": visit.parameter("cursor"),
        "limit": PAGE,
    }
    answer = await visit.api.page(visit.api_path("issues"), query)
    following = visit.path("issues", query={**parameters, "cursor": answer.next_cursor}) if answer.next_cursor else None
    return visit.show(
        "issues.html",
        here="issues",
        live=live,
        issues=answer.value,
        parameters=parameters,
        agents=await visit.names("agents", parameters.get("agent")),
        statuses=words.with_chosen(STATUSES, status),
        following=following,
    )


@get("/board/companies/{company_id:str}/issues/{issue_id:str}", operation_id="boardIssue")
async def issue(visit: NamedDependency[Visit], issue_id: FromPath[str]) -> Response[Any]:
    """Show an issue with its comments."""
    return await _show_issue(visit, issue_id, {}, {})


async def _show_issue(
    visit: Visit, issue_id: str, values: Json, errors: Json, theirs: Sequence[Difference] = ()
) -> Response[Any]:
    live = await visit.live(issue=issue_id)
    shown_issue = await visit.own("issues", issue_id)
    comments = await visit.api.page(
        f"/issues/{issue_id}/comments", {"order": "asc", "cursor": visit.parameter("cursor")}
    )
    following = visit.path("issues", issue_id, query={"cursor": comments.next_cursor}) if comments.next_cursor else None
    agents = await visit.names("agents")
    options = {"status": STATUSES.items(), "agent": [("", "nobody"), *agents.items()]}
    return visit.show(
        "issue.html",
        status=CONFLICT if theirs else 422 if errors else 200,
        here="issues",
        live=live,
        issue=shown_issue,
        comments=comments.value,
        names=await names_of_authors(visit, comments.value),
        following=following,
        agents=agents,
        theirs=conflicts.in_words(theirs, options),
        base=conflicts.base_after(visit.form, theirs, _as_values(shown_issue)),
        statuses={status: status.replace("_", " ") for status in get_args(IssueStatus)},
        values=values,
        errors=errors,
    )


@post(
    "/board/companies/{company_id:str}/issues/{issue_id:str}/comments",
    operation_id="boardComment",
    opt={NEEDS: "administer"},
)
async def comment(visit: NamedDependency[Visit], issue_id: FromPath[str]) -> Response[Any]:
    """Add a comment."""
    form = visit.form
    await visit.own("issues", issue_id)
    try:
        await visit.api.post(f"/issues/{issue_id}/comments", {"body": form.text("body")})
    except ApiRefusal as refusal:
        errors = {field or "body": message for field, message in refusal.by_field().items()}
        return await _show_issue(visit, issue_id, {"body": form.text("body")}, errors)
    return visit.go("issues", issue_id, done="commented")


@post(
    "/board/companies/{company_id:str}/issues/{issue_id:str}/status",
    operation_id="boardMoveIssue",
    opt={NEEDS: "assign"},
)
async def move(visit: NamedDependency[Visit], issue_id: FromPath[str]) -> Response[Any]:
    """Change the status or the assignee of an issue; if either was changed meanwhile, show both versions."""
    form, position = visit.form, await visit.position()
    body: dict[str, object] = {"status": form.text("status"), "assigneeAgentId": form.given("agent")}
    if form.text("status") == "cancelled" and form.given("failureReason"):
        body["failureReason"] = form.given("failureReason")
    present = _as_values(await visit.own("issues", issue_id))
    values, errors = {name: form.text(name) for name in ("status", "agent", "failureReason")}, dict[str, str]()
    theirs = conflicts.differences(form, values, present)
    if not theirs:
        try:
            with visit.api.unchanged_since(position):
                await visit.api.patch(f"/issues/{issue_id}", body)
        except ApiRefusal as refusal:
            errors = refusal.by_field(("assigneeAgentId",))
        else:
            return visit.go("issues", issue_id, done="moved")
    return await _show_issue(visit, issue_id, values, errors, theirs)


def _as_values(issue: Json) -> dict[str, str]:
    """Return an issue as the fields of its form have it."""
    return {"status": issue["status"], "agent": issue["assigneeAgentId"] or ""}


@post(
    "/board/companies/{company_id:str}/issues/{issue_id:str}/release",
    operation_id="boardReleaseIssue",
    opt={NEEDS: "administer"},
)
async def release(visit: NamedDependency[Visit], issue_id: FromPath[str]) -> Response[Any]:
    """Take an issue from the work session that has it."""
    issue = await visit.own("issues", issue_id)
    session = f"What the session {issue['checkoutRunId'] or 'that has it'} does with the issue from now on is refused"
    title, back = f"Take {issue['identifier']} from the session that has it?", visit.path("issues", issue_id)
    confirmation = Confirmation(title, f"{session}, and another one can take it.", "Take it", back)
    if (question := pending_question(visit, confirmation)) is not None:
        return question
    await visit.api.post(f"/issues/{issue_id}/admin/force-release")
    return visit.go("issues", issue_id, done="moved")
