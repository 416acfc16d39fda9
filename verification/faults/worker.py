"""
Workers are killed, frozen and cut off at random while they run commands of routines under `skip_if_active`.

Each worker has a state directory and a proxy of its own, as on a machine of its own. A command holds a lock on a file of
its routine: whoever finds it held runs beside another. At the end each run must have ended once, by a command that came
to its end.
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from routines import bootstrap
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Environment, Launch, Process, reserved_port, wait_for
from verification.faults.kill import answers
from verification.faults.oracle import Verdict
from verification.faults.tcp_proxy import TcpProxy, proxies

WORKERS, CONCURRENCY, ROUTINES = 3, 2, 8
LEASE_S = 3
LONGEST_FAULT_S = 2.0 * LEASE_S
KINDS = ("kill", "freeze", "cut off")
COMMAND = """
import fcntl, os, random, sys, time
where, longest_s = sys.argv[1], float(sys.argv[2])
routine, run = os.environ["ROUTINES_ROUTINE_ID"], os.environ["ROUTINES_RUN_ID"]
def note(name):
    with open(os.path.join(where, name), "a") as file:
        file.write(run + "\\n")
with open(os.path.join(where, routine + ".lock"), "w") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("overlaps")
    note("begun")
    end = time.monotonic() + random.uniform(0, longest_s)
    while time.monotonic() < end:
        print("at work", flush=True)
        time.sleep(0.1)
    note("ended")
"""
RUNS = """
    SELECT f.stream_id::text, count(e.name) FILTER (WHERE e.name = 'run.completed'),
        count(e.name) FILTER (WHERE e.name = 'run.failed')
    FROM log.events f LEFT JOIN log.events e ON e.stream_id = f.stream_id AND e.name IN ('run.completed', 'run.failed')
    WHERE f.name = 'run.fired' AND convert_from(f.body, 'UTF8')::jsonb #>> '{event,outcome,type}' = 'issue_created'
    GROUP BY f.stream_id"""
OF_A_KIND = "SELECT count(*) FROM log.events WHERE name = %s"


@dataclass
class Machine:
    """Where a worker runs: what it remembers, and how it reaches the server."""

    directory: Path
    proxy: TcpProxy
    command: list[str]
    token: str
    launch: Launch
    process: Process | None = None

    def start(self) -> None:
        options = ["--url", self.proxy.url, "--state-dir", str(self.directory / "claims"), "--poll-s", "0.2"]
        options += ["--lease-s", str(LEASE_S), "--concurrency", str(CONCURRENCY)]
        arguments, env = ["worker", *options, "--", *self.command], {**os.environ, "ROUTINES_AGENT_TOKEN": self.token}
        self.process = self.launch(arguments, env, self.directory / "worker.log")

    def send(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Client:
    """Fires every routine again and again, until it is told that it is over, so that there is work for every fault."""

    http: httpx.Client
    routines: list[str]
    pause_s: float
    opened: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def fire(self) -> None:
        while not self.over.is_set():
            for routine in self.routines:
                run = self.http.post(f"/routines/{routine}/run", json={}).raise_for_status().json()
                if run["status"] == "issue_created":
                    self.opened.append(run["id"])
            self.over.wait(self.pause_s)


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    faults, goal = int(size(full=100, short=20, brief=3)), int(size(full=1_000, short=200, brief=12))
    progress, broken, effects = Progress("worker"), list[str](), Counter[str]()
    ledger = environment.directory / "ledger"
    ledger.mkdir(exist_ok=True)
    with environment.database() as database, database.auditor() as log, ExitStack() as stack:
        processes, port = database.processes(), stack.enter_context(reserved_port())
        stack.callback(processes.end)
        token = bootstrap.first_board_token(database.settings()) or ""
        for role in ("scheduler", "scheduler", "projector"):
            processes.start(role)
        processes.start("web", "--port", str(port))
        wait_for(lambda: answers(port), environment.limit_s)
        http = stack.enter_context(_open_board(port, token))
        routines, agent_token = _prepare(http)
        command = [sys.executable, "-I", "-S", "-c", COMMAND, str(ledger), str(size(full=1.5, short=1.5, brief=0.7))]
        machines = []
        for number, proxy in enumerate(stack.enter_context(proxies(port, WORKERS))):
            directory = database.directory / f"machine-{number}"
            directory.mkdir()
            machines.append(Machine(directory, proxy, command, agent_token, database.launch))
            stack.callback(machines[-1].end)
            machines[-1].start()
        client = Client(http, routines, pause_s=size(full=0.05, short=0.05, brief=0.5))
        firing = threading.Thread(target=client.fire)
        firing.start()
        try:
            with noting_standstill(broken):
                for number in range(faults):
                    _wait_for_work(ledger, chance, environment.limit_s)
                    kind = KINDS[number % len(KINDS)]
                    _apply_fault(chance.choice(machines), kind, chance)
                    effects[kind] += 1
                    progress(f"{number + 1} faults, {len(client.opened)} runs")
                wait_for(lambda: len(client.opened) >= goal, environment.limit_s + goal)
                client.over.set()
                firing.join()
                wait_for(lambda: all(done or failed for _, done, failed in _read_runs(log)), environment.limit_s)
        finally:
            client.over.set()
            firing.join()
        verdict = _judge_runs(log, ledger, broken)
        notes = [f"{_count(log, 'issue.freed')} leases ran out, {_count(log, 'issue.checked_out')} checkouts"]
        return [Outcome("worker", verdict, ", ".join(f"{effects[kind]} {kind}" for kind in KINDS), broken, notes=notes)]


def _open_board(port: int, token: str) -> httpx.Client:
    url, headers = f"http://127.0.0.1:{port}/api", {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)


def _prepare(http: httpx.Client) -> tuple[list[str], str]:
    """Return the routines of a new company, and the key of the agent that does their work."""

    def post(path: str, body: dict[str, Any]) -> Any:
        return http.post(path, json=body).raise_for_status().json()

    company = post("/companies", {"name": "Acme"})["id"]
    agent = post(f"/companies/{company}/agents", {"name": "Scout"})["id"]
    fields = {"assigneeAgentId": agent, "concurrencyPolicy": "skip_if_active"}
    routines = [
        post(f"/companies/{company}/routines", {"title": f"Look {number}", **fields})["id"]
        for number in range(ROUTINES)
    ]
    return routines, post(f"/agents/{agent}/keys", {"name": "worker"})["token"]


def _wait_for_work(ledger: Path, chance: random.Random, limit_s: float) -> None:
    """Wait until some more commands have begun, and a moment longer."""
    before = len(_read_notes(ledger, "begun"))
    wait_for(lambda: len(_read_notes(ledger, "begun")) >= before + 2, limit_s)
    time.sleep(chance.uniform(0, 0.5))


def _apply_fault(machine: Machine, kind: str, chance: random.Random) -> None:
    pause_s = chance.uniform(0, LONGEST_FAULT_S)
    match kind:
        case "kill":
            machine.end()
            time.sleep(pause_s)
            machine.start()
        case "freeze":
            machine.send(signal.SIGSTOP)
            time.sleep(pause_s)
            machine.send(signal.SIGCONT)
        case _:
            machine.proxy.cut = True
            time.sleep(pause_s)
            machine.proxy.heal()


def _judge_runs(log: psycopg.Connection[Any], ledger: Path, broken: list[str]) -> Verdict:
    runs, ended_runs = _read_runs(log), set(_read_notes(ledger, "ended"))
    failed_runs = [id_ for id_, _, failures in runs if failures]
    if failed_runs:
        broken.append(f"{len(failed_runs)} runs failed, such as {failed_runs[0]}")
    return Verdict(
        occurrences=len(runs),
        requests=len(_read_notes(ledger, "begun")),
        lost=sum(not completions and not failures for _, completions, failures in runs),
        doubled=sum(completions + failures > 1 for _, completions, failures in runs)
        + len(_read_notes(ledger, "overlaps")),
        invented=sum(id_ not in ended_runs for id_, completions, _ in runs if completions),
    )


def _read_notes(ledger: Path, name: str) -> list[str]:
    with suppress(FileNotFoundError):
        return (ledger / name).read_text().split()
    return []


def _read_runs(log: psycopg.Connection[Any]) -> list[tuple[str, int, int]]:
    """Return each run that opened an issue: how often it was completed, and how often it failed."""
    return log.execute(RUNS).fetchall()


def _count(log: psycopg.Connection[Any], name: str) -> int:
    row = log.execute(OF_A_KIND, (name,)).fetchone()
    return row[0] if row else 0
