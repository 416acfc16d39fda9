"""`routines export`: takes the log, and what is read from it, out into files."""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import msgspec

from projections import export_files, exports
from projections.export_files import Format, Write
from projections.exports import EVENTS, VIEWS, Selection
from routines import bootstrap
from routines.commands import terminal
from routines.commands.database import with_database
from routines.commands.progress import PositionBar
from routines.settings import Settings

MANIFEST = "manifest.json"
VERSION = 1  # of what is in a manifest
PART = 100_000  # events of one file
TABLES = tuple(name for name in VIEWS if name != EVENTS)
OWN_FILE = re.compile(  # the files that an export writes, and those that it has begun
    rf"(?:(?:{EVENTS}-\d{{12,}}-\d{{12,}}|{'|'.join(TABLES)})\.(?:parquet|ndjson|csv)|{re.escape(MANIFEST)})(?:\.part)?"
)
MOMENTS = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%f%z",
]


class ExportedFile(msgspec.Struct, frozen=True, rename="camel"):
    """
    A file of an export; one of events holds those after `afterPosition` up to `untilPosition`.

    Another view shows the log up to `untilPosition` at least: less than its head where the projector is behind. It is None for
    a login that may not know.
    """

    name: str
    view: str
    rows: int
    bytes: int
    sha256: str
    after_position: int | None = None
    until_position: int | None = None


class Manifest(msgspec.Struct, rename="camel", kw_only=True):
    """
    What is in the directory of an export, in the order in which it was written.

    `position` is the place in the log up to which its events are there; the next export goes on after it. `head_hash` is the
    hash of the log's head when the last export ended, and `head_position` its place: `routines audit chain` checks them.
    """

    version: int = VERSION
    format: Format
    company_id: UUID | None = None
    from_: datetime | None = msgspec.field(default=None, name="from")
    to: datetime | None = None
    position: int = 0
    head_position: int = 0
    head_hash: str | None = None
    exported_at: datetime | None = None
    files: list[ExportedFile] = []

    @property
    def options(self) -> tuple[Any, ...]:
        """What has to be the same for an export to go on in the same directory."""
        return self.format, self.company_id, self.from_, self.to


@click.command("export")
@with_database(is_service=False)
@click.option(
    "--format", "file_format", type=click.Choice(["parquet", "ndjson", "csv"]), default="ndjson", show_default=True
)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="The directory of the files."
)
@click.option("--company", type=click.UUID, help="Export only what belongs to this company, by its id.")
@click.option(
    "--from",
    "begin",
    type=click.DateTime(MOMENTS),
    metavar="TIME",
    help="Export only what happened at this time or later: 2026-11-20, or 2026-11-20T09:00:00+01:00; without a zone, UTC.",
)
@click.option(
    "--to", "end", type=click.DateTime(MOMENTS), metavar="TIME", help="Export only what happened before this time."
)
@click.option(
    "--view",
    "views",
    type=click.Choice([EVENTS, *TABLES]),
    multiple=True,
    help="Export only this view; may be given several times. Without it, all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and no progress bar.")
def export(  # noqa: PLR0913 the options of a command
    *,
    file_format: Format,
    output: Path,
    company: UUID | None,
    begin: datetime | None,
    end: datetime | None,
    views: tuple[str, ...],
    as_json: bool,
    settings: Settings,
) -> None:
    """
    Export the events, and the rows of the views that analysts read (docs/analytics.md), into a directory.

    Events go into files of 100,000 positions each. The next export into the same directory takes only those that are new,
    so a nightly job is cheap; one that was cut off goes on with the next file. The other views are written anew, since their
    rows change. manifest.json names each file with its rows and its SHA-256. Memory is bounded, however long the log is.

    A login that may read the views is enough, such as routines_analyst.
    """
    write = _choose_writer(file_format)
    wanted_manifest = Manifest(
        format=file_format, company_id=company, from_=_to_utc(begin, "--from"), to=_to_utc(end, "--to")
    )
    selection = Selection(company_id=company, begin=wanted_manifest.from_, end=wanted_manifest.to)
    if selection.begin is not None and selection.end is not None and selection.begin >= selection.end:
        raise click.BadParameter("it must be later than --from", param_hint="--to")
    with bootstrap.connect_as_login(settings) as conn, _hold_directory(output):
        manifest = _resume(output, wanted_manifest)
        head, head_hash = exports.read_head(conn)
        _check_log(conn, manifest, output, head, views or TABLES)
        _sweep(output, manifest)
        _save(output, manifest)
        if EVENTS in (views or (EVENTS,)):
            _export_events(conn, output, manifest, write, selection, head, quiet=as_json)
        for view in views or TABLES:
            if view != EVENTS:
                with _row_bar(conn, view, selection, quiet=as_json) as progress:
                    _add(output, manifest, f"{view}.{file_format}", view, write, conn, selection, None, progress)
                _save(output, manifest)
        manifest.head_position, manifest.head_hash, manifest.exported_at = head, head_hash, exports.database_time(conn)
        _save(output, manifest)
    if as_json:
        terminal.echo_json(manifest)
    else:
        rows = sum(file.rows for file in manifest.files)
        terminal.echo(
            f"{output} holds {rows:,} rows in {len(manifest.files)} files, the log up to position {manifest.position:,}"
        )


def _check_log(conn: exports.Connection, manifest: Manifest, output: Path, head: int, views: Sequence[str]) -> None:
    """Raise CommandError if the database lacks the company or the views, or if its log is not the one of the directory."""
    if manifest.company_id is not None and not exports.has_company(conn, manifest.company_id):
        raise terminal.CommandError(f"There is no company {manifest.company_id}")
    if unmade := exports.find_unmade_views(conn, views, head):
        raise terminal.CommandError(
            f"Not there yet, since a projector makes the read models of this version first: {', '.join(unmade)}. `routines "
            "projections status` shows how far they are. Export again when they are done, or only other views (--view)"
        )
    if manifest.position > head:
        raise terminal.CommandError(
            f"{output} has events up to position {manifest.position}, and the log ends at {head}: the database was restored "
            "from before that export. Take another directory"
        )


def _export_events(  # noqa: PLR0913, PLR0917 what is exported, and where to
    conn: exports.Connection,
    output: Path,
    manifest: Manifest,
    write: Write,
    selection: Selection,
    head: int,
    *,
    quiet: bool,
) -> None:
    """Write the events after those that the manifest has, up to the head; each file is in the manifest once it is whole."""
    with PositionBar(EVENTS, quiet=quiet) as bar:
        for after in range(manifest.position, head, PART):
            until = min(after + PART, head)
            name = f"{EVENTS}-{after + 1:012}-{until:012}.{manifest.format}"
            _add(output, manifest, name, EVENTS, write, conn, selection, (after, until))
            manifest.position = until
            _save(output, manifest)
            bar.update(until, head)


def _to_utc(moment: datetime | None, option: str) -> datetime | None:
    """Return a moment in UTC. Raises BadParameter for one that Python's calendar does not have there."""
    if moment is None:
        return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise click.BadParameter("in UTC, its year lies before 1 or after 9999", param_hint=option) from error


@contextmanager
def _hold_directory(output: Path) -> Iterator[None]:
    """Make the directory if need be, and keep other exports out of it. Raises CommandError; says so too when a disk is full."""
    output.mkdir(parents=True, exist_ok=True)
    directory = os.open(output, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise terminal.CommandError(f"Another export is writing into {output}") from error
        except OSError:
            pass  # a file system without locks for directories, as some in networks are
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        raise terminal.CommandError(f"{error.filename or output}: {error.strerror}") from error
    finally:
        os.close(directory)


def _sweep(output: Path, manifest: Manifest) -> None:
    """
    Remove what a killed export has left: files of ours that the manifest does not name, so that no row is there twice.

    Whole files of another format are somebody's own: an export into this directory writes none.
    """
    known_names = {MANIFEST, *(file.name for file in manifest.files)}
    for path in output.iterdir():
        is_ours = OWN_FILE.fullmatch(path.name) and path.suffix in {".part", f".{manifest.format}"}
        if is_ours and path.name not in known_names:
            path.unlink()


def _resume(output: Path, wanted_manifest: Manifest) -> Manifest:
    """Return the manifest of the directory, or the wanted one for a new directory. Raises CommandError."""
    try:
        manifest = msgspec.json.decode((output / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        if not all(OWN_FILE.fullmatch(path.name) and path.suffix == ".part" for path in output.iterdir()):
            raise terminal.CommandError(f"{output} has other files in it: take an empty directory") from None
        return wanted_manifest
    except msgspec.DecodeError as error:
        raise terminal.CommandError(f"{output / MANIFEST} is not as `routines export` writes it: {error}") from error
    if manifest.version != VERSION:
        raise terminal.CommandError(f"{output / MANIFEST} is of another version of Routines: take another directory")
    if manifest.options != wanted_manifest.options:
        raise terminal.CommandError(
            f"{output} was exported with other options (format, company, times): take another directory"
        )
    return manifest


def _add(  # noqa: PLR0913, PLR0917 what is written, and where
    output: Path,
    manifest: Manifest,
    name: str,
    view: str,
    write: Write,
    conn: exports.Connection,
    selection: Selection,
    span: tuple[int, int] | None,
    progress: Callable[[int], None] = exports.report_nothing,
) -> None:
    """Write a file in one step, and add it to the manifest; a file without rows is left out."""
    temporary_path = output / f"{name}.part"
    after, until = span or (None, exports.position_of_view(conn, view))
    with temporary_path.open("wb") as file:
        count = write(conn, VIEWS[view], file, selection, span, progress)
    manifest.files = [one for one in manifest.files if one.name != name]
    if not count and span is not None:
        temporary_path.unlink()
        return
    with temporary_path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())  # the manifest must not outlive it when the machine loses its power
    exported_file = ExportedFile(
        name=name,
        view=view,
        rows=count,
        bytes=temporary_path.stat().st_size,
        sha256=digest,
        after_position=after,
        until_position=until,
    )
    if span is None:
        _save(output, manifest)  # without the file of before, which is not as it said from now on
    temporary_path.replace(output / name)
    manifest.files.append(exported_file)


@contextmanager
def _row_bar(
    conn: exports.Connection, view: str, selection: Selection, *, quiet: bool
) -> Iterator[Callable[[int], None]]:
    """Yield what is told how many rows of a view are written; it shows a bar, for which the rows are counted first."""
    if quiet:
        yield exports.report_nothing
        return
    with PositionBar(view) as bar:
        most = exports.count_rows(conn, VIEWS[view], selection)
        bar.update(0, most)
        yield lambda rows: bar.update(min(rows, most), most)
        bar.update(most, most)


def _save(output: Path, manifest: Manifest) -> None:
    temporary_path = output / f"{MANIFEST}.part"
    temporary_path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    temporary_path.replace(output / MANIFEST)


def _choose_writer(file_format: Format) -> Write:
    """Return what writes the format. Raises CommandError where Parquet is wanted and pyarrow is not installed."""
    if file_format == "parquet" and not export_files.has_parquet():
        raise terminal.CommandError(
            "Parquet needs pyarrow, which is not installed: pip install 'routines[parquet]' (about 170 MB), or take ndjson or csv"
        )
    return export_files.writer(file_format)
