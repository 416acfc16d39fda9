"""
What the parameters of paths, queries and headers take.

They are read as text and judged by us, not by the framework, so it cannot describe them. Where a parameter is taken
in more forms than are of use to anybody, its schema is as wide as what is taken, and the words say what is meant.
"""

from typing import Any, get_args

from domain.values import IssueStatus, RoutineStatus, RunSource
from projections.delivery.deliveries import Status
from projections.responses import RunStatus
from web.paperclip import examples

Json = dict[str, Any]

UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
TEXT: Json = {"type": "string"}
MOMENT: Json = {"type": "string", "format": "date-time"}
MOMENT_OR_NONE: Json = {"anyOf": [MOMENT, {"const": ""}]}
ID_OR_NONE: Json = {"type": "string", "pattern": f"^({UUID})?$", "description": "a UUID, or nothing"}


def _path(description: str, example: object) -> Json:
    return {"description": description, "schema": TEXT, "example": str(example)}


def _query(description: str, schema: Json, **more: Any) -> Json:
    return {"description": description, "schema": schema, **more}


def _words(description: str, words: Any) -> Json:
    """Several words, joined by commas; an empty one is none."""
    schema = {"type": "array", "items": {"enum": [*get_args(words), ""]}}
    return _query(f"{description}; several, joined by commas", schema, style="form", explode=False)


def _status(description: str, words: Any) -> Json:
    return _query(description, {"enum": [*get_args(words)]})


def _number(description: str, least: int, most: int, default: int) -> Json:
    return _query(description, {"type": "integer", "minimum": least, "maximum": most, "default": default})


def _header(name: str, description: str, schema: Json = TEXT) -> Json:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


PARAMETERS: dict[str, Json] = {  # by name, or by operation and name
    "company_id": _path("A company's id", examples.COMPANY_ID),
    "user_id": _path("A user's id", examples.USER_ID),
    "agent_id": _path("An agent's id", examples.AGENT_ID),
    "getAgent.agent_id": _path("An agent's id, or its short name (`urlKey`)", examples.AGENT_ID),
    "key_id": _path("A key's id", examples.KEY_ID),
    "project_id": _path("A project's id", examples.PROJECT_ID),
    "getProject.project_id": _path("A project's id, or its short name (`urlKey`)", examples.PROJECT_ID),
    "goal_id": _path("A goal's id", examples.GOAL_ID),
    "routine_id": _path("A routine's id", examples.ROUTINE_ID),
    "revision_id": _path("The id of one of the routine's revisions", examples.REVISION_ID),
    "trigger_id": _path("A trigger's id", examples.TRIGGER_ID),
    "backfill_id": _path("A backfill's id", examples.BACKFILL_ID),
    "public_id": _path("The trigger's `publicId`: 24 hexadecimal digits", examples.WEBHOOK.public_id),
    "issue_id": _path("An issue's id, or its identifier (`ACM-7`)", examples.ISSUE_ID),
    "endpoint_id": _path("A webhook endpoint's id", examples.ENDPOINT_ID),
    "delivery_id": _path("A delivery's id", examples.DELIVERY_ID),
    "comment_id": _path("A comment's id", examples.COMMENT_ID),
    "companyId": _query("Where a short name is looked up: a company's id", TEXT),
    "assigneeAgentId": _query("Only those that are this agent's", ID_OR_NONE),
    "projectId": _query("Only those of this project", ID_OR_NONE),
    "parentId": _query("Only the children of this issue", ID_OR_NONE),
    "originId": _query("Only those that this routine opened", ID_OR_NONE),
    "originKind": _query("Only those of this origin: `manual` or `routine_execution`", TEXT),
    "q": _query("Only those with this text in them, in whatever case", TEXT),
    "cursor": _query("The page after the one that named this cursor; none is the first page", TEXT),
    "offset": _number("How many to leave out at the start", 0, 10**9, 0),
    "after": _query("Only those after this comment, in the order asked for", ID_OR_NONE),
    "afterCommentId": _query("Another name of `after`, which comes first", ID_OR_NONE),
    "order": _query("Oldest (`asc`) or newest (`desc`) first", {"enum": ["asc", "desc"], "default": "desc"}),
    "listRoutines.status": _words("Only those of these statuses", RoutineStatus),
    "listRoutines.limit": _query(
        "How many a page has, 1 to 1,000; without it, as many as fit into an answer",
        {"type": "integer", "minimum": 1, "maximum": 1000},
    ),
    "listRuns.status": _words("Only those of these statuses", RunStatus),
    "listRuns.source": _words("Only those fired in these ways", RunSource),
    "listRuns.limit": _query("How many a page has, 1 to 200; below is 1, above 200, what is no number 50", TEXT),
    "from": _query("The begin of the period, in ISO 8601; without it, 24 hours ago", MOMENT_OR_NONE),
    "to": _query("The end of the period, in ISO 8601; without it, in 24 hours", MOMENT_OR_NONE),
    "at": _query("The moment that is asked about, in ISO 8601; it stands for its minute", MOMENT, required=True),
    "issuedByUserId": _query("Only those that this user issued", ID_OR_NONE),
    "revokeKeys": _query(
        "Whether the keys that the member issued are revoked; without it they are", {"enum": ["true", "false", ""]}
    ),
    "triggerId": _query("Only this trigger of the routine", ID_OR_NONE),
    "listOccurrences.limit": _number("How many a page has", 1, 1_000, 100),
    "listBackfills.limit": _number("How many a page has", 1, 200, 50),
    "listIssues.status": _query(
        f"Only those of these statuses, joined by commas: {', '.join(get_args(IssueStatus))}", TEXT
    ),
    "listIssues.limit": _number("How many at most", 1, 1_000, 500),
    "listComments.limit": _number("How many at most", 1, 500, 500),
    "listDeliveries.status": _status("Only those of this status", Status),
    "listWebhookDeliveries.status": _status("Only those of this status", Status),
    "listCompanyKeys.limit": _number("How many a page has", 1, 200, 50),
    "listDeliveries.limit": _number("How many a page has", 1, 200, 50),
    "listWebhookDeliveries.limit": _number("How many a page has", 1, 200, 50),
}

RUN_ID = _header(
    "X-Paperclip-Run-Id",
    "The work session of an agent; it is kept with what is recorded, and an agent must give it to hold an issue",
    ID_OR_NONE,
)
CONSISTENCY = _header("X-Routines-Consistency", "`eventual`: what is there, without waiting for what was just recorded")
CONDITIONAL = _header("If-None-Match", "ETags of answers that are there already: if this is one of them, 304")
OF_WEBHOOKS = [
    _header("Idempotency-Key", "The same key gives the same run", {"type": "string", "maxLength": 255}),
    _header("X-Paperclip-Signature", "`hmac_sha256`: hexadecimal HMAC-SHA256 of `<timestamp>.<body>`"),
    _header("X-Paperclip-Timestamp", "`hmac_sha256`: when it was signed, in seconds or milliseconds since 1970"),
    _header("X-Hub-Signature-256", "`github_hmac`: `sha256=` and the hexadecimal HMAC-SHA256 of the body"),
    _header("webhook-id", "`standard_webhooks`: the message's id; the same id gives the same run"),
    _header("webhook-timestamp", "`standard_webhooks`: when it was signed, in seconds since 1970"),
    _header("webhook-signature", "`standard_webhooks`: `v1,` and the base64 HMAC-SHA256 of `<id>.<timestamp>.<body>`"),
]
