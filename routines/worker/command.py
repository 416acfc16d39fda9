"""Runs the command of a worker: its start, its output, its end."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, Literal, Protocol

import msgspec

from routines.worker.errors import PASSING

MOST_OUTPUT = 4_000  # characters in a comment
LOOK_S = 0.1  # between two looks whether the command is to be stopped
RETRY_S = 0.5  # between two tries to start a command on a machine without room
GRACE_S = 10.0  # between SIGTERM and SIGKILL

CutShort = Literal["stop", "timeout"]


class Ended(msgspec.Struct, frozen=True):
    """How a command ended. `reason` is None when it succeeded; `stopped` says that the worker was told to stop."""

    reason: str | None
    exit_status: int | None = None
    output: str = ""
    duration_s: float = 0.0
    stopped: bool = False


class Told(Protocol):
    """A flag that says whether the command is to be stopped."""

    def is_set(self) -> bool:
        """Return whether the command is to be stopped."""


class Command(msgspec.Struct, frozen=True):
    """
    The command that a worker runs for each issue or trajectory.

    `program` is the file of `argv[0]`, found once by the worker's own PATH, so that no variable of an issue or of a
    trajectory chooses it.
    """

    argv: Sequence[str]
    program: str
    timeout_s: float
    most_output: int = MOST_OUTPUT  # characters of its output that are kept, from the end

    def run(self, env: Mapping[str, str], stdin: bytes, stop: Told, lock: int | None = None) -> Ended:
        """
        Run the command with `stdin` on its standard input. It inherits the descriptor `lock`, if there is one.

        While this machine cannot start anything, for instance because its disk is full, it is tried again until the
        command's own time is up.
        """
        started = time.monotonic()
        try:
            while (process := self._try_start(env, stdin, lock, started + self.timeout_s)) is None:
                if stop.is_set():
                    return Ended("the worker was stopped", duration_s=time.monotonic() - started, stopped=True)
                time.sleep(RETRY_S)
        except FileNotFoundError:
            return Ended(f"command not found: {self.argv[0]}")
        except OSError as error:  # also E2BIG, for an environment that is too large
            return Ended(f"cannot run {self.argv[0]}: {error.strerror}")
        except ValueError as error:  # a text that cannot be in an environment
            return Ended(f"cannot run {self.argv[0]}: {error}")
        tail = bytearray()
        most_bytes = 4 * self.most_output + 4
        reader = Thread(target=_keep_tail, args=(process.stdout, tail, most_bytes), daemon=True)
        reader.start()
        cut_short = _wait(process, started + self.timeout_s, stop)
        if cut_short is not None:
            _end(process)
        reader.join(1)  # a process that the command left behind may hold the pipe for ever
        return Ended(
            reason=self._reason(cut_short, process.returncode),
            exit_status=process.returncode,
            output=bytes(tail).decode(errors="replace").replace("\0", "")[-self.most_output :],
            duration_s=time.monotonic() - started,
            stopped=cut_short == "stop",
        )

    def _try_start(
        self, env: Mapping[str, str], stdin: bytes, lock: int | None, until: float
    ) -> subprocess.Popen[bytes] | None:
        """Start the command; return None when it cannot be started yet. Raises OSError and ValueError."""
        try:
            return _start(self.program, self.argv, env, stdin, lock)
        except OSError as error:
            if error.errno not in PASSING or time.monotonic() >= until:
                raise
            return None

    def _reason(self, cut_short: CutShort | None, exit_status: int) -> str | None:
        match cut_short:
            case "stop":
                return "the worker was stopped"
            case "timeout":
                return f"stopped after {self.timeout_s:g} s"
            case None if exit_status < 0:
                return f"ended by {_name_of(-exit_status)}"
            case None:
                return f"exit status {exit_status}" if exit_status else None


def find_program(name: str) -> str | None:
    """Return the file of a command by the worker's own PATH; None when there is none."""
    path = shutil.which(name)
    return None if path is None else str(Path(path).absolute())


def _start(
    program: str, argv: Sequence[str], env: Mapping[str, str], stdin: bytes, lock: int | None
) -> subprocess.Popen[bytes]:
    """Start it in a session of its own: Ctrl-C in a terminal is for the worker, and one signal ends all children."""
    with tempfile.TemporaryFile() as file:  # unlike a pipe, it need not be read
        file.write(stdin)
        file.seek(0)
        return subprocess.Popen(
            argv,
            executable=program,
            env=env,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        )


def _keep_tail(pipe: IO[bytes], tail: bytearray, most_bytes: int) -> None:
    with pipe:
        while chunk := os.read(pipe.fileno(), 1 << 16):
            tail += chunk
            del tail[:-most_bytes]


def _wait(process: subprocess.Popen[bytes], until: float, stop: Told) -> CutShort | None:
    """Wait for the end of the command; return why it has to be cut short, None when it ended by itself."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0, min(LOOK_S, until - time.monotonic())))
            return None
        if stop.is_set():
            return "stop"
        if time.monotonic() >= until:
            return "timeout"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the command and everything that it started, and SIGKILL after 10 s."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
            return


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
