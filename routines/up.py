"""The whole system on one machine: Postgres, and every part as a child that is started again when it dies."""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Self, TextIO

import httpx
import msgspec

from routines.local_postgres import LocalPostgres, PostgresUnavailable

SERVICE_ROLE = "routines_service"
POLL_S = 0.1
QUICK_DEATH_S = 1.0
LONGEST_PAUSE_S = 5.0
TERM_LIMIT_S = 10.0
READY_NOTE_S = 60.0
# Runs before each part and becomes it: a part must not outlive a supervisor that was killed.
LEASH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


class CannotStart(Exception):
    """Something is in the way; the message says what"""


class Part(msgspec.Struct, frozen=True):
    """One child: its name, its command, and what is added to our environment for it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = {}


class Child:
    """One part while we watch it."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.quick_deaths = 0
        self.started_at = 0.0
        self.not_before = 0.0

    def start(self) -> None:
        """Run the part in a process group of its own, so that Ctrl-C in a terminal reaches only us."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LEASH, str(os.getpid()), *self.part.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.part.env},
                process_group=0,
            )
        self.started_at = time.monotonic()

    def ended(self) -> int | None:
        """The exit status the first time we see that the process ended, else None."""
        status = self.process.poll() if self.process is not None else None
        if status is not None:
            self.process = None
        return status

    def plan(self) -> float:
        """The pause in seconds before the next start: none after a first death, up to 5 for one that keeps dying."""
        quick = time.monotonic() - self.started_at < QUICK_DEATH_S
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        pause = 0.0 if self.quick_deaths < 2 else min(LONGEST_PAUSE_S, 0.25 * 2 ** min(self.quick_deaths, 10))  # noqa: PLR2004 the first is free
        self.not_before = time.monotonic() + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        """Signal the part and whatever it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def last_words(self) -> str:
        """The last line of the log that says anything."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "nothing was said"


class Supervisor:
    """Keeps parts running; `changed` hears the live pids by name after each start and each death."""

    def __init__(
        self,
        parts: Sequence[Part],
        logs: Path,
        changed: Callable[[dict[str, int]], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.children = [Child(part, logs / f"{part.name}.log") for part in parts]
        self.changed = changed
        self.say = say

    def start(self) -> None:
        """Start every part."""
        for child in self.children:
            child.start()
        self.changed(self.pids())

    def tick(self) -> None:
        """Notice what died and start what is due; call it often."""
        for child in self.children:
            status = child.ended()
            if status is not None:
                self._mourn(child, status)
            if child.process is None and time.monotonic() >= child.not_before:
                child.start()
                self.say(f"{child.part.name} was started again as process {self.pids()[child.part.name]}")
                self.changed(self.pids())

    def pids(self) -> dict[str, int]:
        """The process of each part that runs."""
        return {child.part.name: child.process.pid for child in self.children if child.process is not None}

    def stop(self) -> None:
        """End every part: SIGTERM, and SIGKILL for what is left after 10 seconds or a second Ctrl-C."""
        try:
            self._signal(signal.SIGTERM)
            self._wait(TERM_LIMIT_S)
        finally:
            self._signal(signal.SIGKILL)
            self._wait(TERM_LIMIT_S)

    def _mourn(self, child: Child, status: int) -> None:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        pause = child.plan()
        self.say(f"{child.part.name} ended ({how})")
        if pause:
            self.say(
                f"{child.part.name} ended {child.quick_deaths} times within a second of its start; the next try is in "
                f"{pause:.0f} s. {child.log} ends with: {child.last_words()}"
            )
        self.changed(self.pids())

    def _signal(self, number: signal.Signals) -> None:
        for child in self.children:
            child.signal(number)

    def _wait(self, limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while self.pids() and time.monotonic() < end:
            for child in self.children:
                child.ended()
            time.sleep(POLL_S / 5)


class Interrupts:
    """Inside the `with`, the first SIGINT, SIGTERM or SIGHUP is noted; a Ctrl-C after it raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.noted = False

    def __enter__(self) -> Self:
        names = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            names.append(signal.SIGHUP)
        self._before = {name: signal.signal(name, self._note) for name in names}
        return self

    def __exit__(self, *_: object) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        # Only Ctrl-C counts twice: make hands a SIGTERM on to us that its process group has brought already.
        if self.noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.noted = True


class Place:
    """The data directory: `up.json`, `board.token`, `logs/`, and the lock that keeps a second system out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.logs = self.directory / "logs"
        self.state = self.directory / "up.json"
        self.token = self.directory / "board.token"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Ours alone until the end; refused while another system runs here."""
        with self._open_lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotStart(self._who_is_here(lock)) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self.state.unlink(missing_ok=True)
            try:
                yield
            finally:
                self.state.unlink(missing_ok=True)

    def _open_lock(self) -> TextIO:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            return (self.directory / "up.lock").open("a+")
        except OSError as error:
            raise CannotStart(f"cannot keep data in {self.directory}: {error.strerror}") from None

    def _who_is_here(self, lock: TextIO) -> str:
        lock.seek(0)
        where = "which is still starting"
        with contextlib.suppress(OSError, ValueError):
            where = "at " + json.loads(self.state.read_text())["url"]
        return f"{self.directory} is in use by process {lock.read()}, {where}; stop that, or take another --data-dir"

    def write(self, path: Path, text: str) -> None:
        """Replace a file in one step, readable by us alone."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        unfinished.replace(path)


class System:
    """What one `routines up` runs, from the database to the last part."""

    def __init__(self, place: Place, host: str, port: int, database_url: str | None) -> None:
        self.place = place
        self.host = host
        self.port = port
        self.url = url_of(host, port)
        self.database_url = database_url
        self.postgres: LocalPostgres | None = None
        self.token: str | None = None
        self.ready = False

    @contextlib.contextmanager
    def running(self, prepare: Callable[[str], str | None]) -> Iterator[Supervisor]:
        """Postgres and all parts, until the end of the `with`."""
        with contextlib.ExitStack() as ending:
            admin_url, database_url = self._database_urls(ending)
            self._keep_token(prepare(admin_url))
            supervisor = Supervisor(
                self.parts(database_url), self.place.logs, lambda pids: self._write_state(pids, database_url), say
            )
            ending.callback(supervisor.stop)
            supervisor.start()
            yield supervisor

    def parts(self, database_url: str) -> list[Part]:
        """The processes of the system."""
        env = {"ROUTINES_DATABASE_URL": database_url}
        address = ["--host", self.host, "--port", str(self.port)]
        return [
            Part(name, [sys.executable, "-m", "routines", name, *more], env)
            for name, more in (("web", address), ("scheduler", []), ("projector", []))
        ]

    def watch(self, supervisor: Supervisor, interrupts: Interrupts) -> None:
        """Keep everything running until we are told to stop."""
        note_at = time.monotonic() + READY_NOTE_S
        with httpx.Client(base_url=self.url, timeout=2, trust_env=False) as client:
            while not interrupts.noted:
                if self.postgres is not None and not self.postgres.alive():
                    say("Postgres ended and is started again")
                    self.postgres.start()
                supervisor.tick()
                if not self.ready and is_healthy(client):
                    self._announce(supervisor)
                if not self.ready and time.monotonic() > note_at:
                    note_at += READY_NOTE_S
                    say(f"{self.url} is not ready yet; the logs in {self.place.logs} may say why")
                time.sleep(POLL_S)

    def _database_urls(self, ending: contextlib.ExitStack) -> tuple[str, str]:
        """Where migrations go, and where the parts go."""
        if self.database_url:
            return self.database_url, self.database_url
        self.postgres = LocalPostgres(self.place.directory)
        ending.callback(self.postgres.stop)
        return self.postgres.start(), self.postgres.url(SERVICE_ROLE)

    def _keep_token(self, token: str | None) -> None:
        self.token = token
        if token is not None:
            self.place.write(self.place.token, token + "\n")

    def _write_state(self, pids: dict[str, int], database_url: str) -> None:
        if self.ready:
            state = {"url": self.url, "pid": os.getpid(), "database_url": database_url, "processes": pids}
            self.place.write(self.place.state, json.dumps(state, indent=2) + "\n")

    def _announce(self, supervisor: Supervisor) -> None:
        self.ready = True
        supervisor.changed(supervisor.pids())
        say(f"Routines is ready at {self.url}")
        say(f"  data         {self.place.directory} (what the parts say is in {self.place.logs.name}/)")
        if self.token is not None:
            say(f"  board token  {self.token}  (shown this once; also in {self.place.token})")
        token = f'"Authorization: Bearer $(cat {shlex.quote(str(self.place.token))})"'
        say(f"  next step    curl -H {token} {self.url}/api/companies")
        say("Ctrl-C stops everything.")


def up(
    data_dir: Path,
    host: str,
    port: int,
    *,
    database_url: str | None,
    prepare: Callable[[str], str | None],
) -> int:
    """Run the system until Ctrl-C; 0 when it stopped as asked, 1 when it could not start."""
    place = Place(data_dir)
    try:
        with Interrupts() as interrupts, place.held():
            system = System(place, host, free_port(host, port), database_url)
            with system.running(prepare) as supervisor:
                system.watch(supervisor, interrupts)
                say("stopping")
    except (CannotStart, PostgresUnavailable) as error:
        say(f"routines up: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped at once")
        return 130
    say("stopped")
    return 0


def url_of(host: str, port: int) -> str:
    """An address that reaches us from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def free_port(host: str, port: int) -> int:
    """The port if nobody listens there; any free one for 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as found:
            return int(found.getsockname()[1])
    except OSError as error:
        raise CannotStart(f"cannot listen on {host} port {port}: {error.strerror}; try another --port") from None


def is_healthy(client: httpx.Client) -> bool:
    """Whether the system says that it is well."""
    try:
        return client.get("/api/health").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def say(text: str) -> None:
    """Tell the person at the terminal, who may have closed it."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
