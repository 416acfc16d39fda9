"""Results: medians of rounds that take turns, printed beside what they are compared with."""

from collections.abc import Callable, Mapping
from statistics import median

Rates = Mapping[str, list[float]]


def in_turns(rounds: int, work: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Do each piece of work once a round, so that a slow moment of the machine hits all of them."""
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, piece in work.items():
            rates[name].append(piece())
    return rates


def title(text: str) -> None:
    print(f"\n{text}")


def rows(rates: Rates, unit: str, baselines: Mapping[str, str] | None = None) -> None:
    """Print a line for each: median, range, and how many times what it is compared with."""
    baselines = baselines or {}
    for name, measured in rates.items():
        line = (
            f"  {name:<46} {number(median(measured)):>9} {unit:<9} [{number(min(measured))} - {number(max(measured))}]"
        )
        if (other := baselines.get(name)) is not None:
            line += f"   {median(measured) / median(rates[other]):.2f} x {other}"
        print(line)


class Latencies:
    """Latencies in seconds, the median and the 99th percentile of each round, by the name of the line."""

    def __init__(self) -> None:
        self._rounds: dict[str, list[tuple[float, float]]] = {}

    def of(self, name: str) -> list[tuple[float, float]]:
        """Return the rounds of a line, to be added to."""
        return self._rounds.setdefault(name, [])

    def show(self) -> None:
        """Print a line for each: the medians of its rounds."""
        for name, rounds in self._rounds.items():
            p50, p99 = (median(values) * 1_000 for values in zip(*rounds, strict=True))
            print(f"  {name + ', latency':<46} p50 {p50:.2f} ms   p99 {p99:.2f} ms")


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
