"""The strip of a routine's last runs, for the template that draws it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from projections.overview import Bar
from web.board import words

TALLEST, SHORTEST = 17, 5  # pixels
LOST = ("skipped", "coalesced", "missed")
ENOUGH = 4  # runs, before their share says something


class DrawnBar(NamedTuple):
    """A bar: its outcome, and its height by its duration."""

    kind: str
    height: int


class Strip(NamedTuple):
    """The bars of a strip, what they say in words, and how many of the runs began no work if those are at least half."""

    bars: Sequence[DrawnBar]
    title: str
    lost: int


def draw(bars: Sequence[Bar]) -> Strip:
    """Return the strip of some runs, oldest first."""
    longest = max((bar.took for bar in bars if bar.took), default=timedelta(seconds=1)) or timedelta(seconds=1)
    drawn = [DrawnBar(words.outcome(bar.status).kind, _height(bar.took, longest)) for bar in bars]
    counts: dict[str, int] = {}
    for bar in bars:
        word = words.outcome(bar.status).word
        counts[word] = counts.get(word, 0) + 1
    title = ", ".join(f"{number} {word}" for word, number in counts.items())
    lost = sum(bar.status in LOST for bar in bars)
    return Strip(
        drawn, f"Last {words.counted(len(bars), 'run')}: {title}" if bars else "", lost if _is_much(lost, bars) else 0
    )


def _height(took: timedelta | None, longest: timedelta) -> int:
    share = 0.4 if took is None else max(took, timedelta()) / longest
    return SHORTEST + round(share * (TALLEST - SHORTEST))


def _is_much(lost: int, bars: Sequence[Bar]) -> bool:
    return len(bars) >= ENOUGH and 2 * lost >= len(bars)
