"""
Random SIGKILL of scheduler, web and projector under load: schedules that have missed some minutes, and a client.

Before a web process that answers is killed, all commits are held up until GROUP requests wait to be committed together.
"""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import psycopg

from routines import bootstrap
from verification.faults import oracle, read_models
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import (
    LOOK_S,
    Database,
    Environment,
    Process,
    Processes,
    reserved_port,
    settle,
    wait_for,
)
from verification.faults.load import PAUSE_S, Client, CompanyFixture

MINUTES = 5  # how many minutes each schedule has missed
CLIENTS = 8  # requests that a client makes at once
GROUP = 64  # as many as are committed together at most: application/event_store/recorder.py
HELD_S = 2.0  # the longest that commits are held up: less than lock_timeout


@dataclass
class RunningSystem:
    """Everything at work on one database: processes by their role, and a client over HTTP."""

    database: Database
    company_fixture: CompanyFixture
    processes: Processes
    client: Client
    port: int
    limit_s: float
    token: str

    def start(self, role: str) -> Process:
        arguments = ["--port", str(self.port)] if role == "web" else []
        return self.processes.start(role, *arguments)


def has_reached(log: psycopg.Connection[Any], goal: int) -> bool:
    return oracle.head(log) >= goal


@contextmanager
def running_system(
    environment: Environment,
    database: Database,
    chance: random.Random,
    url: str | None = None,
    clients: int = CLIENTS,
    pause_s: float = PAUSE_S,
) -> Iterator[RunningSystem]:
    """Yield the system with its client started, and none of its processes."""
    with ExitStack() as stack:
        token = bootstrap.first_board_token(database.settings()) or ""
        system = stack.enter_context(bootstrap.system(database.settings()))
        processes = database.processes(url)
        stack.callback(processes.end)
        port, company_fixture = stack.enter_context(reserved_port()), CompanyFixture(system)
        ids = company_fixture.company_id, company_fixture.agent_id
        chance_of_client = random.Random(chance.random())
        client = Client(f"http://127.0.0.1:{port}", token, *ids, chance_of_client, clients, pause_s)
        client.start()
        stack.callback(client.end)
        yield RunningSystem(database, company_fixture, processes, client, port, environment.limit_s, token)


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    kills, schedules = int(size(full=500, short=25)), int(size(full=2_000, short=100))
    progress, broken, largest_group = Progress("kill"), list[str](), 0
    with (
        environment.database() as database,
        database.auditor() as log,
        running_system(environment, database, chance, clients=GROUP) as system,
    ):
        roles = ["scheduler", "scheduler", "web", "projector"]
        running = [system.start(role) for role in roles]
        with noting_standstill(broken):
            wait_for(lambda: answers(system.port), environment.limit_s)
            for number in range(kills):
                system.company_fixture.late(schedules // kills, MINUTES)
                goal = oracle.head(log) + chance.randint(1, 60)
                wait_for(partial(has_reached, log, goal), environment.limit_s)
                victim = chance.randrange(len(roles))
                if roles[victim] == "web" and answers(system.port):
                    largest_group = max(largest_group, _gather_group(system))
                time.sleep(chance.uniform(0, 0.03))
                running[victim].kill()
                running[victim].wait()
                running[victim] = system.start(roles[victim])
                progress(f"{number + 1} kills, {oracle.runs(log):,} runs, {len(system.client.answered):,} answers")
        outcome = finish("kill", f"{kills} kills", system, broken)
        outcome.notes.append(f"up to {largest_group} requests waited when the web process was killed")
        return [outcome]


def _gather_group(system: RunningSystem) -> int:
    """Hold up all commits until GROUP requests wait, or for HELD_S; return how many do."""
    end = time.monotonic() + HELD_S
    with system.database.superuser() as conn, conn.transaction():
        conn.execute("SELECT FROM log.head FOR UPDATE")
        while (unanswered := system.client.unanswered) < GROUP and time.monotonic() < end:
            time.sleep(LOOK_S)
    return unanswered


def finish(name: str, faults: str, system: RunningSystem, broken: list[str]) -> Outcome:
    """Wait until all is settled; then ask the oracle, and compare the read models with the log."""
    until = None
    with noting_standstill(broken):
        until = settle(system.database, system.limit_s)
    system.client.end()
    with system.database.auditor() as log:
        verdict = oracle.judge(log, until=until, answered=system.client.answered)
    broken = [*broken, *system.client.refused[:3]]
    if not verdict.faults:  # of a log that is wrong the read models are wrong as well
        broken += read_models.find_defects(system.database, system.limit_s)
    return Outcome(name, verdict, faults, broken=broken)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health").is_success
    except httpx.TransportError:
        return False
