"""Results: medians of rounds that take turns, printed beside what they are compared with."""

from collections.abc import Callable, Iterable, Mapping
from statistics import median

Rates = Mapping[str, list[float]]


def in_turns(rounds: int, work: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Each piece of work once a round, so that a slow moment of the machine hits all of them."""
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, piece in work.items():
            rates[name].append(piece())
    return rates


def title(text: str) -> None:
    print(f"\n{text}")


def rows(rates: Rates, unit: str, against: Mapping[str, str] | None = None) -> None:
    """A line each: median, range, and how many times what it is compared with."""
    against = against or {}
    for name, values in rates.items():
        line = f"  {name:<46} {number(median(values)):>9} {unit:<9} [{number(min(values))} - {number(max(values))}]"
        if (other := against.get(name)) is not None:
            line += f"   {median(values) / median(rates[other]):.2f} x {other}"
        print(line)


def latencies(took: Mapping[str, Iterable[float]]) -> None:
    """Of all rounds together."""
    for name, seconds in took.items():
        ordered = sorted(seconds)
        percentiles = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000 for share in (0.5, 0.99)]
        print(f"  {name + ', latency':<46} p50 {percentiles[0]:.1f} ms   p99 {percentiles[1]:.1f} ms")


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
