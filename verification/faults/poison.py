"""
Triggers that cannot be carried out, among good ones that come due in the same seconds.

* a zone that is not there, a cron expression that cannot be read
* an event in the trigger's stream that cannot be decoded
The good ones must not wait for them, and each poisoned occurrence ends as failed, once, with a reason. What else a
poisoned schedule would have meant nobody can say, so the oracle passes it over.
"""

import random
from datetime import datetime, timedelta
from typing import Any

import psycopg

from domain.values import TriggerSettings
from routines import bootstrap
from verification.faults import oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress
from verification.faults.environment import Database, Environment, is_settled, settle, wait_for
from verification.faults.load import CompanyFixture

LATE_S = 1.0  # how late an occurrence that is not poisoned may be
LIMIT_S = 60.0
STANDSTILL_S = 15.0  # after which it is said that nothing happens any more
FAILED_S = 30.0  # within which a poisoned one must have failed
SETTINGS = {
    "no such zone": TriggerSettings(cron_expression="* * * * *", timezone="Mars/Olympus_Mons"),
    "no cron": TriggerSettings(cron_expression="61 25 * * *", timezone="UTC"),
}
POISONS = list(SETTINGS)
UNREADABLE = "undecodable event"
APPEND = "SELECT log.append(%s::uuid[], %s::bigint[], %s::text[], %s::bytea[], '{}'::uuid[], '{}'::bigint[])"
OUTCOMES = """
    SELECT event -> 'outcome' ->> 'type', event -> 'outcome' ->> 'reason'
    FROM log.events, LATERAL (SELECT convert_from(body, 'UTF8')::jsonb -> 'event' AS event) e
    WHERE name = 'run.fired' AND event ->> 'trigger_id' = %s"""


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    several, progress = int(size(full=20, short=2, brief=1)), Progress("poison")
    groups = [[*POISONS, UNREADABLE]] if size.name == "brief" else [POISONS, [UNREADABLE]]
    return [_among_good_ones(environment, size, chance, names * several, progress) for names in groups]


def _among_good_ones(
    environment: Environment, size: CampaignSize, chance: random.Random, names: list[str], progress: Progress
) -> Outcome:
    good, seconds = int(size(full=10_000, short=300, brief=60)), size(full=20, short=4, brief=1)
    late_s = size(full=LATE_S, short=LATE_S, brief=environment.limit_s)
    with environment.database() as database, database.auditor() as log, bootstrap.system(database.settings()) as system:
        company_fixture, processes = CompanyFixture(system), database.processes()
        try:
            for role in ("scheduler", "projector"):
                processes.start(role)
            company_fixture.late(5, 2)
            wait_for(lambda: oracle.runs(log) and is_settled(database), LIMIT_S)
            began = oracle.clock(log) + timedelta(seconds=2)
            poisoned_triggers = [
                _arm_poison(database, company_fixture, name, began + timedelta(seconds=0.5)) for name in names
            ]
            company_fixture.once([began + timedelta(seconds=chance.uniform(0, seconds)) for _ in range(good)])
            wait_for(lambda: oracle.clock(log) > began + timedelta(seconds=seconds), LIMIT_S)
            until, broken = _good_ones_done(database, poisoned_triggers)
            progress("the good ones are done")
            outcomes = _wait_for_outcomes(log, poisoned_triggers, began)
            verdict = oracle.judge(log, until=until, began=began, passed_over=poisoned_triggers)
            broken += [f"a good occurrence was {verdict.worst_s:.2f} s late"] * (verdict.worst_s > late_s)
            broken += [
                f"{name} did not end as failed, once and with a reason: {runs}"
                for name, runs in zip(names, outcomes, strict=True)
                if [(status, bool(reason)) for status, reason in runs] != [("failed", True)]
            ]
            reasons = {f"{name}: {reason}" for name, runs in zip(names, outcomes, strict=True) for _, reason in runs}
            title = f"poison: {', '.join(dict.fromkeys(names))}"
            return Outcome(title, verdict, f"{len(names)} poisoned", broken, notes=sorted(reasons))
        finally:
            processes.end()


def _good_ones_done(database: Database, poisoned_triggers: list[str]) -> tuple[datetime | None, list[str]]:
    """Wait until the good ones are settled; return when, and what is to be said if they are not."""
    try:
        return settle(database, STANDSTILL_S, poisoned_triggers), []
    except TimeoutError:
        return None, [f"the good ones stand still for {STANDSTILL_S:g} s"]


def _arm_poison(database: Database, company_fixture: CompanyFixture, name: str, moment: datetime) -> str:
    """Arm a trigger that is due at that moment; return its id."""
    settings = SETTINGS.get(name) or TriggerSettings(run_at=moment, timezone="UTC")
    (trigger_id,) = company_fixture.arm(company_fixture.system.clock(), [({}, settings, moment)])
    if name == UNREADABLE:
        with database.superuser() as conn:
            conn.execute(APPEND, ([trigger_id], [2], ["trigger.updated"], [b'{"at": 7, "event": "?"}']))
    return str(trigger_id)


def _wait_for_outcomes(
    log: psycopg.Connection[Any], poisoned_triggers: list[str], began: datetime
) -> list[list[tuple[str, str | None]]]:
    """Return the outcome and the reason of every run of each, as soon as each has one."""

    def look() -> list[list[tuple[str, str | None]]]:
        return [log.execute(OUTCOMES, (trigger_id,)).fetchall() for trigger_id in poisoned_triggers]

    end = began + timedelta(seconds=FAILED_S)
    wait_for(lambda: all(look()) or oracle.clock(log) > end, FAILED_S + LIMIT_S)
    return look()
