"""`routines demo`: a schedule fires before your eyes, from the tick to the finished run."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec
from rich.console import Console

from routines.supervisor import LEASH
from routines.worker import checked_token, checked_url, client, message

URL = "http://127.0.0.1:3100"
CRON = "* * * * *"
COMMAND = ["sh", "-c", 'echo "Hello from $ROUTINES_ISSUE_IDENTIFIER, $(wc -c) bytes of JSON on my standard input"']
LOOK_S = 0.2
STOP_LIMIT_S = 15.0


class Failed(click.ClickException):
    """The demo did not get to its end; the message says what to do"""


class Screen:
    """Steps as lines; while we wait, a moving last line where there is a terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._waiting = self.console.status("")

    def step(self, label: str, text: str) -> None:
        self.console.print(f"[bold]{label:>12}[/]  ", end="")
        self.console.print(text, markup=False, soft_wrap=True)

    def more(self, text: str) -> None:
        self.console.print(f"{'':14}{text}", markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A terminal shows what `wait` says until the end of the `with`."""
        if not self.console.is_terminal:
            yield
            return
        with self._waiting:
            yield

    def wait(self, text: str) -> None:
        self._waiting.update(text)


class Board:
    """The API as an operator sees it."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.client = client(url, token)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer. Raises Failed with what the server said."""
        try:
            response = self.client.request(method, path, json=body)
        except httpx.TransportError:
            raise Failed(f"cannot reach Routines at {self.url}: start it with `make up`") from None
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise Failed(f"{self.url} does not take the board token; see --token and --token-file")
        if not response.is_success:
            raise Failed(f"{method} {path} was answered {response.status_code}: {message(response)}")
        return response.json() if response.content else None


class Scene(msgspec.Struct, frozen=True):
    """What the demo made: a company, its agent with a key, a routine with a trigger."""

    company: dict[str, Any]
    agent: dict[str, Any]
    key: dict[str, Any]
    routine: dict[str, Any]

    @classmethod
    def made(cls, board: Board) -> "Scene":
        company = board.ask("POST", "/api/companies", {"name": "Demo company"})
        agent = board.ask("POST", f"/api/companies/{company['id']}/agents", {"name": "Demo agent"})
        key = board.ask("POST", f"/api/agents/{agent['id']}/keys", {"name": "demo"})
        routine = {"title": "Say hello", "assigneeAgentId": agent["id"]}
        return cls(company, agent, key, board.ask("POST", f"/api/companies/{company['id']}/routines", routine))

    def cleared(self, board: Board) -> None:
        """Nothing fires any more, and nobody can use the key."""
        board.ask("PATCH", f"/api/routines/{self.routine['id']}", {"status": "paused"})
        board.ask("DELETE", f"/api/agents/{self.agent['id']}/keys/{self.key['id']}")


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
            scene.cleared(self.board)
        return scene

    def _introduce(self, scene: Scene) -> None:
        self.screen.step("system", self.board.url)
        self.screen.step("company", f"{scene.company['name']} ({scene.company['issuePrefix']})")
        self.screen.step("agent", f"{scene.agent['name']}, with a key")
        self.screen.step("routine", scene.routine["title"])

    def _watch(self, scene: Scene, worker: subprocess.Popen[str]) -> None:
        self.screen.step("worker", f"routines worker -- {shlex.join(COMMAND)}")
        trigger = self._trigger(scene)
        planned = moment(trigger["nextRunAt"])
        self._count_down(planned, moment(trigger["createdAt"]))
        path = f"/api/routines/{scene.routine['id']}/runs"
        run = self._until(worker, "the run", lambda: scheduled(self.board.ask("GET", path)))
        fired = moment(run["triggeredAt"])
        self.screen.step("run", f"{clock(fired)}  {late(planned, fired)} after the tick, source {run['source']}")
        issue = self._until(worker, "the worker", lambda: self._taken(run))
        self.screen.step("issue", f"{clock(moment(run['createdAt']))}  {issue['identifier']}: {issue['title']}")
        self.screen.step("taken", f"{clock(moment(issue['startedAt']))}  by {scene.agent['name']}")
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

    def _until(self, worker: subprocess.Popen[str], what: str, look: Any) -> Any:
        """What `look` finds, as soon as it finds something."""
        self.screen.wait(f"waiting for {what}")
        while (found := look()) is None:
            if worker.poll() is not None:
                raise Failed(f"the worker ended with status {worker.returncode}: {worker.communicate()[1].strip()}")
            if time.monotonic() >= self.end_at:
                raise Failed(f"waited for {what} in vain: no scheduled run completed within {self.timeout_s:g} s")
            time.sleep(LOOK_S)
        return found

    def _taken(self, run: dict[str, Any]) -> dict[str, Any] | None:
        if run["linkedIssueId"] is None:
            raise Failed(f"the run ended as {run['status']} without an issue: {run['failureReason']}")
        issue: dict[str, Any] = self.board.ask("GET", f"/api/issues/{run['linkedIssueId']}")
        return issue if issue["startedAt"] else None

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
def working(url: str, token: str) -> Iterator[subprocess.Popen[str]]:
    """A worker of the agent, until the end of the `with`; it does not outlive us."""
    with tempfile.TemporaryDirectory(prefix="routines-demo-") as claims:
        options = ["--url", url, "--poll-s", "0.5", "--state-dir", claims]
        argv = [sys.executable, "-m", "routines", "worker", *options, "--", *COMMAND]
        with subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LEASH, str(os.getpid()), *argv],
            env={**os.environ, "ROUTINES_AGENT_TOKEN": token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as worker:
            try:
                yield worker
            finally:
                _end(worker)


def _end(worker: subprocess.Popen[str]) -> None:
    worker.terminate()
    try:
        worker.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        worker.kill()


def scheduled(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first run that the schedule fired."""
    return next((run for run in reversed(runs) if run["source"] == "schedule"), None)


def ended(runs: list[dict[str, Any]], run_id: str) -> dict[str, Any] | None:
    """This run, once it has ended."""
    return next((run for run in runs if run["id"] == run_id and run["completedAt"]), None)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def clock(at: datetime) -> str:
    """The time of day with milliseconds."""
    return at.time().isoformat("milliseconds")


def late(planned: datetime, actual: datetime) -> str:
    return f"{(actual - planned).total_seconds() * 1000:.0f} ms"


@click.command()
@click.option("--url", envvar="ROUTINES_URL", show_envvar=True, callback=checked_url, help="Where Routines is.")
@click.option(
    "--token",
    envvar="ROUTINES_BOARD_TOKEN",
    show_envvar=True,
    callback=checked_token,
    help="A board token; without it, the one in the token file.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="DATA_DIR/board.token",
    help="Where `routines up` keeps the board token.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".routines"),
    show_default=True,
    help="The directory of `routines up`; its up.json says the URL.",
)
@click.option(
    "--timeout-s", type=click.FloatRange(min=0, min_open=True), default=150.0, show_default=True, help="Give up then."
)
def demo(*, url: str | None, token: str | None, token_file: Path | None, data_dir: Path, timeout_s: float) -> None:
    """
    Watch a schedule fire, on a running system.

    Makes a company, an agent and a routine that is due every minute, runs a worker for the agent, and shows how
    the tick becomes a run, an issue, and done. Takes up to a minute and a half. The routine is paused in the end.

    \b
    make up               in one terminal, then in another:
    routines demo
    """
    kept = token_file or data_dir / "board.token"
    found = token or _token_of(kept)
    board = Board(url or _url_of(data_dir), found)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what we made is cleared
    screen = Screen()
    scene = Demo(board, screen, timeout_s).play()
    shown = "$ROUTINES_BOARD_TOKEN" if token else f"$(cat {shlex.quote(str(kept))})"
    _show_next(screen, board.url, f'curl -H "Authorization: Bearer {shown}"', scene)


def _url_of(data_dir: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads((data_dir / "up.json").read_text())["url"])
    return URL


def _token_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        text = f"no board token in {path} ({error.strerror}): start the system with `make up`, or see --token"
        raise Failed(text) from None


def _show_next(screen: Screen, url: str, curl: str, scene: Scene) -> None:
    path = f"{url}/api/routines/{scene.routine['id']}"
    resume = shlex.quote(json.dumps({"status": "active"}))
    screen.step("next", "the routine is paused; this is its history:")
    screen.more(f"{curl} {path}/runs")
    screen.step("", "let it go on:")
    screen.more(f"{curl} -X PATCH -d {resume} {path}")
    screen.step("", f"all that the API can do: {url}/api/docs")
