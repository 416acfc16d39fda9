"""Small charts: bars beside each other, drawn by the server. What they show stands beside them in words as well."""

from collections.abc import Sequence
from typing import NamedTuple

HEIGHT, WIDTH, GAP = 36, 8, 2


class Bar(NamedTuple):
    """A bar: where it stands, how high it is, and what it says."""

    x: int
    height: float
    title: str


def bars(numbers: Sequence[int], titles: Sequence[str], most: int | None = None) -> list[Bar]:
    """Return a bar for each number, the highest one for the largest of them, or for `most`; what is not 0 can be seen."""
    largest = max(numbers, default=0) if most is None else most
    return [
        Bar(index * (WIDTH + GAP), max(round(HEIGHT * number / largest, 1), 1.5) if number else 0, title)
        for index, (number, title) in enumerate(zip(numbers, titles, strict=True))
    ]
