"""
Processes that are forked from one that has imported the program already, as tests start them.

To import the program takes a process longer than most of what a brief campaign asks of it. Each process has its own
memory, connections and end, and dies of a signal as any other; none outlives the tests. That the program can be started
from nothing is seen by the campaigns in size, and by every test of `routines up`.
"""

import atexit
import os
import runpy
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
    "routines.worker.cli",
)
_context = get_context("forkserver")
_context.set_forkserver_preload(list(PRELOADED))


class Forked:
    """A program with these arguments and no other variables than these, as subprocess.Popen would show it."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], log: Path, program: str = "routines") -> None:
        order = ([program, *arguments], dict(env), log)
        self._process = _context.Process(target=_run_program, args=order)
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
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _run_program(argv: list[str], env: dict[str, str], log: Path) -> None:
    Thread(target=_die_with_tests, daemon=True).start()
    with log.open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)


def _die_with_tests() -> None:
    if (tests := parent_process()) is not None:
        tests.join()
        os.kill(os.getpid(), signal.SIGKILL)
