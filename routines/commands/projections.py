"""`routines projections`: how far the read models are, and how to make one anew."""

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from projections import catalogue
from projections.engine import positions
from projections.engine.read_model import Connection, ReadModel
from routines import bootstrap
from routines.commands import entry, terminal

NAMES = [model.name for model in catalogue.ALL]


@click.group()
def projections() -> None:
    """Read models: see how far they are, rebuild them from the log."""


@projections.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(*, as_json: bool) -> None:
    """
    Each read model's position, how many events it is behind, and why it stopped if it did.

    One whose rows an older version made is outdated: the projector rebuilds it, up to the position that is shown.
    """
    with bootstrap.system(entry.settings()) as system, system.pool.connection() as conn:
        standings = positions.status(conn)
    if as_json:
        terminal.echo_json(standings)
        return
    table = Table(
        Column("Read model", no_wrap=True), "Position", "Behind", "Stopped by", "Isolated", "Rebuild", "Moved"
    )
    for standing in standings:
        moved = standing.moved_at.isoformat(timespec="seconds")
        numbers = (
            str(standing.position),
            str(standing.behind),
            terminal.cell(standing.stopped or ""),
            str(standing.isolated),
            _rebuild_of(standing),
        )
        table.add_row(standing.name, *numbers, moved)
    Console().print(table)


def _rebuild_of(standing: positions.ReadModelStatus) -> str:
    if standing.rebuilt_to is not None:
        return f"{standing.rebuilt_to} of {standing.position + standing.behind}"
    return "outdated" if standing.is_outdated else ""


@projections.command()
@click.argument("name", required=False, type=click.Choice(NAMES))
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(min=1), help="At most so many, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
def isolated(name: str | None, *, limit: int, as_json: bool) -> None:
    """
    The events that read models could not take and have passed over, the newest first.

    Each is in the log and stays there; only these read models lack it, for the company it belongs to. `routines log
    --after POSITION-1 --limit 1` prints the event, the log of the projector says what went wrong with it. Once a
    version of the service is installed that can take it, `routines projections rebuild NAME` takes it in.
    """
    with bootstrap.system(entry.settings()) as system, system.pool.connection() as conn:
        events = positions.isolated(conn, limit, name)
    if as_json:
        for event in events:
            terminal.echo_json(event)
        return
    for event in events:
        moment = event.isolated_at.isoformat(timespec="seconds")
        place = f"{event.position} {event.name} of stream {event.stream_id} version {event.version}"
        company = f"company {event.company_id or 'unknown'}"
        terminal.echo(f"{event.read_model}: {place}, {company}: {event.reason}, {moment}")
    if not events:
        terminal.echo("No read model has passed over an event.")


@projections.command()
@click.argument("name", required=False, type=click.Choice(NAMES))
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def rebuild(name: str | None, *, as_json: bool) -> None:
    """
    Make a read model anew from the whole log; all of them when none is named.

    Readers keep the old rows until the new ones are complete; a rebuild that is cut off changes nothing.
    """
    models = [model for model in catalogue.ALL if name in (None, model.name)]
    settings = entry.settings()
    with bootstrap.system(settings) as system, bootstrap.connect(settings) as conn, _progress(quiet=as_json) as bars:
        head = system.store.head()
        for model in models:
            reached = _rebuild(conn, model, system.store.after, bars, head)
            if as_json:
                terminal.echo_json({"name": model.name, "position": reached})


def _rebuild(conn: Connection, model: ReadModel, read: positions.Read, bars: Progress, head: int) -> int:
    bar = bars.add_task(model.name, total=head)
    reached = positions.rebuild(conn, model, read, lambda position: bars.update(bar, completed=position))
    bars.update(bar, completed=reached, total=reached)
    return reached


def _progress(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr), disable=quiet)
