"""The runs of all routines of a company."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.api import Api
from tests.web.past import Past


@pytest.fixture
def scout(api: Api, company: str) -> tuple[str, str]:
    return api.agent(company)


def fire(api: Api, routine: str, **body: Any) -> str:
    return str(api.post(f"/routines/{routine}/run", body)["id"])


def ids_of_runs(api: Api, company: str, query: str = "") -> list[str]:
    return [run["id"] for run in api.get(f"/companies/{company}/runs{query}")]


def test_the_runs_of_all_routines_of_a_company_are_listed_newest_first(api: Api, company: str, scout: tuple[str, str]):
    first, second = (api.routine(company, scout[0], title=title) for title in ("One", "Two"))
    runs = [fire(api, routine) for routine in (first, second, first)]
    other = api.company("Other")
    fire(api, api.routine(other, api.agent(other)[0]))

    listed = api.get(f"/companies/{company}/runs")

    assert runs[::-1] == [run["id"] for run in listed]
    assert listed[0] == api.get(f"/routines/{first}/runs")[0]
    assert (
        runs[::-1]
        == ids_of_runs(api, company)
        == [run["id"] for run in api.get(f"/companies/{company}/runs", token=scout[1])]
    )


def test_the_runs_of_a_company_are_narrowed_by_status_source_routine_and_agent(
    api: Api, company: str, scout: tuple[str, str]
):
    other, _ = api.agent(company, "Other")
    mine, theirs = api.routine(company, scout[0]), api.routine(company, other)
    opened, coalesced, by_api = fire(api, mine), fire(api, mine), fire(api, theirs, source="api")

    assert [opened] == ids_of_runs(api, company, f"?routineId={mine}&status=issue_created")
    assert [coalesced] == ids_of_runs(api, company, "?status=coalesced")
    assert [by_api] == ids_of_runs(api, company, "?source=api")
    assert [by_api] == ids_of_runs(api, company, f"?assigneeAgentId={other}")
    assert [coalesced, opened] == ids_of_runs(api, company, f"?assigneeAgentId={scout[0]}")
    assert [] == ids_of_runs(api, company, f"?assigneeAgentId={other}&routineId={mine}")
    assert [] == ids_of_runs(api, company, f"?routineId={uuid4()}")


def test_a_run_that_is_handed_to_another_agent_is_found_under_that_agent(
    api: Api, company: str, scout: tuple[str, str]
):
    other, _ = api.agent(company, "Other")
    run = fire(api, api.routine(company, scout[0]), assigneeAgentId=other)

    assert [run] == ids_of_runs(api, company, f"?assigneeAgentId={other}")
    assert [] == ids_of_runs(api, company, f"?assigneeAgentId={scout[0]}")


def test_a_run_that_changes_its_status_is_found_under_the_new_one(api: Api, company: str, scout: tuple[str, str]):
    run = api.post(f"/routines/{api.routine(company, scout[0])}/run", {})
    api.patch(f"/issues/{run['linkedIssueId']}", {"status": "done"})

    assert [run["id"]] == ids_of_runs(api, company, "?status=completed,failed")
    assert [] == ids_of_runs(api, company, "?status=issue_created")


def test_the_runs_of_a_period_are_those_that_were_fired_in_it(api: Api):
    past = Past(api, datetime(2024, 11, 20, 12, 0, 30, tzinfo=UTC))
    trigger = past.schedule(past.routine(concurrency_policy="always_enqueue"), cron_expression="0 * * * *")
    for hour in (13, 14, 15):
        past.at(hour)
        past.tick(trigger)

    listed = api.get(f"/companies/{past.company}/runs?from=2024-11-20T14:00:00Z&to=2024-11-20T14:59:00Z")

    assert ["2024-11-20T14:00:00.000Z"] == [run["plannedAt"] for run in listed]
    assert 3 == len(ids_of_runs(api, str(past.company)))


def test_the_pages_of_a_companys_runs_together_are_the_list(api: Api, company: str, scout: tuple[str, str]):
    routine = api.routine(company, scout[0])
    runs = [fire(api, routine) for _ in range(7)][::-1]

    walked, query = list[str](), "?limit=3"
    while query:
        answer = api.request("GET", f"/companies/{company}/runs{query}")
        walked += [run["id"] for run in answer.json()]
        cursor = answer.headers.get("X-Next-Cursor")
        query = cursor and f"?limit=3&cursor={cursor}"

    assert runs == walked


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("status=gone", "status"),
        ("source=gone", "source"),
        ("routineId=x", "routineId"),
        ("assigneeAgentId=x", "assigneeAgentId"),
        ("from=yesterday", "from"),
        ("to=1066-10-14T09:00:00Z", "to"),
        ("limit=0", "limit"),
        ("cursor=abc", "cursor"),
        ("state=failed", "state"),
    ],
)
def test_a_wrong_filter_of_a_companys_runs_is_refused_by_name(api: Api, company: str, query: str, named: str):
    answer = api.request("GET", f"/companies/{company}/runs?{query}")

    assert (400, named) == (answer.status_code, answer.json()["details"][0]["path"][0])
