"""
A hostile tenant does the worst it may (verification/faults/hostile.py), and what another company notices of it is measured.

The neighbour has schedules that come due all the time, a client that reads and fires, and an endpoint that is told of
its runs. First it is alone; then beside processes that only keep the processor busy; then beside the hostile tenant. So
what the service lets through is told from what a busy processor costs: here one machine is attacker, service and client.
Of each object it reads, the neighbour asks once more for what is there without waiting (`eventual`): the difference is
what it waits for the read models.

Lost, doubled or early is counted by the oracle; besides, nothing is answered 5xx, no process has more than
MOST_MEMORY_BYTES, and the disk fills no faster than the quota of a company lets it. In size, no answer takes longer than
SLOWEST_S either; in brief that is not judged, since the tests share their machine with anything, and nothing is compared
with a busy processor.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from domain.bounds import limits
from routines import bootstrap
from verification.faults import oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import (
    Database,
    Environment,
    Process,
    Processes,
    is_settled,
    reserved_port,
    wait_for,
)
from verification.faults.kill import answers
from verification.faults.load import CompanyFixture
from verification.faults.oracle import Key
from verification.faults.receiver import Receiver

ROLES = ("web", "scheduler", "projector", "delivery")
SLOWEST_S = 1.0  # how long an answer to the neighbour may take
MOST_MEMORY_BYTES = 400 * 1024 * 1024  # the most memory of one process
COPIES = 4  # how often the disk holds what is recorded: log, write-ahead log, rows and documents of read models
SLACK_BYTES = 512 * 1024 * 1024  # disk space for indexes, and for pages that are not full
PAUSE_S = 0.05  # between two requests of the neighbour
SIZES = "SELECT pg_database_size(current_database())"
UNTIL_SETTLED_S = 180.0
EVENTUAL = {"X-Routines-Consistency": "eventual"}
BURN = "while True: pass"


@dataclass
class Times:
    """How long the answers to the neighbour took, in seconds, by operation."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def note(self, operation: str, seconds: float) -> None:
        self.taken.setdefault(operation, []).append(seconds)

    def medians(self) -> dict[str, float]:
        return {operation: statistics.median(taken) for operation, taken in self.taken.items()}

    def slow(self) -> dict[str, int]:
        """Return how many answers took longer than SLOWEST_S, by operation."""
        counts = {name: sum(seconds > SLOWEST_S for seconds in taken) for name, taken in self.taken.items()}
        return {name: many for name, many in counts.items() if many}

    @property
    def all(self) -> list[float]:
        return [seconds for taken in self.taken.values() for seconds in taken]


class Neighbour(threading.Thread):
    """Reads, fires and finishes, one after the other, as a client that knows nothing of the others would."""

    def __init__(self, url: str, token: str, company_id: str, agent_id: str) -> None:
        super().__init__(daemon=True)
        self.answered: list[Key] = []
        self.fired_at: dict[str, float] = {}  # run, and when it was answered
        self.refused: list[str] = []
        self.times = Times()
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self._company_id, self._agent_id = company_id, agent_id
        self._is_over = threading.Event()

    def run(self) -> None:
        company = f"/api/companies/{self._company_id}"
        body = {"title": "Ours", "assigneeAgentId": self._agent_id, "concurrencyPolicy": "always_enqueue"}
        routine = self._time_request("create", "POST", f"{company}/routines", body)
        while not self._is_over.wait(PAUSE_S):
            key = str(uuid4())
            run = self._time_request("fire", "POST", f"/api/routines/{routine['id']}/run", {"idempotencyKey": key})
            if run:
                self.answered.append((routine["id"], key))
                self.fired_at[run["id"]] = time.monotonic()
                self._time_request("finish", "PATCH", f"/api/issues/{run['linkedIssueId']}", {"status": "done"})
            self._time_request("read", "GET", f"/api/routines/{routine['id']}")
            self._time_request("read at once", "GET", f"/api/routines/{routine['id']}", headers=EVENTUAL)
            self._time_request("list", "GET", f"{company}/issues?limit=20")

    def end(self) -> None:
        self._is_over.set()
        self.join()
        self._http.close()

    def _time_request(
        self,
        operation: str,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        began = time.monotonic()
        try:
            answer = self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            self.refused.append(f"{operation}: {type(error).__name__} after {time.monotonic() - began:.2f} s")
            return {}
        self.times.note(operation, time.monotonic() - began)
        if not answer.is_success:
            self.refused.append(f"{operation}: {answer.status_code} {answer.text[:200]}")
            return {}
        return answer.json() if isinstance(answer.json(), dict) else {}


class Memory(threading.Thread):
    """The most memory that each process has had, in bytes."""

    def __init__(self, processes: dict[str, Process]) -> None:
        super().__init__(daemon=True)
        self.most: dict[str, int] = dict.fromkeys(processes, 0)
        self._processes = processes
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(0.2):
            for role, process in self._processes.items():
                self.most[role] = max(self.most[role], _resident_bytes(process.pid))

    def end(self) -> None:
        self._is_over.set()
        self.join()


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    alone_s, seconds = size(full=30, short=10, brief=0.5), size(full=300, short=60, brief=2.5)
    progress, broken, notes = Progress("neighbour"), list[str](), list[str]()
    with ExitStack() as stack:
        database = stack.enter_context(environment.database())
        log = stack.enter_context(database.auditor())
        system = stack.enter_context(bootstrap.system(database.settings()))
        receiver = stack.enter_context(Receiver())
        admin = bootstrap.first_board_token(database.settings()) or ""
        url, processes, memory = stack.enter_context(_run_processes(environment, database))
        company_fixture = CompanyFixture(system)
        ids = str(company_fixture.company_id), str(company_fixture.agent_id)
        token = _token_of_owner(url, admin, ids[0])
        _subscribe(url, token, ids[0], receiver.url)
        alone = _measure_alone(url, token, ids, alone_s)
        busy = alone if size.name == "brief" else _watch_on_busy_processor(url, token, ids, alone_s)
        bytes_before = _database_bytes(database)
        began = oracle.clock(log) + timedelta(seconds=1)
        company_fixture.once([began + timedelta(seconds=chance.uniform(0, seconds)) for _ in range(int(seconds * 2))])
        progress("the neighbour was alone; now the hostile tenant begins")
        neighbour = Neighbour(url, token, *ids)
        neighbour.start()
        hostile = _attack(url, admin, seconds, str(chance.random()))
        neighbour.end()
        progress("the hostile tenant is done")
        bytes_after = _database_bytes(database)
        with noting_standstill(broken):
            wait_for(lambda: is_settled(database), UNTIL_SETTLED_S)
        with noting_standstill(broken):
            wait_for(lambda: set(neighbour.fired_at) <= _runs_told(receiver), UNTIL_SETTLED_S)
        untold = len(set(neighbour.fired_at) - _runs_told(receiver))
        broken += [f"the neighbour's endpoint was not told of {untold} of {len(neighbour.fired_at)} runs"] * bool(
            untold
        )
        memory.end()
        broken += [f"{role} ended" for role, process in processes.items() if process.poll() is not None]
        verdict = oracle.judge(log, began=began, answered=neighbour.answered, company=ids[0])
    growth, most_growth = bytes_after - bytes_before, _most_growth(seconds)
    slow = neighbour.times.slow()
    if size.name != "brief":
        broken += [
            f"{sum(slow.values())} answers took longer than {SLOWEST_S:g} s, the slowest {max(neighbour.times.all):.2f} s: "
            + ", ".join(f"{operation} {many}" for operation, many in slow.items())
        ] * bool(slow)
        broken += [f"an occurrence was {verdict.worst_s:.2f} s late"] * (verdict.worst_s > SLOWEST_S)
    broken += [f"the neighbour was refused: {text}" for text in neighbour.refused[:5]]
    broken += [
        f"{role} has had {size_ / 1e6:.0f} MB" for role, size_ in memory.most.items() if size_ > MOST_MEMORY_BYTES
    ]
    broken += [f"the database has grown by {growth / 1e6:.0f} MB"] * (growth > most_growth)
    broken += [f"{attack} was answered with {status}" for attack, status, _ in hostile if status == 500]
    many = sum(many for *_, many in hostile)
    notes.append(f"{many:,} hostile requests: {_by_status(hostile)}")
    notes.append(
        f"alone, beside a busy processor, beside the hostile tenant: {_describe_medians(alone, busy, neighbour.times)}"
    )
    notes.append(f"slowest answer: {max(alone.all):.2f}, {max(busy.all):.2f}, {max(neighbour.times.all):.2f} s")
    notes.append(f"most memory: {', '.join(f'{role} {size_ / 1e6:.0f} MB' for role, size_ in memory.most.items())}")
    notes.append(f"the database has grown by {growth / 1e6:.0f} MB; the quotas allow {most_growth / 1e6:.0f} MB")
    return [Outcome("neighbour", verdict, f"{seconds:g} s, {many:,} requests", broken, notes=notes)]


@contextmanager
def _run_processes(environment: Environment, database: Database) -> Iterator[tuple[str, dict[str, Process], Memory]]:
    """Yield the four processes: where they are reached, and what memory they take."""
    processes: Processes = database.processes(env={"ROUTINES_ALLOW_PRIVATE_TARGETS": "true"})
    with reserved_port() as port:
        try:
            running = {role: processes.start(role, *(["--port", str(port)] if role == "web" else [])) for role in ROLES}
            wait_for(lambda: answers(port), environment.limit_s)
            memory = Memory(running)
            memory.start()
            yield f"http://127.0.0.1:{port}", running, memory
        finally:
            processes.end()


def _measure_alone(url: str, token: str, ids: tuple[str, str], seconds: float) -> Times:
    """Return how long the answers to the neighbour take when it is alone."""
    neighbour = Neighbour(url, token, *ids)
    neighbour.start()
    time.sleep(seconds)
    neighbour.end()
    return neighbour.times


def _watch_on_busy_processor(url: str, token: str, ids: tuple[str, str], seconds: float) -> Times:
    """Measure the same beside as many processes as there are cores that do nothing but count, as busy as the service in the attack."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(os.cpu_count() or 1)]
    try:
        return _measure_alone(url, token, ids, seconds)
    finally:
        for process in burning:
            process.kill()
            process.wait()


def _token_of_owner(url: str, admin: str, company_id: str) -> str:
    """Make the neighbour an owner of its company, and no admin of the instance; return its token."""
    body = {"name": "Neighbour", "membershipRole": "owner"}
    headers = {"Authorization": f"Bearer {admin}"}
    answer = httpx.post(f"{url}/api/companies/{company_id}/members", json=body, headers=headers, timeout=30)
    return str(answer.raise_for_status().json()["token"])


def _subscribe(url: str, token: str, company_id: str, receiver: str) -> None:
    body = {"url": receiver, "events": ["run.fired"]}
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/api/companies/{company_id}/webhook-endpoints"
    httpx.post(f"{url}{path}", json=body, headers=headers, timeout=30).raise_for_status()


def _attack(url: str, token: str, seconds: float, seed: str) -> list[tuple[str, int, int]]:
    """Make a company with a key of every kind and hand it to the hostile tenant; return how it was answered."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = http.post(path, json=body).raise_for_status().json()
            return answer if isinstance(answer, dict) else {}

        post("/api/v1/collections", {"name": "hostile"})
        companies = http.get("/api/companies").json()
        company_id = next(company["id"] for company in companies if company["name"] == "hostile")
        path = f"/api/companies/{company_id}"
        members = {
            role: post(f"{path}/members", {"name": role, "membershipRole": role})["token"]
            for role in ("owner", "member", "viewer")
        }
        agent_id = post(f"{path}/agents", {"name": "Mallory"})["id"]
        tokens = {
            **members,
            "agent": post(f"/api/agents/{agent_id}/keys", {})["token"],
            "collection": post("/api/v1/api-keys", {"name": "k", "collection_name": "hostile"})["api_key"],
        }
    orders = {
        "url": url,
        "company_id": company_id,
        "agent_id": agent_id,
        "collection": "hostile",
        "tokens": tokens,
        "seconds": seconds,
        "seed": seed,
    }
    argv = [sys.executable, "-m", "verification.faults.hostile"]
    result = subprocess.run(argv, input=json.dumps(orders), stdout=subprocess.PIPE, text=True, check=True)
    return [(attack, status, many) for attack, status, many in json.loads(result.stdout)]


def _runs_told(receiver: Receiver) -> set[str]:
    return {request.json["data"]["streamId"] for request in receiver.good}


def _database_bytes(database: Database) -> int:
    with database.superuser() as conn:
        row = conn.execute(SIZES).fetchone()
    return int(row[0]) if row else 0


def _most_growth(seconds: float) -> float:
    """Return what the quota of one company may come to, in bytes."""
    minutes = seconds / 60 + 1
    return COPIES * minutes * limits.DEFAULT.max_company_bytes_per_minute + SLACK_BYTES


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * 4096


def _describe_medians(alone: Times, busy: Times, with_neighbour: Times) -> str:
    """Write the medians of each operation, and what the last is beside the one before."""
    first, second, third = alone.medians(), busy.medians(), with_neighbour.medians()
    return "; ".join(
        f"{operation} {1000 * first[operation]:.0f}, {1000 * second[operation]:.0f}, {1000 * third[operation]:.0f} ms "
        f"({third[operation] / second[operation]:.1f} times)"
        for operation in first
        if operation in second and operation in third
    )


def _by_status(hostile: list[tuple[str, int, int]]) -> str:
    totals: dict[int, int] = {}
    for _, status, many in hostile:
        totals[status] = totals.get(status, 0) + many
    return ", ".join(f"{many:,} of {status}" for status, many in sorted(totals.items()))
