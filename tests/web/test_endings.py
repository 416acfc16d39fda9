"""Whoever has lost control of something can stop it: over every quota, and however full its history is."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from domain.bounds.limits import Limits
from tests.api import Api
from tests.web.access_requests import HOOK, LAST_YEAR
from tests.web.served import serve_further

Request = tuple[Any, ...]  # method, path and, if there is one, the body


class Case(msgspec.Struct, frozen=True):
    """What must be possible, and what is like it and must not be, before and afterwards."""

    end: Request
    before: Request | None = None
    after: Request | None = None


class Place(msgspec.Struct):
    """A company of an hour ago, with what a case needs."""

    api: Api
    company: str
    agent: str

    def create(self, path: str, body: Any) -> str:
        return str(self.api.post(path, body)["id"])

    def in_company(self, path: str, body: Any) -> str:
        return self.create(f"/companies/{self.company}/{path}", body)

    def routine(self, **fields: Any) -> str:
        """With a schedule that has come due since, and with nobody there to settle it."""
        id_ = self.api.routine(self.company, self.agent, **fields)
        draft = {"kind": "schedule", "cronExpression": "* * * * *"}
        self.api.post(f"/routines/{id_}/triggers", draft)
        return id_

    def trigger(self, **draft: Any) -> str:
        routine = self.api.routine(self.company, self.agent)
        return str(self.api.post(f"/routines/{routine}/triggers", draft)["trigger"]["id"])

    def schedule(self) -> str:
        return self.trigger(kind="schedule", cronExpression="* * * * *")

    def execution_issue(self) -> str:
        routine = self.api.routine(self.company, self.agent)
        return str(self.api.post(f"/routines/{routine}/run", {})["linkedIssueId"])


def routine_status(status: str) -> Callable[[Place], Case]:
    def make_case(endings_fixture: Place) -> Case:
        path = f"/routines/{endings_fixture.routine(description='x' * 20_000)}"
        after = ("PATCH", path, {"status": "active"}) if status == "paused" else None
        return Case(("PATCH", path, {"status": status}), ("PATCH", path, {"title": "Longer"}), after)

    return make_case


def pause_with_a_note(endings_fixture: Place) -> Case:
    path = f"/routines/{endings_fixture.routine()}"
    wanted = {"status": "paused", "pauseNote": "It runs away"}
    return Case(("PATCH", path, wanted), ("PATCH", path, {**wanted, "title": "Longer"}))


def disable_trigger(kind: str, **draft: Any) -> Callable[[Place], Case]:
    def make_case(endings_fixture: Place) -> Case:
        path = f"/routine-triggers/{endings_fixture.trigger(kind=kind, **draft)}"
        off, on = ("PATCH", path, {"enabled": False}), ("PATCH", path, {"enabled": True})
        return Case(off, ("PATCH", path, {"enabled": False, "label": "x"}), on)

    return make_case


def delete_trigger(kind: str, **draft: Any) -> Callable[[Place], Case]:
    def make_case(endings_fixture: Place) -> Case:
        path = f"/routine-triggers/{endings_fixture.trigger(kind=kind, **draft)}"
        return Case(("DELETE", path), ("PATCH", path, {"label": "x"}))

    return make_case


def issue_status(status: str) -> Callable[[Place], Case]:
    def make_case(endings_fixture: Place) -> Case:
        path = f"/issues/{endings_fixture.execution_issue()}"
        edit, back = ("PATCH", path, {"status": status, "title": "Longer"}), ("PATCH", path, {"status": "todo"})
        return Case(("PATCH", path, {"status": status}), edit, back)

    return make_case


def agent(ending: str) -> Callable[[Place], Case]:
    def make_case(endings_fixture: Place) -> Case:
        path = f"/agents/{endings_fixture.agent}"
        after = ("POST", f"{path}/resume") if ending == "pause" else None
        return Case(("POST", f"{path}/{ending}", {}), ("PATCH", path, {"title": "x"}), after)

    return make_case


def revoke_agent_key(endings_fixture: Place) -> Case:
    return Case(
        (
            "DELETE",
            f"/agents/{endings_fixture.agent}/keys/{endings_fixture.create(f'/agents/{endings_fixture.agent}/keys', {})}",
        )
    )


def revoke_company_key(endings_fixture: Place) -> Case:
    return Case(
        (
            "DELETE",
            f"/companies/{endings_fixture.company}/keys/{endings_fixture.create(f'/agents/{endings_fixture.agent}/keys', {})}",
        )
    )


def revoke_board_key(endings_fixture: Place) -> Case:
    return Case(("DELETE", f"/board-api-keys/{endings_fixture.create('/board-api-keys', {})}"))


def member(method: str, **change: Any) -> Callable[[Place], Case]:
    def make_case(endings_fixture: Place) -> Case:
        members = f"/companies/{endings_fixture.company}/members"
        path = f"{members}/{endings_fixture.api.post(members, {'name': 'Robin'})['userId']}"
        return Case((method, path, change) if change else (method, path), ("PATCH", path, {"membershipRole": "admin"}))

    return make_case


def resource(kind: str, draft: Any, end: tuple[str, str], edit: Any, undo: str = "") -> Callable[[Place], Case]:
    def make_case(endings_fixture: Place) -> Case:
        path = f"/{kind}/{endings_fixture.in_company(kind, draft)}"
        return Case((end[0], path + end[1]), ("PATCH", path, edit), ("POST", path + undo) if undo else None)

    return make_case


def endpoint(method: str, **change: Any) -> Callable[[Place], Case]:
    def make_case(endings_fixture: Place) -> Case:
        id_ = endings_fixture.in_company("webhook-endpoints", {"url": HOOK, "events": ["goal.*"]})
        path = f"/companies/{endings_fixture.company}/webhook-endpoints/{id_}"
        after = ("PATCH", path, {"enabled": True}) if change else None
        end = (method, path, change) if change else (method, path)
        return Case(end, ("PATCH", path, {**change, "description": "x"}), after)

    return make_case


def cancel_backfill(endings_fixture: Place) -> Case:
    trigger = endings_fixture.trigger(kind="schedule", cronExpression="0 9 1 * *")
    return Case(
        (
            "POST",
            f"/routine-backfills/{endings_fixture.create(f'/routine-triggers/{trigger}/backfills', LAST_YEAR)}/cancel",
        )
    )


def archive_company(endings_fixture: Place) -> Case:
    path = f"/companies/{endings_fixture.company}"
    return Case(("POST", f"{path}/archive"), ("PATCH", path, {"description": "x"}))


CASES: dict[str, Callable[[Place], Case]] = {
    "pause a routine": routine_status("paused"),
    "pause a routine with a note": pause_with_a_note,
    "archive a routine": routine_status("archived"),
    "disable a schedule": disable_trigger("schedule", cronExpression="0 9 * * *"),
    "disable a schedule that is due": disable_trigger("schedule", cronExpression="* * * * *"),
    "disable a webhook": disable_trigger("webhook"),
    "delete a schedule that is due": delete_trigger("schedule", cronExpression="* * * * *"),
    "delete a webhook": delete_trigger("webhook"),
    "cancel an issue": issue_status("cancelled"),
    "finish an issue": issue_status("done"),
    "pause an agent": agent("pause"),
    "terminate an agent": agent("terminate"),
    "revoke an agent's key": revoke_agent_key,
    "revoke a company's key": revoke_company_key,
    "revoke a board key": revoke_board_key,
    "remove a member": member("DELETE"),
    "take rights from a member": member("PATCH", membershipRole="viewer"),
    "pause a project": resource("projects", {"name": "Moon"}, ("POST", "/pause"), {"color": "red"}, "/resume"),
    "delete a project": resource("projects", {"name": "Moon"}, ("DELETE", ""), {"color": "red"}),
    "delete a goal": resource("goals", {"title": "Land"}, ("DELETE", ""), {"title": "Fly"}),
    "disable an endpoint": endpoint("PATCH", enabled=False),
    "delete an endpoint": endpoint("DELETE"),
    "cancel a backfill": cancel_backfill,
    "archive a company": archive_company,
}


@pytest.fixture(scope="module")
def api_of_the_past(api: Api) -> Iterator[Api]:
    with serve_further(api, clock=lambda: api.system.clock() - timedelta(hours=1)) as other_api:
        yield other_api


@pytest.fixture(scope="module")
def over_rate(api: Api) -> Iterator[Api]:
    with serve_further(api, limits=Limits(max_company_events_per_minute=1, max_key_events_per_minute=1)) as other_api:
        yield other_api


@pytest.fixture
def at_bound(api: Api, set_limits: Callable[..., None]) -> Api:
    set_limits(max_stream_events=1)
    return api


@pytest.fixture
def endings_fixture(api_of_the_past: Api) -> Place:
    company = api_of_the_past.company()
    return Place(api_of_the_past, company, api_of_the_past.agent(company)[0])


def send(api: Api, request: Request) -> httpx.Response:
    method, path, *body = request
    return api.request(method, path, *body)


@pytest.mark.parametrize("name", CASES)
def test_whoever_is_over_a_rate_can_still(over_rate: Api, endings_fixture: Place, name: str):
    case = CASES[name](endings_fixture)
    send(over_rate, ("POST", f"/companies/{endings_fixture.company}/goals", {"title": "The one that was left"}))

    if case.before is not None:
        assert 429 == send(over_rate, case.before).status_code
    answer = send(over_rate, case.end)

    assert answer.is_success, answer.text
    if case.after is not None:
        assert 429 == send(over_rate, case.after).status_code


@pytest.mark.parametrize("name", CASES)
def test_however_full_the_history_of_a_thing_is_whoever_owns_it_can(at_bound: Api, endings_fixture: Place, name: str):
    case = CASES[name](endings_fixture)

    if case.before is not None:
        assert 422 == send(at_bound, case.before).status_code
    answer = send(at_bound, case.end)

    assert answer.is_success, answer.text
    if case.after is not None:
        assert 422 == send(at_bound, case.after).status_code


@pytest.mark.parametrize("bounds", ["over_rate", "at_bound"])
def test_all_routines_of_a_company_can_be_paused_at_once_and_not_resumed(
    endings_fixture: Place, bounds: str, request: pytest.FixtureRequest
):
    here = request.getfixturevalue(bounds)
    routines = [endings_fixture.routine(), endings_fixture.routine()]
    send(here, ("POST", f"/companies/{endings_fixture.company}/goals", {"title": "The one that was left"}))

    paused = here.post(f"/companies/{endings_fixture.company}/routines/pause", {"routineIds": routines})
    resumed = here.post(f"/companies/{endings_fixture.company}/routines/resume", {"routineIds": routines})

    assert set(routines) == set(paused["changed"])
    assert set(routines) == {refused["routineId"] for refused in resumed["refused"]}


def test_to_pause_what_is_paused_records_nothing(endings_fixture: Place, at_bound: Api):
    routine, project = endings_fixture.routine(), endings_fixture.in_company("projects", {"name": "Moon"})
    pauses: list[Request] = [
        ("PATCH", f"/routines/{routine}", {"status": "paused"}),
        ("POST", f"/projects/{project}/pause"),
        ("POST", f"/agents/{endings_fixture.agent}/pause", {}),
    ]
    for pause in pauses:
        assert send(at_bound, pause).is_success
    head = endings_fixture.api.system.store.head()

    for pause in pauses:
        assert send(at_bound, pause).is_success

    assert head == endings_fixture.api.system.store.head()


def test_a_pause_that_ends_by_itself_is_an_ordinary_change(endings_fixture: Place, over_rate: Api):
    path = f"/routines/{endings_fixture.routine()}"
    send(over_rate, ("POST", f"/companies/{endings_fixture.company}/goals", {"title": "The one that was left"}))

    refusal = send(over_rate, ("PATCH", path, {"status": "paused", "resumeAt": "2999-01-01T00:00:00Z"}))

    assert 429 == refusal.status_code


def test_an_issue_is_not_ended_again_and_again(endings_fixture: Place, at_bound: Api):
    path = f"/issues/{endings_fixture.execution_issue()}"
    assert send(at_bound, ("PATCH", path, {"status": "done"})).is_success

    assert 422 == send(at_bound, ("PATCH", path, {"status": "cancelled"})).status_code


def test_what_an_agent_has_done_ten_times_keeps_no_owner_from_ending_it(
    endings_fixture: Place, api: Api, set_limits: Callable[..., None]
):
    issue = endings_fixture.in_company("issues", {"title": "Look"})
    set_limits(max_stream_events=10)
    for _ in range(10):
        checkout = {"agentId": endings_fixture.agent, "expectedStatuses": ["todo", "in_progress", "backlog"]}
        send(api, ("POST", f"/issues/{issue}/checkout", checkout))
        last = send(api, ("POST", f"/issues/{issue}/release"))

    assert 422 == last.status_code
    assert send(api, ("PATCH", f"/issues/{issue}", {"status": "cancelled"})).is_success
