"""What one company or key may record and have, over HTTP, while its neighbour is served as ever."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from projections import catalogue
from projections.engine import positions
from routines import bootstrap
from tests.api import Api
from tests.waiting import wait_for
from tests.web.served import serve_further

STORED_BYTES = """
    SELECT sum(length(body)) FROM log.events
    WHERE convert_from(body, 'UTF8')::json->>'company_id' = %s"""


@contextmanager
def bounded_api(api: Api, **limits: int) -> Iterator[Api]:
    with serve_further(api, limits=replace(DEFAULT, **limits)) as limited_api:
        yield limited_api


@pytest.fixture(scope="module")
def one_of_each(api: Api) -> Iterator[Api]:
    """Where there may be one thing of each kind; whoever makes a company is the first of two members."""
    with bounded_api(api, **{quota: 1 for quota, _ in THINGS} | {"max_company_members": 2}) as here:
        yield here


@pytest.fixture(scope="module")
def one_event_a_minute(api: Api) -> Iterator[Api]:
    """Where a company may record one event in a minute, and have one open issue."""
    with bounded_api(api, max_company_events_per_minute=1, max_company_open_issues=1) as here:
        yield here


@pytest.fixture(scope="module")
def two_runs_a_minute(api: Api) -> Iterator[Api]:
    """Where the holder of a key may record four events in a minute, which are two runs."""
    with bounded_api(api, max_key_events_per_minute=4) as here:
        yield here


@pytest.fixture(scope="module")
def small_routines(api: Api) -> Iterator[Api]:
    with bounded_api(api, max_routine_triggers=1, max_routine_bytes=10_240) as here:
        yield here


def make_thing(api: Api, path: str, body: Any) -> Any:
    """A new thing, once other processes count it."""
    thing = api.post(path, body)
    wait_until_counted(api)
    return thing


def wait_until_counted(api: Api) -> None:
    with api.system.pool.connection() as conn:
        positions.wait(conn, [model.name for model in catalogue.ALL], 10)


def assert_over_quota(answer: httpx.Response, status: int, quota: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (status, "over_quota", quota) == (answer.status_code, body.get("code"), body["details"]["quota"]), body
    return body


def test_a_company_over_its_quota_is_told_when_to_try_again_and_its_neighbour_is_served(
    api: Api, one_event_a_minute: Api
):
    noisy, quiet = api.company("Noisy"), api.company("Quiet")
    one_event_a_minute.post(f"/companies/{noisy}/goals", {"title": "More"})

    refusal = one_event_a_minute.request("POST", f"/companies/{noisy}/goals", {"title": "More"})

    body = assert_over_quota(refusal, 429, "max_company_events_per_minute")
    assert body["error"].startswith("The company has recorded more than 1 events in a minute: try again in ")
    assert 1 <= int(refusal.headers["retry-after"]) <= 60
    one_event_a_minute.post(f"/companies/{quiet}/goals", {"title": "One"})
    assert 1 == len(api.get(f"/companies/{noisy}/goals"))


def test_a_holder_of_keys_over_their_quota_keeps_no_other_of_the_company_waiting(api: Api, two_runs_a_minute: Api):
    company = api.company()
    agent, token = api.agent(company)
    routine = api.routine(company, agent, concurrencyPolicy="always_enqueue")
    answers = [two_runs_a_minute.request("POST", f"/routines/{routine}/run", {}, token=token) for _ in range(4)]

    assert [202, 202, 429, 429] == [answer.status_code for answer in answers]
    assert_over_quota(answers[-1], 429, "max_key_events_per_minute")
    two_runs_a_minute.post(f"/routines/{routine}/run", {})


def test_who_mints_keys_has_no_more_to_record_than_with_one(api: Api, two_runs_a_minute: Api):
    company = api.company()
    agent, first = api.agent(company)
    second = api.post(f"/agents/{agent}/keys", {})["token"]
    routine = api.routine(company, agent, concurrencyPolicy="always_enqueue")
    answers = [
        two_runs_a_minute.request("POST", f"/routines/{routine}/run", {}, token=token) for token in (first, second) * 2
    ]

    assert [202, 202, 429, 429] == [answer.status_code for answer in answers]
    assert answers[-1].json()["error"].startswith("The key's holder has recorded more than 4 events in a minute")


def test_a_template_that_repeats_a_small_value_is_refused_and_nothing_is_recorded(api: Api):
    company = api.company()
    agent, token = api.agent(company)
    routine = api.routine(company, agent, title="Big", description="{{a}}" * 16_000, concurrencyPolicy="always_enqueue")
    head = api.system.store.head()

    refusal = api.request("POST", f"/routines/{routine}/run", {"variables": {"a": "x" * 62}}, token=token)

    assert 422 == refusal.status_code
    assert "The variables of a run may add at most 262144 bytes to it, and add 912070" == refusal.json()["error"]
    assert head == api.system.store.head()


def test_a_webhook_over_its_quota_is_told_to_try_again(api: Api, two_runs_a_minute: Api):
    company = api.company()
    agent, _ = api.agent(company)
    routine = api.routine(company, agent, concurrencyPolicy="always_enqueue")
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "webhook"})
    secret = trigger["secretMaterial"]["webhookSecret"]
    path = f"/routine-triggers/public/{trigger['trigger']['publicId']}/fire"
    answers = [two_runs_a_minute.request("POST", path, {}, token=secret) for _ in range(3)]

    assert [202, 202, 429] == [answer.status_code for answer in answers]
    assert int(answers[-1].headers["retry-after"]) >= 1


def routine_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/companies/{company}/routines", {"title": "Check"}


def goal_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/companies/{company}/goals", {"title": "Grow"}


def folder_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/companies/{company}/folders", {"name": "Nightly"}


def project_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/companies/{company}/projects", {"name": "Build"}


def issue_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/companies/{company}/issues", {"title": "Broken"}


def agent_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/companies/{company}/agents", {"name": "Scout"}


def member_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/companies/{company}/members", {"name": "Robin"}


def endpoint_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/companies/{company}/webhook-endpoints", {"url": "https://example.com/hook", "events": ["*"]}


def trigger_of(api: Api, company: str) -> tuple[str, Any]:
    return f"/routines/{api.routine(company, None)}/triggers", {"kind": "api"}


def key_of(api: Api, company: str) -> tuple[str, Any]:
    agent = api.post(f"/companies/{company}/agents", {"name": "Scout"})["id"]
    return f"/agents/{agent}/keys", {}


def comment_of(api: Api, company: str) -> tuple[str, Any]:
    issue = api.post(f"/companies/{company}/issues", {"title": "Broken"})["id"]
    return f"/issues/{issue}/comments", {"body": "Hello"}


THINGS = [
    ("max_company_routines", routine_of),
    ("max_company_goals", goal_of),
    ("max_company_folders", folder_of),
    ("max_company_projects", project_of),
    ("max_company_open_issues", issue_of),
    ("max_company_agents", agent_of),
    ("max_company_members", member_of),
    ("max_company_endpoints", endpoint_of),
    ("max_company_triggers", trigger_of),
    ("max_holder_keys", key_of),
    ("max_issue_comments", comment_of),
]


@pytest.mark.parametrize(("quota", "make"), THINGS)
def test_one_thing_too_many_is_refused_by_the_name_of_its_quota(
    api: Api, one_of_each: Api, quota: str, make: Callable[[Api, str], tuple[str, Any]]
):
    company, neighbour = api.company(), api.company("Neighbour")
    (path, body), (other, _) = make(api, company), make(api, neighbour)
    most = getattr(one_of_each.system.settings.limits, quota)
    make_thing(api, path, body)

    refused = assert_over_quota(one_of_each.request("POST", path, body), 422, quota)

    assert f"may have at most {most} " in refused["error"]
    assert most == refused["details"]["limit"]
    assert one_of_each.request("POST", other, body).is_success


def test_whoever_makes_room_may_go_on(api: Api, one_of_each: Api):
    company = api.company()
    path, body = issue_of(api, company)
    issue = make_thing(api, path, body)["id"]
    assert_over_quota(one_of_each.request("POST", path, body), 422, "max_company_open_issues")
    one_of_each.patch(f"/issues/{issue}", {"status": "done"})

    wait_for(lambda: one_of_each.request("POST", path, body).is_success)


def test_an_expired_key_makes_room_for_another(api: Api, one_of_each: Api):
    path, body = key_of(api, api.company())
    api.post(path, {"expiresAt": (api.system.clock() + timedelta(seconds=1)).isoformat()})

    wait_for(lambda: one_of_each.request("POST", path, body).is_success)
    assert_over_quota(one_of_each.request("POST", path, body), 422, "max_holder_keys")


def test_a_stranger_learns_nothing_of_a_companys_quotas(api: Api, one_event_a_minute: Api):
    company, other = api.company(), api.company("Other")
    _, token = api.agent(other)
    one_event_a_minute.post(f"/companies/{company}/issues", {"title": "Broken"})

    refusal = one_event_a_minute.request("POST", f"/companies/{company}/issues", {"title": "Broken"}, token=token)

    assert 403 == refusal.status_code


def test_a_routine_has_so_many_triggers(api: Api, small_routines: Api):
    company = api.company()
    path, body = trigger_of(api, company)
    small_routines.post(path, body)

    refusal = small_routines.request("POST", path, body)

    assert (422, "A routine has at most 1 triggers: delete one first") == (refusal.status_code, refusal.json()["error"])


def test_a_routine_whose_revisions_would_be_large_is_refused(api: Api):
    company = api.company()
    variable = {"name": "a", "defaultValue": "x" * 5 * 1024**2}

    refusal = api.request("POST", f"/companies/{company}/routines", {"title": "Big", "variables": [variable]})

    assert (422, "A routine has at most 5242880 bytes") == (refusal.status_code, refusal.json()["error"][:35])


def test_a_routine_may_have_a_description_of_a_million_characters(api: Api):
    company = api.company()
    draft = {"title": "Long", "description": "\u00e9" * 1_000_000, "assigneeAgentId": api.agent(company)[0]}

    routine = api.post(f"/companies/{company}/routines", draft)
    run = api.post(f"/routines/{routine['id']}/run", {})
    issue = api.get(f"/issues/{run['linkedIssueId']}")
    longer = api.request("PATCH", f"/issues/{issue['id']}", {"description": "x" * 1_000_001})

    assert draft["description"] == routine["description"] == issue["description"]
    assert (400, [["description"]]) == (longer.status_code, [one["path"] for one in longer.json()["details"]])


def test_a_routine_from_before_the_limits_may_be_stopped_and_made_smaller_but_not_grow(api: Api, small_routines: Api):
    company = api.company()
    routine = api.routine(company, None, description="x" * 50_000)
    refusal = small_routines.request("PATCH", f"/routines/{routine}", {"description": "x" * 50_001})
    small_routines.patch(f"/routines/{routine}", {"description": "x" * 40_000})
    small_routines.patch(f"/routines/{routine}", {"status": "paused", "pauseNote": "Too much"})
    small_routines.patch(f"/routines/{routine}", {"status": "archived"})

    assert (422, "A routine has at most 10240 bytes") == (refusal.status_code, refusal.json()["error"][:33])


def test_monitoring_sees_refusals_and_how_many_companies_are_near_a_quota(api: Api):
    company = api.company()
    with bounded_api(api, max_company_events_per_minute=1, max_company_open_issues=10_000) as here:
        here.post(f"/companies/{company}/goals", {"title": "More"})
        here.request("POST", f"/companies/{company}/goals", {"title": "More"})
        text = httpx.get(f"{here.url}/metrics").text

    assert 'routines_quota_refusals_total{quota="max_company_events_per_minute"} 1.0' in text
    assert 'routines_quota_refusals_total{quota="max_company_goals"} 0.0' in text
    assert 'routines_quota_near_companies{quota="max_company_events_per_minute"} 1.0' in text
    assert 'routines_quota_near_companies{quota="max_company_open_issues"} 0.0' in text
    assert 'routines_quota_near_keys{quota="max_key_events_per_minute"} 0.0' in text


def test_a_company_that_has_filled_its_part_of_the_disk_may_only_end_things_and_its_neighbour_goes_on(api: Api):
    company, neighbour = api.company("Full"), api.company("Neighbour")
    agent, token = api.agent(company)
    routine = api.routine(company, agent)
    with bootstrap.connect(api.system.settings) as conn:
        (size,) = conn.execute(STORED_BYTES, (company,)).fetchone()
    wait_until_counted(api)
    with bounded_api(api, max_company_log_bytes=size) as here:
        path, body = goal_of(here, company)
        refused = assert_over_quota(here.request("POST", path, body), 422, "max_company_log_bytes")
        assert_over_quota(
            here.request("POST", f"/routines/{routine}/run", {}, token=token), 422, "max_company_log_bytes"
        )

        assert refused["error"].endswith("nothing of it can be removed: ask the operator for more")
        here.patch(f"/routines/{routine}", {"status": "paused"})
        here.post(f"/agents/{agent}/terminate")
        here.post(f"/companies/{neighbour}/goals", body)
        assert [] == here.get(path)
