import asyncio
import re
from hashlib import sha256
from uuid import uuid4

import pytest

from application.access import Caller
from application.event_store.recorder import PostgresRecorder
from application.event_store.stream_cache import CachedStream
from application.event_store.unit_of_work import SHARED_STREAMS
from web.board.api import Api as CallsOfPage
from web.board.app import POLICY
from web.board.files import FILES, path_of
from web.board.visit import COMPANIES

INLINE = ("<style", " style=", "javascript:", " onclick=", "pcp_")
MOST_BYTES = 300_000
PAGES = (
    "",
    "/routines",
    "/runs",
    "/issues",
    "/deliveries",
    "/people",
    "/log",
    "/system",
    "/week",
    "/routines/new",
    "/tasks",
    "/variables",
    "/structure",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_of_an_empty_company_says_the_next_step_and_holds_nothing_inline_and_no_secret(board, path):
    page = board.show(path)

    assert 200 == page.status
    headers = page.response.headers
    assert POLICY == headers["content-security-policy"]
    assert ("DENY", "no-store", "nosniff") == tuple(
        headers[name] for name in ("x-frame-options", "cache-control", "x-content-type-options")
    )
    assert "None" not in page.text.replace("None was made yet", "").replace("None is open", "")
    assert [] == [part for part in INLINE if part in page.html]
    assert page.html.count("<script") == page.html.count("<script src=")


def test_the_policy_allows_nothing_inline_and_no_eval():
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/board/nowhere", 404, "No page of the board has this address."),
        ("/board/companies/00000000-0000-4000-8000-000000000000", 404, "There is nothing here"),
        ("/board/companies/x", 404, "There is no such company."),
    ],
)
def test_an_error_is_a_page_with_a_sentence(board, path, status, sentence):
    page = board.get(path)
    assert status == page.status
    assert sentence in page.text
    assert POLICY == page.response.headers["content-security-policy"]


def test_what_is_refused_before_any_page_is_a_page_too(board):
    page = board.get("/board/" + "x" * 3000)
    assert (404, True) == (page.status, "text/html" in page.response.headers["content-type"])


def test_other_paths_are_still_the_apis(board):
    answer = board.client.get("/nowhere")
    assert (404, "API route not found") == (answer.status_code, answer.json()["error"])


def test_a_company_of_others_is_a_sentence_and_nothing_of_it_is_shown(board, api, viewer):
    foreign = api.company("Foreign")
    page = viewer.get(f"/board/companies/{foreign}/routines")
    assert 403 == page.status
    assert "User does not have access to this company." in page.text


def test_what_belongs_to_another_company_is_not_shown_in_this_one(board, api):
    other = api.company("Other")
    routine = api.routine(other, api.agent(other)[0])
    assert 404 == board.show(f"/routines/{routine}").status


def test_times_are_in_the_zone_that_the_reader_chooses(board):
    page = board.send(board.get("/board/settings"), "/board/settings", zone="asia/tokyo")
    assert "Times in Asia/Tokyo" in page.text
    assert "JST" in board.show().text


def test_a_zone_that_does_not_exist_is_refused_beside_its_field_and_stays_there(board):
    page = board.send(board.get("/board/settings"), "/board/settings", zone="Mars/Base")
    assert 422 == page.status
    assert "There is no such zone" in page.text
    assert "Mars/Base" == page.form("/board/settings")["fields"]["zone"]


def test_the_search_leads_to_what_an_id_names_and_else_shows_what_has_the_text(board, api, company, agent):
    routine = api.routine(company, agent, title="Water the plants")
    run = api.post(f"/routines/{routine}/run", {})
    issue = api.get(f"/issues/{run['linkedIssueId']}")

    assert "Water the plants" in board.show(f"/find?q={routine}").text
    assert "Run of Water the plants" in board.show(f"/find?q={run['id']}").text
    assert issue["identifier"] in board.show(f"/find?q={issue['id']}").text
    assert "What is to be done" in board.show(f"/find?q={issue['identifier'].lower()}").text
    text = board.show("/find?q=PLANTS").text
    assert "Routines Water the plants" in text
    assert "Runs Water the plants under way newest run" in text
    assert f"Issues {issue['identifier']} Water the plants todo" in text
    assert "Nothing has this in its name." in board.show("/find?q=cactus").text


def test_triggers_are_found_by_label_id_and_the_address_of_their_webhook(board, viewer, api, company, agent):
    schedule = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "UTC", "label": "Morning round"}
    routine = api.routine(company, agent, title="Briefing", triggers=[schedule, {"kind": "webhook"}])
    labelled, webhook = api.get(f"/routines/{routine}")["triggers"]
    form = board.show(f"/routines/{routine}/triggers/{webhook['id']}").response.url

    assert "Triggers Morning round schedule of Briefing" in board.show("/find?q=MORNING").text
    assert "Edit a trigger of Briefing" in board.show(f"/find?q={labelled['id']}").text
    address = f"https://routines.example/api/routine-triggers/public/{webhook['publicId']}/fire"
    for text in (webhook["id"], webhook["publicId"], address):
        assert form == board.show(f"/find?q={text}").response.url
    assert "Newest runs" in viewer.show(f"/find?q={webhook['publicId']}").text


def test_agents_and_pages_are_found_and_only_those_that_one_may_see(board, viewer, api, company):
    scout, _ = api.agent(company, "Scout")

    result_page = board.show("/find?q=sc")

    assert board.show(f"/issues?agent={scout}").response.url == board.show(f"/find?q={scout}").response.url
    assert "Agents Scout" in result_page.text
    assert [True, False] == [
        "Deliveries" in page.show("/find?q=deliver").text.split("Found for")[1] for page in (board, viewer)
    ]


def test_the_palette_offers_the_same_as_the_search(board, api, company, agent):
    routine = api.routine(company, agent, title="Water the plants")
    run = api.post(f"/routines/{routine}/run", {})
    for text in ("plants", routine, run["id"], "log", ""):
        options = re.findall('role="option".* href="([^"]*)"', board.show(f"/palette?q={text}").html)
        page = board.show(f"/find?q={text}")
        assert options, text
        assert set(options) <= {*page.links, page.response.url.path}, text


def test_the_files_of_the_board_are_kept_by_browsers_until_they_change(board):
    answer = board.client.get(path_of("board.css"))
    assert "immutable" in answer.headers["cache-control"]
    assert "text/css; charset=utf-8" == answer.headers["content-type"]
    assert "no-cache" == board.client.get("/board/static/0/board.css").headers["cache-control"]
    assert 404 == board.client.get("/board/static/0/nothing.css").status_code


def test_the_files_of_the_board_stay_small():
    assert sum(len(file.content) for file in FILES.values()) < MOST_BYTES


def test_a_viewer_sees_no_button_that_a_viewer_may_not_press(viewer, api, company, agent):
    routine = api.routine(company, agent)
    run = api.post(f"/routines/{routine}/run", {})
    paths = ("", "/routines", f"/routines/{routine}", f"/routines/{routine}/revisions", "/runs", f"/runs/{run['id']}")
    for path in (*paths, "/issues", f"/issues/{run['linkedIssueId']}", "/people", "/system"):
        page = viewer.show(path)
        assert 200 == page.status, path
        posts = [form["action"] for form in page.forms if form["action"] and "csrf" in form["fields"]]
        allowed = ("/sign-out", "/sign-out-everywhere", "/people/keys", "/revoke")
        assert [] == [action for action in posts if not action.endswith(allowed)], path
        assert not any(link and link.endswith(("/new", "/edit", "/pause", "/deliveries")) for link in page.links), path


def test_a_viewer_who_presses_all_the_same_is_refused_in_a_sentence(viewer, api, company, agent):
    routine = api.routine(company, agent)
    csrf = viewer.show("/routines").form("/sign-out")["fields"]["csrf"]
    page = viewer.post(f"/board/companies/{company}/routines/{routine}/run", {"csrf": csrf})
    assert (403, True) == (page.status, "This form is for members who may assign work" in page.text)


def test_what_people_write_stays_text(board, api, company):
    text = '"><script>alert(1)</script>'
    agent, _ = api.agent(company, text)
    schedule = {"kind": "schedule", "cronExpression": "0 9 * * *", "label": text}
    routine = api.routine(company, agent, title=text, description=text, triggers=[schedule])
    run = api.post(f"/routines/{routine}/run", {"payload": {text: text}})
    api.post(f"/issues/{run['linkedIssueId']}/comments", {"body": text})
    task = {"name": "t", "description": text, "workflow": {"init_params": {text: text}}}
    api.post(f"/v1/tasks/{company}", task)
    called = api.post(f"/v1/run/{company}/t", {"init_params": {text: text}})["trajectory_id"]
    api.post(f"/v1/trajectory/{company}/t/{called}/labels", {"key": text, "value": text, "author": text})
    paths = ("", "/routines", f"/routines/{routine}", f"/routines/{routine}/edit", f"/routines/{routine}/revisions")
    of_tasks = ("/tasks", "/tasks/t", "/tasks/t/edit", "/tasks/t/run", f"/tasks/t/trajectories/{called}")
    for path in (
        *paths,
        *of_tasks,
        f"/runs/{run['id']}",
        f"/issues/{run['linkedIssueId']}",
        "/people",
        "/runs",
        "/issues",
    ):
        html = board.show(path).html
        assert "<script>alert" not in html, path
    assert "<script>" not in board.show(f"/routines?q={text}").html
    assert "<script>" not in board.show(f"/routines/{routine}?why={text}").html


def test_the_vendored_file_is_the_one_that_was_published():
    assert (
        "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
        == sha256(FILES["htmx.min.js"].content).hexdigest()
    )


def test_a_page_looks_at_the_key_of_its_reader_for_its_first_calls_only_and_the_next_page_looks_again(
    board, monkeypatch
):
    looked_at, select_streams = [], PostgresRecorder.select_streams

    def note_streams(self, stream_ids, *args):
        looked_at.extend(stream_ids)
        return select_streams(self, stream_ids, *args)

    monkeypatch.setattr(PostgresRecorder, "select_streams", note_streams)
    for path in ("/tasks", "/people", "/routines"):
        looked_at.clear()
        board.show(path)
        key = Caller(token=next(iter(board.client.cookies.values()))).key_id
        assert 1 <= looked_at.count(key) <= 2, path  # who it is, and which companies they have, are asked side by side


def test_what_changes_something_rests_on_no_earlier_look_and_neither_does_what_comes_after_it():
    stream_id, looks = uuid4(), []

    async def answer(scope, _receive, send):
        streams = SHARED_STREAMS.get()
        looks.append(None if streams is None else streams.get(stream_id) is not None)
        if streams is not None:
            streams.put([(stream_id, CachedStream(recorded=[], state=None, folded=0, size=0))])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def make_page():
        calls = CallsOfPage(answer, {"asgi": {}, "scheme": "http", "headers": []})
        await calls.get("/companies")
        await calls.get("/companies")
        await calls.post("/companies", {"name": "Acme"})
        await calls.get("/companies")

    asyncio.run(make_page())

    assert [False, True, None, False] == looks


def test_the_menu_names_the_first_companies_and_leads_to_all(board, api):
    *_, hidden, board.company = [api.company() for _ in range(COMPANIES + 1)]

    page = board.show("/people")

    companies = {link for link in page.links if re.fullmatch("/board/companies/[0-9a-f-]{36}", link)}
    assert COMPANIES == len(companies - {f"/board/companies/{board.company}"})
    assert f"/board/companies/{hidden}" not in companies
    everything = next(link for link in page.links if link.endswith("/find"))
    assert f"/board/companies/{hidden}" in board.get(everything).links
