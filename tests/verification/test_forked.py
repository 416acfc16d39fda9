"""Processes that are forked for tests do not outlive them."""

import signal
import subprocess
import sys

import pytest

from tests.waiting import exists, wait_for

# A process stands still before it runs anything: nobody reads its log.
TESTS = """
import os, signal, sys, time
from pathlib import Path
from verification.faults import forked

log, end = Path(sys.argv[1]), sys.argv[2]
os.mkfifo(log)
forked._context.set_forkserver_preload([])
process = forked.Forked(["scheduler"], os.environ, log)
if end == "exit":
    process.send_signal(signal.SIGSTOP)
print(process.pid, flush=True)
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("end", "status"), [("exit", 0), ("kill", -signal.SIGKILL)], ids=["that end, though frozen", "that are killed"]
)
def test_a_forked_process_ends_with_the_tests(tmp_path, end, status):
    tests = subprocess.run(
        [sys.executable, "-c", TESTS, tmp_path / "scheduler.log", end],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )

    assert status == tests.returncode
    wait_for(lambda: not exists(int(tests.stdout)))
