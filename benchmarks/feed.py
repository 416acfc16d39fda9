"""The event feed: pages by each filter in a log of a million events, beside a raw query, and readers who follow it live."""

import asyncio
import os
import random
import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
from ledger import fresh_system
from psycopg.sql import SQL, Identifier
from requests_per_second import catch_up, process, web
from table import title

from domain.errors import RuleViolation
from processes.projector import Projector
from projections import catalogue
from projections.audit import feed
from projections.audit.feed import Filters, Order
from projections.engine.table import Connection
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres
from web.events.feeds import SEARCH_LIMIT_S

LARGE, BUSY_ROUTINE, BUSY_TRIGGER = UUID(int=1), UUID(int=2), UUID(int=3)
USER, RARE, AGENT = "user:6d5d5fce-0396-5771-a90e-ef59d0efb034", "user:00000000-0000-4000-8000-000000000007", "agent:x"
FILL_LOG = """
    INSERT INTO log.events (position, stream_id, version, name, body, recorded_at, recorded_by, hash)
    SELECT n, stream_id, 1 + n % 20, name, convert_to(format(
        '{"at":"2026-11-29T12:00:00.123456Z","actor":"%s","event":{"type":"%s"},"company_id":"%s"}', actor, name, company_id),
        'UTF8'), timestamptz '2026-11-01' + n * interval '1 second', 'routines_service', '\\x00'
    FROM read_models.event CROSS JOIN LATERAL (SELECT position AS n) p
    WHERE position > (SELECT position FROM log.head)"""
# Nine of ten events are of one company, a third of them of one routine; a person has done five things in all the time.
FILL_INDEX = """
    INSERT INTO read_models.event (id, position, company_id, stream_id, name, actor, routine_id, trigger_id, run_id, issue_id)
    SELECT lpad(to_hex(n), 32, '0')::uuid, n,
        CASE WHEN n %% 10 < 9 THEN %(large)s ELSE md5((n / 10 %% 100)::text)::uuid END, md5('stream ' || n / 20)::uuid,
        CASE WHEN n %% 100000 = 50001 THEN 'agent.terminated' WHEN n %% 2 = 0 THEN 'agent.resumed' ELSE 'goal.deleted' END,
        CASE WHEN n %% 200000 = 10001 THEN %(rare)s WHEN n %% 3 = 0 THEN %(user)s WHEN n %% 50 = 1 THEN %(agent)s
            ELSE 'scheduler' END,
        CASE WHEN n %% 10 < 3 THEN %(routine)s WHEN n %% 10 < 6 THEN md5('routine ' || n %% 1000)::uuid END,
        CASE WHEN n %% 10 < 2 THEN %(trigger)s END, CASE WHEN n %% 10 < 5 THEN md5('run ' || n / 20)::uuid END,
        CASE WHEN n %% 10 = 4 THEN md5('issue ' || n / 20)::uuid END
    FROM generate_series((SELECT position + 1 FROM log.head), %(many)s) n"""
GUARDS = """
    SELECT relname, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
    WHERE relnamespace = 'log'::regnamespace AND tgenabled = 'A'"""
RAW = "SELECT position, stream_id, version, name, body, recorded_at FROM log.events WHERE position > %s ORDER BY position LIMIT %s"
READERS, RATE, BATCH = 200, 1_000, 100  # streams, events a second, and of one append
PATIENCE_S = 30.0  # for what is under way when the writer has ended
BODY = (
    b'{"at":"2026-11-29T12:00:00.123456Z","actor":"system","event":{"type":"goal.deleted"},'
    b'"company_id":"00000000-0000-0000-0000-000000000001"}'
)
LAST_ID = re.compile(rb"(?s:.*)\nid: (\d+)\n")
MOST_FRAME = 10_000  # bytes


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, rounds = (100_000, 20) if quick else (1_000_000, 60)
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        token = bootstrap.first_board_token(system.settings) or ""
        _fill(system, conn, many)
        title(f"Pages of the feed, {many:,} events: 95 % of {rounds} pages are found within")
        _measure_filters(conn, many, rounds)
        title("Pages over HTTP, beside the same rows by a raw query: median, 95 %")
        _measure_pages(system, conn, token, many, rounds)
    with fresh_system(postgres) as system:
        title(f"{READERS} readers follow the feed of {RATE:,} events a second")
        _follow(system, 5 if quick else 20)


def _fill(system: System, conn: Connection, many: int) -> None:
    """Fill the log and its index up to so many events, as if they had been recorded and folded."""
    projector = Projector(catalogue.ALL, system.store.after)
    while projector.step(conn):
        pass
    owner = system.settings.database_url.replace("routines_service@", "postgres@")
    with psycopg.connect(owner, autocommit=True) as admin:
        guards = admin.execute(GUARDS).fetchall()  # they refuse what is not appended
        for table, trigger in guards:
            admin.execute(SQL("ALTER TABLE log.{} DISABLE TRIGGER {}").format(Identifier(table), Identifier(trigger)))
        values = {"large": LARGE, "rare": RARE, "user": USER, "agent": AGENT, "routine": BUSY_ROUTINE}
        admin.execute(FILL_INDEX, {**values, "trigger": BUSY_TRIGGER, "many": many})
        admin.execute(FILL_LOG)
        admin.execute("UPDATE log.head SET position = %s", (many,))
        admin.execute("UPDATE read_models.positions SET position = %s", (many,))
        for table, trigger in guards:
            enable = SQL("ALTER TABLE log.{} ENABLE ALWAYS TRIGGER {}")
            admin.execute(enable.format(Identifier(table), Identifier(trigger)))
        admin.execute("VACUUM ANALYZE read_models.event")
        admin.execute("VACUUM ANALYZE log.events")


def _measure_filters(conn: Connection, many: int, rounds: int) -> None:
    run_id, issue_id, stream_id = (_md5(conn, f"{noun} {many // 60}") for noun in ("run", "issue", "stream"))
    moment = _row(conn, "SELECT recorded_at FROM log.events WHERE position = %s", many // 2)
    later = _row(conn, "SELECT recorded_at FROM log.events WHERE position = %s", many // 2 + many // 100)
    filters = {
        "all": Filters(),
        "company": Filters(company_id=LARGE),
        "kind": Filters(kinds=("goal.deleted",)),
        "rare kind": Filters(kinds=("agent.terminated",)),
        "company, two kinds": Filters(company_id=LARGE, kinds=("goal.deleted", "agent.terminated")),
        "actor": Filters(actor=USER),
        "rare actor": Filters(actor=RARE),
        "company, rare actor": Filters(company_id=LARGE, actor=RARE),
        "company, scheduler": Filters(company_id=LARGE, actor="scheduler"),
        "kind, rare actor": Filters(kinds=("goal.deleted",), actor=RARE),
        "busy routine": Filters(company_id=LARGE, routine_id=BUSY_ROUTINE),
        "busy routine, rare actor": Filters(company_id=LARGE, routine_id=BUSY_ROUTINE, actor=RARE),
        "busy routine, rare kind": Filters(company_id=LARGE, routine_id=BUSY_ROUTINE, kinds=("agent.terminated",)),
        "trigger": Filters(company_id=LARGE, trigger_id=BUSY_TRIGGER),
        "run": Filters(run_id=run_id),
        "issue": Filters(issue_id=issue_id),
        "stream": Filters(stream_id=stream_id),
        "from, to": Filters(since=moment, until=later),
        "company, from, to": Filters(company_id=LARGE, since=moment, until=later),
        "rare actor, from, to": Filters(actor=RARE, since=moment, until=later),
        "two that have nothing in common": Filters(company_id=LARGE, kinds=("agent.resumed",), actor=AGENT),
    }
    chance = random.Random(1)
    for name, one in filters.items():
        times = []
        for number in range(rounds):
            order: Order = "asc" if number % 2 else "desc"
            after = None if number < 4 else chance.randrange(many)  # the ends, where most begin
            began = time.perf_counter()
            try:
                count = len(feed.page(conn, one, order=order, after=after, limit=100, limit_s=SEARCH_LIMIT_S))
            except RuleViolation:
                count = -1
            times.append(time.perf_counter() - began)
        times.sort()
        print(
            f"  {name:<34} {times[-1 - len(times) // 20] * 1e3:8.1f} ms   (worst {times[-1] * 1e3:.1f} ms; last {count})"
        )


def _measure_pages(system: System, conn: Connection, token: str, many: int, rounds: int) -> None:
    with web(system, {}) as url, httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:

        def page(limit: int, after: int) -> object:
            return client.get(f"{url}/events?order=oldest&limit={limit}&after={after}").raise_for_status()

        def raw(limit: int, after: int) -> object:
            return conn.execute(RAW, (after, limit)).fetchall()

        for limit in (100, 1_000):
            work = {f"page of {limit}": partial(page, limit), f"raw query of {limit}": partial(raw, limit)}
            times: dict[str, list[float]] = {name: [] for name in work}
            for number in range(rounds):
                for name, read in work.items():
                    times[name].append(_time(read, 1 + number * 997 % (many - limit)))
            for name, some in times.items():
                some.sort()
                print(
                    f"  {name:<34} {statistics.median(some) * 1e3:8.1f} ms   {some[-1 - len(some) // 20] * 1e3:.1f} ms"
                )


def _time(read: Callable[[int], object], after: int) -> float:
    began = time.perf_counter()
    read(after)
    return time.perf_counter() - began


def _md5(conn: Connection, text: str) -> UUID:
    value: UUID = _row(conn, "SELECT md5(%s)::uuid", text)
    return value


def _row(conn: Connection, query: str, value: object) -> Any:
    row = conn.execute(query, (value,)).fetchone()
    return row[0] if row else None


def _follow(system: System, seconds: int) -> None:
    """Measure how long after its append each reader has an event, and what that costs the web process."""
    token = bootstrap.first_board_token(system.settings) or ""
    with process(system, {}, "projector"), web(system, {}) as url:
        catch_up(system)
        moments: dict[int, float] = {}
        writer = threading.Thread(target=_write, args=(system, seconds, moments))
        before = _web_cpu_s()
        count, lags = asyncio.run(_read_all(url, token, writer, moments))
        used_s = _web_cpu_s() - before
    lags.sort()
    print(f"  {count:,} events came to {READERS} readers, of {len(moments) * BATCH * READERS:,}")
    print(
        f"  from the append to the reader: median {lags[len(lags) // 2] * 1e3:,.0f} ms, "
        f"95 % {lags[len(lags) * 95 // 100] * 1e3:,.0f} ms, worst {lags[-1] * 1e3:,.0f} ms"
    )
    print(f"  the web process used {used_s / seconds:.2f} of a core")


def _write(system: System, seconds: int, moments: dict[int, float]) -> None:
    """Append events at RATE; note when the last one of each batch was there, by its position."""
    with psycopg.connect(system.settings.database_url, autocommit=True) as conn:
        began = time.perf_counter()
        for number in range(RATE * seconds // BATCH):
            time.sleep(max(began + number * BATCH / RATE - time.perf_counter(), 0))
            streams = [uuid4() for _ in range(BATCH)]
            arguments: tuple[Any, ...] = (streams, [1] * BATCH, ["goal.deleted"] * BATCH, [BODY] * BATCH, [], [])
            row = conn.execute("SELECT log.append(%b, %b, %b, %b, %b, %b)", arguments).fetchone()
            moments[row[0] if row else 0] = time.perf_counter()


async def _read_all(
    url: str, token: str, writer: threading.Thread, moments: Mapping[int, float]
) -> tuple[int, list[float]]:
    """Follow the feed with all readers while the writer writes; return how many events came, and how late."""
    arrivals: list[tuple[int, float]] = []
    counts = [0] * READERS
    readers = [asyncio.create_task(_read(url, token, counts, n, arrivals)) for n in range(READERS)]
    while not all(counts):  # each has its first comment or event
        await asyncio.sleep(0.05)
    counts[:] = [0] * READERS
    writer.start()
    while writer.is_alive():
        await asyncio.sleep(0.05)
    end = time.monotonic() + PATIENCE_S
    while min(counts) < len(moments) * BATCH and time.monotonic() < end:
        await asyncio.sleep(0.05)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return sum(counts), [moment - moments[place] for place, moment in arrivals if place in moments]


async def _read(url: str, token: str, counts: list[int], number: int, arrivals: list[tuple[int, float]]) -> None:
    """Count events; note when the last one of what came together came, by its position."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**22)
    lines = (f"GET {place.path}/events HTTP/1.1", f"Host: {place.netloc}", f"Authorization: Bearer {token}")
    writer.write("\r\n".join((*lines, "Accept: text/event-stream")).encode() + b"\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise SystemExit(head.decode(errors="replace"))
    counts[number] = 1
    rest = b""
    while content := await reader.read(2**20):
        frames, gap, rest = (rest + content).rpartition(b"\n\n")
        if not gap:
            continue
        now = time.perf_counter()
        counts[number] += (b"\n" + frames).count(b"\nid: ")
        if last := LAST_ID.search(frames[-MOST_FRAME:]):
            arrivals.append((int(last[1]), now))


def _web_cpu_s() -> float:
    """Return the processor time of the web process that we have started."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = path.joinpath("stat").read_text().rpartition(")")[2].split()
            if b"routines\0web\0" in path.joinpath("cmdline").read_bytes() and int(fields[1]) == os.getpid():
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
