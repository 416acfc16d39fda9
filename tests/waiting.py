"""Waiting for a condition instead of sleeping for a time."""

import os
import time
from pathlib import Path

LOOK_S, LONGEST_LOOK_S = 0.005, 0.05


def wait_for(condition, limit_s=20.0, tick=lambda: None):
    """
    What the condition gives as soon as it is true; fails when the time is up. `tick` runs between looks.

    Many a look reads the whole log, and takes the processor from what is waited for: the longer it takes, the rarer they get.
    """
    begin = time.monotonic()
    while not (result := condition()):
        waited_s = time.monotonic() - begin
        assert waited_s < limit_s
        tick()
        time.sleep(min(max(waited_s / 10, LOOK_S), LONGEST_LOOK_S))
    return result


def exists(pid):
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
