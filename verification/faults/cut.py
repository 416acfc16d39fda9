"""
Exhaustive cut: the connection ends within and after every message of a piece of work, and goes silent at it.

For k = 1, 2, ... the k-th message between one client and Postgres meets the fault; the client then goes on as it
always does, until it is done. Where the fault is silence, a second client that has no trouble must get the work done
meanwhile. Then both do it again. So the only numbers that are right: one outcome, whole. A fourth fault leaves the
connection alone: whoever asks over HTTP leaves at the k-th message, and asks again.
"""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import httpx
import psycopg
import structlog
from eventsourcing.persistence import PersistenceError
from msgspec.structs import replace

from domain.values import TriggerSettings
from processes import projector as projectors
from processes.projector import Projector
from processes.scheduler.scheduler import Scheduler
from processes.threads import run_beside
from projections import catalogue
from projections.engine import positions
from routines import bootstrap, clock
from routines.settings import Settings
from verification.faults import oracle, postgres_proxy, read_models
from verification.faults.campaign import CampaignSize, Outcome, Progress
from verification.faults.environment import Database, Environment
from verification.faults.load import DAY, MINUTE, CompanyFixture
from verification.faults.oracle import Verdict
from verification.faults.postgres_proxy import Action, FaultAtMessage, Proxy
from web.app import create_app
from web.http.backend import Backend

LEAVE = "leave"
MODES = {"within": Action.CUT_WITHIN, "after": Action.CUT_AFTER, "silence": Action.SILENCE, LEAVE: Action.PASS}
LIMITS = {  # time limits of the service, shorter than usual
    "lock_timeout": "200ms",
    "idle_in_transaction_session_timeout": "200ms",
    "statement_timeout": "2s",
}
TRANSACTION_LIMIT = "400ms"
UNTIL_DONE_S = 30.0  # how long a client tries
ENOUGH = 5  # after so many wrong cases the rest of a kind is left out
SILENCE_S = 3.0  # how long a second client may need beside a silent one
CATCH_UP = 25
GROUP = 3  # appends that are committed together
READS = 3  # requests that read, at once
OPEN_S = 0.15  # how long the first of them is held up at most: less than lock_timeout
UNCUT = 3  # firings in a row that were over before their message came: how many there are varies a little
LEFT = httpx.Response(499)  # what a client that has left has got


class SystemUnderFault:
    """A scheduler, a projector and a web application on one database, and the ways to use them once."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self.system = stack.enter_context(bootstrap.system(settings))
        self._scheduler = Scheduler(self.system.executor, self.system.store.after, batch=200)
        self._projector = Projector(catalogue.ALL, self.system.store.after)
        stack.callback(self._projector.close)
        self._conn: psycopg.Connection[Any] | None = None
        self._projecting: psycopg.Connection[Any] | None = None
        self._asking: list[asyncio.Task[httpx.Response]] = []
        self._loop = stack.enter_context(asyncio.Runner())
        self._backend = Backend(self.system.executor, self.system.pool, 1.0)
        app = create_app(self._backend, "https://routines.example")
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]
        self._http = httpx.AsyncClient(transport=transport, base_url="https://routines.example/api")
        stack.callback(self._close)

    def _close(self) -> None:
        for conn in (self._conn, self._projecting):
            if conn is not None:
                conn.close()

    def tick(self) -> bool:
        """Do what processes.scheduler.run does once."""
        try:
            if self._conn is None or self._conn.closed:
                self._conn = bootstrap.connect(self.system.settings)
            self._scheduler.tick(self._conn)
        except Exception:  # noqa: BLE001 what the process does not outlive, its supervisor starts again
            if self._conn is not None:
                self._conn.close()
            return False
        return True

    def project(self) -> bool:
        """Do what processes.projector.run does; return whether all read models are at the head then."""
        try:
            if self._projecting is None or self._projecting.closed:
                self._projecting = bootstrap.connect_projector(self.system)
                self._projector.begin()
            while self._projector.step(self._projecting):
                pass
            return not positions.gap(self._projecting, [model.name for model in catalogue.ALL])[1]
        except (psycopg.Error, PersistenceError):
            if self._projecting is not None:
                self._projecting.close()
            return False

    def request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        return self.at_once([(method, path, body)], headers)[0]

    def at_once(self, requests: Sequence[tuple[str, str, Any]], headers: dict[str, str]) -> list[httpx.Response]:
        async def send() -> list[httpx.Response]:
            self._asking = [
                asyncio.create_task(self._http.request(method, path, json=body, headers=headers))
                for method, path, body in requests
            ]
            await asyncio.wait(self._asking, timeout=UNTIL_DONE_S)
            self._end_requests()
            await asyncio.wait(self._asking)
            return [LEFT if task.cancelled() else task.result() for task in self._asking]

        return self._loop.run(send())

    def leave(self) -> None:
        """Let whoever asks now leave, as the web process does when a client disconnects. Any thread may call it."""
        self._loop.get_loop().call_soon_threadsafe(self._end_requests)

    def _end_requests(self) -> None:
        for task in self._asking:
            task.cancel()

    @property
    def many_waiting(self) -> int:
        """How many appends wait to be committed together."""
        return self._backend.many_waiting


class Case:
    """
    One thing to be done: `act` does it once and says whether it knows that it is done.

    What it was told that is not so, it puts into `untrue`.
    """

    def __init__(self, act: Callable[[SystemUnderFault], bool], answers: tuple[oracle.Key, ...] = ()) -> None:
        self.act = act
        self.answers = answers
        self.untrue = list[str]()


class Workload:
    """What is to be done, on a workplace that is reached without faults."""

    def __init__(self, side: SystemUnderFault, token: str, superuser: Callable[[], psycopg.Connection[Any]]) -> None:
        self._side = side
        self._superuser = superuser
        self._workplace = CompanyFixture(side.system)
        self._headers = {"Authorization": f"Bearer {token}", "X-Routines-Consistency": "eventual"}

    def schedule(self) -> Case:
        moment = self._side.system.clock() - timedelta(seconds=2)
        settings = TriggerSettings(run_at=moment, timezone="UTC")
        self._workplace.arm(moment - MINUTE, [({}, settings, moment)])
        return Case(SystemUnderFault.tick)

    def catch_up(self) -> Case:
        now = self._side.system.clock().replace(second=0, microsecond=0)
        first = now - (CATCH_UP - 1) * MINUTE
        policies = {"concurrency_policy": "always_enqueue", "catch_up_policy": "enqueue_missed_with_cap"}
        settings = TriggerSettings(cron_expression="* * * * *", timezone="Europe/Amsterdam", ends_at=now)
        self._workplace.arm(first - MINUTE / 2, [(policies, settings, first)])
        return Case(SystemUnderFault.tick)

    def projection(self) -> Case:
        with _open_patient_connection(self._side) as conn:
            _catch_up(conn, self._side.system.store.after)  # so that there is one batch to fold, and a small one
        moment = self._side.system.clock()
        self._workplace.arm(moment, [({}, TriggerSettings(run_at=moment + DAY, timezone="UTC"), moment + DAY)])
        return Case(SystemUnderFault.project)

    def read(self) -> Case:
        """Return the case in which many read at once: each gets what it has asked for, and nothing of another."""
        paths = [f"/routines/{self._create_routine()}" for _ in range(READS)]
        headers = {"Authorization": self._headers["Authorization"]}

        def act(side: SystemUnderFault) -> bool:
            answers = side.at_once([("GET", path, None) for path in paths], headers)
            read = [
                (path, f"/routines/{answer.json()['id']}")
                for path, answer in zip(paths, answers, strict=True)
                if answer.is_success
            ]
            case.untrue += [f"{path} was answered with {found}" for path, found in read if path != found]
            return len(read) == READS

        case = Case(act)
        return case

    def manual(self) -> Case:
        routine_id, key = self._create_routine(), str(uuid4())
        return self._request_case(f"/routines/{routine_id}/run", {"idempotencyKey": key}, answers=((routine_id, key),))

    def webhook(self) -> Case:
        routine_id, key = self._create_routine(), str(uuid4())
        trigger = self._require_success(
            "POST", f"/routines/{routine_id}/triggers", {"kind": "webhook", "signingMode": "bearer"}
        )
        path = f"/routine-triggers/public/{trigger['trigger']['publicId']}/fire"
        bearer = {"Authorization": f"Bearer {trigger['secretMaterial']['webhookSecret']}", "Idempotency-Key": key}
        return self._request_case(path, {}, bearer, ((routine_id, key),))

    def completion(self) -> Case:
        run = self._require_success("POST", f"/routines/{self._create_routine()}/run", {"idempotencyKey": str(uuid4())})
        issue_id = run["linkedIssueId"]

        return Case(
            lambda side: side.request("PATCH", f"/issues/{issue_id}", {"status": "done"}, self._headers).is_success
        )

    def group(self) -> Case:
        """Return the case of one append on its way, and GROUP more that wait for it and are committed together."""
        keys = tuple((self._create_routine(), str(uuid4())) for _ in range(1 + GROUP))
        requests = [("POST", f"/routines/{routine_id}/run", {"idempotencyKey": key}) for routine_id, key in keys]

        def act(side: SystemUnderFault) -> bool:
            with self._superuser() as conn:
                conn.autocommit = False
                conn.execute("SELECT FROM log.head FOR UPDATE")  # nobody commits
                opener = threading.Thread(target=_open_when_all_wait, args=(conn, side))
                opener.start()
                answers = side.at_once(requests, self._headers)
                opener.join()
            return all(answer.is_success for answer in answers)

        return Case(act, keys)

    def _request_case(
        self, path: str, body: Any, headers: dict[str, str] | None = None, answers: tuple[oracle.Key, ...] = ()
    ) -> Case:
        return Case(lambda side: side.request("POST", path, body, headers or self._headers).is_success, answers)

    def _create_routine(self) -> str:
        body = {"title": "Cut", "assigneeAgentId": str(self._workplace.agent_id)}
        return str(self._require_success("POST", f"/companies/{self._workplace.company_id}/routines", body)["id"])

    def _require_success(self, method: str, path: str, body: Any) -> Any:
        answer = self._side.request(method, path, body, self._headers)
        if not answer.is_success:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()


def _open_when_all_wait(conn: psycopg.Connection[Any], side: SystemUnderFault) -> None:
    """Let others commit as soon as GROUP appends wait, or after a while: a fault may have kept some from coming."""
    end = time.monotonic() + OPEN_S
    while side.many_waiting < GROUP and time.monotonic() < end:
        time.sleep(0.001)
    conn.rollback()


BY_TIME = ("schedule", "catch_up", "projection")
BY_HTTP = ("manual", "webhook", "completion", "group", "read")


@contextmanager
def _run_projector(side: SystemUnderFault) -> Iterator[None]:
    """Run the projector: HTTP wants the read models, while the scheduler folds its own."""
    stop = threading.Event()
    projector = Projector(catalogue.ALL, side.system.store.after)
    work = partial(projectors.run, projector, lambda: _open_patient_connection(side), stop, outage=side.system.outage)
    with _open_patient_connection(side) as conn:
        _catch_up(conn, side.system.store.after)
    with run_beside("projector", work, stop):
        yield


def _catch_up(conn: psycopg.Connection[Any], read: positions.Read) -> None:
    while positions.advance(conn, catalogue.ALL, read):
        pass


def _open_patient_connection(side: SystemUnderFault) -> psycopg.Connection[Any]:
    conn = bootstrap.connect(side.system.settings)
    conn.execute("SET idle_in_transaction_session_timeout = 0")
    conn.execute("SET transaction_timeout = 0")  # this connection is not cut, so it has no short limits
    return conn


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    with environment.database() as database:
        outcomes = _cut_each_kind(environment, database, size, chance)
        if size.name != "brief":
            with bootstrap.system(database.settings()) as system, bootstrap.connect(system.settings) as conn:
                _catch_up(conn, system.store.after)
            outcomes[-1].broken += read_models.find_defects(database, environment.limit_s)
        return outcomes


def _cut_each_kind(
    environment: Environment, database: Database, size: CampaignSize, chance: random.Random
) -> list[Outcome]:
    with (
        _short_limits(),
        postgres_proxy.proxy_between(environment.socket) as proxy,
        ExitStack() as stack,
    ):
        token = bootstrap.first_board_token(database.settings()) or ""
        direct = SystemUnderFault(database.settings(), stack)
        cut_off = SystemUnderFault(database.settings(proxy.url("routines_service", database.name)), stack)
        log = stack.enter_context(database.auditor())
        silence_s = size(full=SILENCE_S, short=SILENCE_S, brief=environment.limit_s)
        bench = Bench(proxy, direct, cut_off, log, silence_s)
        works = Workload(direct, token, database.superuser)
        outcomes = [_all_cuts(bench, kind, getattr(works, kind), size, chance) for kind in BY_TIME]
        with _run_projector(direct):
            return outcomes + [_all_cuts(bench, kind, getattr(works, kind), size, chance) for kind in BY_HTTP]


class Bench:
    """Where one case after the other is cut."""

    def __init__(
        self,
        proxy: Proxy,
        direct: SystemUnderFault,
        cut_off: SystemUnderFault,
        log: psycopg.Connection[Any],
        silence_s: float,
    ) -> None:
        self.proxy, self.direct, self.cut_off, self.log = proxy, direct, cut_off, log
        self.silence_s = silence_s
        self.held: list[float] = []  # how long the second client needed beside a silent one, in seconds

    def one(
        self, make: Callable[[], Case], number: int, action: Action, beside: Callable[[], None]
    ) -> tuple[bool, Verdict]:
        """Return whether the fault was met, and what came of it."""
        after = oracle.head(self.log)
        case, fault = make(), FaultAtMessage(number, action, beside)
        done = threading.Event()
        client = threading.Thread(target=_until_done, args=(case, self.cut_off, done), daemon=True)
        self.proxy.fault = fault
        client.start()
        if action is Action.SILENCE:
            while client.is_alive() and not fault.hit.wait(0.002):
                pass
            if fault.hit.is_set():
                began = time.monotonic()
                while not case.act(self.direct) and time.monotonic() - began < self.silence_s:
                    time.sleep(0.01)
                self.held.append(time.monotonic() - began)
                self.proxy.heal()
        client.join(2 * UNTIL_DONE_S)
        self.proxy.fault = postgres_proxy.NoFault()
        _until_done(case, self.direct, threading.Event())
        verdict = oracle.judge(self.log, after=after, answered=case.answers if done.is_set() else ())
        verdict.lost += not done.is_set()
        verdict.invented += len(case.untrue)
        return fault.hit.is_set(), verdict


def _all_cuts(bench: Bench, kind: str, make: Callable[[], Case], size: CampaignSize, chance: random.Random) -> Outcome:
    stride, progress = int(size(full=1, short=7, brief=80)), Progress(f"cut {kind}")
    total, cases, broken, reach = Verdict(), 0, [], 0
    for mode, action in MODES.items():
        if mode == LEAVE and kind not in BY_HTTP:
            continue
        beside = bench.cut_off.leave if mode == LEAVE else lambda: None
        bench.held, uncut = [], 0
        for number in itertools.count(1 + chance.randrange(stride), stride):
            hit, verdict = bench.one(make, number, action, beside)
            cases, total, reach, uncut = cases + hit, total + verdict, max(reach, hit * number), 0 if hit else uncut + 1
            if uncut == (1 if stride > UNCUT else UNCUT):
                break
            if verdict.faults:
                broken.append(f"{mode} message {number}: {verdict}")
            if hit and mode == "silence" and bench.held[-1] > bench.silence_s:
                broken.append(f"silence at message {number} held the others up for more than {bench.silence_s:g} s")
            if len(broken) >= ENOUGH:
                return Outcome(f"cut: {kind}", total, f"{cases} cuts", broken)
            progress(f"{mode} message {number}, {cases} cases, {total.faults} wrong")
    total.worst_s = 0.0  # schedules are armed in the past, so their lateness says nothing
    return Outcome(f"cut: {kind}", total, f"{cases} cuts", broken, notes=[f"{reach} messages"])


def _until_done(case: Case, side: SystemUnderFault, done: threading.Event) -> None:
    end = time.monotonic() + UNTIL_DONE_S
    while not done.is_set() and time.monotonic() < end:
        if case.act(side):
            done.set()


@contextmanager
def _short_limits() -> Iterator[None]:
    """Give the service shorter limits, and a clock that is asked each time, so that each firing sends the same messages."""
    deciding, folding, projecting = (
        replace(profile, settings={**profile.settings, **LIMITS}, transaction_timeout=TRANSACTION_LIMIT)
        for profile in (bootstrap.DECIDING, bootstrap.FOLDING, bootstrap.PROJECTING)
    )
    shorter = patch.multiple(bootstrap, DECIDING=deciding, FOLDING=folding, PROJECTING=projecting)
    with shorter, patch.object(clock, "MAX_AGE_S", 0.0), structlog.testing.capture_logs():
        yield
