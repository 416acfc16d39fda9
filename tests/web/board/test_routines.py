import httpx
import msgspec
import pytest

from application.request_bodies.routines import RoutineDraft
from application.use_cases import triggers
from tests.web.board.conftest import make_many


@pytest.fixture
def sixty_routines(api, company, agent):
    """Sixty routines, of which the first is the next one to run."""
    drafts = [
        {
            "title": f"Report {number:02}",
            "assigneeAgentId": agent,
            "triggers": [{"kind": "schedule", "cronExpression": f"{number} 3 1 1 *", "timezone": "Asia/Tokyo"}],
        }
        for number in range(60)
    ]
    make_many(api, triggers.create_routine, company, msgspec.convert(drafts, list[RoutineDraft]))


def test_the_list_is_in_the_order_of_the_next_runs_a_page_at_a_time(board, sixty_routines):
    first = board.show("/routines")
    following = next(link for link in first.links if link and "cursor=" in link)
    numbers = [number for number in range(60) if f"Report {number:02}</a>" in first.html]
    second = board.get(following)
    rest = [number for number in range(60) if f"Report {number:02}</a>" in second.html]

    assert list(range(50)) == numbers
    assert list(range(50, 60)) == rest
    assert first.html.index("Report 00") < first.html.index("Report 01") < first.html.index("Report 49")


def test_a_next_run_stands_in_the_zone_of_its_schedule(board, sixty_routines):
    assert "Fri 1 Jan 2027 03:00 Asia/Tokyo · in" in board.show("/routines").text


@pytest.mark.parametrize("sort", ["title", "changed", "next"])
def test_each_order_has_every_routine_once(board, sixty_routines, sort):
    first = board.show(f"/routines?sort={sort}")
    rest = board.get(next(link for link in first.links if link and "cursor=" in link))
    for number in range(60):
        assert 1 == (first.html + rest.html).count(f"Report {number:02}</a>")


def test_filters_are_in_the_address_and_narrow_the_list(board, api, company, agent):
    other, _ = api.agent(company, "Ledger")
    api.routine(company, agent, title="Weekly briefing", description="For the CEO")
    api.routine(company, other, title="Stripe bridge")
    paused = api.routine(company, other, title="Old report", status="paused")

    assert "Stripe" not in board.show("/routines?q=ceo").text
    assert "Weekly briefing" in board.show("/routines?q=ceo").text
    assert "Weekly briefing" not in board.show(f"/routines?agent={other}").text
    assert "Old report" in board.show("/routines?status=paused").text
    assert "Stripe" not in board.show("/routines?status=paused").text
    api.patch(f"/routines/{paused}", {"status": "archived"})
    assert "Old report" not in board.show("/routines").text
    assert "Old report" in board.show("/routines?status=all").text
    assert "No routine matches." in board.show("/routines?q=nothing").text


def test_the_columns_are_chosen_in_the_address_and_stay_on_the_next_page(board, api, company, sixty_routines):
    project = api.post(f"/companies/{company}/projects", {"name": "Moonshot"})["id"]
    api.patch(f"/routines/{api.get(f'/companies/{company}/routines')[0]['id']}", {"projectId": project})
    usual, chosen = board.show("/routines"), board.show("/routines?column=priority&column=project&sort=changed")

    assert "Routine Last runs Last outcome Next run Actions" in usual.text
    assert "Routine Project Priority Actions" in chosen.text
    assert "Moonshot medium" in chosen.text
    following = board.get(next(link for link in chosen.links if link and "cursor=" in link))
    assert "Routine Project Priority Actions" in following.text


@pytest.mark.parametrize("query", ["column=x", "sort=x", "status=x", "agent=x", "cursor=x"])
def test_a_wrong_filter_is_a_sentence(board, query):
    assert 400 == board.show(f"/routines?{query}").status


def test_a_strip_shows_the_last_runs_by_shape_and_says_them_in_words(board, api, company, agent):
    routine = api.routine(company, agent)
    for _ in range(3):
        run = api.post(f"/routines/{routine}/run", {})
        api.patch(f"/issues/{run['linkedIssueId']}", {"status": "done"})
    api.post(f"/routines/{routine}/run", {})
    api.post(f"/routines/{routine}/run", {})

    page = board.show("/routines")

    assert 'aria-label="Last 5 runs: 3 ran, 1 under way, 1 coalesced"' in page.html
    assert '<path d="M' in page.html


def test_a_routine_that_mostly_begins_no_work_says_so(board, api, company, agent):
    routine = api.routine(company, agent)
    for _ in range(4):
        api.post(f"/routines/{routine}/run", {})
    assert "Loses occurrences: 3 of the last 4 began no work." in board.show("/routines").text


def test_run_now_runs_once_however_often_its_button_is_pressed(board, api, company, agent):
    routine = api.routine(company, agent)
    page = board.show("/routines")

    shown = board.send(page, f"/{routine}/run")
    board.send(page, f"/{routine}/run")

    assert "The routine was run." in shown.text
    assert 1 == len(api.get(f"/routines/{routine}/runs"))


def test_a_routine_is_paused_with_a_note_and_resumed(board, api, company, agent):
    routine = api.routine(company, agent, title="Briefing")
    page = board.send(board.show(f"/routines/{routine}/pause"), "/pause", note="Waiting for a key")
    assert "“Waiting for a key”" in page.text

    page = board.send(board.show("/routines"), f"/{routine}/status")

    assert "The routine is active again." in page.text
    assert "active" == api.get(f"/routines/{routine}")["status"]


def test_a_pause_that_ends_at_no_time_keeps_what_was_typed(board, api, company, agent):
    routine = api.routine(company, agent)
    page = board.send(board.show(f"/routines/{routine}/pause"), "/pause", note="Because", until="soon")

    assert 422 == page.status
    assert "This is no time in UTC" in page.text
    assert ("Because", "soon") == tuple(page.form("/pause")["fields"][name] for name in ("note", "until"))
    page = board.send(page, "/pause", until="2020-01-01 09:00")
    assert "resumeAt must be in the future" in page.text


def test_many_are_paused_after_a_look_and_resumed_again(board, api, company, agent):
    ids = [api.routine(company, agent, title=f"Report {number}") for number in range(3)]
    page = board.show("/routines")
    chosen = board.post(
        page.form("/many")["action"], {**page.form("/many")["fields"], "routine": ids[:2], "action": "pause"}
    )
    assert "Pause 2 routines?" in chosen.text
    assert ["active"] * 3 == [api.get(f"/routines/{id_}")["status"] for id_ in ids]

    fields = {**chosen.form("/many")["fields"], "routine": ids[:2], "note": "Holidays", "until": "soon"}
    wrong = board.post(chosen.form("/many")["action"], fields)
    assert "This is no time in UTC" in wrong.text
    assert ("Holidays", "soon") == tuple(wrong.form("/many")["fields"][name] for name in ("note", "until"))
    fields["until"] = "2099-01-01 09:00"
    done = board.post(chosen.form("/many")["action"], fields)

    assert "2 routines were paused." in done.text
    assert ["paused", "paused", "active"] == [api.get(f"/routines/{id_}")["status"] for id_ in ids]
    paused = api.get(f"/routines/{ids[0]}")
    assert ("Holidays", "2099-01-01T09:00:00.000Z") == (paused["pauseNote"], paused["resumeAt"])
    board.send(done, "/many")
    assert ["active"] * 3 == [api.get(f"/routines/{id_}")["status"] for id_ in ids]


def test_all_that_match_are_paused_after_their_number_is_seen_and_resumed_again(board, api, company, agent):
    ids = [api.routine(company, agent, title=f"{word} report") for word in ("Daily", "Weekly", "Daily")]
    page = board.show("/routines?q=daily")
    form = next(form for form in page.forms if "all" in form["fields"])

    confirmation = board.post(form["action"], {**form["fields"], "action": "pause"})

    assert "Pause 2 routines?" in confirmation.text
    assert "All that match “daily”." in confirmation.text
    done = board.send(confirmation, "/many", note="Holidays")
    assert "2 routines were paused." in done.text
    assert ["paused", "active", "paused"] == [api.get(f"/routines/{id_}")["status"] for id_ in ids]
    board.send(done, "/many")
    assert ["active"] * 3 == [api.get(f"/routines/{id_}")["status"] for id_ in ids]


def test_many_are_moved_into_a_folder_that_is_chosen_and_out_again(board, api, company, agent):
    ids = [api.routine(company, agent, title=f"Report {number}") for number in range(3)]
    page = board.show("/routines")
    fields = {**page.form("/many")["fields"], "routine": ids[:2], "action": "move"}
    assert "There is no folder yet." in board.post(page.form("/many")["action"], fields).text
    folder = api.post(f"/companies/{company}/folders", {"name": "Nightly"})["id"]
    confirmation = board.post(page.form("/many")["action"], fields)
    assert "Move 2 routines?" in confirmation.text
    fields = {**confirmation.form("/many")["fields"], "routine": ids[:2]}

    wrong = board.post(confirmation.form("/many")["action"], {**fields, "folder": ids[0]})
    done = board.post(confirmation.form("/many")["action"], {**fields, "folder": folder})

    assert (422, ids[0]) == (wrong.status, wrong.form("/many")["fields"]["folder"])
    assert "2 routines were moved." in done.text
    assert [folder, folder, None] == [api.get(f"/routines/{id_}")["folderId"] for id_ in ids]
    again = {**fields, "routine": [ids[0], api.routine(api.company("Other"), None)], "folder": ""}
    assert "Routine not found" in board.post(confirmation.form("/many")["action"], again).text
    assert [folder, None] == [api.get(f"/routines/{id_}")["folderId"] for id_ in ids[1:]]


def test_all_that_match_are_moved_after_their_number_is_seen(board, api, company, agent):
    ids = [api.routine(company, agent, title=f"{word} report") for word in ("Daily", "Weekly", "Daily")]
    folder = api.post(f"/companies/{company}/folders", {"name": "Nightly"})["id"]
    form = next(form for form in board.show("/routines?q=daily").forms if "all" in form["fields"])

    confirmation = board.post(form["action"], {**form["fields"], "action": "move"})

    assert "Move 2 routines?" in confirmation.text
    assert "2 routines were moved." in board.send(confirmation, "/many", folder=folder).text
    assert [folder, None, folder] == [api.get(f"/routines/{id_}")["folderId"] for id_ in ids]
    none = board.post(form["action"], {**form["fields"], "q": "nowhere", "action": "move", "confirmed": "1"})
    assert (200, True) == (none.status, "Move 0 routines?" in none.text)


def test_what_is_done_with_all_that_match_goes_by_the_status_that_is_looked_at(board, api, company, agent):
    active, paused = (api.routine(company, agent, title=title) for title in ("Daily", "Weekly"))
    api.patch(f"/routines/{paused}", {"status": "paused"})
    folder = api.post(f"/companies/{company}/folders", {"name": "Nightly"})["id"]
    page = board.show("/routines?status=paused")
    form = next(form for form in page.forms if "all" in form["fields"])

    confirmation = board.post(form["action"], {**form["fields"], "action": "move"})

    assert ("Pause all…" in page.text, "Resume all…" in page.text) == (False, True)
    assert "All that match, paused." in confirmation.text
    assert "1 routine was moved." in board.send(confirmation, "/many", folder=folder).text
    assert [None, folder] == [api.get(f"/routines/{id_}")["folderId"] for id_ in (active, paused)]


@pytest.mark.parametrize("action", ["pause", "move"])
def test_nothing_chosen_changes_nothing(board, api, company, agent, action):
    api.routine(company, agent)
    assert "No routine is chosen." in board.send(board.show("/routines"), "/many", action=action).text


def test_the_list_is_read_with_the_rights_of_the_reader(board, company):
    assert httpx.get(f"{board.url}/board/companies/{company}/routines").status_code == 303
