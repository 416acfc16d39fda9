"""What all campaigns have in common: how large, what came of it, and how it is told."""

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from verification.faults.environment import Environment
from verification.faults.oracle import Verdict


class CampaignSize:
    """Which size a campaign has: `full`, `short` for a look at it, `brief` for the tests."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *, full: float, short: float, brief: float | None = None) -> float:
        return {"full": full, "short": short, "brief": short if brief is None else brief}[self.name]


@dataclass
class Outcome:
    """The verdict of a campaign, how many faults it made, and what went beyond the limits it has besides."""

    name: str
    verdict: Verdict
    faults: str  # "120 cuts"
    broken: list[str] = field(default_factory=list)
    worst: str | None = None  # lateness, where the verdict's own would mislead
    notes: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return not self.verdict.faults and not self.broken


@contextmanager
def noting_standstill(broken: list[str]) -> Iterator[None]:
    """Note as a fault what does not happen in time, and go on to ask the oracle."""
    try:
        yield
    except TimeoutError as error:
        broken.append(f"it stands still: {error}")


Campaign = Callable[[Environment, CampaignSize, random.Random], list[Outcome]]


class Progress:
    """One line that is written over, on a terminal; a line now and then elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = self._told = time.monotonic()

    def __call__(self, text: str) -> None:
        now, tty = time.monotonic(), sys.stderr.isatty()
        if now - self._told < (0.2 if tty else 10):
            return
        self._told = now
        print(
            f"  {self._name}, {now - self._began:.0f} s: {text}", end="\r" if tty else "\n", file=sys.stderr, flush=True
        )
