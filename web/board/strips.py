"""The strip of a routine's last runs, oldest first: the height is the duration, the shape and the colour are the outcome."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from markupsafe import Markup

from domain.explain.verdicts import LIVE_ISSUE
from domain.routines import activity_gate, probe
from projections.overview import Bar
from web.board import words

HIGH, STEP = 20, 7  # pixels
TALLEST, SHORTEST = 17, 5
LOST = ("skipped", "coalesced")
CONDITIONS = (activity_gate.QUIET, probe.FAILED)  # the routine is meant to begin no work then
ENOUGH = 4  # runs, before their share says something


class Loss(NamedTuple):
    """
    The runs that began no work though they should have: how many, what became of most of them, and their reason.

    There is no reason where they have none in common.
    """

    runs: int
    status: str
    reason: str | None

    @property
    def is_by_live_issue(self) -> bool:
        """Whether all of them met an issue that was still open."""
        return self.reason == LIVE_ISSUE


class Strip(NamedTuple):
    """A strip as it is drawn, of how many runs, and what was lost if that is at least half of them."""

    svg: Markup
    runs: int
    loss: Loss | None


def draw(bars: Sequence[Bar]) -> Strip:
    """Return the strip of some runs, oldest first. What it shows stands in its label in words as well."""
    longest = max((bar.took for bar in bars if bar.took), default=timedelta(seconds=1)) or timedelta(seconds=1)
    outcomes = [words.outcome(bar.status) for bar in bars]
    counts = Counter(outcome.word for outcome in outcomes)
    title = f"Last {words.count_noun(len(bars), 'run')}: {', '.join(f'{many} {word}' for word, many in counts.items())}"
    drawings = [
        _shape(outcome.kind, place * STEP, _bar_height(bar.took, longest))
        for place, (outcome, bar) in enumerate(zip(outcomes, bars, strict=True))
    ]
    width = len(bars) * STEP
    svg = Markup(
        '<svg class="strip" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">{3}</svg>'
    )
    return Strip(svg.format(width, HIGH, title, Markup("").join(drawings)), len(bars), _find_loss(bars))


def _find_loss(bars: Sequence[Bar]) -> Loss | None:
    lost = [bar for bar in bars if bar.status in LOST and bar.reason not in CONDITIONS]
    if len(bars) < ENOUGH or 2 * len(lost) < len(bars):
        return None
    ((status, _),) = Counter(bar.status for bar in lost).most_common(1)
    reasons = {bar.reason or LIVE_ISSUE for bar in lost}
    return Loss(len(lost), status, reasons.pop() if len(reasons) == 1 else None)


@lru_cache(maxsize=10_000)
def _shape(kind: str, x: int, height: int) -> Markup:
    """Return a bar of a strip."""
    middle, top = x + 2.5, HIGH - 2 - height
    match kind:
        case "ran":
            drawing = f'<rect x="{x}" y="{top}" width="5" height="{height}" rx="1" fill="currentColor"/>'
        case "live":
            drawing = f'<rect x="{x}" y="{top}" width="5" height="{height}" rx="1" fill="none" stroke="currentColor"/>'
        case "failed":
            drawing = f'<path d="M{middle} 6l3 12h-6z" fill="currentColor"/>'
        case "skipped":
            drawing = (
                f'<path d="M{middle} 12l2.8 3-2.8 3-2.8-3z" fill="none" stroke="currentColor" stroke-width="1.2"/>'
            )
        case _:
            drawing = (
                f'<circle cx="{middle}" cy="15.5" r="2.3" fill="none" stroke="currentColor" stroke-width="1.2"/>'
                f'<path d="M{middle} 13.2a2.3 2.3 0 0 0 0 4.6z" fill="currentColor"/>'
            )
    return Markup(f'<g class="{kind}">{drawing}</g>')  # noqa: S704 of words and numbers of ours


def _bar_height(took: timedelta | None, longest: timedelta) -> int:
    share = 0.4 if took is None else max(took, timedelta()) / longest
    return SHORTEST + round(share * (TALLEST - SHORTEST))
