"""`routines up` as a child process, ready when its up.json is there."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY_S = 60.0
STOPPED_S = 30.0


@contextmanager
def running_system(data_dir: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """What up.json says, while the system runs; stopped by Ctrl-C at the end."""
    argv = [sys.executable, "-m", "routines", "up", "--data-dir", str(data_dir), "--port", "0", *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield json.loads(wait_for(data_dir / "up.json", process))
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=STOPPED_S)


def wait_for(state: Path, process: subprocess.Popen[Any]) -> str:
    end = time.monotonic() + READY_S
    while not state.exists():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < end, f"{state} did not appear"
        time.sleep(0.05)
    return state.read_text()
