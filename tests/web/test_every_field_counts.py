"""No field of a body that creates or changes a resource is accepted and ignored: each is seen in the answer."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import pytest

from application.request_bodies.board import (
    AgentDraft,
    AgentPatch,
    CompanyDraft,
    CompanyPatch,
    FolderDraft,
    GoalDraft,
    GoalPatch,
    ProjectDraft,
    ProjectPatch,
)
from application.request_bodies.issues import IssueDraft, IssuePatch
from application.request_bodies.routines import RoutineDraft, RoutinePatch
from application.request_bodies.triggers import ChainDraft, ScheduleDraft
from tests.api import Api

SEEN_ELSEWHERE = {  # fields whose effect is not a field of the same name; the tests named show it
    "RoutineDraft": {"triggers"},  # test_triggers_on_create.py
    "RoutinePatch": {"baseRevisionId"},  # test_routines.py: a conflict
    "IssuePatch": {"comment", "failureReason", "outputs", "usage"},  # test_issues.py, test_runs.py, test_budgets.py
    "MemberDraft": {"userId", "keyExpiresAt"},  # test_members.py: whose membership, how long the first key lives
}


BUDGET = {"maxCostMicros": 1_000_000, "windowSec": 86_400}


class Place(NamedTuple):
    """A company with something of each kind, for bodies to refer to."""

    api: Api
    company: str
    agent: str
    project: str
    goal: str
    issue: str
    folder: str

    def create(self, path: str, body: Any) -> Any:
        return self.api.post(f"/companies/{self.company}/{path}", body)


@pytest.fixture(scope="module")
def fields_fixture(api: Api) -> Place:
    company = api.company()
    ids = {
        path: api.post(f"/companies/{company}/{path}", body)["id"]
        for path, body in (
            ("projects", {"name": "x"}),
            ("goals", {"title": "x"}),
            ("issues", {"title": "x"}),
            ("folders", {"name": "x"}),
        )
    }
    agent, _ = api.agent(company)
    return Place(api, company, agent, ids["projects"], ids["goals"], ids["issues"], ids["folders"])


def routine(here: Place) -> dict[str, Any]:
    variable = {"name": "a", "label": "A", "type": "select", "defaultValue": "x", "required": False, "options": ["x"]}
    return {
        "title": "For {{a}}",
        "description": "d",
        "assigneeAgentId": here.agent,
        "projectId": here.project,
        "goalId": here.goal,
        "parentIssueId": here.issue,
        "priority": "low",
        "status": "paused",
        "concurrencyPolicy": "skip_if_active",
        "catchUpPolicy": "enqueue_missed_with_cap",
        "activityGatePolicy": "require_external_activity",
        "activityGateScope": "project",
        "folderId": here.folder,
        "env": {"A": {"type": "plain", "value": "***"}},
        "variables": [variable],
        "maxRunDurationSec": 60,
        "retryPolicy": {
            "maxAttempts": 3,
            "backoffSeconds": 5,
            "backoffFactor": 3.0,
            "maxBackoffSeconds": 60,
            "retryOn": ["timed_out"],
        },
        "alertBounds": {"untakenAfterSec": 60, "stuckAfterSec": None, "overdueAfterSec": 90, "missedInARow": 2},
        "budget": BUDGET,
        "probe": {
            "url": "https://example.com/queue",
            "status": 202,
            "json": {"path": "queue.waiting", "equals": True},
            "ifUnanswered": "fire",
        },
        "pauseNote": "n",
        "resumeAt": "2099-01-01T00:00:00.000Z",
    }


def issue(here: Place) -> dict[str, Any]:
    references = {"assigneeAgentId": here.agent, "projectId": here.project, "goalId": here.goal, "parentId": here.issue}
    return {"title": "t", "description": "d", "status": "todo", "priority": "low"} | references


def goal(here: Place) -> dict[str, Any]:
    references = {"parentId": here.goal, "ownerAgentId": here.agent}
    return {"title": "t", "description": "d", "level": "team", "status": "active"} | references


def project(here: Place) -> dict[str, Any]:
    references = {"goalId": here.goal, "leadAgentId": here.agent}
    details = {"name": "n", "description": "d", "status": "in_progress", "targetDate": "2027-01-01", "color": "#fff"}
    return details | references


def agent(here: Place) -> dict[str, Any]:
    adapter = {"adapterType": "http", "adapterConfig": {"a": 1}, "heartbeatUrl": "https://example.com/wake"}
    details = {"name": "n", "role": "qa", "title": "t", "metadata": {"a": 1}, "budgetMonthlyCents": 7}
    return details | adapter | {"reportsTo": here.agent, "budget": BUDGET}


def schedule(_here: Place) -> dict[str, Any]:
    times = {"startsAt": "2030-01-01T00:00:00.000Z", "endsAt": "2031-01-01T00:00:00.000Z"}
    rule = {"cronExpression": "0 9 * * *", "timezone": "Europe/Berlin", "excludedDates": ["2030-12-25"], "jitterSec": 5}
    return {"label": "l", "enabled": False, **rule, **times}


class Case(NamedTuple):
    """A body, where it is sent, and what it holds. `unlike` is what it is changed from, if it is a patch."""

    shape: type[msgspec.Struct]
    path: str
    sample: Callable[[Place], dict[str, Any]]


CREATIONS = (
    Case(RoutineDraft, "routines", routine),
    Case(IssueDraft, "issues", issue),
    Case(GoalDraft, "goals", goal),
    Case(ProjectDraft, "projects", project),
    Case(AgentDraft, "agents", agent),
    Case(FolderDraft, "folders", lambda here: {"name": "n", "parentId": here.folder}),
)
CHANGES = (
    Case(RoutinePatch, "routines", routine),
    Case(IssuePatch, "issues", issue),
    Case(GoalPatch, "goals", goal),
    Case(ProjectPatch, "projects", project),
    Case(AgentPatch, "agents", agent),
)
LEAST = {"routines": {"title": "x"}, "issues": {"title": "x"}, "goals": {"title": "x"}, "projects": {"name": "x"}}
SECRET = {"env": {"A": {"type": "plain", "value": "of the routine"}}}  # what is sent in the place of what is shown


def names(case: Case) -> set[str]:
    fields = {field.encode_name for field in msgspec.structs.fields(case.shape)}
    return fields - SEEN_ELSEWHERE.get(case.shape.__name__, set())


def differences(shown: dict[str, Any], sample: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    return ((name, value, shown.get(name)) for name, value in sample.items() if shown.get(name) != value)


@pytest.mark.parametrize("case", [*CREATIONS, *CHANGES], ids=lambda case: case.shape.__name__)
def test_the_sample_has_every_field_of_the_body(fields_fixture: Place, case: Case):
    assert names(case) == case.sample(fields_fixture).keys()


@pytest.mark.parametrize("case", CREATIONS, ids=lambda case: case.shape.__name__)
def test_what_is_created_has_every_field_that_was_given(fields_fixture: Place, case: Case):
    sample = case.sample(fields_fixture)

    created = fields_fixture.create(
        case.path, sample | {name: value for name, value in SECRET.items() if name in sample}
    )

    assert [] == list(differences(created, sample))


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.shape.__name__)
def test_each_field_that_is_changed_is_seen(fields_fixture: Place, case: Case):
    sample = case.sample(fields_fixture)
    id_ = fields_fixture.create(case.path, LEAST.get(case.path, {"name": f"x{uuid4()}"}))["id"]

    changed = fields_fixture.api.patch(
        f"/{case.path}/{id_}", sample | {name: value for name, value in SECRET.items() if name in sample}
    )

    assert [] == list(differences(changed, sample))


def test_every_field_of_a_schedule_is_seen_when_it_is_created_and_when_it_is_changed(fields_fixture: Place):
    sample, routine_id = schedule(fields_fixture), fields_fixture.api.routine(fields_fixture.company, None)
    own = {field.encode_name for field in msgspec.structs.fields(ScheduleDraft)} - {"runAt"}
    assert own == sample.keys()

    trigger = fields_fixture.api.post(f"/routines/{routine_id}/triggers", {"kind": "schedule", **sample})["trigger"]
    body = {"kind": "schedule", "cronExpression": "* * * * *"}
    other = fields_fixture.api.post(f"/routines/{routine_id}/triggers", body)["trigger"]
    changed = fields_fixture.api.patch(f"/routine-triggers/{other['id']}", sample)

    assert [] == [*differences(trigger, sample), *differences(changed, sample)]


def test_every_field_of_a_chain_is_seen_when_it_is_created_and_when_it_is_changed(fields_fixture: Place):
    routine_id, first, other = (fields_fixture.api.routine(fields_fixture.company, None) for _ in range(3))
    sample = {"label": "l", "enabled": False, "afterRoutineId": first, "afterOutcome": "any"}
    assert {field.encode_name for field in msgspec.structs.fields(ChainDraft)} == sample.keys()

    trigger = fields_fixture.api.post(f"/routines/{routine_id}/triggers", {"kind": "chain", **sample})["trigger"]
    body = {"kind": "chain", "afterRoutineId": other}
    linked = fields_fixture.api.post(f"/routines/{routine_id}/triggers", body)["trigger"]
    changed = fields_fixture.api.patch(f"/routine-triggers/{linked['id']}", sample)

    assert [] == [*differences(trigger, sample), *differences(changed, sample)]


def test_every_field_of_a_company_is_seen_when_it_is_created_and_when_it_is_changed(fields_fixture: Place):
    sample = {"name": "n", "description": "d", "budget": BUDGET}
    for shape in (CompanyDraft, CompanyPatch):
        assert {field.encode_name for field in msgspec.structs.fields(shape)} == sample.keys()

    company = fields_fixture.api.post("/companies", sample)
    changed = fields_fixture.api.patch(f"/companies/{fields_fixture.api.company()}", sample)

    assert [] == [*differences(company, sample), *differences(changed, sample)]
