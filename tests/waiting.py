"""Waiting for a condition instead of sleeping for a time."""

import os
import time
from pathlib import Path

LOOK_S = 0.005


def wait_for(condition, limit_s=20.0, tick=lambda: None):
    """What the condition gives as soon as it is true; fails when the time is up. `tick` runs between looks."""
    end = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < end
        tick()
        time.sleep(LOOK_S)
    return result


def exists(pid):
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
