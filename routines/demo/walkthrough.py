"""One scheduled run, followed through the API."""

import contextlib
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from routines.demo.console import Screen, clock, late
from routines.demo.fixtures import Board, Failed, Scene
from routines.local.supervisor import Child, Part, Supervisor

CRON = "* * * * *"
COMMAND = ["sh", "-c", 'echo "Hello from $ROUTINES_ISSUE_IDENTIFIER, $(wc -c) bytes of JSON on my standard input"']
LOOK_S = 0.2
T = TypeVar("T")


class Demo:
    """One scheduled run, watched."""

    def __init__(self, board: Board, screen: Screen, timeout_s: float) -> None:
        self.board = board
        self.screen = screen
        self.timeout_s = timeout_s
        self.end_at = time.monotonic() + timeout_s

    def play(self) -> Scene:
        """The scene, after one scheduled run has completed."""
        self.board.ask("GET", "/api/companies")
        scene = Scene.made(self.board)
        try:
            self._introduce(scene)
            with working(self.board.url, scene.key["token"]) as worker, self.screen.waiting():
                self._watch(scene, worker)
        finally:
            self._clear(scene)
        return scene

    def _clear(self, scene: Scene) -> None:
        try:
            scene.clear(self.board)
        except Failed as failure:
            self.screen.step("not cleared", f"routine {scene.routine['id']} may still fire: {failure.message}")

    def _introduce(self, scene: Scene) -> None:
        self.screen.step("system", self.board.url)
        self.screen.step("company", f"{scene.company['name']} ({scene.company['issuePrefix']})")
        self.screen.step("agent", f"{scene.agent['name']}, with a key")
        self.screen.step("routine", scene.routine["title"])

    def _watch(self, scene: Scene, worker: Child) -> None:
        self.screen.step("worker", f"routines worker -- {shlex.join(COMMAND)}")
        trigger = self._trigger(scene)
        planned = moment(trigger["nextRunAt"])
        self._count_down(planned, moment(trigger["createdAt"]))
        path = f"/api/routines/{scene.routine['id']}/runs"
        run = self._until(worker, "the run", lambda: scheduled(self.board.ask("GET", path)))
        fired = moment(run["triggeredAt"])
        self.screen.step("run", f"{clock(fired)}  {late(planned, fired)} after the tick, source {run['source']}")
        issue = self._issue(run)
        self.screen.step("issue", f"{clock(moment(issue['createdAt']))}  {issue['identifier']}: {issue['title']}")
        self._until(worker, "the worker", lambda: self._issue(run)["status"] != "todo" or None)
        self.screen.step("taken", f"by {scene.agent['name']}")
        run = self._until(worker, "the end", lambda: ended(self.board.ask("GET", path), run["id"]))
        self._conclude(run, fired)

    def _trigger(self, scene: Scene) -> dict[str, Any]:
        draft = {"kind": "schedule", "cronExpression": CRON, "timezone": "UTC"}
        made = self.board.ask("POST", f"/api/routines/{scene.routine['id']}/triggers", draft)
        trigger: dict[str, Any] = made["trigger"]
        wait_s = (moment(trigger["nextRunAt"]) - moment(trigger["createdAt"])).total_seconds()
        self.screen.step(
            "trigger", f'cron "{CRON}", first tick at {clock(moment(trigger["nextRunAt"]))} UTC, in {wait_s:.0f} s'
        )
        return trigger

    def _count_down(self, planned: datetime, now: datetime) -> None:
        """By the server's clock: `now` is its time at this moment."""
        tick_at = time.monotonic() + (planned - now).total_seconds()
        while (left_s := tick_at - time.monotonic()) > 0 and time.monotonic() < self.end_at:
            self.screen.wait(f"the tick comes in {left_s:.0f} s")
            time.sleep(min(LOOK_S, left_s))
        self.screen.step("tick", clock(planned))

    def _until(self, worker: Child, what: str, look: Callable[[], T | None]) -> T:
        """What `look` finds, as soon as it finds something."""
        self.screen.wait(f"waiting for {what}")
        while (found := look()) is None:
            if (status := worker.ended()) is not None:
                raise Failed(f"the worker ended with status {status}: {worker.last_words()}")
            if time.monotonic() >= self.end_at:
                raise Failed(f"waited for {what} in vain: no scheduled run completed within {self.timeout_s:g} s")
            time.sleep(LOOK_S)
        return found

    def _issue(self, run: dict[str, Any]) -> dict[str, Any]:
        if run["linkedIssueId"] is None:
            raise Failed(f"the run ended as {run['status']} without an issue: {run['failureReason']}")
        issue: dict[str, Any] = self.board.ask("GET", f"/api/issues/{run['linkedIssueId']}")
        return issue

    def _conclude(self, run: dict[str, Any], fired: datetime) -> None:
        comments = self.board.ask("GET", f"/api/issues/{run['linkedIssueId']}/comments?order=asc")
        for text in (line for comment in comments for line in comment["body"].splitlines()):
            self.screen.step("output", text)
        done = moment(run["completedAt"])
        self.screen.step("done", f"{clock(done)}  the issue is {run['linkedIssue']['status']}")
        self.screen.step(run["status"], f"run {run['id']}, {late(fired, done)} after it fired")
        if run["status"] != "completed":
            raise Failed(f"the run {run['status']}: {run['failureReason']}")


@contextlib.contextmanager
def working(url: str, token: str) -> Iterator[Child]:
    """A worker of the agent, until the end of the `with`; it does not outlive us."""
    with tempfile.TemporaryDirectory(prefix="routines-demo-") as state:
        options = ["--url", url, "--poll-s", "0.5", "--state-dir", state]
        argv = [sys.executable, "-m", "routines", "worker", *options, "--", *COMMAND]
        supervisor = Supervisor([Part("worker", argv, {"ROUTINES_AGENT_TOKEN": token})], Path(state))
        try:
            supervisor.start()
            yield supervisor.children[0]
        finally:
            supervisor.stop()


def scheduled(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first run that the schedule fired."""
    return next((run for run in reversed(runs) if run["source"] == "schedule"), None)


def ended(runs: list[dict[str, Any]], run_id: str) -> dict[str, Any] | None:
    """The run, once it has ended."""
    return next((run for run in runs if run["id"] == run_id and run["completedAt"]), None)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
