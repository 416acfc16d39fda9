"""`routines audit`: checks that the log is as it was recorded, and lists the grants that somebody should look at."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from application.audit import grants as granting
from application.audit import log_reader as reading
from application.audit.grants import Grant
from application.audit.log_reader import Row
from routines import bootstrap
from routines.commands.database import with_database
from routines.settings import Settings


@click.group()
def audit() -> None:
    """
    Check the event log as an auditor.

    These commands only read. They use the login of the database's URL with its own rights; routines_auditor is
    enough. The exit status is 0 when there is nothing to report, and 1 when there is.
    """


@audit.command()
@with_database(is_service=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
def chain(*, as_json: bool, settings: Settings) -> None:
    """
    Check that the log is as it was recorded: no gap, and each hash follows from its row and the row before.

    The command prints the position and the hash of the head. Note them in a place where the database's owner cannot
    write: whoever rewrites the log can compute new hashes, but cannot make them end with the hash that you noted.
    """
    with bootstrap.connect_as_login(settings) as conn:
        head = reading.read_head(conn)
        rows = _with_progress(reading.read_rows(conn, head.position), head.position, quiet=as_json)
        defects = list(reading.find_defects(rows, head))
    if as_json:
        click.echo(json.dumps({"position": head.position, "hash": head.hash.hex(), "defects": _plain(defects)}))
    else:
        for defect in defects:
            click.echo(f"{defect.position}: {defect.reason}")
        click.echo(f"{head.position} events, {len(defects)} defects; the head's hash is {head.hash.hex()}")
    sys.exit(bool(defects))


@audit.command()
@with_database(is_service=False)
@click.option(
    "--after", default=0, show_default=True, type=click.IntRange(min=0), help="List only grants after this position."
)
@click.option("--all", "show_all", is_flag=True, help="List grants without a flag as well, for owners to recognise.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for scripts.")
def grants(after: int, *, show_all: bool, as_json: bool, settings: Settings) -> None:
    """
    List grants (users, memberships, keys) that do not follow from the log before them.

    Such a grant was made by an operator at the database, or by somebody who could write to the database as the service.
    Each line has what the writer claims (the time, the actor) and what the database itself saw: when the grant was
    recorded, and by which login. A login that stole the service's rights can still act in the name of an owner whose
    key is valid; such grants carry no flag. To find those, show the output of `--all` to the owners.
    """
    with bootstrap.connect_as_login(settings) as conn:
        head = reading.read_head(conn)
        rows = reading.read_rows(conn, head.position, granting.NAMES)
        every_grant = granting.review(_with_progress(rows, head.position, quiet=as_json))
        late = [grant for grant in every_grant if grant.position > after]
    flagged = [grant for grant in late if grant.flags]
    for grant in late if show_all else flagged:
        click.echo(json.dumps(_plain(grant)) if as_json else _sentence(grant))
    if not as_json:
        click.echo(f"{len(late)} grants up to position {head.position}, {len(flagged)} to look at")
    sys.exit(bool(flagged))


def _with_progress(rows: Iterable[Row], last: int, *, quiet: bool) -> Iterator[Row]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=quiet, transient=True) as bars:
        bar = bars.add_task("events", total=last)
        for row in rows:
            yield row
            bars.update(bar, completed=row.position)


def _sentence(grant: Grant) -> str:
    """Return the grant as a line for people. Text of the writer is quoted in ASCII, since it may be anything."""
    recorded = f"recorded {grant.recorded_at.isoformat(timespec='seconds')} by login {grant.recorded_by or 'unknown'}"
    claimed = "" if grant.actor is None else f", given {grant.at} by {grant.actor!a}"
    company = "" if grant.company_id is None else f" in company {grant.company_id}"
    flags = "".join(f"\n    {flag}" for flag in grant.flags)
    return f"{grant.position}: {grant.name!a} {grant.stream_id}{company}, {recorded}{claimed}{flags}"


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
