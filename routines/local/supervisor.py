"""Runs the parts as child processes that are started again when they die, and that end with this process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from routines.errors import CannotStart
from routines.local import accounts
from routines.local.accounts import Account
from routines.local.log_rotation import LogBounds, LogRotation
from routines.local.private_files import make_own, open_private

POLL_S = 0.02
QUICK_DEATH_S = 1.0
LONGEST_PAUSE_S = 5.0
TERM_LIMIT_S = 10.0
TAIL_BYTES = 4_096  # how much of the end of a log is searched for its last line
LOGS = LogBounds(max_bytes=16 * 2**20, old_files=4)
# The start-up program of each part. It changes to the part's account, asks Linux to send SIGTERM when the supervisor
# dies (PR_SET_PDEATHSIG, which a change of account would reset), gives up the rights that programs with the set-user-ID
# bit would bring (PR_SET_NO_NEW_PRIVS), and then executes the part's command.
LEASH = """
import ctypes, os, signal, sys
parent, uid, gid, *argv = sys.argv[1:]
if int(uid) != os.geteuid():
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    prctl, none = ctypes.CDLL(None).prctl, ctypes.c_ulong(0)
    prctl(1, ctypes.c_ulong(signal.SIGTERM), none, none, none)
    prctl(38, ctypes.c_ulong(1), none, none, none)
if os.getppid() == int(parent):
    os.execvp(argv[0], argv)
"""
# The variables that the parts get from our environment; the others may be secrets of the operator's shell.
NEEDED = {"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}
NEEDED_PREFIXES = ("ROUTINES_", "ENABLE_ROUTINES", "OTEL_", "PG", "KRB5", "PYTHON", "LC_")
# Each part gets these in its own `env`, if it needs them.
NOT_NEEDED = {"ROUTINES_DATABASE_URL", "ROUTINES_KEY_FILE"}


class Part(msgspec.Struct, frozen=True):
    """One process to run: its name, command, further variables, account (None: ours) and inherited descriptors."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = {}
    account: Account | None = None
    fds: tuple[int, ...] = ()


def part_names(part: str, many: int) -> list[str]:
    """Return the names of so many processes of one kind; one alone has no number."""
    return [part] if many == 1 else [f"{part}-{number}" for number in range(1, many + 1)]


class Child:
    """One part and its process, with the counts that decide when it is started again."""

    def __init__(self, part: Part, log: Path | None) -> None:
        self.part = part
        self.log = log  # None: it writes where we write
        self.process: subprocess.Popen[bytes] | None = None
        self.quick_deaths = 0
        self.started_at = 0.0
        self.not_before = 0.0

    def start(self) -> None:
        """Run the part in a process group of its own, so that Ctrl-C in a terminal reaches only us."""
        self.started_at = time.monotonic()
        account = self.part.account or accounts.current_account()
        leash = [sys.executable, "-I", "-S", "-c", LEASH, str(os.getpid()), str(account.uid), str(account.gid)]
        with self._opened_log() as log:
            self.process = subprocess.Popen(
                [*leash, *self.part.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=None if account.is_ours else "/",
                env={**needed_variables(os.environ), **self.part.env},
                process_group=0,
                pass_fds=self.part.fds,
            )

    def _opened_log(self) -> contextlib.AbstractContextManager[BinaryIO | None]:
        if self.log is None:
            return contextlib.nullcontext()
        return os.fdopen(open_private(self.log, os.O_WRONLY | os.O_APPEND), "ab")

    def ended(self) -> int | None:
        """Return the exit status once after the process has ended, else None."""
        status = self.process.poll() if self.process is not None else None
        if status is not None:
            self.process = None
        return status

    def plan(self) -> float:
        """Decide the pause before the next start, in seconds: 0 after a first death, up to 5 after quick ones."""
        is_quick = time.monotonic() - self.started_at < QUICK_DEATH_S
        self.quick_deaths = self.quick_deaths + 1 if is_quick else 0
        pause = 0.0 if self.quick_deaths < 2 else min(LONGEST_PAUSE_S, 0.25 * 2 ** min(self.quick_deaths, 10))  # noqa: PLR2004 no pause after the first
        self.not_before = time.monotonic() + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        """Send the signal to the part and everything that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def last_words(self) -> str:
        """Return the last line of the log that is not empty, 200 characters at most; nothing if it has no log."""
        if self.log is None:
            return ""
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
            lines = log.read().decode(errors="replace").strip().splitlines()
            return lines[-1][:200] if lines else "nothing was said"
        return "nothing that can be read"


class Supervisor:
    """
    Keeps parts running; calls `on_change` with the live pids by name after each start and each death.

    What they write goes to a file of each in the directory `logs`, or where ours goes if that is None. A part that
    cannot be started at the moment, for instance because the machine has no memory left, is tried again.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        logs: Path | None,
        on_change: Callable[[dict[str, int]], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        log_bounds: LogBounds = LOGS,
    ) -> None:
        if logs is not None:
            make_own(logs)
            logs.chmod(0o700)
        self._rotation = None if logs is None else LogRotation(logs, log_bounds)
        self.children = [Child(part, None if logs is None else logs / f"{part.name}.log") for part in parts]
        self.on_change = on_change
        self.say = say

    def start(self) -> None:
        """Start every part."""
        for child in self.children:
            child.start()
        self.on_change(self.pids())

    def tick(self) -> None:
        """Note which parts have ended, and start those whose pause is over. To be called several times a second."""
        for child in self.children:
            status = child.ended()
            if status is not None:
                self._report_end(child, status)
            if child.process is None and time.monotonic() >= child.not_before:
                self._start_again(child)
        if self._rotation is not None:
            self._rotation.check()

    def pids(self) -> dict[str, int]:
        """Return the process id of each part that runs, by name."""
        return {child.part.name: child.process.pid for child in self.children if child.process is not None}

    def stop(self) -> None:
        """End every part: SIGTERM, then SIGKILL for those that still run after 10 seconds or at a second Ctrl-C."""
        try:
            self._signal_children(signal.SIGTERM)
            self._wait(TERM_LIMIT_S)
        finally:
            self._signal_children(signal.SIGKILL)
            self._wait(TERM_LIMIT_S)

    def _start_again(self, child: Child) -> None:
        try:
            child.start()
        except (OSError, CannotStart) as error:
            pause = child.plan()
            self.say(f"{child.part.name} cannot be started ({error}); the next try is in {pause:.0f} s")
            return
        self.say(f"{child.part.name} was started again as process {self.pids()[child.part.name]}")
        self.on_change(self.pids())

    def _report_end(self, child: Child, status: int) -> None:
        ending = f"signal {-status}" if status < 0 else f"status {status}"
        pause = child.plan()
        self.say(f"{child.part.name} ended ({ending})")
        if pause:
            last_words_note = f" {child.log} ends with: {words}" if (words := child.last_words()) else ""
            self.say(
                f"{child.part.name} ended {child.quick_deaths} times within a second of its start; the next try is in "
                f"{pause:.0f} s.{last_words_note}"
            )
        self.on_change(self.pids())

    def _signal_children(self, number: signal.Signals) -> None:
        for child in self.children:
            child.signal(number)

    def _wait(self, limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while self.pids() and time.monotonic() < end:
            for child in self.children:
                child.ended()
            time.sleep(POLL_S)


def needed_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the parts get from our environment."""
    return {
        name: value
        for name, value in env.items()
        if (name in NEEDED or name.startswith(NEEDED_PREFIXES)) and name not in NOT_NEEDED
    }
