"""
Many callers at once on a real system with ten connections to its database, and the database gone under them.

The log is judged by queries of our own: whatever was answered is in it once, and nothing is half made (contract D19).
"""

import json
import os
import shutil
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Barrier, Event, Thread
from uuid import uuid4

import httpx
import psycopg
import pytest

from routines.local import accounts
from routines.postgres.cluster import LocalPostgres
from tests.acceptance.running_system import running_system
from tests.waiting import wait_for

ROUTINES = 100
CALLERS = 200
MIXED = 24  # callers who do everything, on ten connections
HURRIED = 12  # callers while the database goes away


class Clients:
    """Callers of a running system, each with a thread and a connection of its own."""

    def __init__(self, url, token):
        # The client closes no connection by itself: it would close some that another thread has just been given.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)
        self.client = httpx.Client(base_url=f"{url}/api", timeout=60, trust_env=False, limits=limits)
        self.client.headers["Authorization"] = f"Bearer {token}"

    def post(self, path, body):
        return self.client.post(path, json=body).raise_for_status().json()

    def get(self, path):
        return self.client.get(path).raise_for_status().json()

    def routines(self, many, **fields):
        """A company, and ids of new routines of one agent."""
        company = self.post("/companies", {"name": "Acme"})["id"]
        agent = self.post(f"/companies/{company}/agents", {"name": "Scout"})["id"]
        body = {"assigneeAgentId": agent, "concurrencyPolicy": "always_enqueue", **fields}
        path = f"/companies/{company}/routines"
        return company, [self.post(path, {"title": f"Routine {number}", **body})["id"] for number in range(many)]

    def run(self, routine, key):
        return self.client.post(f"/routines/{routine}/run", json={"idempotencyKey": key})

    def at_once(self, calls):
        """What each call gives; all begin together."""
        begin = Barrier(len(calls))

        def wait_and(call):
            begin.wait()
            return call()

        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(wait_and, call) for call in calls]]

    @contextmanager
    def asked_for_health(self):
        """The answers of a watcher who asks again and again, until the end of the `with`."""
        statuses, ended = [], Event()

        def watch():
            while True:
                statuses.append(self.client.get("/health", timeout=10).status_code)
                if ended.wait(0.05):
                    return

        watcher = Thread(target=watch)
        watcher.start()
        try:
            yield statuses
        finally:
            ended.set()
            watcher.join()


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory):
    """A durable Postgres of our own, which the system does not watch over."""
    local = LocalPostgres(tmp_path_factory.mktemp("load"), parts=accounts.of_parts(print), parts_roles=("postgres",))
    local.start()
    yield local
    local.stop()
    shutil.rmtree((local.root / "postgres").resolve())


@pytest.fixture(scope="module")
def system_address(own_postgres, tmp_path_factory):
    """The URL and the board token of a running system."""
    data_dir = tmp_path_factory.mktemp("system")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROUTINES_DATABASE_URL", own_postgres.url("postgres"))
        patch.setenv("ROUTINES_CONNECTIONS", "10")
        patch.setenv("ROUTINES_WEBHOOK_RATE", "0")
        with running_system(data_dir) as state:
            yield state["url"], (data_dir / "board.token").read_text().strip()


@pytest.fixture
def crowd(system_address):
    """New for each test: the service closes what was idle for a minute, perhaps as a request is sent."""
    clients = Clients(*system_address)
    yield clients
    clients.client.close()


@pytest.fixture
def log(own_postgres):
    """What the log holds, as an auditor reads it."""

    def read(name):
        query = "SELECT stream_id, convert_from(body, 'UTF8') FROM log.events WHERE name = %s ORDER BY position"
        with psycopg.connect(own_postgres.url("routines_auditor")) as conn:
            return [(str(stream), json.loads(body)["event"]) for stream, body in conn.execute(query, [name])]

    return read


def half_made(log):
    """Runs without their issue or their place in the slot, and issues without their run."""
    issues = {issue: event.get("run_id") for issue, event in log("issue.opened")}
    taken = Counter(event["live"]["issue_id"] for _, event in log("slot.taken"))
    opened = {
        event["outcome"]["issue_id"]: run
        for run, event in list_fired_runs(log)
        if event["outcome"]["type"] == "issue_created"
    }
    wrong = [run for issue, run in opened.items() if issues.get(issue) != run or taken[issue] != 1]
    return wrong + [issue for issue, run in issues.items() if run and issue not in opened]


def list_fired_runs(log):
    return log("run.fired")


def keys_of(log, routines):
    """The idempotency key of each run of these routines."""
    return Counter(event["idempotency_key"] for _, event in list_fired_runs(log) if event["routine_id"] in routines)


def test_two_hundred_runs_at_once_on_ten_connections_are_each_recorded_once(crowd, log):
    """Contract D19: twelve at once were enough to stop the other server for good."""
    _, routines = crowd.routines(ROUTINES)
    keys = [f"{number}" if number % 2 else f"{number}-{uuid4()}" for number in range(ROUTINES)]
    twice = [
        (routine, key if n == 0 or number % 2 else f"{key}-b")
        for n in (0, 1)
        for number, (routine, key) in enumerate(zip(routines, keys, strict=True))
    ]

    with crowd.asked_for_health() as health:
        answers = crowd.at_once([lambda one=one: crowd.run(*one) for one in twice])

    assert [202] * CALLERS == [answer.status_code for answer in answers]
    assert Counter(dict.fromkeys({key for _, key in twice}, 1)) == keys_of(log, routines)
    ids = {(routine, key): answer.json()["id"] for (routine, key), answer in zip(twice, answers, strict=True)}
    assert all(ids[one] == answer.json()["id"] for one, answer in zip(twice, answers, strict=True))
    assert [] == half_made(log)
    assert {200} == set(health)


def test_a_burst_on_one_routine_opens_one_issue(crowd, log):
    company, [routine] = crowd.routines(1, concurrencyPolicy="coalesce_if_active")

    answers = crowd.at_once([lambda n=n: crowd.run(routine, f"burst {n}") for n in range(100)])

    runs = [answer.json() for answer in answers]
    assert {202: 100} == Counter(answer.status_code for answer in answers)
    assert {"issue_created": 1, "coalesced": 99} == Counter(run["status"] for run in runs)
    [issue] = {run["linkedIssueId"] for run in runs}
    assert [issue] == [one["id"] for one in crowd.get(f"/companies/{company}/issues")]
    assert 100 == sum(keys_of(log, [routine]).values())
    assert [] == half_made(log)


def as_told(ask, *args, **kwargs):
    """The answer, after coming back for as long as we are told to, and not before: then nothing was recorded."""
    while (answer := ask(*args, **kwargs)).status_code == 503 and "retry-after" in answer.headers:
        time.sleep(float(answer.headers["retry-after"]))
    return answer


def test_all_kinds_of_callers_at_once_get_what_they_ask_for(crowd, log, chance):
    """Webhooks, runs by hand, reads and edits; nothing is refused, lost or made up."""
    company, routines = crowd.routines(10)
    webhooks = [
        crowd.post(f"/routines/{routine}/triggers", {"kind": "webhook"})["secretMaterial"] for routine in routines
    ]

    def fire(number):
        to = webhooks[number % 10]
        headers = {"Authorization": f"Bearer {to['webhookSecret']}", "Idempotency-Key": f"fired {number}"}
        return as_told(crowd.client.post, to["webhookUrl"], headers=headers, json={"n": number})

    def run(number):
        return as_told(crowd.run, routines[number % 10], f"by hand {number}")

    def edit(number):
        return as_told(crowd.client.patch, f"/routines/{routines[number % 10]}", json={"title": f"Edited {number}"})

    def read(number):
        shown = ("", "/runs", "/revisions")[number % 3]
        return as_told(crowd.client.get, f"/routines/{routines[number % 10]}{shown}")

    kinds = [(kind, n) for n in range(2) for kind in (fire, run, edit, read)]

    def caller(number):
        turns = chance.sample(kinds, len(kinds))
        return lambda: [(kind.__name__, number * 10 + n, kind(number * 10 + n)) for kind, n in turns]

    with crowd.asked_for_health() as health:
        answers = [one for of_one in crowd.at_once([caller(number) for number in range(MIXED)]) for one in of_one]

    expected = {"fire": 202, "run": 202, "edit": 200, "read": 200}
    assert [] == [
        (kind, n, answer.status_code, answer.text)
        for kind, n, answer in answers
        if expected[kind] != answer.status_code
    ]
    wanted = {f"fired {n}" for kind, n, _ in answers if kind == "fire"} | {
        f"by hand {n}" for kind, n, _ in answers if kind == "run"
    }
    assert Counter(dict.fromkeys(wanted, 1)) == keys_of(log, routines)
    updates = crowd.client.get(f"/companies/{company}/events?kind=routine.updated&limit=1000").raise_for_status().json()
    titles = {event["data"]["settings"]["title"] for event in updates}
    assert {f"Edited {n}" for kind, n, _ in answers if kind == "edit"} <= titles
    assert [] == half_made(log)
    assert {200} == set(health)


def test_while_the_database_is_gone_callers_are_told_to_come_back_and_nothing_is_lost(crowd, log, own_postgres):
    _, routines = crowd.routines(5)
    numbers, ended, answers = count(), Event(), []

    def call_on():
        while not ended.is_set():
            key = f"hurried {next(numbers)}"
            answers.append((key, crowd.run(routines[len(answers) % 5], key)))

    def count_answers(status):
        return sum(answer.status_code == status for _, answer in list(answers))

    callers = [Thread(target=call_on) for _ in range(HURRIED)]
    for caller in callers:
        caller.start()
    wait_for(lambda: count_answers(202) > 50)
    os.kill(int((own_postgres.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    wait_for(lambda: count_answers(503) >= 5, limit_s=60)
    assert 503 == crowd.client.get("/health").status_code
    own_postgres.start()
    before = count_answers(202)
    wait_for(lambda: count_answers(202) > before + 50, limit_s=60)
    ended.set()
    for caller in callers:
        caller.join()

    assert {202, 503} == {answer.status_code for _, answer in answers}
    recorded = keys_of(log, routines)
    assert {1} == set(recorded.values())
    assert set() == {key for key, answer in answers if answer.status_code == 202} - recorded.keys()
    assert set() == {key for key, answer in answers if "retry-after" in answer.headers} & recorded.keys()
    unsure = {key for key, answer in answers if answer.status_code == 503 and "retry-after" not in answer.headers}
    assert recorded.keys() <= {key for key, answer in answers if answer.status_code == 202} | unsure
    assert [] == half_made(log)
    assert wait_for(lambda: crowd.get("/health")["status"] == "ok")
    assert sum(recorded.values()) == len([run for routine in routines for run in log_of(crowd, routine)])


def log_of(crowd, routine):
    return crowd.get(f"/routines/{routine}/runs?limit=200")
