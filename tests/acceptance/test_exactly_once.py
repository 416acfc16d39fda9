"""Real processes, killed and frozen in the middle of their work; the log is then judged by an oracle of its own."""

import json
import shutil
import signal
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import psycopg
import pytest

from application.execute import Executor
from routines import bootstrap
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests import waiting
from tests.processes.due import CompanyFixture
from verification.faults.environment import Processes
from verification.faults.forked import Forked

MINUTE = timedelta(minutes=1)
LIMIT_S = 30.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)
TRIGGERS = 240
LATE = 5  # minutes that each schedule has missed when the schedulers begin
POLICIES = ("coalesce_if_active", "skip_if_active", "always_enqueue")


@pytest.fixture
def own_postgres(tmp_path):
    """A durable Postgres of our own."""
    local = LocalPostgres(tmp_path)
    local.start()
    yield local
    local.stop()
    shutil.rmtree((tmp_path / "postgres").resolve())


@pytest.fixture
def processes(own_postgres, tmp_path):
    Processes(own_postgres.url("postgres"), tmp_path, launch=Forked).init()
    started = Processes(own_postgres.url("routines_service"), tmp_path, launch=Forked)
    yield started
    started.end()


@pytest.fixture
def log(own_postgres, processes):
    """The log as an auditor reads it, by none of our own code."""
    with psycopg.connect(own_postgres.url("routines_auditor"), autocommit=True) as conn:
        yield conn


@pytest.fixture
def superuser(own_postgres, processes):
    """May read the read models as well."""
    with psycopg.connect(own_postgres.url("postgres"), autocommit=True) as conn:
        yield conn


@contextmanager
def _past_may_be_written(own_postgres):
    """The log takes events of any time meanwhile; the processes work under its usual rules."""
    with psycopg.connect(own_postgres.url("postgres"), autocommit=True) as owner:
        owner.execute("UPDATE log.rules SET max_clock_difference = NULL")
        yield
        owner.execute("UPDATE log.rules SET max_clock_difference = DEFAULT")


@pytest.fixture
def armed_schedules(own_postgres, processes):
    """Schedules that have missed some minutes each, made at a time in the past."""
    with (
        bootstrap.system(Settings(database_url=own_postgres.url("routines_service"))) as system,
        _past_may_be_written(own_postgres),
    ):
        last = system.clock().replace(second=0, microsecond=0)
        began = last - LATE * MINUTE
        company_fixture = CompanyFixture(Executor(system.store, lambda: began - MINUTE / 2))
        minutes = ",".join(str((began + n * MINUTE).minute) for n in range(LATE + 1))
        return [
            one
            for number, policy in enumerate(POLICIES)
            for catch_up in ("enqueue_missed_with_cap", "skip_missed")
            for one in company_fixture.routines(
                TRIGGERS // 6 // (1 + number % 2),
                triggers=1 + number % 2,
                next_at=began,
                cron=f"{minutes} * * * *",
                concurrency_policy=policy,
                catch_up_policy=catch_up,
            )
        ]


def runs(log):
    return log.execute("SELECT count(*) FROM log.events WHERE name = 'run.fired'").fetchone()[0]


def is_settled(superuser):
    """Whether no schedule of the read model is due, and no event waits for a read model."""
    due = "SELECT count(*) FROM read_models.schedule WHERE next_at <= now()"
    behind = "SELECT count(*) FROM read_models.positions, log.head h WHERE positions.position < h.position"
    counts = [superuser.execute(query).fetchone() for query in (behind, due)]  # what is folded meanwhile is seen
    return [(0,), (0,)] == counts


def verdict(log, armed_schedules):
    """What became of the occurrences: counts, by an oracle that knows the schedule's minutes and nothing else."""
    rows = log.execute("SELECT stream_id, name, body, recorded_at, position, version FROM log.events ORDER BY position")
    by_name = defaultdict(list)
    for stream_id, name, body, recorded_at, *_ in rows:
        by_name[name].append((stream_id, json.loads(body)["event"], recorded_at))
    issues = {stream_id: event for stream_id, event, _ in by_name["issue.opened"]}
    taken = Counter(UUID(event["live"]["issue_id"]) for _, event, _ in by_name["slot.taken"])
    expected = {(one.trigger_id, one.next_at + n * MINUTE): one for one in armed_schedules for n in range(LATE + 1)}
    outcomes, half, early, opened = Counter(), 0, 0, set()
    for stream_id, event, recorded_at in by_name["run.fired"]:
        occurrence = datetime.fromisoformat(event["occurrence"])
        outcomes[UUID(event["trigger_id"]), occurrence] += 1
        early += recorded_at < occurrence
        if event["outcome"]["type"] == "issue_created":
            issue_id = UUID(event["outcome"]["issue_id"])
            opened.add(issue_id)
            half += issues.get(issue_id, {}).get("run_id") != str(stream_id) or taken[issue_id] != 1
    for trigger_id, event, _ in by_name["trigger.missed"]:
        first, last = datetime.fromisoformat(event["first"]), datetime.fromisoformat(event["last"])
        covered = [key for key in expected if key[0] == trigger_id and first <= key[1] <= last]
        outcomes.update(covered)
        assert event["count"] == len(covered)
    half += len(issues.keys() ^ opened)
    return {
        "occurrences": len(expected),
        "settled": sum(1 for key in expected if outcomes[key] == 1),
        "lost": sum(1 for key in expected if not outcomes[key]),
        "doubled": sum(1 for many in outcomes.values() if many > 1),
        "invented": len(outcomes.keys() - expected.keys()),
        "early": early,
        "half-made": half,
    }


def all_well(armed_schedules):
    many = len(armed_schedules) * (LATE + 1)
    return {"occurrences": many, "settled": many} | dict.fromkeys(
        ("lost", "doubled", "invented", "early", "half-made"), 0
    )


def test_a_scheduler_killed_again_and_again_settles_each_occurrence_once(
    log, superuser, processes, armed_schedules, chance
):
    processes.start("projector")

    stops = []
    for _ in range(4):
        scheduler, before = processes.start("scheduler"), runs(log)
        goal = before + chance.randint(1, 150)
        wait_for(lambda goal=goal: runs(log) >= goal or is_settled(superuser))
        time.sleep(chance.uniform(0, 0.03))
        scheduler.kill()
        assert -signal.SIGKILL == scheduler.wait()
        stops.append(runs(log))
    processes.start("scheduler")
    wait_for(lambda: is_settled(superuser))

    print(f"runs when it was killed: {stops}, at the end {runs(log)}")
    assert stops[2] < runs(log), "it was done before the last kill"
    assert all_well(armed_schedules) == verdict(log, armed_schedules)


def test_two_schedulers_of_which_one_freezes_settle_each_occurrence_once(
    log, superuser, processes, armed_schedules, chance
):
    processes.start("projector")
    frozen, _ = processes.start("scheduler"), processes.start("scheduler")

    goal = chance.randint(1, 300)
    wait_for(lambda: runs(log) >= goal)
    time.sleep(chance.uniform(0, 0.03))
    frozen.send_signal(signal.SIGSTOP)
    at_freeze = runs(log)
    wait_for(lambda: is_settled(superuser))
    time.sleep(1)
    frozen.send_signal(signal.SIGCONT)
    time.sleep(2)
    wait_for(lambda: is_settled(superuser))

    print(f"runs at the freeze: {at_freeze}, at the end {runs(log)}")
    assert frozen.poll() is None
    assert all_well(armed_schedules) == verdict(log, armed_schedules)
