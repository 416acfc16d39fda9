"""
The projector over a log of firings: all read models by one process and by several that share them, and each one rebuilt.

Projectors are processes of their own, as they really run; what they and their connections take of a processor is shown
beside the events that they fold in a second, since it says more where the machine has other things to do.
"""

import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import structlog
from ledger import NOON, arm, fresh_system
from table import in_turns, rows, title

from application.execute import Executor
from domain.recorded import Recorded
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import positions, rebuilds
from projections.engine.folding_aside import ReadPart
from projections.engine.read_model import ReadModel
from projections.engine.shares import Share
from routines import bootstrap
from routines.bootstrap import System
from routines.commands import entry
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings

PROJECTORS = (1, 2)
AT_ONCE = 10  # events that come together, as they do while people work: each such batch is folded when it has come
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Work(msgspec.Struct, frozen=True):
    """What a projector has done: the events that it has folded, its most memory, and the processor time that it took."""

    events: int
    python_s: float
    postgres_s: float  # of the connection that writes
    most_memory_kb: int


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    many, rounds = (1_000, 3) if quick else (2_000, 5)
    with fresh_system(postgres) as system:
        arm(system, many)
        with bootstrap.connect(system.settings) as conn, structlog.testing.capture_logs():
            Scheduler(Executor(system.store, lambda: NOON), system.store.after, 200).tick(conn)
        events = system.store.head()
        title(f"Projecting a log of {events:,} events ({many:,} routines, each fired once)")
        took: dict[str, list[list[Work]]] = defaultdict(list)
        work = {"read and decode only": lambda: _read(system)} | {
            _name(projectors): partial(_catch_up, system, projectors, took[_name(projectors)])
            for projectors in PROJECTORS
        }
        name = f"as they come, {AT_ONCE} at once, 1 projector"
        work[name] = partial(_catch_up, system, 1, took[name], AT_ONCE)
        work |= {f"rebuild {model.name}": partial(_rebuild, system, model) for model in catalogue.ALL}
        _catch_up(system, 1, [])  # the first one makes the files of the write-ahead log that later ones find
        rates = in_turns(rounds, work)
        rows(rates, "events/s", dict.fromkeys(rates, "read and decode only"))
        for name, measured in took.items():
            python, writing = (
                median(sum(getattr(each, name) for each in works) for works in measured) / events * 1e6
                for name in ("python_s", "postgres_s")
            )
            memory = max(each.most_memory_kb for works in measured for each in works) // 1024
            print(
                f"  {name}, processor time of an event: {python:.0f} us in Python, {writing:.0f} us in Postgres; "
                f"most memory of one (RSS) {memory} MB"
            )


def _name(projectors: int) -> str:
    return f"catch up, all {len(catalogue.ALL)} read models, {projectors} projector{'s' if projectors > 1 else ''}"


def _read(system: System) -> float:
    began = time.perf_counter()
    events = sum(1 for _ in system.store.history(page=positions.BATCH))
    return events / (time.perf_counter() - began)


def _catch_up(system: System, projectors: int, took: list[list[Work]], at_once: int = 0) -> float:
    with bootstrap.connect(system.settings) as conn:
        for model in catalogue.ALL:
            for table in model.tables:
                conn.execute(f"TRUNCATE {table.name}")
        conn.execute("UPDATE positions SET position = 0")
    children = [_child(system.settings, Share(number, projectors), at_once) for number in range(projectors)]
    for child in children:
        _line(child)  # it is ready
    began = time.perf_counter()
    for child in children:
        _tell(child)
    took.append([msgspec.json.decode(_line(child), type=Work) for child in children])
    seconds = time.perf_counter() - began
    for child in children:
        child.wait()
    return system.store.head() / seconds


def _child(settings: Settings, share: Share, at_once: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, __file__, settings.database_url, *map(str, share), str(at_once)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _line(child: "subprocess.Popen[bytes]") -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


def _tell(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin is not None
    child.stdin.write(b"\n")
    child.stdin.flush()


class GrowingLog:
    """A log that grows by so many events whenever it is asked for more; 0 says that all are there."""

    def __init__(self, read: ReadPart, head: int, at_once: int) -> None:
        self._read, self._head, self._at_once = read, head, at_once or head
        self._released = 0

    def more(self) -> bool:
        """Let events come; return whether there are any."""
        has_more = self._released < self._head
        self._released = min(self._released + self._at_once, self._head)
        return has_more

    def read(self, position: int, limit: int, **filters: Any) -> Sequence[Recorded]:
        """Return at most so many events after a position of those that have come."""
        limit = min(limit, self._released - position)
        return self._read(position, limit, **filters) if limit > 0 else self._read(self._head, 1)


def _project(settings: Settings, share: Share, at_once: int) -> None:
    """Wait for a line of input, bring the share to the head of the log, and print what that took."""
    entry.collect_seldom()
    with bootstrap.system(settings) as system, bootstrap.connect_projector(system) as conn:
        arrivals = GrowingLog(system.store.after, system.store.head(), at_once)
        projector = Projector(catalogue.ALL, arrivals.read)
        projector.take(share)
        print("ready", flush=True)
        sys.stdin.readline()
        python_s, postgres_s, events = time.process_time(), _processor_s(conn.info.backend_pid), 0
        while (moved := projector.step(conn)) or arrivals.more():
            events += moved
        took = Work(
            events=events,
            python_s=time.process_time() - python_s,
            postgres_s=_processor_s(conn.info.backend_pid) - postgres_s,
            most_memory_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        )
        print(msgspec.json.encode(took).decode(), flush=True)


def _processor_s(pid: int) -> float:
    """Return the processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def _rebuild(system: System, model: ReadModel) -> float:
    with bootstrap.connect(system.settings) as conn:
        began = time.perf_counter()
        events = rebuilds.rebuild(conn, model, system.store.after)
        return events / (time.perf_counter() - began)


if __name__ == "__main__":
    _project(Settings(database_url=sys.argv[1]), Share(*map(int, sys.argv[2:4])), int(sys.argv[4]))
