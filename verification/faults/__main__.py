"""
Fault campaigns: real processes or real connections, real Postgres, and an oracle that shares no code with either.

    make faults                           all of them at full size: hours
    make faults ARGS="--short"            all of them in about five minutes
    make faults ARGS="cut kill --short"   some of: cut, kill, crash, race, clock, lostanswer, poison, delivery, neighbour, disk,
                                          dbclock, connections, failover, restore, rebuild, worker
    make faults ARGS="cut --seed 7"       the same choices again

Ends with 1 if anything was lost, doubled, invented, early, half-made, or if a limit was passed.
"""

import argparse
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from verification.faults import (
    clock,
    connections,
    crash,
    cut,
    database_clock,
    delivery,
    disk,
    failover,
    kill,
    lostanswer,
    neighbour,
    poison,
    race,
    rebuild,
    restore,
    worker,
)
from verification.faults.campaign import CampaignSize, Outcome
from verification.faults.environment import open_environment, tidy_when_terminated

CAMPAIGNS = {
    "cut": cut.run,
    "kill": kill.run,
    "crash": crash.run,
    "race": race.run,
    "clock": clock.run,
    "lostanswer": lostanswer.run,
    "poison": poison.run,
    "delivery": delivery.run,
    "neighbour": neighbour.run,
    "disk": disk.run,
    "connections": connections.run,
    "failover": failover.run,
    "restore": restore.run,
    "rebuild": rebuild.run,
    "dbclock": database_clock.run,
    "worker": worker.run,
}
COLUMNS = (
    "date",
    "commit",
    "seed",
    "campaign",
    "faults",
    "occurrences",
    "requests",
    "lost",
    "doubled",
    "invented",
    "early",
    "half-made",
    "worst lateness",
    "took",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a tenth of the size or less")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="for the same choices again")
    parser.add_argument("campaigns", nargs="*", help=", ".join(CAMPAIGNS))
    arguments = parser.parse_args()
    if unknown := set(arguments.campaigns) - CAMPAIGNS.keys():
        parser.error(f"no such campaign: {', '.join(sorted(unknown))}")
    print(f"seed {arguments.seed}", flush=True)
    tidy_when_terminated()
    lines, outcomes = [], []
    for name in arguments.campaigns or CAMPAIGNS:
        began = time.monotonic()
        with open_environment() as environment:
            new_outcomes = CAMPAIGNS[name](
                environment,
                CampaignSize("short" if arguments.short else "full"),
                random.Random(f"{arguments.seed} {name}"),
            )
        took_s = time.monotonic() - began
        outcomes += new_outcomes
        lines += [
            row(outcome, arguments.seed, took_s if outcome is new_outcomes[-1] else None) for outcome in new_outcomes
        ]
    print("\n".join(table(lines)))
    for outcome in outcomes:
        for text in [*outcome.notes, *(f"WRONG {broken}" for broken in outcome.broken)]:
            print(f"{outcome.name}: {text}")
    sys.exit(not all(outcome.well for outcome in outcomes))


def row(outcome: Outcome, seed: int, took_s: float | None) -> list[str]:
    verdict = outcome.verdict
    counts = (verdict.lost, verdict.doubled, verdict.invented, verdict.early, verdict.half_made + verdict.gaps)
    return [
        f"{datetime.now(UTC):%Y-%m-%d}",
        commit(),
        str(seed),
        outcome.name,
        outcome.faults,
        f"{verdict.occurrences:,}",
        f"{verdict.requests:,}",
        *map(str, counts),
        outcome.worst or (f"{verdict.worst_s:.2f} s" if verdict.worst_s else "-"),
        "" if took_s is None else f"{took_s:.0f} s",
    ]


def table(lines: list[list[str]]) -> list[str]:
    """Return the outcomes as a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (list(COLUMNS), ["---"] * len(COLUMNS), *lines)]


def commit() -> str:
    argv = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    git = subprocess.run(argv, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return git.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
