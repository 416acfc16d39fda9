"""
Connections go bad under load, in every way that a network or an operator has: what comes next is as if nothing was.

* terminate   all of them are ended by pg_terminate_backend
* idle        the database ends sessions that are idle for a second, and nobody uses them for two
* silence     nothing goes on over those that are open, as behind a router that has forgotten them; new ones work
* read-only   the server takes no writes for a while, as a standby to which an address points, or as one whose disk is full

After each, requests are made one after the other: of the first two none may fail; silence and read-only may refuse while
they last, but only with 503 and Retry-After, and all is well RECOVERY_S after them.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from typing import Self
from uuid import uuid4

import httpx
from psycopg.sql import SQL, Identifier

from verification.faults import oracle, postgres_proxy
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Database, Environment, wait_for
from verification.faults.kill import MINUTES, RunningSystem, answers, finish, running_system
from verification.faults.load import PAUSE_S
from verification.faults.postgres_proxy import Action, Link, Message, Proxy

RECOVERY_S = 5.0
KERNEL_S = 10.0  # after which a connection on which nothing is acknowledged has ended: routines/connections.py
UNTIL_DUE = timedelta(seconds=0.5)
REQUESTS = 20  # after each poison
FIRED = "SELECT count(*) FROM log.events WHERE name = 'run.fired' AND convert_from(body, 'UTF8') LIKE %s"
OURS = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'routines_service'"


class Silence:
    """Of the connections that are there when it begins."""

    def __init__(self, proxy: Proxy) -> None:
        self._links = set(proxy.links)

    def on(self, link: Link, _message: Message) -> Action:
        return Action.SILENCE if link in self._links else Action.PASS


class Prober:
    """
    Makes one request after the other, by turns reads and manual runs, each run with a key of its own.

    The reads do not wait for the read models, so that only connections of the web process are judged.
    """

    def __init__(self, system: RunningSystem) -> None:
        self._system = system
        headers = {"Authorization": f"Bearer {system.token}", "X-Routines-Consistency": "eventual"}
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{system.port}/api", headers=headers, timeout=30)
        self.routine_id = ""
        self.keys: list[oracle.Key] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def prepare(self) -> bool:
        """Return whether there is a routine to run that the read models show."""
        if self.routine_id:
            return self._http.get(f"/routines/{self.routine_id}").is_success
        company = self._system.company_fixture
        body = {"title": "Probe", "assigneeAgentId": str(company.agent_id), "concurrencyPolicy": "always_enqueue"}
        answer = self._http.post(f"/companies/{company.company_id}/routines", json=body)
        self.routine_id = answer.json()["id"] if answer.is_success else ""
        return False

    def make_request(self, number: int) -> str | None:
        """Return what is wrong with the answer; `refused` if it says to come again."""
        try:
            if number % 2:
                answer = self._http.get(f"/routines/{self.routine_id}")
            else:
                key = str(uuid4())
                answer = self._http.post(f"/routines/{self.routine_id}/run", json={"idempotencyKey": key})
                self.keys += [(self.routine_id, key)] * answer.is_success
        except httpx.TransportError as error:
            return f"no answer: {type(error).__name__}"
        if answer.is_success:
            return None
        is_refusal = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "Retry-After" in answer.headers
        return "refused" if is_refusal else f"{answer.status_code} {answer.text}"


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    rounds, progress, broken = int(size(full=50, short=3, brief=1)), Progress("connections"), list[str]()
    kernel_s = size(full=KERNEL_S, short=KERNEL_S, brief=3)
    kinds = POISONS | {"silence": (partial(silence_links, kernel_s=kernel_s), True)}
    slowest_s, poisons, recovery_s = 0.0, 0, size(full=RECOVERY_S, short=RECOVERY_S, brief=environment.limit_s)
    with environment.database() as database, postgres_proxy.proxy_between(environment.socket) as proxy:
        url = proxy.url("routines_service", database.name)
        pause_s = size(full=PAUSE_S, short=PAUSE_S, brief=0.05)
        running = running_system(environment, database, chance, url, pause_s=pause_s)
        with running as system, Prober(system) as prober:
            for role in ("scheduler", "web", "projector"):
                system.start(role)
            with noting_standstill(broken):
                wait_for(lambda: answers(system.port), environment.limit_s)
                wait_for(prober.prepare, environment.limit_s)
                for name in [name for _ in range(rounds) for name in chance.sample(list(kinds), len(kinds))]:
                    system.company_fixture.late(3, MINUTES)
                    poison, may_refuse = kinds[name]
                    with poison(database, proxy):
                        failures = [prober.make_request(number) for number in range(2)] if may_refuse else []
                    began = time.monotonic()
                    if may_refuse:
                        wait_for(lambda: not prober.make_request(0) and not prober.make_request(1), environment.limit_s)
                        slowest_s = max(slowest_s, time.monotonic() - began)
                        failures = [text for text in failures if text != "refused"]
                    failures += [prober.make_request(number) for number in range(REQUESTS)]
                    broken += [f"{name}: {text}" for text in failures if text]
                    wait_until_fired(system, recovery_s)
                    poisons += 1
                    progress(f"{poisons} poisons, slowest recovery {slowest_s:.1f} s")
            broken += [f"requests failed for {slowest_s:.1f} s after a poison"] * (slowest_s > recovery_s)
            system.client.answered += prober.keys
            outcome = finish("connections", f"{poisons} poisons", system, broken)
            outcome.notes.append(f"all well {slowest_s:.1f} s after a poison at most")
            return [outcome]


def wait_until_fired(system: RunningSystem, limit_s: float) -> None:
    """Return when a schedule that has just come due is settled. Raises TimeoutError."""
    moment = system.company_fixture.system.clock() + UNTIL_DUE
    (trigger_id,) = system.company_fixture.once([moment])
    with system.database.auditor() as log:
        wait_for(lambda: log.execute(FIRED, (f'%"{trigger_id}"%',)).fetchone() == (1,), limit_s)


@contextmanager
def terminate_sessions(database: Database, _proxy: Proxy) -> Iterator[None]:
    with database.superuser() as conn:
        conn.execute(OURS)
    yield


@contextmanager
def limit_idle_time(database: Database, proxy: Proxy) -> Iterator[None]:
    set_to = SQL("ALTER DATABASE {} SET idle_session_timeout = {}")
    with database.superuser() as conn:
        conn.execute("SET idle_session_timeout = 0")
        conn.execute(set_to.format(Identifier(database.name), "1s"))
        with terminate_sessions(database, proxy):
            time.sleep(2)
        yield
        conn.execute(set_to.format(Identifier(database.name), 0))


@contextmanager
def silence_links(_database: Database, proxy: Proxy, kernel_s: float = KERNEL_S) -> Iterator[None]:
    """Silence the links until the kernel notices, as it does by tcp_user_timeout; the sockets here have no such thing."""

    def notice() -> None:
        proxy.fault = postgres_proxy.NoFault()
        proxy.heal()

    proxy.fault = Silence(proxy)
    kernel = threading.Timer(kernel_s, notice)
    kernel.start()
    yield
    kernel.join()


@contextmanager
def refuse_writes(database: Database, _proxy: Proxy) -> Iterator[None]:
    with database.superuser() as conn:
        conn.execute("SET default_transaction_read_only = off")
        try:
            conn.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            conn.execute("SELECT pg_reload_conf()")
            yield
        finally:
            conn.execute("ALTER SYSTEM RESET default_transaction_read_only")
            conn.execute("SELECT pg_reload_conf()")


Poison = Callable[[Database, Proxy], AbstractContextManager[None]]
POISONS: dict[str, tuple[Poison, bool]] = {  # and whether requests may be refused meanwhile
    "terminate": (terminate_sessions, False),
    "idle": (limit_idle_time, False),
    "silence": (silence_links, True),
    "read-only": (refuse_writes, True),
}
