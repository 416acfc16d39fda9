"""What a command gets of an issue: all of it as JSON on its standard input, and what is small as variables."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from domain.jetty.environment import is_variable
from routines.worker import environment
from routines.worker.errors import RequestRefused
from routines.worker.server import Server

# The largest value; Linux takes 128 KiB for one variable, and less for each when there are many.
MOST_VARIABLE_BYTES = 16 * 1024
MOST_VARIABLES_BYTES = 64 * 1024  # all names and values together
RESOLVED = "ROUTINES_VARIABLE_"
OMITTED = "ROUTINES_OMITTED"
# Fields of a routine that are about other runs, which have payloads of their own.
ABOUT_OTHER_WORK = {"recentRuns", "activeIssue"}


class Variables(NamedTuple):
    """The ROUTINES_* variables of an issue, and the names of those that are too large."""

    values: dict[str, str]
    omitted: list[str]


def read_document(server: Server, issue: Mapping[str, Any], start: int) -> dict[str, Any]:
    """
    Return what a command reads: the issue and, where a routine opened it, the run, the routine and the trigger.

    `start` says how often a command was started for this issue, on any machine and this time included. What the agent may
    not read is null. The issue's own fields stand at the top as well, for commands that read those.
    """
    run = _read(server, "/api/routine-runs", issue["originRunId"])
    routine = _read(server, "/api/routines", issue["originId"])
    payload = run["triggerPayload"] if run else None
    triggers = (routine or {}).get("triggers", [])
    routine = routine and {name: value for name, value in routine.items() if name not in ABOUT_OTHER_WORK}
    return {
        **issue,
        "issue": issue,
        "run": run,
        "routine": routine,
        "trigger": next((trigger for trigger in triggers if run and trigger["id"] == run["triggerId"]), None),
        "payload": payload,
        "variables": _object_or_empty((payload or {}).get("variables")),
        "plannedAt": run.get("plannedAt") if run else None,
        "attempt": (run or {}).get("attempt", 1),
        "maxAttempts": (run or {}).get("maxAttempts", 1),
        "start": start,
        "deadline": run.get("deadline") if run else None,
    }


def variables(document: Mapping[str, Any], url: str, session: UUID) -> Variables:
    """Return the ROUTINES_* variables, without NUL; one that would be too large is left out, and named."""
    result = Variables({}, [])
    left_bytes = MOST_VARIABLES_BYTES
    for name, value in _all_variables(document, url, session):
        text = value.replace("\0", "").encode(errors="replace")
        size = len(name) + len(text)
        if len(text) > MOST_VARIABLE_BYTES or size > left_bytes:
            result.omitted.append(name)
        else:
            result.values[name] = text.decode()
            left_bytes -= size
    result.values[OMITTED] = environment.list_names(result.omitted)
    return result


def merge_environment(inherited_variables: Mapping[str, str], own: Variables) -> dict[str, str]:
    """Return the environment of a command; a variable of the issue that is left out is not the worker's own instead."""
    kept_variables = {
        name: value
        for name, value in inherited_variables.items()
        if name not in own.omitted and not name.startswith(RESOLVED)
    }
    return kept_variables | own.values


def _all_variables(document: Mapping[str, Any], url: str, session: UUID) -> Iterator[tuple[str, str]]:
    """Yield all variables, the most needed ones first; those that do not apply are empty."""
    issue, run = document["issue"], document["run"] or {}
    yield "ROUTINES_URL", url
    yield "ROUTINES_COMPANY_ID", issue["companyId"]
    yield "ROUTINES_ISSUE_ID", issue["id"]
    yield "ROUTINES_ISSUE_IDENTIFIER", issue["identifier"]
    yield "ROUTINES_ROUTINE_ID", issue["originId"] or ""
    yield "ROUTINES_RUN_ID", issue["originRunId"] or ""
    yield "ROUTINES_SESSION_ID", str(session)
    yield "ROUTINES_TRIGGER_ID", run.get("triggerId") or ""
    yield "ROUTINES_RUN_SOURCE", run.get("source") or ""
    yield "ROUTINES_PLANNED_AT", document["plannedAt"] or ""
    yield "ROUTINES_ATTEMPT", str(document["attempt"])
    yield "ROUTINES_MAX_ATTEMPTS", str(document["maxAttempts"])
    yield "ROUTINES_START", str(document["start"])
    yield "ROUTINES_DEADLINE", document["deadline"] or ""
    yield "ROUTINES_ISSUE_TITLE", issue["title"]
    for name, value in document["variables"].items():
        if is_variable(name, ""):
            yield RESOLVED + name, value if isinstance(value, str) else json.dumps(value)
    yield "ROUTINES_PAYLOAD", "" if document["payload"] is None else json.dumps(document["payload"], ensure_ascii=False)


def _read(server: Server, path: str, id_: str | None) -> dict[str, Any] | None:
    if id_ is None:
        return None
    try:
        return _object_or_empty(server.ask("GET", f"{path}/{id_}")) or None
    except RequestRefused:
        return None


def _object_or_empty(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
