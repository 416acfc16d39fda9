"""Runs the command of a worker: its start, its output, its end."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, Protocol

import msgspec
from msgspec.structs import replace

from routines.worker.errors import PASSING
from routines.worker.output import Hear, Reader, last_line

MOST_OUTPUT = 60_000  # characters of standard output; a comment has room for both and a reason
MOST_ERROR_OUTPUT = 20_000  # characters of standard error
MOST_LAST_LINE = 500  # characters of standard error in a reason
PIPE_S = 1.0  # how long to wait for the rest of the output, once the command has ended
LOOK_S = 0.1  # between two looks whether the command is to be stopped
RETRY_S = 0.5  # between two tries to start a command on a machine without room
GRACE_S = 10.0  # between SIGTERM and SIGKILL

CutShort = Literal["stop", "timeout"]


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a command ended. `reason` is None when it succeeded.

    `stopped` says that it was stopped although the work may still be the worker's, `lost` that it no longer was.
    """

    reason: str | None
    exit_status: int | None = None
    output: str = ""
    is_whole: bool = True  # whether nothing is left out of `output`
    error_output: str = ""
    duration_s: float = 0.0
    stopped: bool = False
    lost: bool = False


class Supervising(Protocol):
    """Says whether the command is to be stopped, and why; is told when it has begun and ended."""

    @property
    def lost(self) -> str | None:
        """Why the work is no longer the worker's, or None."""

    @property
    def reason(self) -> str:
        """Why the command is stopped."""

    def is_set(self) -> bool:
        """Return whether the command is to be stopped."""

    def begin(self, group: int) -> None:
        """Note the process group of the command that has begun."""

    def end(self) -> None:
        """Note that the command has ended."""


class Command(msgspec.Struct, frozen=True):
    """
    The command that a worker runs for each issue or trajectory.

    `program` is the file of `argv[0]`, found once by the worker's own PATH, so that no variable of an issue or of a
    trajectory chooses it.
    """

    argv: Sequence[str]
    program: str
    timeout_s: float
    most_output: int = MOST_OUTPUT  # characters of standard output that are kept

    def run(  # noqa: PLR0913, PLR0917 what one start of a command has of its own
        self,
        env: Mapping[str, str],
        stdin: bytes,
        secrets: Sequence[str],
        supervision: Supervising,
        hear: Hear,
        lock: int | None = None,
    ) -> CommandResult:
        """
        Run the command with `stdin` on its standard input. It inherits the descriptor `lock`, if there is one.

        The `secrets` are masked in its output. `hear` is told that as it comes, by two threads: the name of the stream
        and a text of whole lines.

        While this machine cannot start anything, for instance because its disk is full, it is tried again until the
        command's own time is up.
        """
        started_at = time.monotonic()
        try:
            while supervision.is_set() or (
                (process := self._try_start(env, stdin, lock, started_at + self.timeout_s)) is None
            ):
                if supervision.is_set():
                    return _cut_short(supervision, CommandResult(reason=None, duration_s=time.monotonic() - started_at))
                time.sleep(RETRY_S)
        except FileNotFoundError:
            return CommandResult(reason=f"command not found: {self.argv[0]}")
        except OSError as error:  # also E2BIG, for an environment that is too large
            return CommandResult(reason=f"cannot run {self.argv[0]}: {error.strerror}")
        except ValueError as error:  # a text that cannot be in an environment
            return CommandResult(reason=f"cannot run {self.argv[0]}: {error}")
        supervision.begin(process.pid)
        output = _read(process.stdout, self.most_output, secrets, lambda text: hear("stdout", text))
        errors = _read(process.stderr, MOST_ERROR_OUTPUT, secrets, lambda text: hear("stderr", text))
        cut_short = _wait(process, started_at + self.timeout_s, supervision)
        if cut_short is not None:
            _end(process)
        supervision.end()
        for reader in (output, errors):
            reader.finish(PIPE_S)
        ending = CommandResult(
            reason=self._failure_reason(cut_short, process.returncode, errors.kept.text()),
            exit_status=process.returncode,
            output=output.kept.text(),
            is_whole=output.kept.is_whole,
            error_output=errors.kept.text(),
            duration_s=time.monotonic() - started_at,
        )
        return _cut_short(supervision, ending) if cut_short == "stop" else ending

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

    def _failure_reason(self, cut_short: CutShort | None, exit_status: int, error_output: str) -> str | None:
        """Return what failed, with the last line of standard error; None if the command succeeded."""
        if cut_short is not None:
            failure = f"stopped after {self.timeout_s:g} s"
        elif exit_status < 0:
            failure = f"ended by {_name_of(-exit_status)}"
        elif exit_status:
            failure = f"exit status {exit_status}"
        else:
            return None
        line = last_line(error_output)[:MOST_LAST_LINE]
        return f"{failure}: {line}" if line else failure


def _read(pipe: IO[bytes] | None, most: int, secrets: Sequence[str], take: Callable[[str], None]) -> Reader:
    if pipe is None:
        raise AssertionError
    return Reader(pipe, most, secrets, take)


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
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        )


def _wait(process: subprocess.Popen[bytes], until: float, supervision: Supervising) -> CutShort | None:
    """
    Wait for the end of the command; return why it has to be cut short, None when it ended by itself.

    The guard may have ended it, while this process was frozen.
    """
    while True:
        with suppress(subprocess.TimeoutExpired):
            return (
                "stop" if process.wait(max(0, min(LOOK_S, until - time.monotonic()))) and supervision.is_set() else None
            )
        if supervision.is_set():
            return "stop"
        if time.monotonic() >= until:
            return "timeout"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the command and everything that it started, and SIGKILL to what is left after 10 s."""
    _signal_group(process, signal.SIGTERM)
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_S)
            if not _signal_group(process, None):
                return
            time.sleep(LOOK_S)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals | None) -> bool:
    """Send the signal, or none, to the command's process group; return False when no process is left in it."""
    try:
        os.killpg(process.pid, number or 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process that is left runs as another user
    return True


def _cut_short(supervision: Supervising, ending: CommandResult) -> CommandResult:
    """Return how a command ended that was stopped before its own end."""
    return replace(
        ending, reason=supervision.reason, stopped=supervision.lost is None, lost=supervision.lost is not None
    )


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
