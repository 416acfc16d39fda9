"""Random SIGKILL of scheduler, web and projector under load: schedules that have missed some minutes, and a client."""

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import psycopg

from routines import bootstrap
from routines.local.listening import free_port
from verification.faults import oracle
from verification.faults.campaign import Outcome, Progress, Size, noting_standstill
from verification.faults.environment import Database, Environment, Processes, settle, wait_for
from verification.faults.load import Client, CompanyFixture

MINUTES = 5  # how many minutes each schedule has missed


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

    def start(self, role: str) -> subprocess.Popen[bytes]:
        arguments = ["--port", str(self.port)] if role == "web" else []
        return self.processes.start(role, *arguments)


def has_reached(log: psycopg.Connection[Any], goal: int) -> bool:
    return oracle.head(log) >= goal


@contextmanager
def running_system(
    environment: Environment, database: Database, chance: random.Random, url: str | None = None
) -> Iterator[RunningSystem]:
    """The client is started; of the processes, none."""
    with ExitStack() as stack:
        token = bootstrap.first_board_token(database.settings()) or ""
        system = stack.enter_context(bootstrap.system(database.settings()))
        processes = database.processes(url)
        stack.callback(processes.end)
        port, company_fixture = free_port("127.0.0.1", 0), CompanyFixture(system)
        ids = company_fixture.company_id, company_fixture.agent_id
        client = Client(f"http://127.0.0.1:{port}", token, *ids, random.Random(chance.random()))
        client.start()
        stack.callback(client.end)
        yield RunningSystem(database, company_fixture, processes, client, port, environment.limit_s, token)


def run(environment: Environment, size: Size, chance: random.Random) -> list[Outcome]:
    kills, schedules = int(size(full=500, short=25)), int(size(full=2_000, short=100))
    progress, broken = Progress("kill"), list[str]()
    with (
        environment.database() as database,
        database.auditor() as log,
        running_system(environment, database, chance) as system,
    ):
        roles = ["scheduler", "scheduler", "web", "projector"]
        running = [system.start(role) for role in roles]
        with noting_standstill(broken):
            wait_for(lambda: answers(system.port), environment.limit_s)
            for number in range(kills):
                system.company_fixture.late(schedules // kills, MINUTES)
                goal = oracle.head(log) + chance.randint(1, 60)
                wait_for(partial(has_reached, log, goal), environment.limit_s)
                time.sleep(chance.uniform(0, 0.03))
                victim = chance.randrange(len(roles))
                running[victim].kill()
                running[victim].wait()
                running[victim] = system.start(roles[victim])
                progress(f"{number + 1} kills, {oracle.runs(log):,} runs, {len(system.client.answered):,} answers")
        return [finish("kill", f"{kills} kills", system, broken)]


def finish(name: str, faults: str, system: RunningSystem, broken: list[str]) -> Outcome:
    """Waits until all is settled; then the oracle speaks."""
    until = None
    with noting_standstill(broken):
        until = settle(system.database, system.limit_s)
    system.client.end()
    with system.database.auditor() as log:
        verdict = oracle.judge(log, until=until, answered=system.client.answered)
    return Outcome(name, verdict, faults, broken=[*broken, *system.client.refused[:3]])


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health").is_success
    except httpx.TransportError:
        return False
