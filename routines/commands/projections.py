"""`routines projections`: shows the state of the read models, and rebuilds them."""

import sys
from datetime import UTC, datetime
from functools import partial

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from projections import catalogue
from projections.engine import folding_aside, isolation, moments, past_rows, positions, rebuilds, verification
from projections.engine.read_model import ReadModel
from projections.engine.table import Connection
from routines import bootstrap
from routines.commands import terminal
from routines.commands.database import with_database
from routines.commands.own_projection import run
from routines.commands.progress import RateColumn
from routines.settings import Settings

NAMES = [model.name for model in catalogue.ALL]


@click.group()
def projections() -> None:
    """Show the state of the read models, or rebuild them from the log."""


@projections.command()
@with_database()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, for scripts.")
def status(*, as_json: bool, settings: Settings) -> None:
    """
    Show the position of each read model, how many events it is behind, and why it stopped if it did.

    A read model is outdated when an older version of the service made its rows. The projector rebuilds it; the column
    Rebuild shows the position that the rebuild has reached.
    """
    with bootstrap.connect(settings) as conn:
        standings = positions.status(conn)
    if as_json:
        terminal.echo_json(standings)
        return
    name, position, moved = (Column(title, no_wrap=True) for title in ("Read model", "Position", "Moved (UTC)"))
    table = Table(
        name, position, "Behind", "Stopped by", "Isolated", "Rebuild", moved, collapse_padding=True, pad_edge=False
    )
    for standing in standings:
        moved_at = f"{standing.moved_at.astimezone(UTC):%d %b %H:%M}"  # eighty columns have no room for more
        numbers = (
            str(standing.position),
            str(standing.behind),
            terminal.cell(standing.stopped or ""),
            str(standing.isolated),
            _rebuild_of(standing),
        )
        table.add_row(standing.name, *numbers, moved_at)
    Console().print(table)


def _rebuild_of(standing: positions.ReadModelStatus) -> str:
    if standing.rebuilt_to is not None:
        return f"{standing.rebuilt_to} of {standing.position + standing.behind}"
    return "outdated" if standing.is_outdated else ""


@projections.command()
@with_database()
@click.argument("name", required=False, type=click.Choice(NAMES))
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Print at most so many events, the newest.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for scripts.")
def isolated(name: str | None, *, limit: int, as_json: bool, settings: Settings) -> None:
    """
    List the events that read models could not take and have passed over, the newest first.

    Each of these events stays in the log; only the read model that is named lacks it, for the company it belongs to.
    `routines log --after POSITION-1 --limit 1` prints the event, and the log of the projector says what went wrong.
    Once a version of the service is installed that can take the event, `routines projections rebuild NAME` includes it.
    """
    with bootstrap.connect(settings) as conn:
        events = isolation.isolated_events(conn, limit, name)
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
@with_database()
@click.argument("name", required=False, type=click.Choice(NAMES))
@click.option(
    "--into", "schema", metavar="SCHEMA", help="Make the tables in this schema, which stays, and swap nothing."
)
@click.option(
    "--until",
    metavar="POSITION|TIME",
    help="With --into: fold the log up to this position, or what was recorded until this time (ISO 8601).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for scripts.")
def rebuild(name: str | None, *, schema: str | None, until: str | None, as_json: bool, settings: Settings) -> None:
    """
    Rebuild a read model from the whole log, or all read models when none is named.

    Requests see the old rows until the new ones are complete. A rebuild that is interrupted changes nothing, and the next
    one goes on where it was, if it is of the same version.

    With --into, the rows of one read model are made in a schema of their own instead, as of a moment if --until names one: for
    heavy questions about the past. `DROP SCHEMA ... CASCADE` removes it.
    """
    if (until is not None and schema is None) or (schema is not None and name is None):
        raise click.UsageError("--until needs --into, and --into needs the name of a read model")
    if name is not None and schema is not None:
        _fold_into(name, schema, until, settings, quiet=as_json)
        return
    models = [model for model in catalogue.ALL if name in (None, model.name)]
    with (
        bootstrap.system(settings) as system,
        bootstrap.connect(settings) as conn,
        _open_progress(quiet=as_json) as bars,
    ):
        head = system.store.head()
        for model in models:
            position = _rebuild(conn, model, system.store.after, bars, head)
            if as_json:
                terminal.echo_json({"name": model.name, "position": position})


@projections.command()
@with_database()
@click.argument("name", required=False, type=click.Choice(NAMES))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each table that differs, for scripts.")
def verify(name: str | None, *, as_json: bool, settings: Settings) -> None:
    """
    Rebuild a read model, or all of them, beside the live tables, and report rows that differ. Nothing is changed.

    The exit status is 0 when all rows are those that the log gives, and 1 when some are not: `routines projections rebuild`
    puts that right. Nobody waits for it, but it takes the room and the time of a rebuild.
    """
    models = [model for model in catalogue.ALL if name in (None, model.name)]
    differences: list[verification.Difference] = []
    with (
        bootstrap.system(settings) as system,
        bootstrap.connect(settings) as conn,
        _open_progress(quiet=as_json) as bars,
    ):
        head = system.store.head()
        for model in models:
            bar = bars.add_task(model.name, total=head)
            try:
                differences += verification.verify(conn, model, system.store.after, partial(_show_progress, bars, bar))
            except positions.Outdated as error:
                raise terminal.CommandError(
                    f"The rows of {model.name} are of another version: rebuild it first"
                ) from error
            bars.update(bar, completed=head)
    for difference in differences:
        if as_json:
            terminal.echo_json(difference)
        else:
            ids = ", ".join(map(str, difference.examples))
            terminal.echo(
                f"{difference.read_model}.{difference.table}: {difference.missing} rows are missing, {difference.unexpected} are "
                f"not in the log, {difference.differing} differ: {ids}"
            )
    if not as_json:
        terminal.echo(f"{len(models)} read models verified, {len(differences)} tables differ")
    sys.exit(bool(differences))


def _fold_into(name: str, schema: str, until: str | None, settings: Settings, *, quiet: bool) -> None:
    model = next(model for model in catalogue.ALL if model.name == name)
    with bootstrap.system(settings) as system, bootstrap.connect(settings) as conn, _open_progress(quiet=quiet) as bars:
        head = system.store.head()
        last = head if until is None else _find_position(conn, until, head, system.clock())
        bar = bars.add_task(name, total=last)
        try:
            past_rows.fold_into(conn, model, system.store.after, schema, last, partial(_show_progress, bars, bar))
        except past_rows.SchemaTaken as error:
            raise terminal.CommandError(
                f"The schema {schema} is in use, perhaps by another read model, or its name is not free: take another"
            ) from error
    if quiet:
        terminal.echo_json({"name": name, "schema": schema, "position": last})
    else:
        terminal.echo(f"Schema {schema} holds {name} as of position {last}")


def _find_position(conn: Connection, until: str, head: int, now: datetime) -> int:
    """Return the position that is meant: a number, or that of a moment. Raises BadParameter, also for the future."""
    if until.isascii() and until.isdigit():
        digits = until.lstrip("0") or "0"  # Python reads no number of thousands of digits
        if len(digits) > len(str(head)) or int(digits) > head:
            raise click.BadParameter(f"in the future: the log ends at position {head}", param_hint="--until")
        return int(digits)
    try:
        moment = datetime.fromisoformat(until)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter("neither a position nor a time in ISO 8601", param_hint="--until") from error
    if moment > now:
        raise click.BadParameter(f"in the future: it is {now.isoformat(timespec='seconds')}", param_hint="--until")
    return moments.position_at(conn, moment)


def _show_progress(bars: Progress, bar: TaskID, position: int) -> None:
    bars.update(bar, completed=position)


def _rebuild(conn: Connection, model: ReadModel, read: folding_aside.ReadPart, bars: Progress, head: int) -> int:
    bar = bars.add_task(model.name, total=head)
    position = rebuilds.rebuild(conn, model, read, partial(_show_progress, bars, bar))
    bars.update(bar, completed=position, total=position)
    return position


def _open_progress(*, quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description:>14}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(file=sys.stderr), disable=quiet)


projections.add_command(run)
