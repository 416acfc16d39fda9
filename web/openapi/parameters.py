"""
The descriptions and schemas of parameters in paths, queries and headers, for both APIs.

Ids in paths are described by their type. The other parameters are read as text and checked by us, not by the framework,
so it cannot describe them. Where more forms of a parameter are accepted than anybody needs, its schema allows all of
them, and its description says which form is meant.
"""

import inspect
from collections.abc import Mapping
from typing import Any, get_args

from domain.values import IssueStatus, RoutineStatus, RunSource
from projections.delivery.delivery_history import Status
from projections.export_files import Format
from projections.exports import VIEWS
from projections.responses import RunStatus
from web.http.path_ids import PathId
from web.http.requests import EVENTUAL, MOST_NUMBER

Json = dict[str, Any]

HEX_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
TEXT: Json = {"type": "string"}
UUID: Json = {"type": "string", "format": "uuid"}
MOMENT: Json = {"type": "string", "format": "date-time"}
MOMENT_OR_NONE: Json = {"anyOf": [MOMENT, {"const": ""}]}
KEY: Json = {"type": "string", "maxLength": 255}
ID_OR_NONE: Json = {"type": "string", "pattern": f"^({HEX_UUID})?$", "description": "A UUID, or nothing."}


def _words_schema(words: Any) -> Json:
    """Return the schema of several words in one text, joined by commas; empty words are ignored."""
    word = "|".join([*get_args(words), ""])
    return {"type": "string", "pattern": f"^({word})(,({word}))*$"}


def _number_schema(least: int, most: int, default: int | None = None) -> Json:
    """Return the schema of a whole number; without a default, the description says what its absence means."""
    return {"type": "integer", "minimum": least, "maximum": most} | ({} if default is None else {"default": default})


POSITION = _number_schema(0, MOST_NUMBER)
POSITION_TEXT: Json = {"type": "string", "pattern": "^[0-9]{1,11}$"}
PAST: Json = {"anyOf": [MOMENT, POSITION]}
LIMIT = "How many a page has at most."
LIMIT_OF_LONG_PAGES = (f"{LIMIT} Without it, as many as fit into an answer.", _number_schema(1, 1_000))
STATUSES = "Only those of these statuses, joined by commas."
SOURCES = "Only those that were fired in these ways, joined by commas."
FEEDS = ("listEvents", "listAllEvents", "listEventsOfCollection")
OF_FEEDS: dict[str, tuple[str, Json]] = {  # by name of the parameter
    "kind": ("Only events of these kinds, joined by commas: `run.fired`, or `run.*` for all that begin so.", TEXT),
    "streamId": ("Only what happened to this thing itself.", ID_OR_NONE),
    "actor": ("Only what this actor did: `user:<id>`, `agent:<id>`, `key:<id>`, `trigger:<id>`, or `scheduler`.", TEXT),
    "routineId": ("Only this routine, and everything that belongs to it.", ID_OR_NONE),
    "triggerId": ("Only this trigger, and everything that belongs to it.", ID_OR_NONE),
    "runId": ("Only this run, and everything that belongs to it.", ID_OR_NONE),
    "issueId": ("Only this issue, and everything that belongs to it.", ID_OR_NONE),
    "from": ("Only what was recorded at this moment or later, in ISO 8601.", MOMENT_OR_NONE),
    "to": ("Only what was recorded at this moment or earlier, in ISO 8601.", MOMENT_OR_NONE),
    "after": ("Only events after this position of the log.", POSITION),
    "before": (
        "Only events before this position of the log.",
        POSITION,
    ),
    "order": (
        "Which events come first. A live feed always goes from the oldest on.",
        {"enum": ["newest", "oldest"], "default": "newest"},
    ),
    "limit": (LIMIT, _number_schema(1, 1_000, 100)),
}
DESCRIPTIONS: dict[str, tuple[str, Json]] = {  # by name of the parameter, or by operation and name
    **{f"{feed}.{name}": description for feed in FEEDS for name, description in OF_FEEDS.items()},
    "getAgent.agent_id": ("An agent's id, or its short name (`urlKey`).", TEXT),
    **dict.fromkeys(
        ("getProject.project_id", "updateProject.project_id", "deleteProject.project_id"),
        ("A project's id, or its short name (`urlKey`).", TEXT),
    ),
    **dict.fromkeys(("listRoutines.limit", "listCompanies.limit"), LIMIT_OF_LONG_PAGES),
    "agent_id": ("An agent's id.", UUID),
    "comment_id": ("A comment's id.", UUID),
    "company_id": ("A company's id.", UUID),
    "user_id": ("A user's id.", UUID),
    "issue_id": ("An issue's id, or its identifier (`ACM-7`).", TEXT),
    "public_id": ("The trigger's `publicId`: 24 hexadecimal digits.", TEXT),
    "collection": ("The name of a collection.", TEXT),
    "task": ("The name of a task.", TEXT),
    "name": ("The name of a routine.", TEXT),
    "trajectory": ("The number of a trajectory.", TEXT),
    "workflow_id": ("The `workflow_id` of a trajectory.", TEXT),
    "activity": ("The name of a step's activity.", TEXT),
    "companyId": ("The id of the company in which a short name is looked up.", TEXT),
    "assigneeAgentId": ("Only those that are assigned to this agent.", ID_OR_NONE),
    "projectId": ("Only those of this project.", ID_OR_NONE),
    "folderId": ("Only those in this folder.", ID_OR_NONE),
    "parentId": ("Only the children of this issue.", ID_OR_NONE),
    "originId": ("Only those that this routine opened.", ID_OR_NONE),
    "originKind": ("Only those of this origin: `manual` or `routine_execution`.", TEXT),
    "issuedByUserId": ("Only those that this user issued.", ID_OR_NONE),
    "triggerId": ("Only this trigger of the routine.", ID_OR_NONE),
    "routineId": ("Only those of this routine.", ID_OR_NONE),
    "q": ("Only those that contain this text; upper and lower case are the same.", TEXT),
    "cursor": ("The page after the one that returned this cursor. Without it, the first page.", TEXT),
    "offset": ("How many to leave out at the start.", _number_schema(0, 10**9, 0)),
    "after": ("Only those after this comment, in the requested order.", ID_OR_NONE),
    "getRunLog.after": ("Only the parts after this position.", _number_schema(0, MOST_NUMBER, 0)),
    "getTrajectoryLog.after": ("Only the parts after this position.", _number_schema(0, MOST_NUMBER, 0)),
    "afterCommentId": ("Another name of `after`, which takes precedence.", ID_OR_NONE),
    "order": ("The oldest (`asc`) or the newest (`desc`) come first.", {"enum": ["asc", "desc"], "default": "desc"}),
    "from": ("The beginning of the period, in ISO 8601. Without it, 24 hours ago.", MOMENT_OR_NONE),
    "to": ("The end of the period, in ISO 8601. Without it, in 24 hours.", MOMENT_OR_NONE),
    "asOf": (
        "A moment in ISO 8601, or a position of the log: the answer is what it was then.",
        PAST,
    ),
    "compareRoutine.from": ("The earlier moment, in ISO 8601, or a position of the log.", PAST),
    "compareRoutine.to": ("The later moment, in ISO 8601, or a position of the log. Without it, now.", PAST),
    "at": ("The moment that is asked about, in ISO 8601; the whole minute is meant.", MOMENT),
    "page": ("The number of the page; the first is 1.", _number_schema(1, 10**9 - 1, 1)),
    "limit": (LIMIT, _number_schema(1, 200, 50)),
    "revokeKeys": (
        "Whether the keys that the member issued are revoked. Without it they are.",
        {"enum": ["true", "false", ""]},
    ),
    "listRuns.limit": (
        "How many a page has at most. A smaller number counts as 1, a larger one as 200, any other text as 50.",
        _number_schema(1, 200, 50),
    ),
    "listOccurrences.limit": (LIMIT, _number_schema(1, 1_000, 100)),
    "listTrajectories.limit": (LIMIT, _number_schema(1, 200, 10)),
    "listIssues.limit": (LIMIT, _number_schema(1, 1_000, 500)),
    "listComments.limit": (LIMIT, _number_schema(1, 500, 500)),
    "listRunsOfRoutine.limit": (
        "How many there are at most; more than 200 count as 200.",
        {"type": "integer", "minimum": 1, "default": 50},
    ),
    "listRoutines.status": (STATUSES, _words_schema(RoutineStatus)),
    "listRuns.status": (STATUSES, _words_schema(RunStatus)),
    "listRuns.source": (SOURCES, _words_schema(RunSource)),
    "listCompanyRuns.status": (STATUSES, _words_schema(RunStatus)),
    "listCompanyRuns.source": (SOURCES, _words_schema(RunSource)),
    "listCompanyRuns.assigneeAgentId": (
        "Only those whose issue is assigned to this agent, or whose routine is, if they have no issue.",
        ID_OR_NONE,
    ),
    "listCompanyRuns.from": ("Only those that were fired at this moment or later, in ISO 8601.", MOMENT_OR_NONE),
    "listCompanyRuns.to": ("Only those that were fired at this moment or earlier, in ISO 8601.", MOMENT_OR_NONE),
    "listIssues.status": (STATUSES, _words_schema(IssueStatus)),
    "status": ("Only those of this status.", {"enum": [*get_args(Status)]}),
    "X-Paperclip-Run-Id": (
        "The work session of an agent. It is kept with what is recorded, and an agent must give it to hold an issue.",
        ID_OR_NONE,
    ),
    "Idempotency-Key": (
        "The same as `idempotencyKey` in the body, in ASCII: the same key gives the same run.",
        KEY,
    ),
    "createBackfill.Idempotency-Key": (
        "The same key, in ASCII, gives the same backfill, whoever repeats the request and however often.",
        KEY,
    ),
    "X-Routines-Consistency": (
        "`eventual` reads what is there, without waiting for what was just recorded.",
        {"enum": [EVENTUAL]},
    ),
    "position": ("A position of the log.", POSITION_TEXT),
    "view": ("The name of a view.", {"enum": sorted(VIEWS)}),
    "exportView.format": ("The form of the file.", {"enum": [*get_args(Format)], "default": "ndjson"}),
    "exportView.from": ("Only rows of this moment or later, in ISO 8601.", MOMENT_OR_NONE),
    "exportView.to": ("Only rows before this moment, in ISO 8601.", MOMENT_OR_NONE),
    "exportView.after": (
        "Only events after this position of the log.",
        POSITION,
    ),
    "exportView.limit": ("How many events the file has at most.", _number_schema(1, 100_000, 100_000)),
}
# Optional for the framework, so that its absence is refused with a message of ours.
REQUIRED = {"at", "compareRoutine.from"}


def _header_parameter(name: str, description: str, schema: Json = TEXT) -> Json:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


CONDITIONAL = _header_parameter(
    "If-None-Match", "The ETags of copies that you have. If one of them is current, the answer is 304."
)
PRECONDITION = _header_parameter(
    "If-Match", "The ETag of your copy, from a GET of this resource. Unless it is the current one, the answer is 412."
)
FEED_HEADERS = (_header_parameter("Last-Event-ID", "The position after which a live feed goes on.", POSITION_TEXT),)
WEBHOOK_HEADERS = (  # a webhook's request is read as raw bytes, since these are what is signed
    _header_parameter("Idempotency-Key", "The same key, in ASCII, gives the same run.", KEY),
    _header_parameter(
        "X-GitHub-Delivery", "The id of GitHub's delivery, if there is no key: the same id gives the same run."
    ),
    _header_parameter("X-GitHub-Event", "`ping` is answered with 200 and starts no work."),
    _header_parameter("X-Paperclip-Signature", "`hmac_sha256`: the hexadecimal HMAC-SHA256 of `<timestamp>.<body>`."),
    _header_parameter(
        "X-Paperclip-Timestamp", "`hmac_sha256`: when it was signed, in seconds or milliseconds since 1970."
    ),
    _header_parameter("X-Hub-Signature-256", "`github_hmac`: `sha256=` and the hexadecimal HMAC-SHA256 of the body."),
    _header_parameter("webhook-id", "The id of the message: the same id gives the same run."),
    _header_parameter("webhook-timestamp", "`standard_webhooks`: when it was signed, in seconds since 1970."),
    _header_parameter(
        "webhook-signature", "`standard_webhooks`: `v1,` and the base64 HMAC-SHA256 of `<id>.<timestamp>.<body>`."
    ),
    *(
        _header_parameter(f"svix-{part}", f"The same as `webhook-{part}`, if that is absent.")
        for part in ("id", "timestamp", "signature")
    ),
)


def parameter(operation_id: str, declaration: Json, kind: Any, examples: Mapping[str, str]) -> Json:
    """Return the description of a parameter of an operation, whose handler takes it as this type."""
    name, place = declaration["name"], declaration["in"]
    if isinstance(kind, type) and issubclass(kind, PathId):
        description, schema = inspect.getdoc(kind), UUID
    else:
        description, schema = DESCRIPTIONS.get(f"{operation_id}.{name}") or DESCRIPTIONS[name]
    example = {"example": examples[name]} if place == "path" else {}
    is_required = declaration["required"] or not REQUIRED.isdisjoint({name, f"{operation_id}.{name}"})
    return {"name": name, "in": place, "required": is_required, "description": description, "schema": schema, **example}
