"""
`routines worker`: runs a command for each issue of an agent.

Who holds an issue is decided by the server: each checkout is made for a work session of its own, and of two
workers the second gets a 409 and leaves the issue alone. A worker also notes its session in a claim file, which
it and the command keep locked. When the worker is killed, the next one on this machine finds the file unlocked
as soon as the command has ended too, takes the session over and runs the issue again. An issue in progress
without such a file belongs to someone else; if that one is gone for good, the board can force-release it.
"""

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event as Stop
from threading import Thread
from types import FrameType
from typing import IO, Any, Literal
from uuid import UUID, uuid4

import click
import httpx
import msgspec

MOST_OUTPUT = 4_000  # characters in a comment
TAIL_BYTES = 4 * MOST_OUTPUT + 4
LOOK_S = 0.1
GRACE_S = 10.0
REQUEST_LIMIT_S = 30.0
LONGEST_PAUSE_S = 30.0
ONCE_PATIENCE_S = 30.0

Say = Callable[[str], None]
Outcome = Literal["done", "cancelled", "moved", "handed back", "left"]


class CannotWork(click.ClickException):
    """Nothing can be done until somebody changes something; the message says what"""

    exit_code = 2


class Refused(Exception):
    """The server said no, for a reason that asking again will not change"""

    def __init__(self, status: int, message: str, holder: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.holder = holder  # the session that has the issue, if the server named it


class Stopped(Exception):
    """We were told to stop while the server was in trouble"""


class Ended(msgspec.Struct, frozen=True):
    """How a command ended: `reason` is None when it succeeded."""

    reason: str | None
    exit_status: int | None = None
    output: str = ""
    duration_s: float = 0.0
    stopped: bool = False


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


class Server:
    """The API as an agent sees it. Trouble is waited out, refusals are raised."""

    def __init__(self, url: str, token: str, *, stop: Stop, say: Say, patience_s: float = float("inf")) -> None:
        self.url = url
        self._stop = stop
        self._say = say
        self._patience_s = patience_s
        self._client = client(url, token)

    def close(self) -> None:
        self._client.close()

    def ask(self, method: str, path: str, body: Any = None, *, session: UUID | None = None) -> Any:
        """The answer; None where the server only says that it recorded the change."""
        headers = {} if session is None else {"X-Paperclip-Run-Id": str(session)}
        give_up_at = time.monotonic() + self._patience_s
        for pause_s in pauses():
            try:
                response = self._client.request(method, path, json=body, headers=headers)
            except httpx.TransportError as error:
                trouble = f"{self.url} cannot be reached ({error or type(error).__name__})"
            else:
                if not is_trouble(response):
                    return answer(response)
                if recorded(response):
                    return None
                trouble = f"{self.url} is in trouble ({response.status_code}: {message(response)})"
            if time.monotonic() + pause_s > give_up_at:
                raise CannotWork(f"{trouble}; giving up")
            self._say(f"{trouble}; the next try is in {pause_s:.0f} s")
            if self._stop.wait(pause_s):
                raise Stopped
        raise AssertionError


def pauses() -> Iterator[float]:
    """1, 2, 4 ... seconds, then 30 for ever."""
    pause_s = 1.0
    while True:
        yield pause_s
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


class Claim:
    """A work session on one issue, noted in a file that is locked as long as we or the command live."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self.lock = lock
        self.session = UUID(path.suffix.removeprefix("."))

    def forget(self) -> None:
        """Nobody needs to resume this session."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        self.lock.close()


def claim(directory: Path, issue_id: UUID, *, fresh: bool) -> Claim | None:
    """
    The session that a dead worker left on the issue, else a new one if it may be `fresh`.

    None where another worker of this machine has it, or nothing is left to resume.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        left = min(directory.glob(f"{issue_id}.*"), default=None)
        if left is None and not fresh:
            return None
        return _locked(left or directory / f"{issue_id}.{uuid4()}", "rb" if left else "xb")
    except OSError as error:
        raise CannotWork(f"cannot keep claims in {directory} ({error.strerror}); see --state-dir") from None


def _locked(path: Path, mode: str) -> Claim | None:
    try:
        lock: IO[bytes] = path.open(mode)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    if not os.fstat(lock.fileno()).st_nlink:  # its owner finished between our open and our lock
        lock.close()
        return None
    return Claim(path, lock)


class Worker:
    """Takes issues from the inbox, one at a time."""

    def __init__(
        self, server: Server, command: Sequence[str], *, claims: Path, timeout_s: float, stop: Stop, say: Say
    ) -> None:
        self.server = server
        self.command = command
        self.claims = claims
        self.timeout_s = timeout_s
        self.stop = stop
        self.say = say
        self.agent_id = ""
        self._conflicts: dict[str, str] = {}  # issue id to the updatedAt that was refused

    def introduce(self) -> None:
        """Find out which agent we are."""
        me = self.server.ask("GET", "/api/agents/me")
        self.agent_id = me["id"]
        self.say(f"working as {me['name']} at {self.server.url}: {shlex.join(self.command)}")

    def round(self) -> Iterator[Finished]:
        """Work off what is in the inbox now: what is to do first, then what a dead worker left in progress."""
        inbox = self.server.ask("GET", "/api/agents/me/inbox-lite")
        for item in sorted(inbox, key=lambda item: item["status"] != "todo"):
            if self.stop.is_set():
                return
            if item["status"] in ("todo", "in_progress") and self._conflicts.get(item["id"]) != item["updatedAt"]:
                yield from self._attempt(item)

    def _attempt(self, item: dict[str, Any]) -> Iterator[Finished]:
        held = claim(self.claims, UUID(item["id"]), fresh=item["status"] == "todo")
        if held is None:
            return
        try:
            issue = self._check_out(item, held)
            if issue is not None:
                yield self._work(issue, held)
        finally:
            held.close()

    def _check_out(self, item: dict[str, Any], held: Claim) -> dict[str, Any] | None:
        """The issue, once it is ours; a 409 is never repeated."""
        path = f"/api/issues/{item['id']}"
        wanted = {"agentId": self.agent_id, "expectedStatuses": [item["status"]]}
        try:
            self.server.ask("POST", f"{path}/checkout", wanted, session=held.session)
            issue: dict[str, Any] = self.server.ask("GET", path)
        except Refused as refusal:
            self.say(f"{item['identifier']} left alone: {refusal}")
            self._conflicts[item["id"]] = item["updatedAt"]
            if item["status"] == "todo" or refusal.holder not in (None, str(held.session)):
                held.forget()
            return None
        verb = "taken" if item["status"] == "todo" else "resumed"
        self.say(f"{item['identifier']} {verb}: {item['title']}")
        return issue

    def _work(self, issue: dict[str, Any], held: Claim) -> Finished:
        env = {**os.environ, **environment(issue, self.server.url, held.session)}
        ended = run(self.command, env, json.dumps(issue).encode(), self.timeout_s, self.stop, held.lock.fileno())
        try:
            outcome, reason = self._report(issue, held, ended)
        except Refused as refusal:
            outcome, reason = "left", str(refusal)
        except Stopped:
            self.say(f"{issue['identifier']} not reported: the next worker on this machine runs it again")
            raise
        if outcome != "handed back":
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

    def _report(self, issue: dict[str, Any], held: Claim, ended: Ended) -> tuple[Outcome, str | None]:
        """One request says how it went, so that a crash cannot come between the comment and the status."""
        path = f"/api/issues/{issue['id']}"
        status = self.server.ask("GET", path)["status"]
        if status != "in_progress":
            return "moved", f"it is {status} already"
        if ended.stopped:
            return self._hand_back(path, held, ended)
        outcome: Literal["done", "cancelled"] = "cancelled" if ended.reason else "done"
        self.server.ask("PATCH", path, {"status": outcome, "comment": comment(ended)}, session=held.session)
        return outcome, ended.reason

    def _hand_back(self, path: str, held: Claim, ended: Ended) -> tuple[Outcome, str | None]:
        """Back to todo. A release would take the assignee away too, and the issue out of every inbox."""
        given = self.server.ask("PATCH", path, {"status": "todo", "comment": comment(ended)}, session=held.session)
        if given is None or given["checkoutRunId"] is None:
            held.forget()
        return "handed back", ended.reason


def client(url: str, token: str) -> httpx.Client:
    """A client of the API; a proxy is never asked for what is on this machine."""
    nearby = httpx.URL(url).host in ("localhost", "127.0.0.1", "::1")
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=REQUEST_LIMIT_S, trust_env=not nearby)


def answer(response: httpx.Response) -> Any:
    """The JSON of a success. Raises Refused, CannotWork."""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise CannotWork(f"the server does not take the token (401: {message(response)}); is it the key of an agent?")
    if not response.is_success:
        raise Refused(response.status_code, message(response), _details(response).get("checkoutRunId"))
    try:
        return response.json()
    except ValueError:
        raise CannotWork(f"{response.url} answers, but not as Routines does; is the URL right?") from None


def is_trouble(response: httpx.Response) -> bool:
    return response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS


def recorded(response: httpx.Response) -> bool:
    """A 503 with a position: the change is made, only the read model is late."""
    return "position" in _details(response)


def message(response: httpx.Response) -> str:
    """What the server says is wrong."""
    with suppress(ValueError, KeyError, TypeError):
        return str(response.json()["error"])
    return response.reason_phrase


def _details(response: httpx.Response) -> dict[str, Any]:
    with suppress(ValueError, AttributeError):
        details = response.json().get("details")
        return details if isinstance(details, dict) else {}
    return {}


def comment(ended: Ended) -> str | None:
    """The reason if it went wrong, then the tail of what the command said; None if there is neither."""
    return "\n\n".join(part for part in (ended.reason, ended.output) if part and part.strip()) or None


def environment(issue: Mapping[str, Any], url: str, session: UUID) -> dict[str, str]:
    """The issue in ROUTINES_* variables; empty where it has no routine."""
    return {
        "ROUTINES_URL": url,
        "ROUTINES_COMPANY_ID": issue["companyId"],
        "ROUTINES_ISSUE_ID": issue["id"],
        "ROUTINES_ISSUE_IDENTIFIER": issue["identifier"],
        "ROUTINES_ISSUE_TITLE": issue["title"],
        "ROUTINES_ROUTINE_ID": issue["originId"] or "",
        "ROUTINES_RUN_ID": issue["originRunId"] or "",
        "ROUTINES_SESSION_ID": str(session),
    }


def run(command: Sequence[str], env: Mapping[str, str], given: bytes, timeout_s: float, stop: Stop, lock: int) -> Ended:
    """Run the command with `given` on its standard input; it also keeps the file `lock` open."""
    started = time.monotonic()
    try:
        process = _start(command, env, given, lock)
    except FileNotFoundError:
        return Ended(f"command not found: {command[0]}")
    except OSError as error:
        return Ended(f"cannot run {command[0]}: {error.strerror}")
    tail = bytearray()
    reader = Thread(target=_keep_tail, args=(process.stdout, tail), daemon=True)
    reader.start()
    cut_short = _wait(process, started + timeout_s, stop)
    if cut_short is not None:
        _end(process)
    reader.join(1)  # a process that the command left behind may hold the pipe for ever
    reason = f"stopped after {timeout_s:g} s" if cut_short == "timeout" else _reason(process.returncode)
    return Ended(
        reason="the worker was stopped" if cut_short == "stop" else reason,
        exit_status=process.returncode,
        output=bytes(tail).decode(errors="replace").replace("\0", "")[-MOST_OUTPUT:],
        duration_s=time.monotonic() - started,
        stopped=cut_short == "stop",
    )


def _start(command: Sequence[str], env: Mapping[str, str], given: bytes, lock: int) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C in a terminal is for the worker, and the command's children end with it."""
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    Thread(target=_give, args=(writing, given), daemon=True).start()
    return process


def _give(writing: int, given: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
        pipe.write(given)


def _keep_tail(pipe: IO[bytes], tail: bytearray) -> None:
    with pipe:
        while chunk := os.read(pipe.fileno(), 1 << 16):
            tail += chunk
            del tail[:-TAIL_BYTES]


def _wait(process: subprocess.Popen[bytes], until: float, stop: Stop) -> Literal["stop", "timeout"] | None:
    """None when the command ended by itself."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0, min(LOOK_S, until - time.monotonic())))
            return None
        if stop.is_set():
            return "stop"
        if time.monotonic() >= until:
            return "timeout"


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the command and what it started, SIGKILL after 10 s."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
            return


def _reason(exit_status: int) -> str | None:
    if exit_status < 0:
        return f"ended by {signal.Signals(-exit_status).name}"
    return f"exit status {exit_status}" if exit_status else None


@contextmanager
def stoppable() -> Iterator[Stop]:
    """A flag that SIGTERM or Ctrl-C sets."""
    stop = Stop()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def checked_url(_context: click.Context, _parameter: click.Parameter, url: str | None) -> str | None:
    """The address without a slash at its end."""
    try:
        sound = url is None or (httpx.URL(url).scheme in ("http", "https") and bool(httpx.URL(url).host))
    except httpx.InvalidURL:
        sound = False
    if not sound:
        raise click.BadParameter("an address looks like http://127.0.0.1:3100")
    return url.rstrip("/") if url else None


def checked_token(_context: click.Context, _parameter: click.Parameter, token: str | None) -> str | None:
    """The token without the line break of a file."""
    text = (token or "").strip()
    if token is not None and not (text and text.isascii() and text.isprintable() and " " not in text):
        raise click.BadParameter("a token is one word, like pcp_...")
    return text or None


def state_home() -> Path:
    """Where programs of this user keep their state."""
    given = os.environ.get("XDG_STATE_HOME")
    try:
        home = Path(given) if given else Path.home() / ".local/state"
    except RuntimeError:  # a user without a home
        home = Path(tempfile.gettempdir()) / f"state-{os.getuid()}"
    return home / "routines/worker"


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--url",
    envvar="ROUTINES_URL",
    show_envvar=True,
    default="http://127.0.0.1:3100",
    show_default=True,
    callback=checked_url,
    help="Where Routines is.",
)
@click.option(
    "--token",
    envvar="ROUTINES_AGENT_TOKEN",
    show_envvar=True,
    required=True,
    callback=checked_token,
    help="The agent's key; better in the variable, since others can read a command line.",
)
@click.option("--once", is_flag=True, help="Work off what is in the inbox now, then end.")
@click.option("--poll-s", type=click.FloatRange(min=0.05), default=2.0, show_default=True, help="Look that often.")
@click.option(
    "--timeout-s", type=click.FloatRange(min=0, min_open=True), default=3600.0, show_default=True, help="Per issue."
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=state_home,
    show_default="~/.local/state/routines/worker",
    help="Where claims are kept; the same for all workers of this machine.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per issue; the other lines go to stderr.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def worker(  # noqa: PLR0913 the options
    *,
    url: str,
    token: str,
    once: bool,
    poll_s: float,
    timeout_s: float,
    state_dir: Path,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """
    Run COMMAND for each issue of an agent, until Ctrl-C.

    \b
    export ROUTINES_AGENT_TOKEN=pcp_...
    routines worker -- sh -c 'echo "Hello from $ROUTINES_ISSUE_IDENTIFIER: $ROUTINES_ISSUE_TITLE"'

    COMMAND gets the issue as JSON on its standard input, and in its environment ROUTINES_ISSUE_ID,
    ROUTINES_ISSUE_IDENTIFIER, ROUTINES_ISSUE_TITLE, ROUTINES_ROUTINE_ID, ROUTINES_RUN_ID, ROUTINES_COMPANY_ID,
    ROUTINES_URL and, for requests of its own as X-Paperclip-Run-Id, ROUTINES_SESSION_ID. The end of its output
    becomes a comment. Exit status 0 makes the issue done; anything else cancels it with the reason. An issue
    that COMMAND moved itself (to blocked, say) is left as it is.

    Any number of workers may run. Ctrl-C or SIGTERM stops COMMAND and puts its issue back to todo. After a crash
    the next worker on this machine runs the issue again.

    \b
    Exit status: 0 all done, or nothing to do; 1 with --once if an issue was cancelled or handed back;
                 2 wrong token, unknown command, or (with --once) no server for half a minute.
    """
    if shutil.which(command[0]) is None:
        raise CannotWork(f"command not found: {command[0]}")

    def say(text: str) -> None:
        with suppress(OSError):
            click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=as_json)

    def tell(finished: Finished) -> None:
        if as_json:
            click.echo(msgspec.json.encode(finished))

    patience_s = ONCE_PATIENCE_S if once else float("inf")
    with stoppable() as stop, _serving(Server(url, token, stop=stop, say=say, patience_s=patience_s)) as server:
        working = Worker(server, command, claims=state_dir, timeout_s=timeout_s, stop=stop, say=say)
        try:
            sys.exit(_once(working, tell) if once else _until_stopped(working, tell, poll_s))
        except Stopped:
            sys.exit(int(once))
        except Refused as refusal:
            raise CannotWork(f"the server refuses to show the inbox ({refusal.status}: {refusal})") from None


@contextmanager
def _serving(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.close()


def _once(working: Worker, tell: Callable[[Finished], None]) -> int:
    working.introduce()
    outcomes = set()
    for finished in working.round():
        tell(finished)
        outcomes.add(finished.outcome)
    if not outcomes:
        working.say("nothing to do")
    return int(not outcomes.isdisjoint({"cancelled", "handed back"}))


def _until_stopped(working: Worker, tell: Callable[[Finished], None], poll_s: float) -> int:
    working.introduce()
    while not working.stop.is_set():
        idle = True
        for finished in working.round():
            tell(finished)
            idle = False
        if idle:
            working.stop.wait(poll_s)
    return 0
