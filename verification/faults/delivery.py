"""
Random SIGKILL of the delivery process while calls of tasks complete, and a receiver that drops every third connection.

The receiver and the log are compared by code of their own: every completion must have arrived, repeats under the same
id with the same bytes, and each is recorded as delivered once. The pauses between attempts are short; nothing else of
the process is another.
"""

import hashlib
import hmac
import itertools
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from msgspec.structs import replace

from application.access import Caller
from application.execute import Executor
from application.request_bodies.jetty import CollectionCreate, RunCreate, TaskCreate
from application.use_cases.jetty import collections, tasks, trajectories
from application.use_cases.names import TaskPath
from domain.bounds.limits import Limits
from routines import bootstrap
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Database, Environment, Process, wait_for
from verification.faults.oracle import Verdict
from verification.faults.receiver import ReceivedRequest, Receiver

TASK = TaskPath(collection="my-org", task="say")
WORKFLOW: dict[str, object] = {"steps": ["say"], "step_configs": {"say": {"activity": "text_echo", "text": "hello"}}}
SECRET = "shh"  # noqa: S105 of nobody
PROCESSES = 2
RECORDED = """
    SELECT count(*), count(DISTINCT stream_id) FROM log.events WHERE name = 'delivery.delivered'"""
DEAD = "SELECT count(*) FROM log.events WHERE name = 'delivery.dead'"


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    kills, calls = int(size(full=100, short=20, brief=6)), int(size(full=1_000, short=200, brief=60))
    progress, broken, connections = Progress("delivery"), list[str](), itertools.count(1)

    def stumbling(_request: ReceivedRequest, _before: int) -> int | None:
        return None if next(connections) % 3 == 0 else 200

    with environment.database() as database, database.auditor() as log, Receiver(stumbling) as receiver:
        with sending(database) as running, noting_standstill(broken):
            caller = Caller(token=bootstrap.first_board_token(database.settings()))
            settings = replace(database.settings(), limits=Limits(allow_private_targets=True))
            with bootstrap.system(settings) as system:
                prepare(system.executor, caller)
                for number in range(kills):
                    call(system.executor, caller, receiver.url, calls // kills)
                    time.sleep(chance.uniform(0, 2))  # a process takes about a second to begin sending
                    victim = chance.randrange(PROCESSES)
                    running[victim].kill()
                    running[victim].wait()
                    running[victim] = start(database)
                    progress(f"{number + 1} kills, {len(receiver.got)} requests")
                call(system.executor, caller, receiver.url, calls - calls // kills * kills)
            wait_for(lambda: count_delivered(log)[0] + count_dead(log) >= calls, environment.limit_s)
        verdict = judge(receiver, log, calls)
        repeats = len(receiver.got) - len({got.id for got in receiver.got})
        return [Outcome("delivery", verdict, f"{kills} kills", broken, notes=[f"{repeats} requests were repeats"])]


@contextmanager
def sending(database: Database) -> Iterator[list[Process]]:
    running = [start(database) for _ in range(PROCESSES)]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def start(database: Database) -> Process:
    env = {
        **os.environ,
        "ROUTINES_DATABASE_URL": database.url(),
        "ROUTINES_KEY_FILE": database.key_file,
        "ROUTINES_ALLOW_PRIVATE_TARGETS": "true",
    }
    return database.launch([], env, database.directory / "delivery.log", "verification.faults.quick_delivery")


def prepare(executor: Executor, caller: Caller) -> None:
    executor.execute(caller, collections.create, CollectionCreate(name=TASK.collection))
    executor.execute(caller, tasks.create, TASK.collection, TaskCreate(name=TASK.task, workflow=WORKFLOW))


def call(executor: Executor, caller: Caller, url: str, many: int) -> None:
    """Make so many calls, which complete at once."""
    for _ in range(many):
        executor.execute(caller, trajectories.run, TASK, RunCreate(webhook_url=url, webhook_secret=SECRET))


def judge(receiver: Receiver, log: psycopg.Connection[Any], calls: int) -> Verdict:
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.got:
        bodies.setdefault(request.id, set()).add(request.body)
    arrived_ids = {request.id for request in receiver.good}
    trajectories = {request.json["trajectory_id"] for request in receiver.good}
    delivered_ids, streams = count_delivered(log)
    return Verdict(
        occurrences=calls,
        requests=len(receiver.got),
        lost=calls - len(trajectories),
        doubled=sum(len(bytes_) > 1 for bytes_ in bodies.values()) + delivered_ids - streams,
        invented=sum(not is_signed(request) for request in receiver.got) + max(len(arrived_ids) - len(trajectories), 0),
        half_made=abs(delivered_ids - len(arrived_ids)),
    )


def is_signed(request: ReceivedRequest) -> bool:
    """Return whether it carries the signature of the contract (Jetty contract 8)."""
    text = request.headers["x-mise-timestamp"].encode() + b"." + request.body
    expected_digest = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected_digest, request.headers["x-mise-signature"])


def count_delivered(log: psycopg.Connection[Any]) -> tuple[int, int]:
    """Return how many are recorded as delivered, and of how many streams."""
    row = log.execute(RECORDED).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def count_dead(log: psycopg.Connection[Any]) -> int:
    row = log.execute(DEAD).fetchone()
    return row[0] if row else 0
