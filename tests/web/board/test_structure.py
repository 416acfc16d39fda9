"""Projects, goals, folders, issues, agents, endpoints and the company itself are made and changed by forms."""

import pytest

from tests.web import people
from tests.web.board.conftest import Board

MADE = {
    "projects": ({"name": "Launch", "targetDate": "2026-12-24"}, "Launch"),
    "goals": ({"title": "Grow", "level": "company"}, "Grow"),
    "folders": ({"name": "Nightly"}, "Nightly"),
    "issues": ({"title": "Look at it", "priority": "high"}, "Look at it"),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_thing_is_made_and_changed(board, api, company, agent, kind):
    fields, name = MADE[kind]

    answer = board.send(board.show(f"/structure/{kind}/new"), "/new", **fields)

    assert "It is added." in answer.text
    assert name in answer.text
    thing = api.get(f"/companies/{company}/{kind}")[0]
    assert fields.items() <= thing.items()
    form = board.show(f"/structure/{kind}/{thing['id']}")
    field = "title" if "title" in fields else "name"
    assert "The change is saved." in board.send(form, f"/{thing['id']}", **{field: "Other"}).text
    assert "Other" == api.get(f"/companies/{company}/{kind}")[0][field]
    conflict = board.send(form, f"/{thing['id']}", **{field: "Mine"})
    assert (409, True) == (conflict.status, f"{field} Mine Other" in conflict.text)
    wrong = board.send(conflict, f"/{thing['id']}", **{field: " "})
    assert (422, True) == (wrong.status, "This has to be filled in." in wrong.text)


def test_a_project_is_paused_resumed_and_deleted(board, api, company):
    project = api.post(f"/companies/{company}/projects", {"name": "Launch"})["id"]

    def press(action, send=board.send):
        return send(board.show(f"/structure/projects/{project}"), "/action", action=action).text

    assert "Launch paused" in press("pause")
    assert "Launch backlog" in press("resume")
    assert "There is no project yet." in press("delete", board.send_surely)


def test_a_folder_lies_in_another_but_not_in_itself_and_is_deleted_only_when_it_is_empty(board, api, company):
    folders = f"/companies/{company}/folders"
    outer, inner = (api.post(folders, {"name": name})["id"] for name in ("Outer", "Inner"))
    board.send(board.show(f"/structure/folders/{inner}"), f"/{inner}", parentId=outer)
    assert {outer: None, inner: outer} == {one["id"]: one["parentId"] for one in api.get(folders)}
    form = board.show(f"/structure/folders/{inner}")
    assert "The change is saved." in board.send(form, f"/{inner}", name="Top", parentId="").text
    assert {outer: ("Outer", None), inner: ("Top", None)} == {
        one["id"]: (one["name"], one["parentId"]) for one in api.get(folders)
    }
    board.send(board.show(f"/structure/folders/{inner}"), f"/{inner}", parentId=outer)
    page = board.send_surely(board.show(f"/structure/folders/{outer}"), "/action", action="delete")
    assert (422, True) == (page.status, "The folder is not empty" in page.text)


def test_an_agent_is_renamed_gets_a_heartbeat_whose_secret_is_shown_once_and_is_terminated(board, api, agent):
    form = board.show(f"/structure/agents/{agent}")

    answer = board.send(form, f"/{agent}", name="Scout", heartbeatUrl="https://agents.example.org/wake")

    assert "it is shown once" in answer.text
    form = board.show(f"/structure/agents/{agent}")
    assert ("Scout", "https://agents.example.org/wake") == tuple(
        form.form(f"/{agent}")["fields"][name] for name in ("name", "heartbeatUrl")
    )
    assert "it is shown once" in board.send_surely(form, "/action", action="rotate-heartbeat-secret").text
    assert "The change is saved." in board.send_surely(form, "/action", action="terminate").text
    assert "terminated" == api.get(f"/agents/{agent}")["status"]


def test_an_endpoint_and_the_company_are_changed(board, api, company):
    endpoints = f"/companies/{company}/webhook-endpoints"
    endpoint = api.post(endpoints, {"url": "https://hooks.example.org/in", "events": ["run.*"]})["id"]
    board.send(board.show(f"/structure/webhook-endpoints/{endpoint}"), f"/{endpoint}", events="run.failed, alert.*")
    assert ["run.failed", "alert.*"] == api.get(f"{endpoints}/{endpoint}")["events"]

    form = board.show(f"/structure/company/{company}")
    page = board.send(form, f"/{company}", name="Acme & Sons", maxCost="2.5", windowSec="60")
    assert "Acme & Sons" in page.text
    assert {"maxCostMicros": 2_500_000, "windowSec": 60} == api.get(f"/companies/{company}")["budget"]
    wrong = board.send(board.show(f"/structure/company/{company}"), f"/{company}", maxCost="much")
    assert (422, True) == (wrong.status, "This is no number." in wrong.text)
    confirmation = board.send(board.show(f"/structure/company/{company}"), "/action", action="archive")
    assert "cannot be brought back" in confirmation.text
    assert "active" == api.get(f"/companies/{company}")["status"]
    board.send(confirmation, "/action")
    assert "archived" == api.get(f"/companies/{company}")["status"]


def test_what_is_no_kind_of_thing_or_belongs_to_another_company_is_not_there(board, viewer, api, company):
    other = api.company("Other")
    foreign = [("projects", {"name": "x"}), ("goals", {"title": "x"}), ("folders", {"name": "x"})]
    paths = [f"/structure/{kind}/{api.post(f'/companies/{other}/{kind}', body)['id']}" for kind, body in foreign]
    paths += [f"/structure/agents/{api.agent(other)[0]}", f"/structure/company/{other}", "/structure/wishes/new"]
    assert {404} == {board.show(path).status for path in [*paths, "/structure/agents/new", "/structure/keys/x"]}
    assert {403} == {viewer.show(f"/structure/{path}").status for path in ("projects/new", f"company/{company}")}


def test_an_operator_makes_a_company_and_a_key_for_a_member(board, api, company):
    page = board.send(board.get("/board/new-company"), "/board/companies", name="Second")
    assert "Second" in page.text
    api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "viewer"})
    people = board.show("/people")
    member = next(form["action"] for form in people.forms if "/members/" in form["action"])
    assert "it is shown once" in board.send(people, member, key="1").text


def test_a_routine_is_archived_by_its_form(board, api, company, agent):
    routine = api.routine(company, agent)
    assert "The routine is archived." in board.send_surely(board.show(f"/routines/{routine}/edit"), "/status").text
    assert "archived" == api.get(f"/routines/{routine}")["status"]


def test_a_wrong_word_is_still_chosen_beside_what_is_wrong_with_it(board):
    page = board.send(board.show("/structure/issues/new"), "/new", title="x", priority="soon")
    assert (422, "soon") == (page.status, page.form("/new")["fields"]["priority"])


def test_a_conflict_has_the_names_of_things_and_says_whose_they_are(board, api, company, agent):
    project = api.post(f"/companies/{company}/projects", {"name": "Launch"})["id"]
    goals = [api.post(f"/companies/{company}/goals", {"title": title})["id"] for title in ("Grow", "Stay")]
    form = board.show(f"/structure/projects/{project}")
    api.patch(f"/projects/{project}", {"goalId": goals[0]})
    assert "goal Stay Grow" in board.send(form, f"/{project}", goalId=goals[1]).text

    member = api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "viewer"})["userId"]
    form = board.show("/people")
    api.patch(f"/companies/{company}/members/{member}", {"membershipRole": "admin"})
    assert "These fields of Ada differ." in board.send(form, f"/members/{member}", role="member").text


def test_who_may_not_assign_work_is_not_asked_whether_to_make_a_new_secret_of_an_agent(api, company, agent):
    api.patch(f"/agents/{agent}", {"heartbeatUrl": "https://agents.example.org/wake"})
    member = Board(api, company, people.member(api, company, "member", ()))
    form = member.show(f"/structure/agents/{agent}")
    assert ("New secret" in form.text, "Terminate" in form.text) == (False, True)
    page = member.send(form, "/action", action="rotate-heartbeat-secret")
    assert (403, True) == (page.status, "for members who may assign work" in page.text)
    member.client.close()
