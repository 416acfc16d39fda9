"""`routines erase`: makes unreadable what a company or a person has left in the log, and everywhere else here."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

import click
import msgspec
from psycopg import errors
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from application.event_store import data_keys
from application.event_store.data_keys import Erasure
from application.use_cases import erasure as use_cases
from projections import erasure
from projections.engine import positions, rebuilds, verification
from projections.erasure import ErasureExtent
from routines import bootstrap
from routines.bootstrap import System
from routines.commands import terminal
from routines.commands.database import with_database
from routines.connections import Session
from routines.settings import Settings

PATIENCE_S = 10.0  # how long to wait for read models that are behind the log


class Report(msgspec.Struct, rename="camel"):
    """What `--json` prints: what an erasure concerns, and when it was done; `cleared_at` is None for a preview."""

    kind: str
    id: UUID
    concerned: ErasureExtent
    erased_at: str | None
    cleared_at: str | None
    was_done: bool


@click.command()
@with_database(is_owner=True)
@click.option("--company", "company_id", type=click.UUID, help="The id of the company to erase; it must be archived.")
@click.option("--user", "user_id", type=click.UUID, help="The id of the user to erase; no member of an active company.")
@click.option("--reason", help="Why: this stays readable in the log, so write no name into it. Needed with --yes.")
@click.option("--yes", is_flag=True, help="Do it. Without this option, the command says what it would do.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
def erase(  # noqa: PLR0913 the options
    *,
    company_id: UUID | None,
    user_id: UUID | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
    settings: Settings,
) -> None:
    """
    Make unreadable, for ever, what a company or a user has left: payloads, texts and names.

    Without --yes it is a preview: the events by kind, and the rows by table. With it, the erasure is recorded in the log,
    the key that opens these parts of the events is destroyed, and the read models are made anew without them, which takes
    as long as `routines projections rebuild`. Everything goes on meanwhile. The log stays whole: its hashes, checkpoints
    and receipts are of what is stored.

    Interrupted? Run it again: it goes on. A second time it says when it was done. Of a user it is their own name, address
    and names of keys, and their keys are revoked; what they have written belongs to the companies. Events from before the
    version that seals them stay readable: the preview counts them. Copies elsewhere are not reached: docs/erasure.md says
    which there may be, and what to do with them.

    The URL must log in as the owner of the database, as for `routines init`.
    """
    if (company_id is None) == (user_id is None):
        raise click.UsageError("Name one: --company or --user")
    if yes and not (reason or "").strip():
        raise click.UsageError("--yes needs a --reason, which is recorded in the log")
    with bootstrap.system(settings) as system, bootstrap.connect_as_owner(settings) as owner:
        eraser = _Eraser(system, owner, company_id, user_id)
        with bootstrap.connect(settings) as conn:
            for connection in (owner, conn):
                erasure.take_time(connection)
            _wait(conn)
            eraser.check(conn)
            before = data_keys.erasure_of(owner, eraser.id)
            concerned_rows = eraser.count_concerned(conn)
            if yes and before.cleared_at is None:
                eraser.carry_out(conn, (reason or "").strip(), quiet=as_json)
        after = data_keys.erasure_of(owner, eraser.id)
    if as_json:
        terminal.echo_json(_report(eraser, concerned_rows, after, was_done=before.cleared_at is not None))
    else:
        _tell_result(eraser, concerned_rows, before, after)


def _wait(conn: Session) -> None:
    """Wait until the read models that are asked show all that is recorded. Raises CommandError."""
    try:
        positions.wait(conn, erasure.ASKED, PATIENCE_S)
    except positions.Lagging as error:
        raise terminal.CommandError(
            f"The read models are {error.behind} events behind the log, so that it cannot be said what there is: does a "
            "projector run? `routines projections status` shows how far it is"
        ) from error


class _Eraser:
    """The erasure of a company or a user."""

    def __init__(self, system: System, owner: Session, company_id: UUID | None, user_id: UUID | None) -> None:
        self._system, self._owner = system, owner
        self.kind, self.id = ("company", company_id) if company_id is not None else ("user", user_id or UUID(int=0))

    def check(self, conn: Session) -> None:
        """Raise NotFound or Conflict when it cannot be."""
        if self.kind == "company":
            self._system.executor.query(lambda work: use_cases.must_be_erasable(work, self.id))
        else:
            company_ids = erasure.companies_of(conn, self.id)
            self._system.executor.query(lambda work: use_cases.must_be_free(work, self.id, company_ids))

    def count_concerned(self, conn: Session) -> ErasureExtent:
        """Count what it concerns."""
        return (erasure.of_company if self.kind == "company" else erasure.of_user)(conn, self.id)

    def carry_out(self, conn: Session, reason: str, *, quiet: bool) -> None:
        """Record it, destroy the key, and make the read models anew. Each step may be repeated. Raises CommandError."""
        if self.kind == "company":
            self._system.executor.attempt(lambda work: use_cases.erase_company(work, self.id, reason))
        else:
            company_ids, key_ids = erasure.companies_of(conn, self.id), erasure.keys_of(conn, self.id)
            self._system.executor.attempt(
                lambda work: use_cases.erase_user(work, self.id, reason, company_ids, key_ids)
            )
        data_keys.destroy(self._owner, self.id)
        try:
            self._clear_rows(conn, quiet=quiet)
        except errors.LockNotAvailable as error:
            raise terminal.CommandError(
                "The key is destroyed, but tables are in use, by a backup or an export perhaps: run it again to go on"
            ) from error
        data_keys.note_cleared(self._owner, self.id)

    def _clear_rows(self, conn: Session, *, quiet: bool) -> None:
        """Delete what was opened with the key, once no process has it any more."""
        erasure.write_anew(self._owner, data_keys.TABLES)
        time.sleep(data_keys.LOOK_S)  # until then other processes may read with the key, and so write rows
        erasure.delete_beside(conn, self.id)
        erasure.write_anew(conn, erasure.tables_beside(of_user=self.kind == "user"))
        head = self._system.store.head()
        with _open_progress(quiet=quiet) as bars:
            for model in erasure.models(of_user=self.kind == "user"):
                bar = bars.add_task(model.name, total=head)
                verification.drop_unfinished(conn, model)
                position = rebuilds.rebuild(
                    conn, model, self._system.store.after, partial(_show_progress, bars, bar), anew=True
                )
                bars.update(bar, completed=position, total=position)


def _tell_result(eraser: _Eraser, concerned_rows: ErasureExtent, before: Erasure, after: Erasure) -> None:
    if before.cleared_at is not None:
        terminal.echo(f"The {eraser.kind} {eraser.id} was erased at {before.cleared_at:%Y-%m-%d %H:%M} UTC already.")
        return
    table = Table("Events", "Can be erased", "Stay readable")
    for event in concerned_rows.events:
        table.add_row(event.name, str(event.erasable), str(event.remaining))
    console = Console()
    console.print(table)
    rows = Table("Rows of", "")
    for name, row_count in concerned_rows.rows.items():
        rows.add_row(name, str(row_count))
    console.print(rows)
    if sum(event.remaining for event in concerned_rows.events):
        terminal.echo(
            "Some events were recorded before their texts were sealed: in the log and the rows made of it these stay readable."
        )
    if after.cleared_at is not None:
        terminal.echo(f"The {eraser.kind} {eraser.id} is erased.")
    elif before.erased_at is not None:
        terminal.echo("Its key is destroyed, and the read models are not made anew yet: run it with --yes to go on.")
    else:
        terminal.echo("Nothing was changed. --yes --reason TEXT erases it, for ever.")


def _report(eraser: _Eraser, concerned_rows: ErasureExtent, state: Erasure, *, was_done: bool) -> Report:
    return Report(
        kind=eraser.kind,
        id=eraser.id,
        concerned=concerned_rows,
        erased_at=state.erased_at.isoformat() if state.erased_at else None,
        cleared_at=state.cleared_at.isoformat() if state.cleared_at else None,
        was_done=was_done,
    )


def _show_progress(bars: Progress, bar: TaskID, position: int) -> None:
    bars.update(bar, completed=position)


@contextmanager
def _open_progress(*, quiet: bool) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bars:
        yield bars
