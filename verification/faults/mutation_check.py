"""
Do the campaigns bite? Each break here takes away one thing that the promise rests on; then a campaign must fail.

    .venv/bin/python -m verification.faults.mutation_check                 all of them
    .venv/bin/python -m verification.faults.mutation_check key             one of: key, transaction, gap, session

* key           a stream may have a version twice: the unique key of log.events is dropped
* transaction   the events of a firing are appended one by one, each in a transaction of its own
* session       connections may be to a standby, are not verified, and are kept when they are read-only
* gap           positions come from a sequence, taken without the lock on the head: as in most event stores

Everything happens on scratch databases. Ends with 1 if a break goes unnoticed.
"""

import argparse
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from psycopg.sql import SQL

from verification.faults import failover, kill, lostanswer
from verification.faults.campaign import Campaign, CampaignSize
from verification.faults.environment import Database, Environment, open_environment, tidy_when_terminated

WITHOUT_KEY = """
    ALTER TABLE log.events DROP CONSTRAINT events_stream_id_version_key;
    CREATE INDEX ON log.events (stream_id, version);"""
SEQUENCE = "CREATE SEQUENCE log.places; GRANT USAGE ON log.places TO routines_service;"
OF_THE_HEAD = "SELECT h.position, h.hash INTO last, chain FROM log.head h FOR UPDATE;"
OF_THE_SEQUENCE = """
    last := nextval('log.places') - 1;
    PERFORM setval('log.places', last + many);
    PERFORM pg_sleep(random() * 0.05);
    SELECT h.hash INTO chain FROM log.head h;"""
PATIENCE_S = 20.0  # how long a broken system may stand still before the round is judged
MOVE = "UPDATE log.head SET position = last + many, hash = chain;"
MOVE_IF_AHEAD = "UPDATE log.head SET position = last + many, hash = chain WHERE position < last + many;"


@contextmanager
def key(environment: Environment) -> Iterator[None]:
    with _before_each(environment, lambda database: _execute(database, WITHOUT_KEY)):
        yield


@contextmanager
def gap(environment: Environment) -> Iterator[None]:
    script = files("application").joinpath("event_store", "log.sql").read_text()
    start, end = (
        script.index(text)
        for text in ("CREATE OR REPLACE FUNCTION log.append", "CREATE OR REPLACE FUNCTION log.refuse")
    )
    broken_script = script[start:end].replace(OF_THE_HEAD, OF_THE_SEQUENCE).replace(MOVE, MOVE_IF_AHEAD)
    as_owner = f"SET ROLE routines_owner; {SEQUENCE} {broken_script} SELECT setval('log.places', (SELECT position + 1 FROM log.head), false);"
    with _before_each(environment, lambda database: _execute(database, as_owner)):
        yield


@contextmanager
def transaction(environment: Environment) -> Iterator[None]:
    _install(environment, "one_by_one")
    yield


@contextmanager
def session(environment: Environment) -> Iterator[None]:
    _install(environment, "any_session")
    yield


def _install(environment: Environment, name: str) -> None:
    """Break every process that is started: Python runs sitecustomize at its start."""
    text = f"from verification.faults import {name}\n{name}.install()\n"
    environment.directory.joinpath("sitecustomize.py").write_text(text)
    environment.env["PYTHONPATH"] = f"{environment.directory}{os.pathsep}{Path(__file__).parents[2]}"


BREAKS: dict[str, tuple[Callable[[Environment], Any], str, Campaign]] = {
    "key": (key, "lostanswer", lostanswer.run),
    "transaction": (transaction, "kill", kill.run),
    "gap": (gap, "kill", kill.run),
    "session": (session, "failover", failover.run),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("breaks", nargs="*", help=", ".join(BREAKS))
    arguments = parser.parse_args()
    if unknown := set(arguments.breaks) - BREAKS.keys():
        parser.error(f"no such break: {', '.join(sorted(unknown))}")
    print(f"seed {arguments.seed}", flush=True)
    tidy_when_terminated()
    results = [_is_noticed(name, arguments.seed) for name in arguments.breaks or BREAKS]
    sys.exit(not all(results))


def _is_noticed(name: str, seed: int) -> bool:
    break_it, campaign_name, campaign = BREAKS[name]
    with open_environment() as environment, break_it(environment):
        environment.limit_s = PATIENCE_S
        outcomes = campaign(environment, CampaignSize("short"), random.Random(f"{seed} {name}"))
    is_noticed = any(not outcome.well for outcome in outcomes)
    print(f"{name}: {'noticed' if is_noticed else 'NOT NOTICED'} by {campaign_name}")
    for outcome in outcomes:
        print(f"  {outcome.name}, {outcome.faults}: {outcome.verdict}")
        for text in outcome.broken[:3]:
            print(f"    {text}")
    return is_noticed


@contextmanager
def _before_each(environment: Environment, spoil: Callable[[Database], None]) -> Iterator[None]:
    environment.prepared = spoil
    yield


def _execute(database: Database, statements: str) -> None:
    with database.superuser() as conn:
        conn.execute(SQL(statements))


if __name__ == "__main__":
    main()
