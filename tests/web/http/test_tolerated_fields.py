"""The one list of what is accepted without effect: it is true, and the clients' page shows all of it."""

import re
from pathlib import Path

import httpx

from tests.api import Api
from web.http.tolerated_fields import LENIENT_QUERIES, QUERIES_OF_CALLERS, TOLERATED

PAGE = (Path(__file__).parents[3] / "docs" / "clients.md").read_text()


def test_the_clients_page_names_every_field_that_has_no_effect():
    section = PAGE.partition("## What is refused, and what is ignored")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    trigger_fields = next(iter(TOLERATED[shape].ignored for shape in TOLERATED if shape.__name__ == "ApiDraft"))
    fields = {name for one in TOLERATED.values() for name in (*one.ignored, *one.unused)}

    assert not fields - trigger_fields - named


def test_only_operations_that_exist_are_lenient_about_their_queries(api: Api):
    documents = [httpx.get(f"{api.url}{path}").json() for path in ("/api/openapi.json", "/openapi.json")]
    ids = {one["operationId"] for doc in documents for path in doc["paths"].values() for one in path.values()}

    assert LENIENT_QUERIES | QUERIES_OF_CALLERS <= ids | {"getMetrics"}
    assert {"listMembers", "pauseRoutines", "listDeliveries", "claimTrajectory"} <= ids - LENIENT_QUERIES


def test_an_unknown_parameter_is_refused_on_operations_that_are_ours_alone(api: Api):
    company = api.company()
    refusal = api.request("GET", f"/companies/{company}/members?curser=1")
    dangerous = api.request("DELETE", f"/companies/{company}/members/{company}?revokekeys=false")

    assert (400, "Unknown query parameter 'curser': did you mean 'cursor'?") == (
        refusal.status_code,
        refusal.json()["error"],
    )
    assert "Unknown query parameter 'revokekeys': did you mean 'revokeKeys'?" == dangerous.json()["error"]
    assert 200 == api.request("GET", f"/companies/{company}/issues?participantAgentId=x").status_code
    assert 200 == api.request("GET", f"/companies/{company}/members?cursor=").status_code


def test_a_parameter_that_is_given_twice_is_refused_and_half_of_it_never_ignored(api: Api):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])

    for path, name in (
        (f"/companies/{company}/runs?status=coalesced&status=failed", "status"),
        (f"/companies/{company}/issues?status=todo&status=done", "status"),
        (f"/companies/{company}/events?kind=run.fired&kind=run.failed", "kind"),
        (f"/routines/{routine}/runs?limit=1&limit=", "limit"),
    ):
        answer = api.request("GET", path)
        assert (400, f"{name} must be given once") == (answer.status_code, answer.json()["error"])
    unknown_twice = api.request("GET", f"/companies/{company}/issues?participantAgentId=x&participantAgentId=y")
    assert 200 == unknown_twice.status_code


def test_a_consistency_that_there_is_not_is_refused(api: Api):
    path = f"/companies/{api.company()}/routines"

    for consistency in ("evntual", "strong", ""):
        answer = api.request("GET", path, headers={"X-Routines-Consistency": consistency})
        assert (400, ["X-Routines-Consistency"]) == (answer.status_code, answer.json()["details"][0]["path"])
    assert 200 == api.request("GET", path, headers={"X-Routines-Consistency": "eventual"}).status_code


def test_a_period_that_ends_before_it_begins_is_refused(api: Api):
    company = api.company()

    for operation in ("runs", "events"):
        path = f"/companies/{company}/{operation}?from=2026-11-02T00:00:00Z&to=2026-11-"
        answer = api.request("GET", f"{path}01T00:00:00Z")
        assert (400, "to must not be before from") == (answer.status_code, answer.json()["error"])
        assert 200 == api.request("GET", f"{path}02T00:00:00Z").status_code


def test_nobody_becomes_a_full_member_by_a_misspelt_role(api: Api):
    company = api.company()
    before = api.get(f"/companies/{company}/members")

    answer = api.request("POST", f"/companies/{company}/members", {"name": "Ann", "role": "viewer"})

    assert (400, "Unknown field 'role': did you mean 'membershipRole'?") == (answer.status_code, answer.json()["error"])
    assert before == api.get(f"/companies/{company}/members")
