"""Waiting for a condition instead of sleeping for a time."""

import os
import time
from pathlib import Path

LOOK_S, LONGEST_LOOK_S = 0.005, 0.05
PART_OF_WAIT = 0.1  # how much later a wait may end: a look is mostly a request, answered by those who are waited for


def wait_for(condition, limit_s=20.0, tick=lambda: None):
    """
    What the condition gives soon after it is true; fails when the time is up. `tick` runs between looks.

    The longer it takes, the rarer the looks are.
    """
    began = time.monotonic()
    while not (result := condition()):
        waited_s = time.monotonic() - began
        assert waited_s < limit_s
        tick()
        time.sleep(min(max(LOOK_S, waited_s * PART_OF_WAIT), LONGEST_LOOK_S))
    return result


def exists(pid):
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
