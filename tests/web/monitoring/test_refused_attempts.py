"""Attempts without a credential or a right are on the record, for auditors; a flood of them costs little."""

import asyncio
from collections import Counter
from typing import Any, cast

import pytest

from application import tokens
from domain.identity import key_of
from projections.audit import refused_attempts
from projections.audit.refused_attempts import Attempts
from tests.api import Api
from tests.waiting import wait_for
from tests.web import people
from tests.web.served import serve_further
from web.monitoring import refused_attempts as counting
from web.monitoring.refused_attempts import MOST_GROUPS, OTHERS, RefusedAttemptCounter


def count_attempts(counter: RefusedAttemptCounter, *attempts: Attempts) -> Counter[Attempts]:
    async def count() -> None:
        for one in attempts:
            counter.count(one)

    asyncio.run(count())
    return counter._counts


def test_attempts_are_on_the_record_with_who_tried_what_how_often_and_from_where(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(counting, "FLUSH_S", 0.01)
    company, unknown = api.company(), tokens.mint("board")
    _, agent = api.agent(company)
    routine = api.routine(company, None)
    draft = {"kind": "webhook", "signingMode": "bearer"}
    hook = api.post(f"/routines/{routine}/triggers", draft)["trigger"]["publicId"]
    auditor = people.auditor(api)
    with serve_further(api) as here:
        for _ in range(3):
            here.request("GET", f"/companies/{company}", token=unknown)
        here.request("GET", f"/companies/{company}/events", token=agent)
        here.request("POST", f"/routine-triggers/public/{hook}/fire", {}, token="wrong")
        here.request("GET", f"/routines/{tokens.mint('board')}")

        def rows() -> Any:
            page = here.get("/refusals?limit=200", token=auditor)
            ours = [
                row
                for row in page
                if row["keyId"] in {str(key_of(unknown)), str(key_of(agent))} or row["operation"] == "fireWebhook"
            ]
            return ours if sum(row["attempts"] for row in ours) >= 5 else None

        attempts = {(row["status"], row["operation"], row["reason"], row["attempts"]) for row in wait_for(rows)}
        text = here.request("GET", "/refusals", token=auditor).text

    assert {
        (401, "getCompany", "Unauthorized", 3),
        (403, "listEvents", "Board access required", 1),
        (401, "fireWebhook", "Unauthorized", 1),
    } <= attempts
    assert "127.0.0.1" in text
    assert not any(secret in text for secret in (unknown, agent, hook, "wrong"))


def test_only_attempts_without_a_credential_or_a_right_are_counted():
    counter = RefusedAttemptCounter(cast("Any", None))
    statuses = (400, 401, 403, 404, 409, 429, 503)

    counts = count_attempts(counter, *(Attempts(status, "getCompany", "x") for status in statuses))

    assert {401, 403} == {attempts.status for attempts in counts}


def test_a_flood_is_counted_together_and_begins_anew_with_the_hour():
    now = [0.0]
    counter = RefusedAttemptCounter(cast("Any", None), lambda: now[0])
    flood = [
        Attempts(401, "getCompany", "x", network=f"10.0.{number // 256}.{number % 256}") for number in range(5_000)
    ]

    counts = count_attempts(counter, *flood)

    assert len(counts) == MOST_GROUPS + 1
    assert counts[Attempts(401, OTHERS, OTHERS)] == 5_000 - MOST_GROUPS
    now[0] = counting.HOUR_S
    assert count_attempts(counter, flood[-1])[flood[-1]] == 1


def test_only_the_newest_rows_are_kept(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refused_attempts, "KEPT", 3)
    alike = [Attempts(401, f"operation {number}", "x") for number in range(5)]
    with api.system.pool.connection() as conn:
        for one in alike:
            refused_attempts.put(conn, [(one, 1)])
        refused_attempts.put(conn, [(alike[-1], 41)])
        refused_attempts.forget(conn)
        kept = refused_attempts.newest_refused_attempts(conn, limit=10, max_bytes=1_000_000)

    assert [("operation 4", 42), ("operation 3", 1), ("operation 2", 1)] == [
        (row.operation, row.attempts) for row in kept
    ]
