"""The command line: `verify` a log, `check` a receipt."""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from audit_verifier import http, notes, postgres, receipts, rows
from audit_verifier.chain import Finding, Head, LogCheck, Report
from audit_verifier.notes import BadNote, Checkpoint, Key
from audit_verifier.rows import Unreadable

GOOD, BAD, TROUBLE = 0, 1, 2
LATEST = 253_402_300_799  # seconds since 1970: the end of the year 9999
BAR_S = 0.2
BAR_WIDTH = 30
VERIFY = """\
Verify a log, and say at which position something was changed, inserted, deleted, reordered, cut off or rewritten.

Name one log. The database is read with the rights of the login, so an auditor's is enough. Checkpoints that you have kept
(--checkpoint, also a directory of them) are compared with the log: only they tell of a log that was rewritten as a whole, or
cut off at its end. --key is the key that has signed them, as `GET /api/log/key` answers it; keep that as well, since who can
rewrite the log may show you another key. --witness is the key of a witness, which you have from them: the command says how many
events they have seen, and it is a finding if they have cosigned none of the checkpoints.

Exit status: 0 if nothing is wrong, 1 if something is, 2 if the log, or a key, cannot be read.
"""
CHECK = """\
Check a receipt: whether the log that the key signs for has held these events of the run, and whether witnesses have seen
it so. Needs nothing but the file.

Exit status: 0 if the receipt proves it, 1 if it does not, 2 if it, or a key, cannot be read.
"""


DATABASE = "ROUTINES_DATABASE_URL"


class WitnessedSize(NamedTuple):
    """How many events of a log a witness has seen, and when, in seconds since 1970."""

    name: str
    size: int
    moment: int


def parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog=program, description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    verify = commands.add_parser("verify", help="verify a log", description=VERIFY, formatter_class=raw)
    log = verify.add_mutually_exclusive_group()
    log.add_argument("--export", type=Path, metavar="FILE", help="a file of `routines audit export`")
    log.add_argument(
        "--database",
        metavar="URL",
        help=f"the URL of the database; with a password better in {DATABASE}, which counts where no log is named",
    )
    log.add_argument("--data-dir", type=Path, metavar="DIR", help="the data directory of a running `routines up`")
    log.add_argument(
        "--url", metavar="URL", help="the log of a running service, such as https://.../api/log; see --token"
    )
    verify.add_argument("--token", metavar="TOKEN", help="a board token for --url; better in ROUTINES_TOKEN")
    verify.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a signed checkpoint, or a directory of them",
    )
    verify.add_argument("--key", metavar="KEY", help="the verifier key, or a file that holds it")
    _add_witness(verify)
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    check = commands.add_parser("check", help="check a receipt", description=CHECK, formatter_class=raw)
    check.add_argument("file", type=Path, metavar="FILE", help="the receipt")
    check.add_argument("--key", required=True, metavar="KEY", help="the verifier key, or a file that holds it")
    _add_witness(check)
    check.add_argument("--json", action="store_true", help="print one JSON object")
    return top


def _add_witness(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--witness",
        action="append",
        default=[],
        metavar="KEY",
        help="the verifier key of a witness that must have cosigned, or a file that holds it; may be given several times",
    )


def _parse(of_all: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what is to be done; a log that no option names is that of the database in the environment."""
    options = of_all.parse_args(arguments)
    if options.command == "verify" and {options.export, options.database, options.data_dir, options.url} == {None}:
        options.database = os.environ.get(DATABASE) or of_all.error(
            f"name a log: --export, --database (or {DATABASE}), --data-dir or --url"
        )
    return options


def main(arguments: Sequence[str] | None = None, program: str = "routines-verify") -> int:
    """Carry out a command, and return its exit status."""
    options = _parse(parser(program), arguments)
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        return _verify(options) if options.command == "verify" else _check(options)
    except Unreadable as error:
        print(f"{program}: {error}", file=sys.stderr)
        return TROUBLE
    except BadNote as error:
        print(f"{program}: {error}", file=sys.stderr)
        return BAD
    except OSError as error:
        print(f"{program}: {error.filename}: {error.strerror}", file=sys.stderr)
        return TROUBLE


def _verify(options: argparse.Namespace) -> int:
    key = None if options.key is None else _read_key(options.key, notes.read_key)
    witnesses = [_read_key(text, notes.read_witness) for text in options.witness]
    checkpoints, findings = _read_checkpoints(options.checkpoint, key)
    if options.url is not None:
        report, own_checkpoints = _verify_tiles(options, checkpoints, key, asks_witnessed=bool(witnesses))
    elif options.export is not None:
        report, own_checkpoints = _verify_export(options.export, checkpoints, key, is_quiet=options.json)
    else:
        url = options.database if options.database is not None else _database_of(options.data_dir)
        report, own_checkpoints = _verify_database(url, checkpoints, key, is_quiet=options.json)
    compared_checkpoints = list(
        {checkpoint.text: checkpoint for checkpoint in (*checkpoints, *own_checkpoints)}.values()
    )
    witnessed_sizes, unwitnessed = _find_witnessed(witnesses, compared_checkpoints)
    report = report._replace(findings=[*findings, *unwitnessed, *report.findings])
    _print_report(report, compared_checkpoints, witnessed_sizes, is_signed=key is not None, as_json=options.json)
    return BAD if report.findings else GOOD


def _verify_export(
    path: Path, checkpoints: list[Checkpoint], key: Key | None, *, is_quiet: bool
) -> tuple[Report, list[Checkpoint]]:
    with path.open("rb") as file:
        header = rows.read_header(file)
        texts = [text for name in rows.CHECKPOINTS if (text := header.get(name)) is not None]
        own_checkpoints, findings = _check_own_checkpoints(texts, key, "the checkpoint in the export")
        check = LogCheck([*checkpoints, *own_checkpoints])
        bar = _Bar(path.stat().st_size, is_quiet=is_quiet)
        for batch in rows.read_lines(file):
            check.add(batch)
            bar.show(file.tell())
        bar.end()
    head = Head(int(header["position"]), bytes.fromhex(header["hash"]))
    report = check.finish(head)
    return report._replace(findings=[*findings, *report.findings]), own_checkpoints


def _verify_database(
    url: str, checkpoints: list[Checkpoint], key: Key | None, *, is_quiet: bool
) -> tuple[Report, list[Checkpoint]]:
    with postgres.open_connection(url) as conn:
        head, last = postgres.read_head(conn), postgres.count_rows(conn)
        own_checkpoints, findings = _check_own_checkpoints(
            postgres.read_checkpoints(conn), key, "the checkpoint in the database"
        )
        check = LogCheck([*checkpoints, *own_checkpoints])
        bar = _Bar(last, is_quiet=is_quiet)
        row_count = 0
        for batch in postgres.read_rows(conn, last):
            check.add(batch)
            row_count += len(batch)
            bar.show(row_count)
        bar.end()
    report = check.finish(head)
    return report._replace(findings=[*findings, *report.findings]), own_checkpoints


def _verify_tiles(
    options: argparse.Namespace, checkpoints: list[Checkpoint], key: Key | None, *, asks_witnessed: bool
) -> tuple[Report, list[Checkpoint]]:
    log = http.Log(options.url, options.token or os.environ.get("ROUTINES_TOKEN"))
    newest = log.checkpoint()
    witnessed = log.witnessed_checkpoint() if asks_witnessed and newest.company is None else None
    own_checkpoints, findings = [newest] if witnessed is None else [newest, witnessed], []
    for checkpoint in own_checkpoints:
        findings += _bad_signature(checkpoint, key, "the checkpoint that the service shows")
    if findings:
        return Report(0, b"", findings, is_complete=True), []
    same_origin = [checkpoint for checkpoint in (*checkpoints, *own_checkpoints) if checkpoint.origin == newest.origin]
    findings = [
        Finding(
            "rewritten",
            1,
            checkpoint.size,
            f"the service shows {newest.origin}, and {checkpoint.origin} was signed before",
        )
        for checkpoint in (*checkpoints, *own_checkpoints)
        if checkpoint.company == newest.company and checkpoint.origin != newest.origin
    ]
    check = http.TreeCheck(same_origin, whole=newest.company is None)
    bar = _Bar(newest.size, is_quiet=options.json)
    for number, entries in enumerate(log.entries(newest.size), 1):
        check.add(entries)
        bar.show(number * http.TILE)
    bar.end()
    report = check.finish()
    return report._replace(findings=[*findings, *report.findings]), own_checkpoints


def _check(options: argparse.Namespace) -> int:
    witnesses = [_read_key(text, notes.read_witness) for text in options.witness]
    receipt = receipts.check(options.file.read_bytes(), _read_key(options.key, notes.read_key), witnesses)
    events = [
        {
            "position": event.leaf.position,
            "name": event.leaf.name,
            "recordedAt": event.recorded_at.isoformat(timespec="microseconds"),
            "recordedBy": event.leaf.login,
            "body": event.content,
        }
        for event in receipt.events
    ]
    if options.json:
        value = {"run": str(receipt.run), "log": receipt.log, "size": receipt.size, "events": events}
        print(json.dumps({**value, "witnesses": receipt.seen_at}))
        return GOOD
    print(f"Run {receipt.run} is in the log {receipt.log}, which was signed when it held {receipt.size} events:")
    for event in events:
        print(f"  {event['recordedAt']}  {event['name']}, position {event['position']}")
    for name, moment in receipt.seen_at.items():
        print(f"{name} has seen this log at {_utc_text(moment)}.")
    return GOOD


def _read_key(text: str, parse: Callable[[str], Key]) -> Key:
    """Return the key that a text is, or that is in the file that it names. Raises Unreadable: it says nothing of the log."""
    content = text if "+" in text else Path(text).read_text(errors="replace")
    try:
        return parse(content)
    except BadNote as error:
        raise Unreadable(str(error) if content is text else f"{text}: {error}") from None


def _utc_text(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat() if moment <= LATEST else f"{moment} s after 1970"


def _find_witnessed(
    witnesses: Sequence[Key], checkpoints: Sequence[Checkpoint]
) -> tuple[list[WitnessedSize], list[Finding]]:
    """Return how much of the log each witness has seen, and what is wrong with their cosignatures."""
    witnessed_sizes, findings = [], []
    for witness in witnesses:
        moments: list[tuple[int, int]] = []
        for checkpoint in checkpoints:
            try:
                moment = notes.cosigned_at(checkpoint, witness)
            except BadNote as error:
                detail = f"the cosignature of {witness.name}: {error}"
                findings.append(Finding("bad signature", checkpoint.size, checkpoint.size, detail))
            else:
                moments += [] if moment is None else [(checkpoint.size, moment)]
        if moments:
            witnessed_sizes.append(WitnessedSize(witness.name, *max(moments)))
        else:
            last = max((checkpoint.size for checkpoint in checkpoints), default=1)
            findings.append(Finding("not witnessed", 1, last, f"{witness.name} has cosigned no checkpoint of this log"))
    return witnessed_sizes, findings


def _read_checkpoints(paths: Sequence[Path], key: Key | None) -> tuple[list[Checkpoint], list[Finding]]:
    """Return the checkpoints of these files, and what is wrong with their signatures."""
    valid_checkpoints, findings = [], []
    for path in _checkpoint_files(paths):
        try:
            checkpoint = notes.read_checkpoint(path.read_text(encoding="utf-8"))
        except (BadNote, UnicodeError) as error:
            raise Unreadable(f"{path}: {error}") from None
        if bad_signatures := _bad_signature(checkpoint, key, str(path)):
            findings += bad_signatures
        else:
            valid_checkpoints.append(checkpoint)
    return valid_checkpoints, findings


def _checkpoint_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.checkpoint")) if path.is_dir() else [path]


def _check_own_checkpoints(texts: Sequence[str], key: Key | None, whose: str) -> tuple[list[Checkpoint], list[Finding]]:
    """Return the checkpoints that a log comes with, and what is wrong with the signatures of others."""
    valid_checkpoints, findings = [], []
    for checkpoint in map(notes.read_checkpoint, texts):
        if bad_signatures := _bad_signature(checkpoint, key, whose):
            findings += bad_signatures
        else:
            valid_checkpoints.append(checkpoint)
    return valid_checkpoints, findings


def _bad_signature(checkpoint: Checkpoint, key: Key | None, whose: str) -> list[Finding]:
    if key is None:
        return []
    try:
        notes.verify(checkpoint, key)
    except BadNote as error:
        return [Finding("bad signature", checkpoint.size, checkpoint.size, f"{whose}: {error}")]
    return []


def _database_of(directory: Path) -> str:
    try:
        state: dict[str, Any] = json.loads((directory / "up.json").read_bytes())
        return str(state["database_url"])
    except FileNotFoundError:
        raise Unreadable(f"no `routines up` runs in {directory}") from None
    except (ValueError, KeyError, TypeError):
        raise Unreadable(f"{directory / 'up.json'} is not as `routines up` writes it") from None


def _print_report(
    report: Report,
    compared_checkpoints: Sequence[Checkpoint],
    witnessed_sizes: Sequence[WitnessedSize],
    *,
    is_signed: bool,
    as_json: bool,
) -> None:
    checkpoints = len({(checkpoint.origin, checkpoint.size, checkpoint.root) for checkpoint in compared_checkpoints})
    if as_json:
        findings = [
            {"kind": one.kind, "first": one.first, "last": one.last, "detail": one.detail} for one in report.findings
        ]
        value = {
            "events": report.events,
            "hash": report.hash.hex() or None,
            "checkpoints": checkpoints,
            "findings": findings,
            "witnesses": [{"name": one.name, "events": one.size, "at": one.moment} for one in witnessed_sizes],
        }
        print(
            json.dumps({**value, "signaturesVerified": is_signed and checkpoints > 0, "complete": report.is_complete})
        )
        return
    for finding in report.findings:
        positions = str(finding.first) if finding.first == finding.last else f"{finding.first} to {finding.last}"
        print(f"{finding.kind} at {positions}: {finding.detail}")
    for witnessed_size in witnessed_sizes:
        print(
            f"{witnessed_size.name} has seen the first {witnessed_size.size} events, at {_utc_text(witnessed_size.moment)}"
        )
    signature_note = "" if is_signed or not checkpoints else ", whose signatures were not verified (--key)"
    comparison = (
        f"compared with {checkpoints} checkpoint(s){signature_note}" if checkpoints else "compared with no checkpoint"
    )
    verdict = f"{len(report.findings)} finding(s)" if report.findings else "nothing is wrong"
    print(f"{report.events} events, {comparison}: {verdict}")


class _Bar:
    """A progress bar on a terminal; nothing elsewhere."""

    def __init__(self, total: int, *, is_quiet: bool) -> None:
        self._total = max(total, 1)
        self._is_shown = not is_quiet and sys.stderr.isatty()
        self._next_at = 0.0

    def show(self, row_count: int) -> None:
        if self._is_shown and (now := time.monotonic()) >= self._next_at:
            self._next_at = now + BAR_S
            share = min(row_count / self._total, 1.0)
            bar = "#" * round(share * BAR_WIDTH)
            print(f"\r[{bar:<{BAR_WIDTH}}] {share:4.0%}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print("\r" + " " * (BAR_WIDTH + 8) + "\r", end="", file=sys.stderr, flush=True)
