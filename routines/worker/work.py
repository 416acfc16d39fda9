"""The work on the issues of an agent."""

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from threading import Event as Stop
from typing import Any, Literal
from uuid import UUID

import msgspec

from routines.worker.claims import Claim, claim
from routines.worker.command import Command, Ended
from routines.worker.errors import Refused, Stopped
from routines.worker.server import Say, Server

REFUSED_S = 30.0  # pause before a checkout is tried again that was refused although nobody holds the issue

Outcome = Literal["done", "cancelled", "moved", "handed back", "left"]


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an issue; one line of `--json`."""

    issue_id: str
    identifier: str
    title: str
    run_id: str | None
    outcome: Outcome
    reason: str | None
    exit_status: int | None
    duration_s: float
    output: str


class Worker:
    """Checks issues out of the inbox of an agent and works on them one at a time."""

    def __init__(self, server: Server, command: Command, *, claims: Path, stop: Stop, say: Say) -> None:
        self.server = server
        self.command = command
        self.claims = claims
        self.stop = stop
        self.say = say
        self.agent_id = ""
        self._refused: dict[str, tuple[str, float]] = {}  # by issue id: the updatedAt that was refused, and until when

    def introduce(self) -> None:
        """Find out to which agent the key belongs."""
        me = self.server.ask("GET", "/api/agents/me")
        self.agent_id = me["id"]
        self.say(f"working as {me['name']} at {self.server.url}: {shlex.join(self.command.argv)}")

    def round(self) -> Iterator[Finished]:
        """Work on the issues in the inbox: those in todo first, then those that a dead worker left in progress."""
        inbox = self.server.list_rows("/api/agents/me/inbox-lite")
        for item in sorted(inbox, key=lambda item: item["status"] != "todo"):
            if self.stop.is_set():
                return
            if item["status"] in ("todo", "in_progress") and not self._is_refused(item):
                yield from self._attempt(item)

    def _attempt(self, item: dict[str, Any]) -> Iterator[Finished]:
        held = self._claim(item)
        if held is None:
            return
        with closing(held):
            issue = self._check_out(item, held)
            if issue is not None:
                yield self._work(issue, held)

    def _claim(self, item: dict[str, Any]) -> Claim | None:
        """Claim the issue on this machine; wait while the machine has no room for that, as for a server in trouble."""
        return self.server.repeat(lambda: claim(self.claims, UUID(item["id"]), fresh=item["status"] == "todo"))

    def _is_refused(self, item: dict[str, Any]) -> bool:
        updated_at, until = self._refused.get(item["id"], ("", 0.0))
        return updated_at == item["updatedAt"] and time.monotonic() < until

    def _check_out(self, item: dict[str, Any], held: Claim) -> dict[str, Any] | None:
        """Check the issue out and return it; None if that is refused. A 409 is not repeated until the issue changes."""
        path = f"/api/issues/{item['id']}"
        body = {"agentId": self.agent_id, "expectedStatuses": [item["status"]]}
        try:
            self.server.ask("POST", f"{path}/checkout", body, session=held.session)
            issue: dict[str, Any] = self.server.ask("GET", path)
        except Refused as refusal:
            self.say(f"{item['identifier']} left alone: {refusal}")
            is_held = "checkoutRunId" in refusal.details  # by another session
            until = float("inf") if is_held else time.monotonic() + REFUSED_S
            self._refused[item["id"]] = (item["updatedAt"], until)
            if item["status"] == "todo" or is_held:
                held.forget()
            return None
        verb = "taken" if item["status"] == "todo" else "resumed"
        self.say(f"{item['identifier']} {verb}: {item['title']}")
        return issue

    def _work(self, issue: dict[str, Any], held: Claim) -> Finished:
        env = {**os.environ, **environment(issue, self.server.url, held.session)}
        ended = self.command.run(env, json.dumps(issue).encode(), self.stop, held.lock.fileno())
        try:
            outcome, reason = self._report(issue, held.session, ended)
        except Refused as refusal:
            outcome, reason = "left", str(refusal)
        except Stopped:
            self.say(f"{issue['identifier']} not reported: the next worker on this machine runs it again")
            raise
        held.forget()
        self.say(f"{issue['identifier']} {outcome}{f': {reason}' if reason else ''} ({ended.duration_s:.1f} s)")
        return Finished(
            issue_id=issue["id"],
            identifier=issue["identifier"],
            title=issue["title"],
            run_id=issue["originRunId"],
            outcome=outcome,
            reason=reason,
            exit_status=ended.exit_status,
            duration_s=round(ended.duration_s, 3),
            output=ended.output,
        )

    def _report(self, issue: dict[str, Any], session: UUID, ended: Ended) -> tuple[Outcome, str | None]:
        """
        Report how the command ended, in one request: a crash cannot come between the comment and the status.

        An issue is handed back by a move to todo: a release would remove its assignee, and so take it from every inbox.
        """
        path = f"/api/issues/{issue['id']}"
        status = self.server.ask("GET", path)["status"]
        if status != "in_progress":
            return "moved", f"it is {status} already"
        outcome: Outcome = "handed back" if ended.stopped else "cancelled" if ended.reason else "done"
        change = {"status": "todo" if ended.stopped else outcome, "comment": comment(ended)}
        self.server.ask("PATCH", path, change, session=session)
        return outcome, ended.reason


def comment(ended: Ended) -> str | None:
    """Return the reason of a failure and the end of the command's output, as one text; None if there is neither."""
    return "\n\n".join(part for part in (ended.reason, ended.output) if part and part.strip()) or None


def environment(issue: Mapping[str, Any], url: str, session: UUID) -> dict[str, str]:
    """Return the ROUTINES_* variables of the issue, without NUL; those of a routine are empty where it has none."""
    variables = {
        "ROUTINES_URL": url,
        "ROUTINES_COMPANY_ID": issue["companyId"],
        "ROUTINES_ISSUE_ID": issue["id"],
        "ROUTINES_ISSUE_IDENTIFIER": issue["identifier"],
        "ROUTINES_ISSUE_TITLE": issue["title"],
        "ROUTINES_ROUTINE_ID": issue["originId"] or "",
        "ROUTINES_RUN_ID": issue["originRunId"] or "",
        "ROUTINES_SESSION_ID": str(session),
    }
    return {name: value.replace("\0", "") for name, value in variables.items()}
