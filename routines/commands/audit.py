"""`routines audit`: verifies the log, writes what proves it to others, and lists the grants that somebody should look at."""

import json
import os
import sys
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from uuid import UUID

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from application.audit import export as exporting
from application.audit import grants as granting
from application.audit import log_reader as reading
from application.audit import receipt as receipts
from application.audit.grants import Grant
from application.audit.log_reader import Row, key_of_row
from application.audit.receipt import ProvedEvent
from application.event_store.data_keys import ReadKeys
from application.proof import log_key
from application.proof.log_key import CannotSign
from audit_verifier import cli as verifier
from domain.events import NAMES, RunFired
from domain.proof import checkpoints
from projections.engine import positions
from projections.proof import log_tree, witnessing
from projections.proof.log_tree import WHOLE_LOG
from routines import bootstrap
from routines.commands import terminal
from routines.commands.database import with_database
from routines.connections import Session
from routines.local.data_directory import DATA_DIR, DataDirectory
from routines.settings import LOG_KEY_VARIABLE, Settings

SIGNED_WITHIN_S = 15.0  # a checkpoint that a receipt waits for
COSIGNED_WITHIN_S = 12.0  # by a witness: as long as one may take to answer, and a moment


@click.group()
def audit() -> None:
    """
    Check the event log as an auditor, and prove it to others.

    verify, chain, grants and export only read. They use the login of the database's URL with its own rights;
    routines_auditor is enough. The exit status is 0 when there is nothing to report, and 1 when there is.
    docs/audit-proof.md goes through all of it in ten minutes.
    """


_PASSED_ON: dict[str, Any] = {"ignore_unknown_options": True, "help_option_names": []}


@audit.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify(arguments: tuple[str, ...]) -> None:
    """
    Verify a log: an export, a database, or a running service.

    `routines audit verify --help` says how. It is the program `routines-verify verify`, which shares no code with the
    service: auditors may install and read it alone.
    """
    sys.exit(verifier.main(["verify", *arguments], program="routines audit"))


@audit.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def check(arguments: tuple[str, ...]) -> None:
    """
    Check a receipt of a run, without the service and its database.

    `routines audit check --help` says how. It is the program `routines-verify check`.
    """
    sys.exit(verifier.main(["check", *arguments], program="routines audit"))


@audit.command()
@with_database(is_service=False)
@click.option(
    "--output", default="-", show_default=True, type=click.File("wb", lazy=True), help="The file; - is standard output."
)
def export(output: BinaryIO, *, settings: Settings) -> None:
    """
    Write the whole log into a file, for `routines audit verify --export`.

    Each line is one JSON object. The first says where the log ends and, where the login may read them, holds the newest
    checkpoint and the newest one that a witness has cosigned. Each further one is a row of the log: its body stands there byte for byte.
    """
    with bootstrap.connect_as_login(settings) as conn:
        head = reading.read_head(conn)
        signed_checkpoints = witnessing.readable_checkpoints(conn)
        with closing(_with_progress(reading.read_rows(conn, head.position), head.position, quiet=False)) as rows:
            output.writelines(exporting.lines(head, signed_checkpoints, rows))


@audit.command()
@with_database()
@click.argument("run_id", metavar="RUN")
@click.option("--output", default="-", show_default=True, type=click.File("w", lazy=True), help="The file.")
def receipt(run_id: str, output: TextIO, *, settings: Settings) -> None:
    """
    Write a receipt of a run, by its id: a file that proves, offline and for ever, that this run happened and when.

    It holds the events of the run as they were recorded, and for each the proof that it is in the log of a signed
    checkpoint. Whoever has the verifier key checks it with `routines audit check FILE --key KEY`. It tells what the
    events tell, payload included, also after that was erased here: hand it to those who may know. Of what is erased already
    it proves that it was recorded, and not what it was.
    """
    try:
        run = UUID(run_id)
    except ValueError:
        raise click.ClickException(f"{run_id} is no id of a run") from None
    with bootstrap.connect(settings) as conn:
        events = reading.read_stream(conn, run)
        if not events or events[0].name != NAMES[RunFired]:
            raise click.ClickException(f"There is no run {run}")
        checkpoint = _checkpoint_of(conn, events[-1].position)
        head = checkpoints.head_of(checkpoint)
        tree = log_tree.tree(conn, WHOLE_LOG)
        keys = ReadKeys(conn)
        proved_events = [
            ProvedEvent(
                row=row,
                key=key_of_row(row, keys),
                leaf=log_tree.entries(conn, WHOLE_LOG, row.position - 1, 1)[0],
                proof=checkpoints.proof_text(
                    row.position - 1, tree.prove_inclusion(row.position - 1, head.size), checkpoint
                ),
            )
            for row in events
        ]
    output.write(receipts.receipt(run, proved_events))


def _checkpoint_of(conn: Session, position: int) -> str:
    """Return a signed checkpoint that covers the event at this position, a cosigned one if witnesses keep up; wait for it."""
    log_tree.want_checkpoint(conn, WHOLE_LOG, position)
    positions.poll_until(lambda: max(position - log_tree.state_of(conn, WHOLE_LOG).signed_size, 0), SIGNED_WITHIN_S)
    if any(witness.behind_since is None for witness in witnessing.statuses(conn)):
        positions.poll_until(lambda: max(position - witnessing.cosigned_size(conn), 0), COSIGNED_WITHIN_S)
    signed_checkpoint = witnessing.checkpoint_covering(conn, WHOLE_LOG, position - 1)
    if signed_checkpoint is None:
        reason = log_tree.refusal(conn) or "does a projector run, with ROUTINES_LOG_KEY_FILE?"
        raise click.ClickException(f"No checkpoint of position {position} was signed: {reason}")
    return signed_checkpoint.checkpoint


@audit.command("new-key")
@click.option(
    "--name", help="The name of the log, such as routines.example.org/log; without it, one that nobody else has."
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_DIR,
    show_default=True,
    help="The data directory of `routines up`, whose key it is unless ROUTINES_LOG_KEY_FILE names another file.",
)
def new_key(name: str | None, data_dir: Path) -> None:
    """
    Make the key that signs checkpoints of the log, and with it a new name of the log.

    A key that is there, and what it has signed last, are kept beside the new one. Do so once for an installation, and
    again only when the log has lost what was signed (a backup was restored) or the key became known: the new name says
    to everybody that another history begins here. Give the verifier key to those who verify.
    """
    if name is not None and not log_key.is_name(name):
        raise click.UsageError("--name must be letters, digits, dots, dashes and underlines, between slashes")
    key_file = os.environ.get(LOG_KEY_VARIABLE)
    path = Path(key_file) if key_file else DataDirectory(data_dir).log_key
    if not path.parent.is_dir():
        raise click.ClickException(f"{path.parent} is not there: name the --data-dir, or set {LOG_KEY_VARIABLE}")
    try:
        old_key_path = bootstrap.replace_log_key(path, name)
        key = log_key.read(path)
    except (OSError, CannotSign) as error:
        raise click.ClickException(str(error)) from error
    if old_key_path is not None:
        terminal.echo(f"The key before is kept in {old_key_path}")
    terminal.echo(f"{path} signs the log {key.name} from now on. Its verifier key, for those who verify:")
    terminal.echo(key.verifier_key(key.name))


@audit.command("rebuild-tree")
@with_database()
def rebuild_tree(*, settings: Settings) -> None:
    """
    Have the projector fold the Merkle trees of the log again, from its first event.

    Nothing is lost by it: they follow from the log. Proofs and checkpoints are back as soon as the trees are.
    """
    with bootstrap.connect(settings) as conn:
        log_tree.rebuild(conn)
    terminal.echo("The projector folds the trees of the log again.")


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
        click.echo(json.dumps({"position": head.position, "hash": head.hash.hex(), "defects": _to_plain(defects)}))
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
    flagged_grants = [grant for grant in late if grant.flags]
    for grant in late if show_all else flagged_grants:
        click.echo(json.dumps(_to_plain(grant)) if as_json else _describe_grant(grant))
    if not as_json:
        click.echo(f"{len(late)} grants up to position {head.position}, {len(flagged_grants)} to look at")
    sys.exit(bool(flagged_grants))


def _with_progress(rows: Iterable[Row], last: int, *, quiet: bool) -> Generator[Row, None, None]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=quiet, transient=True) as bars:
        bar = bars.add_task("events", total=last)
        for row in rows:
            yield row
            bars.update(bar, completed=row.position)


def _describe_grant(grant: Grant) -> str:
    """Return the grant as a line for people. Text of the writer is quoted in ASCII, since it may be anything."""
    recorded = f"recorded {grant.recorded_at.isoformat(timespec='seconds')} by login {grant.recorded_by or 'unknown'}"
    claim = "" if grant.actor is None else f", given {grant.at} by {grant.actor!a}"
    company = "" if grant.company_id is None else f" in company {grant.company_id}"
    flags = "".join(f"\n    {flag}" for flag in grant.flags)
    return f"{grant.position}: {grant.name!a} {grant.stream_id}{company}, {recorded}{claim}{flags}"


def _to_plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
