"""A change that rests on an old copy is refused, however it comes."""

from typing import Any

import pytest

from application.event_store.unit_of_work import UNCHANGED_SINCE
from application.request_bodies.board import CompanyPatch
from application.use_cases.board import companies
from domain.errors import PreconditionFailed
from tests.api import Api
from tests.application.use_cases.installation import Installation


def tag_of(api: Api, path: str) -> dict[str, str]:
    return {"If-Match": api.request("GET", path).headers["ETag"]}


def change(api: Api, method: str, path: str, body: Any, headers: dict[str, str]) -> int:
    return api.request(method, path, body, headers=headers).status_code


def test_whatever_can_be_read_is_changed_only_by_who_has_the_current_copy(api: Api):
    company = api.company()
    agent = api.agent(company)[0]
    goal = api.post(f"/companies/{company}/goals", {"title": "x"})["id"]
    project = api.post(f"/companies/{company}/projects", {"name": "x"})["id"]
    issue = api.post(f"/companies/{company}/issues", {"title": "x"})["id"]
    for path, field in (
        (f"/companies/{company}", "name"),
        (f"/agents/{agent}", "name"),
        (f"/goals/{goal}", "title"),
        (f"/projects/{project}", "name"),
        (f"/issues/{issue}", "title"),
        (f"/routines/{api.routine(company, agent)}", "title"),
    ):
        old = tag_of(api, path)

        assert 200 == change(api, "PATCH", path, {field: "y"}, old)
        answer = api.request("PATCH", path, {field: "z"}, headers=old)

        assert (412, "y") == (answer.status_code, api.get(path)[field])
        assert "/problems/precondition-failed" == answer.json()["type"]
        assert 200 == change(api, "PATCH", path, {field: "z"}, {"If-Match": f'"a", {tag_of(api, path)["If-Match"]}'})


@pytest.mark.parametrize(
    ("tag", "status"), [("*", 200), ('"nonsense"', 412), ("nonsense", 412), ("W/{}", 412), ("{}", 200)]
)
def test_any_copy_matches_a_star_and_a_weak_one_matches_nothing(api: Api, tag: str, status: int):
    path = f"/companies/{api.company()}"
    current = tag_of(api, path)["If-Match"]

    assert status == change(api, "PATCH", path, {"name": "y"}, {"If-Match": tag.format(current)})


def test_a_deletion_and_a_restored_revision_are_conditional_too(api: Api):
    company = api.company()
    routine = f"/routines/{api.routine(company, api.agent(company)[0])}"
    goal = f"/goals/{api.post(f'/companies/{company}/goals', {'title': 'x'})['id']}"
    first = api.get(f"{routine}/revisions")[0]["id"]
    old, old_goal = tag_of(api, routine), tag_of(api, goal)
    api.patch(routine, {"title": "y"})
    api.patch(goal, {"title": "y"})

    assert 412 == change(api, "POST", f"{routine}/revisions/{first}/restore", {}, old)
    assert 412 == change(api, "DELETE", goal, None, old_goal)
    assert 200 == change(api, "POST", f"{routine}/revisions/{first}/restore", {}, tag_of(api, routine))
    assert change(api, "DELETE", goal, None, tag_of(api, goal)) in (200, 204)


def test_what_has_no_tag_fails_and_who_may_not_change_it_is_answered_as_without_a_condition(api: Api):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    some = {"If-Match": '"a"'}

    assert 412 == change(api, "PATCH", f"/routine-triggers/{trigger}", {"label": "x"}, some)
    assert 404 == change(api, "PATCH", f"/routines/{trigger}", {"title": "x"}, some)
    assert 200 == change(api, "PATCH", f"/routine-triggers/{trigger}", {"label": "x"}, {"If-Match": "*"})
    assert 401 == api.request("PATCH", f"/routines/{routine}", {"title": "x"}, token=None, headers=some).status_code


def test_a_change_that_comes_between_the_comparison_and_the_commit_is_noticed():
    here = Installation()
    compared_at = here.store.head()
    here.ask(companies.update, here.company, CompanyPatch(name="Theirs"))
    token = UNCHANGED_SINCE.set(compared_at)
    try:
        with pytest.raises(PreconditionFailed):
            here.ask(companies.update, here.company, CompanyPatch(name="Ours"))
        UNCHANGED_SINCE.set(here.store.head())
        here.ask(companies.update, here.company, CompanyPatch(name="Ours"))
    finally:
        UNCHANGED_SINCE.reset(token)
