"""
A minute of everything at once: fires by hand and by webhook, and reads, over 64 connections.

Meanwhile it is noted how far the read models are behind the log, and how much memory the processes have and how much processor time they take.
"""

import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import wrk
from ledger import arm, fresh_system
from requests_per_second import LIMIT_S, THINGS, UNLIMITED, catch_up, process, requests_of, web
from table import title

from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres

CONNECTIONS = 64
EACH_S = 0.25  # between two notes
TURN = (5, 1, 2, 1, 1)  # of eleven requests: manual runs, webhooks, details, runs, and the list beside health
BEHIND = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - recorded_at), 0)::float8 FROM (SELECT min(position) AS last FROM
    read_models.positions) AS folded LEFT JOIN log.events ON position = last + 1"""


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    seconds = 5 if quick else 60
    with fresh_system(postgres) as system, tempfile.TemporaryDirectory() as directory:
        token = bootstrap.first_board_token(system.settings) or ""
        keys = str(Path(directory) / "secret.keys")
        bootstrap.make_keys(keys)
        company = arm(system, THINGS)
        env = {"ROUTINES_KEY_FILE": keys, "ROUTINES_WEBHOOK_RATE": "0", **UNLIMITED}
        with process(system, env, "projector"), web(system, env) as url:
            catch_up(system)
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=LIMIT_S) as client:
                health, detail, runs, listing, manual, webhook = (
                    make() for make in requests_of(client, url, token, str(company)).values()
                )
            kinds = [
                cycle(manual),
                iter(webhook),
                cycle(detail),
                cycle(runs),
                chain.from_iterable(cycle([listing, health])),
            ]
            turns = len(webhook)
            requests = [
                request
                for _ in range(turns)
                for kind, many in zip(kinds, TURN, strict=True)
                for request in islice(kind, many)
            ]
            title(
                f"Mixed, {seconds} s over {CONNECTIONS} connections; of {sum(TURN)} requests {TURN[0]} manual runs, {TURN[1]} signed webhook, "
                f"{TURN[2]} details, {TURN[3]} of 50 runs, {TURN[4]} list of {THINGS} or health; one web process, one projector"
            )
            postmaster = int((postgres.data / "postmaster.pid").read_text().split()[0])
            before_s = _processor_s(postmaster)
            with _note_calls(system, postmaster) as notes:
                answers = wrk.load(url, requests, CONNECTIONS, seconds)
            used_s = {name: after_s - before_s[name] for name, after_s in _processor_s(postmaster).items()}
            _show(answers, notes, used_s)


class _Notes:
    """What was seen while the load went on: seconds behind the log, and MB of memory of each process."""

    def __init__(self) -> None:
        self.behind_s: list[float] = []
        self.memory_mb: dict[str, list[float]] = {}


@contextmanager
def _note_calls(system: System, postmaster: int) -> Iterator[_Notes]:
    notes, is_over = _Notes(), threading.Event()

    def note() -> None:
        with bootstrap.connect(system.settings) as conn:
            while not is_over.wait(EACH_S):
                row = conn.execute(BEHIND).fetchone()
                notes.behind_s.append(row[0] if row else 0.0)
                for one in _processes(postmaster):
                    if one.name != "Postgres":  # its processes share most of their memory
                        notes.memory_mb.setdefault(one.name, []).append(one.memory_mb)

    thread = threading.Thread(target=note)
    thread.start()
    try:
        yield notes
    finally:
        is_over.set()
        thread.join()


class _Process(NamedTuple):
    """A process of the service or of Postgres: its resident memory in MB, and the processor time that it has had."""

    name: str
    memory_mb: float
    processor_s: float


def _processes(postmaster: int) -> Iterator[_Process]:
    """Return the processes that this one has started, and those of Postgres."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            stat = (place / "stat").read_text().rpartition(") ")[2].split()
            command = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        parent, ticks, pages = int(stat[1]), int(stat[11]) + int(stat[12]), int(stat[21])
        if parent == postmaster:
            name = "Postgres"
        elif parent == os.getpid() and b"routines" in command:
            name = command[command.index(b"routines") + 1].decode()
        else:
            continue
        yield _Process(name, pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576, ticks / os.sysconf("SC_CLK_TCK"))


def _processor_s(postmaster: int) -> dict[str, float]:
    """Return the processor time that the processes of each name have had."""
    used_s = defaultdict[str, float](float)
    for one in _processes(postmaster):
        used_s[one.name] += one.processor_s
    return used_s


def _show(answers: wrk.Answers, notes: _Notes, used_s: Mapping[str, float]) -> None:
    print(
        f"  answered 2xx                     {answers.rate:,.0f} per s, {answers.requests:,} in all; no other answer, none missing"
    )
    print(f"  latency                          p50 {answers.p50_s * 1_000:.1f} ms   p99 {answers.p99_s * 1_000:.1f} ms")
    used = "   ".join(f"{name} {seconds / answers.requests * 1e6:,.0f} us" for name, seconds in sorted(used_s.items()))
    print(f"  processor time of a request      {used}")
    behind_s = sorted(notes.behind_s)
    print(
        f"  read models behind the log       median {median(behind_s):.2f} s   95 % {behind_s[len(behind_s) * 95 // 100]:.2f} s"
        f"   most {behind_s[-1]:.2f} s"
    )
    for name, sizes in sorted(notes.memory_mb.items()):
        third = max(1, len(sizes) // 3)
        print(
            f"  memory (RSS) of {name:<16} first third {median(sizes[:third]):.0f} MB   last third {median(sizes[-third:]):.0f} MB   "
            f"most {max(sizes):.0f} MB"
        )
