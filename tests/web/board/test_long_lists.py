"""Lists that share a page with others have parts, so that a company with very many of something can still be read and changed."""

from datetime import UTC, datetime

import pytest

from application.request_bodies.board import AgentDraft, AgentKeyDraft, ProjectDraft
from application.request_bodies.routines import BackfillDraft
from application.use_cases import backfills
from application.use_cases.board import agents, keys, projects
from tests.web.board.conftest import make_many
from web.board import triggers
from web.board.visit import ROWS

MOST = ROWS + 2


@pytest.fixture(scope="module")
def crowded(api):
    company = api.company("Crowded")
    make_many(api, projects.create, company, [ProjectDraft(name=f"Project {number}.") for number in range(MOST)])
    make_many(api, agents.create, company, [AgentDraft(name=f"Agent {number}.") for number in range(MOST)])
    return company


def followed(board, page, name):
    """The page to which the next part of a list leads."""
    return board.get(next(link for link in page.links if link and link.endswith(f"#{name}")))


def test_projects_have_parts_and_a_way_back(board, crowded):
    board.company = crowded
    first = board.show("/structure")
    assert f"Project {ROWS - 1}. " in first.text
    assert f"Project {ROWS}. " not in first.text
    second = followed(board, first, "projects")
    assert (False, True) == (f"Project {ROWS - 1}. " in second.text, f"Project {MOST - 1}. " in second.text)
    assert "First projects" in second.text
    assert "Next projects" not in second.text
    assert "Project 0. " in followed(board, second, "projects").text


def test_what_is_wrong_with_an_agent_of_a_later_part_stands_beside_it_with_what_was_typed(board, api, crowded):
    board.company = crowded
    second = followed(board, board.show("/people"), "agents")
    last = next(form["action"] for form in reversed(second.forms) if "/agents/" in form["action"])

    wrong = board.post(last, {**second.form(last)["fields"], "action": "budget", "maxCost": "much"})

    assert (422, True) == (wrong.status, f"Agent {MOST - 1}." in wrong.text)
    assert 'value="much"' in wrong.html
    paused = board.post(last, {**second.form(last)["fields"], "action": "pause"})
    assert (200, True) == (paused.status, f"Agent {MOST - 1}." in paused.text)
    assert "paused" in {agent["status"] for agent in api.get(f"/companies/{crowded}/agents")}


def test_keys_go_on_after_those_that_the_api_gives_at_once(board, api, company, agent):
    make_many(api, keys.create_for_agent, agent, [AgentKeyDraft(name=f"key {number}.") for number in range(MOST)])
    first = board.show("/people")
    assert "key 0. " not in first.text
    second = followed(board, first, "keys")
    assert "key 0. " in second.text
    assert "The key is revoked." in board.send_surely(second, second_revoke(second)).text


def second_revoke(page):
    return next(form["action"] for form in page.forms if "/revoke" in form["action"])


@pytest.mark.parametrize("place", ["x", "-1", "1.x", "9" * 30])
def test_a_place_that_no_page_gave_is_refused(board, place):
    assert {400} == {board.show(f"/{path}").status for path in (f"structure?goals={place}", f"people?agents={place}")}


def test_a_list_of_choices_that_goes_on_says_so(board, api, company, agent, monkeypatch):
    monkeypatch.setattr(triggers, "MOST_ROUTINES", 2)
    routine, _ = (api.routine(company, agent, title=f"Routine {number}") for number in range(2))
    assert "Not all are listed here" not in board.show(f"/routines/{routine}/triggers/new?kind=chain").text
    api.routine(company, agent, title="One more")
    assert "Not all are listed here" in board.show(f"/routines/{routine}/triggers/new?kind=chain").text


def make_and_cancel(work, by, trigger_id, draft):
    backfills.cancel(work, by, backfills.create(work, by, trigger_id, draft))


def test_backfills_go_on_on_a_next_page(board, api, company, agent):
    schedule = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "UTC"}
    routine = api.routine(company, agent, triggers=[schedule])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    period = BackfillDraft(from_=datetime(2020, 1, 1, tzinfo=UTC), to=datetime(2020, 1, 1, 12, tzinfo=UTC))
    make_many(api, make_and_cancel, trigger, [period] * (ROWS + 1))
    page = board.show(f"/routines/{routine}/triggers/{trigger}/backfills")
    assert "Next page" in page.text
    following = board.get(next(link for link in page.links if link and "cursor=" in link))
    assert (200, 1) == (following.status, following.html.count("row-"))
