"""`routines export`: takes the log, and what is read from it, out into files."""

import hashlib
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
PART = 100_000  # events of one file
TABLES = tuple(name for name in VIEWS if name != EVENTS)
MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


class ExportedFile(msgspec.Struct, frozen=True, rename="camel"):
    """A file of an export; one of events holds those after `afterPosition` up to `untilPosition`."""

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

    version: int = 1
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
    "--from", "begin", type=click.DateTime(MOMENTS), help="Export only what happened at this time or later (UTC)."
)
@click.option("--to", "end", type=click.DateTime(MOMENTS), help="Export only what happened before this time (UTC).")
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
    wanted_manifest = Manifest(format=file_format, company_id=company, from_=_to_utc(begin), to=_to_utc(end))
    manifest = _resume(output, wanted_manifest)
    selection = Selection(company_id=company, begin=wanted_manifest.from_, end=wanted_manifest.to)
    with bootstrap.connect_as_login(settings) as conn, PositionBar("events", quiet=as_json) as bar:
        head, head_hash = exports.read_head(conn)
        output.mkdir(parents=True, exist_ok=True)
        if manifest.position > head:
            raise terminal.Trouble(
                f"{output} has events up to position {manifest.position}, and the log ends at {head}: the database was restored "
                "from before that export. Take another directory"
            )
        if EVENTS in (views or (EVENTS,)):
            for after in range(manifest.position, head, PART):
                until = min(after + PART, head)
                name = f"{EVENTS}-{after + 1:012}-{until:012}.{file_format}"
                _add(output, manifest, name, EVENTS, write, conn, selection, (after, until))
                manifest.position = until
                _save(output, manifest)
                bar.update(until, head)
        for view in views or TABLES:
            if view != EVENTS:
                _add(output, manifest, f"{view}.{file_format}", view, write, conn, selection, None)
        manifest.head_position, manifest.head_hash, manifest.exported_at = head, head_hash, exports.now(conn)
        _save(output, manifest)
    if as_json:
        terminal.echo_json(manifest)
    else:
        rows = sum(file.rows for file in manifest.files)
        terminal.echo(
            f"{output} holds {rows:,} rows in {len(manifest.files)} files, the log up to position {manifest.position:,}"
        )


def _to_utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _resume(output: Path, wanted_manifest: Manifest) -> Manifest:
    """Return the manifest of the directory, or the wanted one for a new directory. Raises Trouble."""
    try:
        manifest = msgspec.json.decode((output / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        if any(path.suffix != ".part" for path in (output.iterdir() if output.exists() else ())):
            raise terminal.Trouble(f"{output} has other files in it: take an empty directory") from None
        return wanted_manifest
    except msgspec.DecodeError as error:
        raise terminal.Trouble(f"{output / MANIFEST} is not as `routines export` writes it: {error}") from error
    if manifest.options != wanted_manifest.options:
        raise terminal.Trouble(
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
) -> None:
    """Write a file in one step, and add it to the manifest; a file without rows is left out."""
    temporary_path = output / f"{name}.part"
    with temporary_path.open("wb") as file:
        count = write(conn, VIEWS[view], file, selection, span)
    manifest.files = [one for one in manifest.files if one.name != name]
    if not count and span is not None:
        temporary_path.unlink()
        return
    with temporary_path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    after, until = span or (None, None)
    exported_file = ExportedFile(
        name=name,
        view=view,
        rows=count,
        bytes=temporary_path.stat().st_size,
        sha256=digest,
        after_position=after,
        until_position=until,
    )
    temporary_path.replace(output / name)
    manifest.files.append(exported_file)


def _save(output: Path, manifest: Manifest) -> None:
    temporary_path = output / f"{MANIFEST}.part"
    temporary_path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    temporary_path.replace(output / MANIFEST)


def _choose_writer(file_format: Format) -> Write:
    """Return what writes the format. Raises Trouble where Parquet is wanted and pyarrow is not installed."""
    if file_format == "parquet" and not export_files.has_parquet():
        raise terminal.Trouble(
            "Parquet needs pyarrow, which is not installed: pip install 'routines[parquet]' (about 170 MB), or take ndjson or csv"
        )
    return export_files.writer(file_format)
