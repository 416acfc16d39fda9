"""`routines untaken`: whose work nobody takes."""

import click

from projections import open_work
from routines import bootstrap
from routines.commands import terminal
from routines.commands.database import with_database
from routines.settings import Settings


@click.command()
@with_database()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for scripts.")
def untaken(*, as_json: bool, settings: Settings) -> None:
    """
    Show the agents and collections whose work nobody takes.

    An agent is shown when an issue of it has been `todo` for an hour, a collection when a trajectory of it has been
    `pending` for an hour: most likely no worker of theirs runs. Health and metrics count them.
    """
    with bootstrap.system(settings) as system, system.pool.connection() as conn:
        rows = open_work.list_untaken_work(conn, system.clock())
    for row in rows:
        if as_json:
            terminal.echo_json(row)
        else:
            terminal.echo(f"{row.kind} {row.id}: waiting since {row.since:%Y-%m-%d %H:%M} UTC")
    if not rows and not as_json:
        terminal.echo("All work is taken.")
