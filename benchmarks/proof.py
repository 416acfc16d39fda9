"""Proving the log: how far its trees are behind a writer of 5,000 events a second, and how fast a verifier is."""

import gc
import tempfile
import threading
import time
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from ledger import fresh_system
from table import title

from application.audit import export, log_reader
from audit_verifier import postgres as reading
from audit_verifier import rows as exported
from audit_verifier.chain import Head, LogCheck, Report
from audit_verifier.notes import Checkpoint
from processes import notary as notaries
from processes.notary import Notary
from projections.engine.table import Connection
from projections.proof import log_tree
from projections.proof.log_tree import WHOLE_LOG
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres
from routines.settings import OptionalSettings

RATE, BATCH = 5_000, 250  # events a second, and of one append
SIGNED_EVERY_S = OptionalSettings().checkpoint_s
COMPANIES = [UUID(int=number) for number in range(1, 1_001)]
BODY = (
    '{{"at":"2026-11-29T12:00:00.123456Z","actor":"user:6d5d5fce-0396-5771-a90e-ef59d0efb034","event":{{"type":"run.fired",'
    '"routine_id":"6d5d5fce-0396-5771-a90e-ef59d0efb034","text":"{}"}},"company_id":"{}"}}'
)
NEVER = Checkpoint("log", 2**62, bytes(32), "")  # is waited for, so that the tree is built to the end


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    seconds, many = (5, 50_000) if quick else (20, 200_000)
    with fresh_system(postgres) as system:
        title(f"Trees of the log, {len(COMPANIES):,} companies")
        _lag(system, seconds)
        _grow(system, many)
    with fresh_system(postgres) as system:
        title(f"Verifying a log of {many:,} events")
        _append(system, many)
        _verify(system, many)


def _batch(number: int, size: int) -> tuple[list[UUID], list[int], list[str], list[bytes]]:
    bodies = [BODY.format("x" * 200, COMPANIES[(number * size + n) % len(COMPANIES)]).encode() for n in range(size)]
    return [uuid4() for _ in bodies], [1] * size, ["run.fired"] * size, bodies


def _append(system: System, many: int, size: int = 1_000) -> None:
    with psycopg.connect(system.settings.database_url, autocommit=True) as conn:
        for number in range(many // size):
            conn.execute("SELECT log.append(%b, %b, %b, %b, '{}', '{}')", _batch(number, size))


def _lag(system: System, seconds: int) -> None:
    """Return how old the newest leaf is, while events come at RATE; the trees are signed as often as is usual."""
    with tempfile.TemporaryDirectory() as directory:
        key_file = Path(directory) / "log.key"
        bootstrap.make_log_key(str(key_file))
        stop, lags, append_times = threading.Event(), list[float](), list[tuple[int, float]]()
        with notaries.at_work(
            Notary(key_file, SIGNED_EVERY_S), lambda: bootstrap.connect(system.settings), stop, system.outage
        ):
            watcher = threading.Thread(target=_watch, args=(system, stop, append_times, lags))
            watcher.start()
            with psycopg.connect(system.settings.database_url, autocommit=True) as conn:
                began = time.perf_counter()
                for number in range(RATE * seconds // BATCH):
                    time.sleep(max(began + number * BATCH / RATE - time.perf_counter(), 0))
                    row = conn.execute(
                        "SELECT log.append(%b, %b, %b, %b, '{}', '{}')", _batch(number, BATCH)
                    ).fetchone()
                    append_times.append((row[0] if row else 0, time.perf_counter()))
                took = time.perf_counter() - began
            time.sleep(1.5)
            stop.set()
            watcher.join()
    lags.sort()
    print(f"  {len(append_times) * BATCH / took:,.0f} events/s appended, trees signed every {SIGNED_EVERY_S:g} s")
    print(
        f"  lag of the trees: median {lags[len(lags) // 2] * 1e3:,.0f} ms, 99 % {lags[len(lags) * 99 // 100] * 1e3:,.0f} ms, worst {lags[-1] * 1e3:,.0f} ms"
    )


def _watch(system: System, stop: threading.Event, append_times: list[tuple[int, float]], lags: list[float]) -> None:
    place = 0
    with bootstrap.connect(system.settings) as conn:
        while not stop.is_set():
            size = log_tree.state_of(conn, WHOLE_LOG).size
            now = time.perf_counter()
            while place < len(append_times) and append_times[place][0] <= size:
                lags.append(max(now - append_times[place][1], 0.0))
                place += 1
            time.sleep(0.005)


def _grow(system: System, many: int) -> None:
    _append(system, many)
    with bootstrap.connect(system.settings) as conn:
        began, before = time.perf_counter(), _size(conn)
        while log_tree.grow(conn):
            pass
        print(f"  catching up: {(_size(conn) - before) / (time.perf_counter() - began):,.0f} events/s")


def _size(conn: Connection) -> int:
    return log_tree.state_of(conn, WHOLE_LOG).size


def _verify(system: System, many: int) -> None:
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as the command does
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "log.ndjson"
        with bootstrap.connect_as_login(system.settings) as conn, file.open("wb") as output:
            head = log_reader.read_head(conn)
            began = time.perf_counter()
            output.writelines(export.lines(head, (), log_reader.read_rows(conn, head.position)))
            print(
                f"  export: {many / (time.perf_counter() - began):,.0f} events/s, {file.stat().st_size / many:,.0f} bytes each"
            )
        for _ in range(3):
            _tell("export", many, lambda: _verify_export(file))
    for _ in range(3):
        _tell("Postgres", many, lambda: _verify_database(system.settings.database_url))


def _tell(label: str, many: int, report: object) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    result: Report = report()  # type: ignore[operator]
    took, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    assert [finding.kind for finding in result.findings] == ["lost tail"], result.findings
    print(f"  verify, {label}: {many / took:,.0f} events/s; {many / cpu_s:,.0f} a second of processor time")


def _verify_export(file: Path) -> Report:
    check = LogCheck([NEVER])
    with file.open("rb") as lines:
        header = exported.read_header(lines)
        for rows in exported.read_lines(lines):
            check.add(rows)
    return check.finish(Head(header["position"], bytes.fromhex(header["hash"])))


def _verify_database(url: str) -> Report:
    check = LogCheck([NEVER])
    with reading.open_connection(url) as conn:
        head, last = reading.read_head(conn), reading.count_rows(conn)
        for rows in reading.read_rows(conn, last):
            check.add(rows)
    return check.finish(head)
