"""The command line: `verify` a log, `check` a receipt."""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audit_verifier import http, notes, postgres, receipts, rows
from audit_verifier.chain import Finding, Head, LogCheck, Report
from audit_verifier.notes import BadNote, Checkpoint, Key
from audit_verifier.rows import Unreadable

GOOD, BAD, TROUBLE = 0, 1, 2
BAR_S = 0.2
BAR_WIDTH = 30
VERIFY = """\
Verify a log, and say at which position something was changed, inserted, deleted, reordered, cut off or rewritten.

Name one log. The database is read with the rights of the login, so an auditor's is enough. Checkpoints that you have kept
(--checkpoint, also a directory of them) are compared with the log: only they tell of a log that was rewritten as a whole, or
cut off at its end. --key is the key that has signed them, as `GET /api/log/key` answers it; keep that as well, since who can
rewrite the log may show you another key.

Exit status: 0 if nothing is wrong, 1 if something is, 2 if the log cannot be read.
"""
CHECK = """\
Check a receipt: whether the log that the key signs for has held these events of the run. Needs nothing but the file.

Exit status: 0 if the receipt proves it, 1 if it does not, 2 if it cannot be read.
"""


def parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog=program, description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    verify = commands.add_parser("verify", help="verify a log", description=VERIFY, formatter_class=raw)
    log = verify.add_mutually_exclusive_group(required=True)
    log.add_argument("--export", type=Path, metavar="FILE", help="a file of `routines audit export`")
    log.add_argument("--database", metavar="URL", help="the URL of the database")
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
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    check = commands.add_parser("check", help="check a receipt", description=CHECK, formatter_class=raw)
    check.add_argument("file", type=Path, metavar="FILE", help="the receipt")
    check.add_argument("--key", required=True, metavar="KEY", help="the verifier key, or a file that holds it")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    return top


def main(arguments: Sequence[str] | None = None, program: str = "routines-verify") -> int:
    """Carry out a command, and return its exit status."""
    options = parser(program).parse_args(arguments)
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
    key = None if options.key is None else _key(options.key)
    checkpoints, findings = _checkpoints(options.checkpoint, key)
    if options.url is not None:
        report, newest = _verify_tiles(options, checkpoints, key)
    elif options.export is not None:
        report, newest = _verify_export(options.export, checkpoints, key, is_quiet=options.json)
    else:
        url = options.database if options.database is not None else _database_of(options.data_dir)
        report, newest = _verify_database(url, checkpoints, key, is_quiet=options.json)
    report = report._replace(findings=[*findings, *report.findings])
    count = len(checkpoints) + (newest is not None and newest not in checkpoints)
    _tell(report, count, is_signed=key is not None, as_json=options.json)
    return BAD if report.findings else GOOD


def _verify_export(
    path: Path, checkpoints: list[Checkpoint], key: Key | None, *, is_quiet: bool
) -> tuple[Report, Checkpoint | None]:
    with path.open("rb") as file:
        header = rows.read_header(file)
        newest, findings = _shown(header.get("checkpoint"), key, "the checkpoint in the export")
        check = LogCheck([*checkpoints, *([newest] if newest and not findings else [])])
        bar = _Bar(path.stat().st_size, is_quiet=is_quiet)
        for some in rows.read_lines(file):
            check.add(some)
            bar.show(file.tell())
        bar.end()
    head = Head(int(header["position"]), bytes.fromhex(header["hash"]))
    report = check.finish(head)
    return report._replace(findings=[*findings, *report.findings]), newest


def _verify_database(
    url: str, checkpoints: list[Checkpoint], key: Key | None, *, is_quiet: bool
) -> tuple[Report, Checkpoint | None]:
    with postgres.connected(url) as conn:
        head, last = postgres.read_head(conn), postgres.count_rows(conn)
        newest, findings = _shown(postgres.read_checkpoint(conn), key, "the checkpoint in the database")
        check = LogCheck([*checkpoints, *([newest] if newest and not findings else [])])
        bar = _Bar(last, is_quiet=is_quiet)
        done = 0
        for some in postgres.read_rows(conn, last):
            check.add(some)
            done += len(some)
            bar.show(done)
        bar.end()
    report = check.finish(head)
    return report._replace(findings=[*findings, *report.findings]), newest


def _verify_tiles(
    options: argparse.Namespace, checkpoints: list[Checkpoint], key: Key | None
) -> tuple[Report, Checkpoint | None]:
    log = http.Log(options.url, options.token or os.environ.get("ROUTINES_TOKEN"))
    newest = log.checkpoint()
    if findings := _bad_signature(newest, key, "the checkpoint that the service shows"):
        return Report(0, b"", findings, is_complete=True), newest
    own = [checkpoint for checkpoint in checkpoints if checkpoint.origin == newest.origin]
    findings = [
        Finding(
            "rewritten",
            1,
            checkpoint.size,
            f"the service shows {newest.origin}, and {checkpoint.origin} was signed before",
        )
        for checkpoint in checkpoints
        if checkpoint.company == newest.company and checkpoint.origin != newest.origin
    ]
    check = http.TreeCheck([*own, newest], whole=newest.company is None)
    bar = _Bar(newest.size, is_quiet=options.json)
    for number, entries in enumerate(log.entries(newest.size), 1):
        check.add(entries)
        bar.show(number * http.TILE)
    bar.end()
    report = check.finish()
    return report._replace(findings=[*findings, *report.findings]), newest


def _check(options: argparse.Namespace) -> int:
    receipt = receipts.check(options.file.read_bytes(), _key(options.key))
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
        print(json.dumps({"run": str(receipt.run), "log": receipt.log, "size": receipt.size, "events": events}))
        return GOOD
    print(f"Run {receipt.run} is in the log {receipt.log}, which was signed when it held {receipt.size} events:")
    for event in events:
        print(f"  {event['recordedAt']}  {event['name']}, position {event['position']}")
    return GOOD


def _key(text: str) -> Key:
    path = Path(text)
    return notes.read_key(path.read_text(errors="replace") if "+" not in text and path.exists() else text)


def _checkpoints(paths: Sequence[Path], key: Key | None) -> tuple[list[Checkpoint], list[Finding]]:
    """Return the checkpoints of these files, and what is wrong with their signatures."""
    good, findings = [], []
    for path in _files(paths):
        try:
            checkpoint = notes.read_checkpoint(path.read_text(encoding="utf-8"))
        except (BadNote, UnicodeError) as error:
            raise Unreadable(f"{path}: {error}") from None
        if bad := _bad_signature(checkpoint, key, str(path)):
            findings += bad
        else:
            good.append(checkpoint)
    return good, findings


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.checkpoint")) if path.is_dir() else [path]


def _shown(text: str | None, key: Key | None, whose: str) -> tuple[Checkpoint | None, list[Finding]]:
    """Return the checkpoint that a log comes with, and what is wrong with its signature."""
    if text is None:
        return None, []
    checkpoint = notes.read_checkpoint(text)
    return checkpoint, _bad_signature(checkpoint, key, whose)


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


def _tell(report: Report, checkpoints: int, *, is_signed: bool, as_json: bool) -> None:
    if as_json:
        findings = [
            {"kind": one.kind, "first": one.first, "last": one.last, "detail": one.detail} for one in report.findings
        ]
        value = {
            "events": report.events,
            "hash": report.hash.hex() or None,
            "checkpoints": checkpoints,
            "findings": findings,
        }
        print(
            json.dumps({**value, "signaturesVerified": is_signed and checkpoints > 0, "complete": report.is_complete})
        )
        return
    for one in report.findings:
        where = str(one.first) if one.first == one.last else f"{one.first} to {one.last}"
        print(f"{one.kind} at {where}: {one.detail}")
    signed = "" if is_signed or not checkpoints else ", whose signatures were not verified (--key)"
    against = f"compared with {checkpoints} checkpoint(s){signed}" if checkpoints else "compared with no checkpoint"
    verdict = f"{len(report.findings)} finding(s)" if report.findings else "nothing is wrong"
    print(f"{report.events} events, {against}: {verdict}")


class _Bar:
    """A progress bar on a terminal; nothing elsewhere."""

    def __init__(self, total: int, *, is_quiet: bool) -> None:
        self._total = max(total, 1)
        self._is_shown = not is_quiet and sys.stderr.isatty()
        self._next_at = 0.0

    def show(self, done: int) -> None:
        if self._is_shown and (now := time.monotonic()) >= self._next_at:
            self._next_at = now + BAR_S
            share = min(done / self._total, 1.0)
            bar = "#" * round(share * BAR_WIDTH)
            print(f"\r[{bar:<{BAR_WIDTH}}] {share:4.0%}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print("\r" + " " * (BAR_WIDTH + 8) + "\r", end="", file=sys.stderr, flush=True)
