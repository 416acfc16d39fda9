"""Follows one scheduled run through the API."""

import contextlib
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from routines.demo.console import DemoConsole, clock, format_delay
from routines.demo.fixtures import Board, Failed, Fixtures
from routines.local.supervisor import Child, Part, Supervisor

CRON = "* * * * *"
COMMAND = ["sh", "-c", 'echo "Hello from $ROUTINES_ISSUE_IDENTIFIER, $(wc -c) bytes of JSON on my standard input"']
LOOK_S = 0.2
T = TypeVar("T")


class Walkthrough:
    """Shows one scheduled run step by step, for `timeout_s` at most."""

    def __init__(self, board: Board, console: DemoConsole, timeout_s: float) -> None:
        self.board = board
        self.console = console
        self.timeout_s = timeout_s
        self.end_at = time.monotonic() + timeout_s

    def play(self) -> Fixtures:
        """Return the fixtures after one scheduled run has completed; they are cleared in any case. Raises Failed."""
        self.board.ask("GET", "/api/companies")
        fixtures = Fixtures.create_fixtures(self.board)
        try:
            self._introduce_fixtures(fixtures)
            with run_worker(self.board.url, fixtures.key["token"]) as worker, self.console.waiting():
                self._watch_worker(fixtures, worker)
        finally:
            self._clear_fixtures(fixtures)
        return fixtures

    def _clear_fixtures(self, fixtures: Fixtures) -> None:
        try:
            fixtures.clear(self.board)
        except Failed as failure:
            self.console.step("not cleared", f"routine {fixtures.routine['id']} may still fire: {failure.message}")

    def _introduce_fixtures(self, fixtures: Fixtures) -> None:
        self.console.step("system", self.board.url)
        self.console.step("company", f"{fixtures.company['name']} ({fixtures.company['issuePrefix']})")
        self.console.step("agent", f"{fixtures.agent['name']}, with a key")
        self.console.step("routine", fixtures.routine["title"])

    def _watch_worker(self, fixtures: Fixtures, worker: Child) -> None:
        self.console.step("worker", f"routines worker -- {shlex.join(COMMAND)}")
        trigger = self._create_trigger(fixtures)
        planned_at = moment(trigger["nextRunAt"])
        self._count_down(planned_at, moment(trigger["createdAt"]))
        path = f"/api/routines/{fixtures.routine['id']}/runs"
        run = self._wait_until(worker, "the run", lambda: find_scheduled_run(self.board.ask("GET", path)))
        fired_at = moment(run["triggeredAt"])
        self.console.step(
            "run", f"{clock(fired_at)}  {format_delay(planned_at, fired_at)} after the tick, source {run['source']}"
        )
        issue = self._find_issue(run)
        self.console.step("issue", f"{clock(moment(issue['createdAt']))}  {issue['identifier']}: {issue['title']}")
        self._wait_until(worker, "the worker", lambda: self._find_issue(run)["status"] != "todo" or None)
        self.console.step("taken", f"by {fixtures.agent['name']}")
        run = self._wait_until(worker, "the end", lambda: find_ended_run(self.board.ask("GET", path), run["id"]))
        self._report_end(run, fired_at)

    def _create_trigger(self, fixtures: Fixtures) -> dict[str, Any]:
        draft = {"kind": "schedule", "cronExpression": CRON, "timezone": "UTC"}
        result = self.board.ask("POST", f"/api/routines/{fixtures.routine['id']}/triggers", draft)
        trigger: dict[str, Any] = result["trigger"]
        wait_s = (moment(trigger["nextRunAt"]) - moment(trigger["createdAt"])).total_seconds()
        self.console.step(
            "trigger", f'cron "{CRON}", first tick at {clock(moment(trigger["nextRunAt"]))} UTC, in {wait_s:.0f} s'
        )
        return trigger

    def _count_down(self, planned_at: datetime, now: datetime) -> None:
        """Wait until the planned moment by the server's clock; `now` is what that clock shows when this is called."""
        tick_at = time.monotonic() + (planned_at - now).total_seconds()
        while (left_s := tick_at - time.monotonic()) > 0 and time.monotonic() < self.end_at:
            self.console.wait(f"the tick comes in {left_s:.0f} s")
            time.sleep(min(LOOK_S, left_s))
        self.console.step("tick", clock(planned_at))

    def _wait_until(self, worker: Child, description: str, look: Callable[[], T | None]) -> T:
        """Call `look` until it returns something; return that. Raises Failed if the worker ends or the time is up."""
        self.console.wait(f"waiting for {description}")
        while (result := look()) is None:
            if (status := worker.ended()) is not None:
                raise Failed(f"the worker ended with status {status}: {worker.last_words()}")
            if time.monotonic() >= self.end_at:
                raise Failed(
                    f"waited for {description} in vain: no scheduled run completed within {self.timeout_s:g} s"
                )
            time.sleep(LOOK_S)
        return result

    def _find_issue(self, run: dict[str, Any]) -> dict[str, Any]:
        if run["linkedIssueId"] is None:
            raise Failed(f"the run ended as {run['status']} without an issue: {run['failureReason']}")
        issue: dict[str, Any] = self.board.ask("GET", f"/api/issues/{run['linkedIssueId']}")
        return issue

    def _report_end(self, run: dict[str, Any], fired_at: datetime) -> None:
        comments = self.board.ask("GET", f"/api/issues/{run['linkedIssueId']}/comments?order=asc")
        for text in (line for comment in comments for line in comment["body"].splitlines()):
            self.console.step("output", text)
        completed_at = moment(run["completedAt"])
        self.console.step("done", f"{clock(completed_at)}  the issue is {run['linkedIssue']['status']}")
        self.console.step(run["status"], f"run {run['id']}, {format_delay(fired_at, completed_at)} after it fired")
        if run["status"] != "completed":
            raise Failed(f"the run {run['status']}: {run['failureReason']}")


@contextlib.contextmanager
def run_worker(url: str, token: str) -> Iterator[Child]:
    """Run a worker of the agent until the end of the `with`; it ends with this process, too."""
    with tempfile.TemporaryDirectory(prefix="routines-demo-") as state:
        options = ["--url", url, "--poll-s", "0.5", "--state-dir", state]
        argv = [sys.executable, "-m", "routines", "worker", *options, "--", *COMMAND]
        supervisor = Supervisor([Part("worker", argv, {"ROUTINES_AGENT_TOKEN": token})], Path(state))
        try:
            supervisor.start()
            yield supervisor.children[0]
        finally:
            supervisor.stop()


def find_scheduled_run(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the first run that the schedule fired; None when there is none yet."""
    return next((run for run in reversed(runs) if run["source"] == "schedule"), None)


def find_ended_run(runs: list[dict[str, Any]], run_id: str) -> dict[str, Any] | None:
    """Return the run once it has ended; None before."""
    return next((run for run in runs if run["id"] == run_id and run["completedAt"]), None)


def moment(text: str) -> datetime:
    """Return the moment of a text of the API."""
    return datetime.fromisoformat(text)
