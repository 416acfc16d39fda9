"""`routines log`: prints the event log, one JSON object a line."""

from itertools import chain, islice
from typing import Any
from uuid import UUID

import click

from application.audit import log_reader
from application.audit.log_reader import Row, all_recorded
from application.event_store.data_keys import ReadKeys
from domain.recorded import Recorded
from routines import bootstrap
from routines.commands import terminal
from routines.commands.database import with_database
from routines.settings import Settings


@click.command("log")
@with_database(is_service=False)
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
def log(after: int, limit: int | None, company: UUID | None, stream: UUID | None, *, settings: Settings) -> None:
    """
    Print the event log in order, one JSON object a line.

    Each line has the position, stream, version, name, time, actor, company and cause, and the event itself, as the
    process that decided it has stated them. It also has the time at which the database recorded the event and the login
    that wrote it; both are null for events from before the database kept them.

    A login that may read the log is enough, such as routines_auditor. For one that may not read the data keys in the vault,
    [sealed] stands for what can be erased; [erased] stands for what is.
    """
    with bootstrap.connect_as_login(settings) as conn:
        keys = ReadKeys(conn)
        pages = log_reader.read_pages(conn, log_reader.read_head(conn).position, start=after)
        entries = chain.from_iterable(
            zip(rows, all_recorded(rows, keys), strict=True)
            for rows in ([row for row in page if stream in (None, row.stream_id)] for page in pages)
        )
        company_entries = ((row, recorded) for row, recorded in entries if company in (None, recorded.company_id))
        for row, recorded in islice(company_entries, limit):
            terminal.echo_json(line(row, recorded))


def line(row: Row, recorded: Recorded) -> dict[str, Any]:
    """Return the fields of a line: the envelope, what the database says of the recording, and the event."""
    envelope = {name: getattr(recorded, name) for name in ("position", "stream_id", "version", "at", "actor")}
    more = {"company_id": recorded.company_id, "cause": recorded.cause, "name": recorded.name}
    database = {"recorded_at": row.recorded_at, "recorded_by": row.recorded_by}
    return {**envelope, **more, **database, "event": recorded.event}
