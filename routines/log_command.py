"""`routines log`: the event log, one JSON object a line."""

from itertools import islice
from typing import Any
from uuid import UUID

import click

from domain.recorded import Recorded
from routines import bootstrap, entry, terminal


@click.command("log")
@click.option(
    "--after", default=0, show_default=True, type=click.IntRange(min=0), help="Only events after this position."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many events.")
@click.option("--company", type=click.UUID, help="Only events of this company.")
@click.option("--stream", type=click.UUID, help="Only events of this routine, trigger, run, issue, ...")
def log(after: int, limit: int | None, company: UUID | None, stream: UUID | None) -> None:
    """
    Print the event log in order, one JSON object a line.

    Each line has its position, stream and version, name, time, actor, company, cause and the event itself.
    """
    with bootstrap.system(entry.settings()) as system:
        found = (
            recorded
            for recorded in system.store.history(after)
            if company in (None, recorded.company_id) and stream in (None, recorded.stream_id)
        )
        for recorded in islice(found, limit):
            terminal.echo_json(line(recorded))


def line(recorded: Recorded) -> dict[str, Any]:
    """One event with all that is known of it."""
    envelope = {name: getattr(recorded, name) for name in ("position", "stream_id", "version", "at", "actor")}
    more = {"company_id": recorded.company_id, "cause": recorded.cause, "name": recorded.name}
    return {**envelope, **more, "event": recorded.event}
