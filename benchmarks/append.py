"""Appending to the log, beside raw inserts into a table of the same shape."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
from ledger import fresh_system
from table import in_turns, rows, title

from application.event_store.recorder import APPEND, Batch
from domain.events import AgentPaused
from domain.recorded import Recorded
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

RAW = """
    CREATE TABLE raw (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id uuid NOT NULL,
        version bigint NOT NULL, name text NOT NULL, body bytea NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), hash bytea NOT NULL, UNIQUE (stream_id, version));
    ALTER TABLE raw ALTER COLUMN body SET STORAGE EXTERNAL"""
INSERT = "INSERT INTO raw (stream_id, version, name, body, hash) VALUES (%b, %b, %b, %b, %b)"
BODY = '{{"at":"{}","actor":"scheduler","event":{{"type":"run.fired","text":"{}"}}}}'
HASH = b"h" * 32
Connection = psycopg.Connection[tuple[Any, ...]]


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    rounds, seconds = (3, 0.3) if quick else (7, 1.0)
    with fresh_system(postgres) as system:
        with bootstrap.connect(system.settings) as conn:
            conn.execute(RAW)
        with psycopg.connect(system.settings.database_url.replace("routines_service@", "postgres@")) as owner:
            owner.execute("UPDATE log.rules SET max_clock_difference = DEFAULT")
        for threads in (1, 8):
            _rates(system, threads, rounds, seconds)


def _rates(system: System, threads: int, rounds: int, seconds: float) -> None:
    title(f"Append, {threads} thread{'s' if threads > 1 else ''} (events/s; each append is one durable commit)")
    pieces: dict[str, tuple[int, Callable[[Connection], None]]] = {
        "raw insert, 1 row": (1, raw_one),
        "raw transaction, 4 rows": (4, raw_four),
        "raw executemany, 300 rows": (300, raw_many),
        "log.append, 1 event": (1, lambda conn: append(conn, 1)),
        "log.append, 4 events": (4, lambda conn: append(conn, 4)),
        "log.append, 300 events (100 firings)": (300, lambda conn: append(conn, 300)),
        "EventStore.append, 1 event": (1, lambda _: store(system, 1)),
        "EventStore.append, 4 events": (4, lambda _: store(system, 4)),
    }
    work = {
        name: lambda many=many, piece=piece: many * _rate(system, threads, seconds, piece)
        for name, (many, piece) in pieces.items()
    }
    rows(
        in_turns(rounds, work),
        "events/s",
        {
            "log.append, 1 event": "raw insert, 1 row",
            "log.append, 4 events": "raw transaction, 4 rows",
            "log.append, 300 events (100 firings)": "raw executemany, 300 rows",
            "EventStore.append, 1 event": "raw insert, 1 row",
            "EventStore.append, 4 events": "raw transaction, 4 rows",
        },
    )


def body() -> bytes:
    """Return about what a run.fired takes, decided now: the log looks at the time."""
    return BODY.format(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "x" * 130).encode()


def raw_one(conn: Connection) -> None:
    conn.execute(INSERT, (uuid4(), 1, "run.fired", body(), HASH), prepare=True)


def raw_four(conn: Connection) -> None:
    with conn.transaction():
        for _ in range(4):
            raw_one(conn)


def raw_many(conn: Connection) -> None:
    with conn.transaction(), conn.cursor() as cursor:
        cursor.executemany(INSERT, [(uuid4(), 1, "run.fired", body(), HASH) for _ in range(300)])


def append(conn: Connection, many: int) -> None:
    batch = Batch([uuid4() for _ in range(many)], [1] * many, ["run.fired"] * many, [body()] * many, [], [])
    conn.execute(APPEND, batch.values, prepare=True)


def store(system: System, many: int) -> None:
    event, now = AgentPaused(reason="x" * 100), datetime.now(UTC)
    system.store.append(
        [
            Recorded(stream_id=uuid4(), version=1, at=now, actor="system", company_id=uuid4(), event=event)
            for _ in range(many)
        ]
    )


def _rate(system: System, threads: int, seconds: float, piece: Callable[[Connection], None]) -> float:
    """Return the calls a second by so many threads with a connection each."""
    counts: list[int] = []
    begin = threading.Barrier(threads + 1)

    def work() -> None:
        with bootstrap.connect(system.settings) as conn:
            piece(conn)
            begin.wait()
            end, done = time.perf_counter() + seconds, 0
            while time.perf_counter() < end:
                piece(conn)
                done += 1
            counts.append(done)

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)
