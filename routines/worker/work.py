"""What a worker does with the issues of its agent."""

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

REFUSED_S = 30.0  # a checkout that was refused for another reason than a holder is asked for again after this

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
    """Takes issues from the inbox, one at a time."""

    def __init__(self, server: Server, command: Command, *, claims: Path, stop: Stop, say: Say) -> None:
        self.server = server
        self.command = command
        self.claims = claims
        self.stop = stop
        self.say = say
        self.agent_id = ""
        self._refused: dict[str, tuple[str, float]] = {}  # issue id to the updatedAt that was refused, and until when

    def introduce(self) -> None:
        """Find out which agent we are."""
        me = self.server.ask("GET", "/api/agents/me")
        self.agent_id = me["id"]
        self.say(f"working as {me['name']} at {self.server.url}: {shlex.join(self.command.argv)}")

    def round(self) -> Iterator[Finished]:
        """Work off what is in the inbox now: what is to do first, then what a dead worker left in progress."""
        inbox = self.server.list_rows("/api/agents/me/inbox-lite")
        for item in sorted(inbox, key=lambda item: item["status"] != "todo"):
            if self.stop.is_set():
                return
            if item["status"] in ("todo", "in_progress") and not self._is_refused(item):
                yield from self._attempt(item)

    def _attempt(self, item: dict[str, Any]) -> Iterator[Finished]:
        held = claim(self.claims, UUID(item["id"]), fresh=item["status"] == "todo")
        if held is None:
            return
        with closing(held):
            issue = self._check_out(item, held)
            if issue is not None:
                yield self._work(issue, held)

    def _is_refused(self, item: dict[str, Any]) -> bool:
        updated_at, until = self._refused.get(item["id"], ("", 0.0))
        return updated_at == item["updatedAt"] and time.monotonic() < until

    def _check_out(self, item: dict[str, Any], held: Claim) -> dict[str, Any] | None:
        """The issue, once it is ours; a 409 is never repeated."""
        path = f"/api/issues/{item['id']}"
        wanted = {"agentId": self.agent_id, "expectedStatuses": [item["status"]]}
        try:
            self.server.ask("POST", f"{path}/checkout", wanted, session=held.session)
            issue: dict[str, Any] = self.server.ask("GET", path)
        except Refused as refusal:
            self.say(f"{item['identifier']} left alone: {refusal}")
            is_held = "checkoutRunId" in refusal.details  # by another, whoever it is
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
        One request says how it went, so that a crash cannot come between the comment and the status.

        A hand-back is a move to todo: a release would take the assignee away too, and the issue out of every inbox.
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
    """The reason if it went wrong, then the tail of what the command said; None if there is neither."""
    return "\n\n".join(part for part in (ended.reason, ended.output) if part and part.strip()) or None


def environment(issue: Mapping[str, Any], url: str, session: UUID) -> dict[str, str]:
    """The issue in ROUTINES_* variables; empty where it has no routine. A variable holds no NUL."""
    found = {
        "ROUTINES_URL": url,
        "ROUTINES_COMPANY_ID": issue["companyId"],
        "ROUTINES_ISSUE_ID": issue["id"],
        "ROUTINES_ISSUE_IDENTIFIER": issue["identifier"],
        "ROUTINES_ISSUE_TITLE": issue["title"],
        "ROUTINES_ROUTINE_ID": issue["originId"] or "",
        "ROUTINES_RUN_ID": issue["originRunId"] or "",
        "ROUTINES_SESSION_ID": str(session),
    }
    return {name: value.replace("\0", "") for name, value in found.items()}
