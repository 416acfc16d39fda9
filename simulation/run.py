"""
Years of schedules in minutes: the scheduler under faults, and an oracle that shares no code with it.

    make simulate                                 the default: a minute of new seeds
    make simulate ARGS="--minutes 10"             longer
    make simulate ARGS="--years 5000"             so many routine-years, however long it takes
    make simulate ARGS="--seed 17"                one seed again; if it fails, the shortest story of how
    make simulate ARGS="--break guards"           something is broken on purpose: this must fail

A routine-year is one routine that lives for 365.25 days of simulated time. Seeds with an even number have schedules that
run by the day or the week; odd ones have schedules that run by the hour, and schedulers that are mostly down. The table
also counts occurrences that were settled in years of an hourly schedule (8,766 occurrences).
"""

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import get_args

from simulation.faults import Break
from simulation.oracle import KINDS
from simulation.shrink import shortest
from simulation.world import Ended, Shape, World

HOURLY = 8_766  # occurrences of an hourly schedule in a year


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--first", type=int, help="the first of the seeds; without it the time of day gives it")
    parser.add_argument("--years", type=float, help="stop after so many routine-years")
    parser.add_argument("--minutes", type=float, default=1.0, help="stop after so many minutes (1)")
    parser.add_argument("--routines", type=int, default=100, help="of one seed (100)")
    parser.add_argument("--days", type=int, default=365, help="that one seed simulates (365)")
    parser.add_argument("--break", dest="broken", choices=get_args(Break), help="break a rule, to see it found")
    parser.add_argument("--past", action="store_true", help="people change schedules also while the clock is set back")
    asked = parser.parse_args()
    gc.disable()  # a world lets go of nothing before its end
    first = asked.first if asked.first is not None else int(time.time()) % 1_000_000
    began, ended = time.monotonic(), list[Ended]()
    cpu = time.process_time()
    for seed in [asked.seed] if asked.seed is not None else count(first):
        gc.collect()
        shape = Shape(seed, routines=asked.routines, days=asked.days, broken=asked.broken, past=asked.past)
        ended.append(World(shape).run())
        print(line(ended[-1]), flush=True)
        years, minutes = sum(one.routine_years for one in ended), (time.monotonic() - began) / 60
        if ended[-1].violations or (years >= asked.years if asked.years else minutes >= asked.minutes):
            break
    print("\n".join(table(ended, time.monotonic() - began, time.process_time() - cpu)))
    if ended[-1].violations:
        print("\n".join(shortest(ended[-1].shape)))
        sys.exit(1)


def line(one: Ended) -> str:
    kind = "by the hour, mostly down" if one.shape.stormy else "by the day"
    occurrences = sum(one.occurrences.values())
    faults = sum(one.faults.values())
    return (
        f"seed {one.shape.seed}: {one.routine_years:.0f} routine-years {kind}, {occurrences:,} occurrences, "
        f"{one.events:,} events, {faults:,} faults, {len(one.violations)} violations"
    )


def table(ended: list[Ended], took_s: float, cpu_s: float) -> Iterator[str]:
    """What all seeds came to."""
    occurrences = sum((one.occurrences for one in ended), Counter[str]())
    faults = sum((one.faults for one in ended), Counter[str]())
    found = Counter(violation.kind for one in ended for violation in one.violations)
    years, settled = sum(one.routine_years for one in ended), sum(occurrences.values())
    rows = [
        ("seeds", f"{ended[0].shape.seed} to {ended[-1].shape.seed}"),
        ("routine-years", f"{years:,.0f}"),
        ("events", f"{sum(one.events for one in ended):,}"),
        ("occurrences", f"{settled:,}"),
        *((f"  {name}", f"{many:,}") for name, many in occurrences.most_common()),
        ("faults", f"{sum(faults.values()):,}"),
        *((f"  {name}", f"{many:,}") for name, many in faults.most_common()),
        *((kind, f"{found[kind]:,}") for kind in KINDS),
        ("routine-years a minute", f"{60 * years / took_s:,.0f} ({60 * years / cpu_s:,.0f} a minute of CPU)"),
        ("hourly years a minute", f"{60 * settled / HOURLY / took_s:,.0f} ({60 * settled / HOURLY / cpu_s:,.0f})"),
    ]
    yield ""
    yield from (f"  {name:<24}{value:>16}" for name, value in rows)


if __name__ == "__main__":
    main()
