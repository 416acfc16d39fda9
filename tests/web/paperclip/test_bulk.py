"""Many routines paused or resumed at once, each on its own record."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api import Api
from tests.web import people


@pytest.fixture
def agent(api: Api, company: str) -> str:
    return api.agent(company)[0]


def routine(api: Api, company: str, agent: str, **fields: Any) -> str:
    return str(api.post(f"/companies/{company}/routines", {"title": "Look", "assigneeAgentId": agent, **fields})["id"])


def statuses(api: Api, *routines: str) -> list[str]:
    return [api.get(f"/routines/{id_}")["status"] for id_ in routines]


def test_all_routines_of_a_project_are_paused_with_a_note_and_an_end_and_resumed(api: Api, company: str, agent: str):
    project = api.post(f"/companies/{company}/projects", {"name": "Move"})["id"]
    within = [routine(api, company, agent, projectId=project) for _ in range(3)]
    without = routine(api, company, agent)
    pause = {"projectId": project, "pauseNote": "Moving house", "resumeAt": "2099-01-01T00:00:00Z"}

    paused = api.post(f"/companies/{company}/routines/pause", pause)

    assert {"changed": sorted(within), "unchanged": [], "refused": []} | {"pauseId": paused["pauseId"]} == paused
    assert ["paused"] * 3 + ["active"] == statuses(api, *within, without)
    outcome = api.get(f"/routines/{within[0]}")
    assert ("Moving house", "2099-01-01T00:00:00.000Z") == (outcome["pauseNote"], outcome["resumeAt"])
    assert [2] * 3 == [api.get(f"/routines/{id_}")["latestRevisionNumber"] for id_ in within]

    resumed = api.post(f"/companies/{company}/routines/resume", {"projectId": project})

    assert sorted(within) == resumed["changed"]
    assert ["active"] * 4 == statuses(api, *within, without)


def test_conditions_narrow_it_together(api: Api, company: str, agent: str):
    other = api.agent(company, "Rover")[0]
    wanted = routine(api, company, agent, title="Read the news")
    elsewhere = [routine(api, company, other, title="Read the news"), routine(api, company, agent, title="Water")]

    outcome = api.post(f"/companies/{company}/routines/pause", {"assigneeAgentId": agent, "q": "NEWS"})

    assert [wanted] == outcome["changed"]
    assert ["active"] * 2 == statuses(api, *elsewhere)


def test_a_list_of_routines_says_which_were_as_asked_for_already(api: Api, company: str, agent: str):
    active, archived, left = (routine(api, company, agent) for _ in range(3))
    paused = routine(api, company, agent, status="paused")
    api.patch(f"/routines/{archived}", {"status": "archived"})

    outcome = api.post(f"/companies/{company}/routines/pause", {"routineIds": [active, archived, paused]})

    assert ([active], sorted([archived, paused])) == (outcome["changed"], outcome["unchanged"])
    assert ["active"] == statuses(api, left)


def test_one_that_cannot_be_resumed_keeps_none_of_the_others_back(api: Api, company: str, agent: str):
    nobody, paused = routine(api, company, agent), routine(api, company, agent)
    api.post(f"/companies/{company}/routines/pause", {"all": True})
    api.patch(f"/routines/{nobody}", {"assigneeAgentId": None})

    outcome = api.post(f"/companies/{company}/routines/resume", {"all": True})

    assert [paused] == outcome["changed"]
    assert [{"routineId": nobody, "error": "Default agent required"}] == outcome["refused"]


def test_a_bulk_resume_leaves_alone_what_was_paused_by_hand(api: Api, company: str, agent: str):
    by_hand, again, running = (routine(api, company, agent) for _ in range(3))
    api.patch(f"/routines/{by_hand}", {"status": "paused"})
    api.post(f"/companies/{company}/routines/pause", {"routineIds": [by_hand, again, running]})
    for status in ("active", "paused"):
        api.patch(f"/routines/{again}", {"status": status})

    outcome = api.post(f"/companies/{company}/routines/resume", {"all": True})

    assert ([running], sorted([by_hand, again])) == (outcome["changed"], outcome["unchanged"])
    assert ["paused", "paused", "active"] == statuses(api, by_hand, again, running)


def test_one_bulk_pause_is_undone_and_another_stays(api: Api, company: str, agent: str):
    first, second = routine(api, company, agent), routine(api, company, agent)
    one = api.post(f"/companies/{company}/routines/pause", {"routineIds": [first]})["pauseId"]
    api.post(f"/companies/{company}/routines/pause", {"all": True})

    outcome = api.post(f"/companies/{company}/routines/resume", {"pauseId": one})

    assert ([first], [second]) == (outcome["changed"], outcome["unchanged"])


def test_an_agent_changes_its_own_and_is_told_of_the_others(api: Api, company: str):
    agent, token = api.agent(company, "Own")
    other = api.agent(company, "Other")[0]
    own, foreign = routine(api, company, agent), routine(api, company, other)

    outcome = api.post(f"/companies/{company}/routines/pause", {"all": True}, token=token)

    assert [own] == outcome["changed"]
    assert [(foreign, "Agents can only manage routines assigned to themselves")] == [
        (one["routineId"], one["error"]) for one in outcome["refused"]
    ]


def test_a_viewer_is_turned_away(api: Api, company: str):
    answer = api.request(
        "POST", f"/companies/{company}/routines/pause", {"all": True}, token=people.member(api, company, "viewer")
    )

    assert (403, "Viewer access is read-only") == (answer.status_code, answer.json()["error"])


def test_an_unknown_routine_in_the_list_is_named_and_nothing_is_changed(api: Api, company: str, agent: str):
    active = routine(api, company, agent)
    elsewhere = api.company()
    foreign = routine(api, elsewhere, api.agent(elsewhere)[0])

    for unknown in (str(uuid4()), foreign):
        answer = api.request("POST", f"/companies/{company}/routines/pause", {"routineIds": [active, unknown]})

        assert (422, ["routineIds", 1]) == (answer.status_code, answer.json()["details"][0]["path"])
    assert ["active"] == statuses(api, active)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"routineIDs": ["5f0c1f5e-0000-4000-8000-0000000000ff"]},
            "Unknown field 'routineIDs': did you mean 'routineIds'?",
        ),
        ({}, "Say which routines are meant, or all: true for every one"),
        ({"pauseNote": "Moving house"}, "Say which routines are meant, or all: true for every one"),
    ],
)
def test_nothing_is_paused_by_a_selection_that_says_nothing(api: Api, company: str, agent: str, body: Any, error: str):
    active = routine(api, company, agent)

    answer = api.request("POST", f"/companies/{company}/routines/pause", body)

    assert (400, error) == (answer.status_code, answer.json()["error"])
    assert ["active"] == statuses(api, active)
