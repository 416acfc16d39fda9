"""
Processes that are forked from one that has imported the program already, as tests start them.

To import the program takes a process longer than most of what a brief campaign asks of it. Each process has its own
memory, connections and end, and dies of a signal as any other; none outlives the tests. That the program can be started
from nothing is seen by the campaigns in size, and by every test of `routines up`.
"""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

PRELOADED = (
    "routines.cli",
    "routines.commands.delivery",
    "routines.commands.init",
    "routines.commands.projections",
    "routines.commands.projector",
    "routines.commands.scheduler",
    "routines.commands.web",
    "routines.web_server",
)
_context = get_context("forkserver")
_context.set_forkserver_preload(list(PRELOADED))


class Forked:
    """`routines` with these arguments and no other variables than these, as subprocess.Popen would show it."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self._process = _context.Process(target=_run_routines, args=(list(arguments), dict(env), log))
        self._process.start()
        atexit.register(self.kill)  # else it would be waited for, and one that is frozen never ends

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("routines", timeout or 0)
        return code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _run_routines(arguments: list[str], env: dict[str, str], log: Path) -> None:
    Thread(target=_die_with_tests, daemon=True).start()
    with log.open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(env)
    from routines.cli import main  # noqa: PLC0415 it has been imported before the fork

    main(arguments, prog_name="routines")


def _die_with_tests() -> None:
    if (tests := parent_process()) is not None:
        tests.join()
        os.kill(os.getpid(), signal.SIGKILL)
