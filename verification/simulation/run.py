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
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import count, islice
from typing import get_args

from verification.simulation.faults import Mutation
from verification.simulation.laws.state import KINDS
from verification.simulation.shape import Shape, WorldResult
from verification.simulation.shrink import explain_failure
from verification.simulation.world import World

HOURLY = 8_766  # occurrences of an hourly schedule in a year


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--first", type=int, help="the first of the seeds; without it the time of day gives it")
    parser.add_argument("--years", type=float, help="stop after so many routine-years")
    parser.add_argument("--minutes", type=float, default=1.0, help="stop after so many minutes (1)")
    parser.add_argument("--routines", type=int, default=100, help="of one seed (100)")
    parser.add_argument("--days", type=int, default=365, help="that one seed simulates (365)")
    parser.add_argument("--break", dest="mutation", choices=get_args(Mutation), help="break a rule, to see it found")
    parser.add_argument("--past", action="store_true", help="people change schedules also while the clock is set back")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="seeds at the same time (one a core)")
    arguments = parser.parse_args()
    first = arguments.first if arguments.first is not None else int(time.time()) % 1_000_000
    seeds: Iterator[int] = iter([arguments.seed]) if arguments.seed is not None else count(first)
    shapes = (
        Shape(seed, arguments.routines, arguments.days, mutation=arguments.mutation, past=arguments.past)
        for seed in seeds
    )
    started_at, runs = time.monotonic(), list[WorldResult]()

    def is_enough() -> bool:
        years, minutes = sum(one.routine_years for one in runs), (time.monotonic() - started_at) / 60
        too_long = years >= arguments.years if arguments.years else minutes >= arguments.minutes
        return too_long or any(one.violations for one in runs)

    cores = 1 if arguments.seed is not None else arguments.cores
    for run in run_worlds(shapes, cores, is_enough):
        runs.append(run)
        print(describe_result(run), flush=True)
    took_s, usage = time.monotonic() - started_at, resource.getrusage(resource.RUSAGE_CHILDREN)
    print("\n".join(format_totals(runs, took_s, usage.ru_utime + usage.ru_stime)))
    if failed_runs := [one for one in runs if one.violations]:
        print("\n".join(explain_failure(failed_runs[0].shape)))
        sys.exit(1)


def run_worlds(shapes: Iterator[Shape], cores: int, is_enough: Callable[[], bool]) -> Iterator[WorldResult]:
    """Yield the worlds of these shapes as they end, so many at a time, until it is enough; those that are under way end, too."""
    with ProcessPoolExecutor(cores, initializer=gc.disable) as pool:
        running_worlds = {pool.submit(run_world, shape) for shape in islice(shapes, cores)}
        while running_worlds:
            ended_worlds, running_worlds = wait(running_worlds, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ended_worlds)
            if not is_enough():
                running_worlds |= {pool.submit(run_world, shape) for shape in islice(shapes, len(ended_worlds))}


def run_world(shape: Shape) -> WorldResult:
    gc.collect()  # a world lets go of nothing before its end
    return World(shape).run()


def describe_result(run: WorldResult) -> str:
    kind = "by the hour, mostly down" if run.shape.is_stormy else "by the day"
    occurrences = sum(run.occurrences.values())
    faults = sum(run.faults.values())
    return (
        f"seed {run.shape.seed}: {run.routine_years:.0f} routine-years {kind}, {occurrences:,} occurrences, "
        f"{run.events:,} events, {faults:,} faults, {len(run.violations)} violations"
    )


def format_totals(runs: list[WorldResult], took_s: float, cpu_s: float) -> Iterator[str]:
    """Write what all seeds came to."""
    occurrences = sum((one.occurrences for one in runs), Counter[str]())
    faults = sum((one.faults for one in runs), Counter[str]())
    violations = Counter(violation.kind for one in runs for violation in one.violations)
    years, occurrence_count = sum(one.routine_years for one in runs), sum(occurrences.values())
    rows = [
        ("seeds", f"{min(one.shape.seed for one in runs)} to {max(one.shape.seed for one in runs)}"),
        ("routine-years", f"{years:,.0f}"),
        ("events", f"{sum(one.events for one in runs):,}"),
        ("occurrences", f"{occurrence_count:,}"),
        *((f"  {name}", f"{count:,}") for name, count in occurrences.most_common()),
        ("faults", f"{sum(faults.values()):,}"),
        *((f"  {name}", f"{count:,}") for name, count in faults.most_common()),
        *((kind, f"{violations[kind]:,}") for kind in KINDS),
        ("routine-years a minute", f"{60 * years / took_s:,.0f} ({60 * years / cpu_s:,.0f} a minute of CPU)"),
        (
            "hourly years a minute",
            f"{60 * occurrence_count / HOURLY / took_s:,.0f} ({60 * occurrence_count / HOURLY / cpu_s:,.0f})",
        ),
    ]
    yield ""
    yield from (f"  {name:<24}{value:>16}" for name, value in rows)


if __name__ == "__main__":
    main()
