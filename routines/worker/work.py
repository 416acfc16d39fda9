"""The work on the issues of an agent."""

import json
import shlex
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event as Stop
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from routines.worker import command_input
from routines.worker.claims import Claim, claim
from routines.worker.command import Command, CommandResult
from routines.worker.environment import NOT_TAKEN, list_names, sort_variables
from routines.worker.errors import RequestRefused, Stopped
from routines.worker.guard import clock
from routines.worker.jobs import Job
from routines.worker.live_log import LiveLog
from routines.worker.output import Show, Stream
from routines.worker.server import Say, Server
from routines.worker.supervision import NOT_RENEWED, Guard, Lease, Supervision
from routines.worker.tokens import Tokens
from routines.worker.usage import usage_of

REFUSED_S = 30.0  # pause before a checkout is tried again that was refused although nobody holds the issue

MOST_REASON = 1_000  # characters of the reason why a run failed
NOT_FOUND = 404
NOT_THERE = "the routine's environment has variables that have no value any more: {}"
REPORT_REFUSED = (400, 413, 422)  # the outputs are too large or too deep, or the history of the run is full
TIMED_OUT = "timed_out"  # the reason of a run that lasted longer than its routine allows
TOO_LONG = "the run lasted longer than its routine allows"
SUPERSEDED = "a later run of the routine has taken its place"

Outcome = Literal["done", "cancelled", "tried again", "moved", "handed back", "stopped", "left"]


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
    error_output: str


class Worker:
    """Checks issues out of the inbox of an agent, and works on each."""

    def __init__(  # noqa: PLR0913 the options of the command line
        self,
        server: Server,
        command: Command,
        tokens: Tokens,
        *,
        claims: Path,
        lease_s: int,
        stop: Stop,
        say: Say,
        show: Show,
        guard: Guard,
        allowed: Collection[str] = (),
    ) -> None:
        self.server = server
        self.command = command
        self.tokens = tokens
        self.claims = claims
        self.lease_s = lease_s
        self.stop = stop
        self.say = say
        self.show = show
        self.guard = guard
        self.allowed = allowed  # variables of routines that the command gets although they may choose what code runs
        self.agent_id = ""
        # By issue id: the updatedAt that was refused, and until when.
        self._refused_issues: dict[str, tuple[str, float]] = {}

    def introduce(self) -> None:
        """Find out to which agent the key belongs."""
        agent = self.server.ask("GET", "/api/agents/me")
        self.agent_id = agent["id"]
        self.say(f"working as {agent['name']} at {self.server.url}: {shlex.join(self.command.argv)}")

    def take_jobs(self) -> Iterator[Job[Finished]]:
        """
        Check out the issues in the inbox: those in todo first, then those that a dead worker left in progress.

        Yields the work on each, before it checks the next one out.
        """
        inbox = self.server.list_rows("/api/agents/me/inbox-lite")
        for item in sorted(inbox, key=lambda item: item["status"] != "todo"):
            if self.stop.is_set():
                return
            if item["status"] in ("todo", "in_progress") and not self._is_refused(item):
                yield from self._attempt_issue(item)

    def _attempt_issue(self, item: dict[str, Any]) -> Iterator[Job[Finished]]:
        issue_claim = self._claim_issue(item)
        if issue_claim is None:
            return
        asked_at = clock()
        try:
            issue = self._check_out(item, issue_claim)
        except BaseException:
            issue_claim.close()
            raise
        if issue is None:
            issue_claim.close()
        else:
            yield partial(self._run_issue, issue, issue_claim, Lease(self.lease_s, asked_at))

    def _claim_issue(self, item: dict[str, Any]) -> Claim | None:
        """Claim the issue on this machine; wait while the machine has no room for that, as for a server in trouble."""
        return self.server.repeat(lambda: claim(self.claims, UUID(item["id"]), fresh=item["status"] == "todo"))

    def _is_refused(self, item: dict[str, Any]) -> bool:
        updated_at, until = self._refused_issues.get(item["id"], ("", 0.0))
        return updated_at == item["updatedAt"] and time.monotonic() < until

    def _check_out(self, item: dict[str, Any], issue_claim: Claim) -> dict[str, Any] | None:
        """Check the issue out and return it; None if that is refused. A 409 is not repeated until the issue changes."""
        path = f"/api/issues/{item['id']}"
        try:
            self.server.ask(
                "POST", f"{path}/checkout", self._checkout_body(item["status"]), session=issue_claim.session
            )
            issue: dict[str, Any] = self.server.ask("GET", path)
        except RequestRefused as refusal:
            self.say(f"{item['identifier']} left alone: {refusal}")
            is_held = "checkoutRunId" in refusal.details  # by another session
            until = float("inf") if is_held else time.monotonic() + REFUSED_S
            self._refused_issues[item["id"]] = (item["updatedAt"], until)
            if item["status"] == "todo" or is_held:
                issue_claim.forget()
            return None
        verb = "taken" if item["status"] == "todo" else "resumed"
        self.say(f"{item['identifier']} {verb}: {item['title']}")
        return issue

    def _checkout_body(self, status: str) -> dict[str, Any]:
        """Return the body of a checkout; with the status in_progress it renews a lease, and never begins another."""
        return {"agentId": self.agent_id, "expectedStatuses": [status], "leaseSeconds": self.lease_s}

    def _run_issue(self, issue: dict[str, Any], issue_claim: Claim, lease: Lease) -> Finished:
        with closing(issue_claim):
            return self._work_under(issue, issue_claim, lease)

    def _work_under(self, issue: dict[str, Any], issue_claim: Claim, lease: Lease) -> Finished:
        attempt = issue.get("checkoutCount", 1) - 1 + self.server.repeat(issue_claim.begin_attempt)
        document = command_input.read_document(self.server, issue, attempt)
        variables = command_input.variables(document, self.server.url, issue_claim.session)
        if variables.omitted:
            self.say(
                f"{issue['identifier']}: too large for variables, on standard input only: {list_names(variables.omitted)}"
            )
        environment, obstacle = self._find_environment(issue, document, issue_claim.session)
        if obstacle is not None:
            ending = CommandResult(reason=obstacle)
        else:
            env = {**command_input.merge_environment(self.tokens.command_environment(), variables), **environment}
            document["environmentVariables"] = environment
            secrets = self.tokens.secrets_with(environment)
            ending = self._run(issue, issue_claim, lease, env, json.dumps(document).encode(), secrets)
        try:
            outcome, reason = self._report(issue, issue_claim.session, ending, document["run"] or {})
        except RequestRefused as refusal:
            outcome, reason = "left", str(refusal)
        except Stopped:
            self.say(f"{issue['identifier']} not reported: the next worker on this machine runs it again")
            raise
        issue_claim.forget()
        self.say(f"{issue['identifier']} {outcome}{f': {reason}' if reason else ''} ({ending.duration_s:.1f} s)")
        return Finished(
            issue_id=issue["id"],
            identifier=issue["identifier"],
            title=issue["title"],
            run_id=issue["originRunId"],
            outcome=outcome,
            reason=reason,
            exit_status=ending.exit_status,
            duration_s=round(ending.duration_s, 3),
            output=ending.output,
            error_output=ending.error_output,
        )

    def _run(  # noqa: PLR0913, PLR0917 what one start of a command has of its own
        self,
        issue: dict[str, Any],
        issue_claim: Claim,
        lease: Lease,
        env: dict[str, str],
        standard_input: bytes,
        secrets: list[str],
    ) -> CommandResult:
        """Run the command, and show and send what it prints."""
        with (
            Supervision(
                partial(self._find_loss, issue, issue_claim.session), self.stop, lease, self.guard
            ) as supervision,
            LiveLog(partial(self._log, issue["originRunId"], issue_claim.session)) as live_log,
        ):

            def hear(stream: Stream, text: str) -> None:
                self.show(issue["identifier"], stream, text)
                live_log.add(stream, text)

            return self.command.run(env, standard_input, secrets, supervision, hear, issue_claim.lock.fileno())

    def _find_environment(
        self, issue: dict[str, Any], document: dict[str, Any], session: UUID
    ) -> tuple[dict[str, str], str | None]:
        """Return the variables of the routine for the command, and why it must not run without them, or None."""
        routine = document["routine"]
        if issue["originId"] is None or (routine is not None and routine.get("env") is None):
            return {}, None
        try:
            answer = self.server.ask("GET", f"/api/issues/{issue['id']}/environment", session=session)
        except RequestRefused as refusal:
            if refusal.status == NOT_FOUND:  # a server from before routines had one
                return {}, None
            return {}, f"the routine's environment is not to be had ({refusal})"
        if answer["missing"]:
            return {}, NOT_THERE.format(list_names(answer["missing"]))
        variables = sort_variables(answer["environmentVariables"], self.allowed)
        if variables.refused:
            return {}, NOT_TAKEN.format("routine's", list_names(variables.refused))
        return variables.accepted, None

    def _log(self, run_id: str | None, session: UUID, part: Any) -> bool | None:
        """Send a part to the log of the run; return whether it is full. An issue of no run has no log."""
        if run_id is None:
            return True
        answer = self.server.try_once("POST", f"/api/routine-runs/{run_id}/log", part, session=session)
        return None if answer is None else bool(answer.get("isFull"))

    def _find_loss(self, issue: dict[str, Any], session: UUID, lease: Lease) -> str | None:
        """
        Renew the lease when it is time. Return why the issue is no longer this worker's; None while it is, or while the
        server is in trouble.

        The command itself may move the issue to in_review, blocked or done, and then goes on to its own end.
        """
        path = f"/api/issues/{issue['id']}"
        if (current := self.server.try_once("GET", path)) is None:
            return None
        if (loss := self._loss_by(current, session)) is not None:
            return loss
        if current["status"] != "in_progress":
            lease.drop()
        elif lease.is_due:
            asked_at = clock()
            try:
                if self.server.try_once(
                    "POST", f"{path}/checkout", self._checkout_body("in_progress"), session=session
                ):
                    lease.renew(asked_at)
            except RequestRefused as refusal:
                current = self.server.try_once("GET", path)  # the command may have moved it meanwhile
                return str(refusal) if current is None or self._loss_by(current, session) is not None else None
        return None

    def _loss_by(self, current: dict[str, Any], session: UUID) -> str | None:
        if current["assigneeAgentId"] != self.agent_id:
            return "the issue is not assigned to this agent any more"
        if current["checkoutRunId"] not in (None, str(session)):
            return "another work session has the issue"
        if current["status"] in ("backlog", "todo", "cancelled"):
            return self._why_moved(current)
        return None

    def _why_moved(self, issue: dict[str, Any]) -> str:
        """Return why an issue is no longer in progress: because of its run, or since somebody has moved it."""
        run = self._run_of(issue)
        attempt = (run.get("attempts") or [{}])[-1]
        if issue["status"] == "cancelled" and run.get("successorRunId"):
            return SUPERSEDED
        if issue["status"] != "todo" and TIMED_OUT in (run.get("failureReason"), attempt.get("reason")):
            return f"{TOO_LONG}{_next_attempt(run)}"
        return f"the issue was moved to {issue['status']}"

    def _run_of(self, issue: dict[str, Any]) -> dict[str, Any]:
        """Return the run of an issue; an empty one where there is none, or it is not to be had."""
        if issue["originRunId"] is None:
            return {}
        try:
            return self.server.try_once("GET", f"/api/routine-runs/{issue['originRunId']}") or {}
        except RequestRefused:
            return {}

    def _report(
        self, issue: dict[str, Any], session: UUID, ending: CommandResult, run: dict[str, Any]
    ) -> tuple[Outcome, str | None]:
        """
        Report how the command ended, in one request: a crash cannot come between the comment and the status. `run` is as
        it was before the command began.

        An issue is handed back by a move to todo: a release would remove its assignee, and so take it from every inbox.
        One that is somebody else's by now gets a comment only.
        """
        path = f"/api/issues/{issue['id']}"
        current = self.server.ask("GET", path)
        loss = ending.reason if ending.lost else self._loss_by(current, session)
        if loss is not None and ending.reason == NOT_RENEWED:
            loss = NOT_RENEWED  # counts as lost, whatever has become of the issue since
        if loss is not None:
            self._keep_output(issue, session, replace(ending, reason=loss))
            return "stopped", loss
        if current["status"] != "in_progress":
            return "moved", f"it is {current['status']} already"
        outcome: Outcome = "handed back" if ending.stopped else "cancelled" if ending.reason else "done"
        change: dict[str, Any] = {"status": "todo" if ending.stopped else outcome, "comment": comment(ending)}
        if outcome == "cancelled" and ending.reason and issue["originRunId"]:
            change["failureReason"] = ending.reason[:MOST_REASON]
        outputs = outputs_of(ending) if outcome != "handed back" and issue["originRunId"] else None
        reports: dict[str, Any] = {"outputs": outputs} if outputs else {}
        if outputs and (usage := usage_of(ending.output, run)) is not None:
            reports["usage"] = usage
        try:
            changed_issue = (
                self._change_issue(issue, session, change, reports) or self.server.try_once("GET", path) or change
            )
        except RequestRefused as refusal:
            self._keep_output(issue, session, replace(ending, reason=str(refusal)))
            return "stopped", str(refusal)
        # The retry policy of the routine has put the issue back to do.
        if outcome == "cancelled" and changed_issue["status"] != "cancelled":
            return "tried again", f"{ending.reason}{_next_attempt(self._run_of(issue))}"
        return outcome, ending.reason

    def _change_issue(
        self, issue: dict[str, Any], session: UUID, change: dict[str, Any], reports: dict[str, Any]
    ) -> Any:
        """
        Change an issue, with what is reported of its run; return it as it is then.

        A report that the server refuses keeps no issue from its end: the outputs are left out first, then all of it.
        """
        path = f"/api/issues/{issue['id']}"
        for left_out in ("outputs", "usage"):
            if left_out not in reports:
                continue
            try:
                return self.server.ask("PATCH", path, {**change, **reports}, session=session)
            except RequestRefused as refusal:
                if refusal.status not in REPORT_REFUSED:
                    raise
                self.say(f"{issue['identifier']}: {left_out} refused ({refusal}), and in the comment only")
                del reports[left_out]
        return self.server.ask("PATCH", path, change, session=session)

    def _keep_output(self, issue: dict[str, Any], session: UUID, ending: CommandResult) -> None:
        """Comment with the output on an issue that is no longer the worker's."""
        try:
            body = {"body": comment(ending)}
            self.server.ask("POST", f"/api/issues/{issue['id']}/comments", body, session=session)
        except RequestRefused as refusal:
            self.say(f"{issue['identifier']}: the output is not kept as a comment ({refusal})")


def _next_attempt(run: dict[str, Any]) -> str:
    """Return when the next attempt of a run begins, as the end of a sentence; empty if it does not wait for one."""
    next_at = run.get("nextAttemptAt")
    return f"; attempt {run['attempt'] + 1} of {run['maxAttempts']} is at {next_at}" if next_at else ""


def outputs_of(ending: CommandResult) -> dict[str, Any] | None:
    """Return the JSON object that the command has printed, if its output is one and whole."""
    try:
        value = msgspec.json.decode(ending.output) if ending.is_whole else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def comment(ending: CommandResult) -> str | None:
    """Return the reason of a failure and the command's output, standard error apart; None if there is neither."""
    reason = f"stopped: {ending.reason}" if ending.lost else ending.reason
    parts = [reason, ending.output, ending.error_output and f"Standard error:\n\n{ending.error_output}"]
    return "\n\n".join(part for part in parts if part and part.strip()) or None
