"""`routines log`: prints the event log, one JSON object a line."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

import click

from application.audit import log_reader
from domain.recorded import Recorded
from routines.bootstrap import System
from routines.commands import entry, terminal

AT_ONCE = 100  # events that one query looks up
Entry = tuple[datetime, str | None]


@click.command("log")
@click.option(
    "--after", default=0, show_default=True, type=click.IntRange(min=0), help="Print only events after this position."
)
@click.option("--limit", type=click.IntRange(min=1), help="Print at most so many events; without it, all of them.")
@click.option("--company", type=click.UUID, help="Print only events of this company, by its id.")
@click.option(
    "--stream",
    type=click.UUID,
    help="Print only events of this stream, by the id of a routine, trigger, run, issue ...",
)
def log(after: int, limit: int | None, company: UUID | None, stream: UUID | None) -> None:
    """
    Print the event log in order, one JSON object a line.

    Each line has the position, stream, version, name, time, actor, company and cause, and the event itself, as the
    process that decided it has stated them. It also has the time at which the database recorded the event and the login
    that wrote it; both are null for events from before the database kept them.
    """
    with entry.system() as system:
        events = (
            recorded
            for recorded in system.store.history(after)
            if company in (None, recorded.company_id) and stream in (None, recorded.stream_id)
        )
        for recorded, entered in _with_entries(system, islice(events, limit)):
            terminal.echo_json(line(recorded, entered))


def _with_entries(system: System, events: Iterator[Recorded]) -> Iterable[tuple[Recorded, Entry]]:
    """Pair each event with what the database says of its recording: when, and for which login."""
    while batch := list(islice(events, AT_ONCE)):
        with system.pool.connection() as conn:
            entries = log_reader.read_entries(conn, [recorded.position for recorded in batch])
        yield from ((recorded, entries[recorded.position]) for recorded in batch)


def line(recorded: Recorded, entered: Entry) -> dict[str, Any]:
    """Return the fields of a line: the envelope, what the database says of the recording, and the event."""
    envelope = {name: getattr(recorded, name) for name in ("position", "stream_id", "version", "at", "actor")}
    more = {"company_id": recorded.company_id, "cause": recorded.cause, "name": recorded.name}
    database = dict(zip(("recorded_at", "recorded_by"), entered, strict=True))
    return {**envelope, **more, **database, "event": recorded.event}
