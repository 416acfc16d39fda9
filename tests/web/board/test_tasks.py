"""The pages of tasks, their routines and trajectories, and of the company's variables."""

import json

import pytest

from tests.web import people
from tests.web.board.conftest import Board
from tests.web.board.test_live import follow_page

ECHO = {
    "init_params": {"text": "hello"},
    "steps": ["say"],
    "step_configs": {"say": {"activity": "text_echo", "text_path": "init_params.text"}},
}
SQL = {"init_params": {"size": 10}, "steps": ["query"], "step_configs": {"query": {"activity": "sql"}}}
SECRET = "hunter2-hunter2"
ROUTINE = {"name": "hourly", "type": "hourly", "minute_utc": "5"}


@pytest.fixture
def call_jetty(api, company):
    """A call of the Jetty API; `{}` in its path is the collection."""
    return lambda path, body: api.post(f"/v1/{path.format(company)}", body)


@pytest.fixture
def member(api, company):
    """The same company as a member sees it without the right to assign work."""
    board = Board(api, company, people.member(api, company, "member", ()))
    yield board
    board.client.close()


def test_a_task_is_made_called_and_its_trajectory_read_on_the_board(board):
    page = board.show("/tasks")
    assert "There is no task yet." in page.text
    assert board.company in page.text

    page = board.send(board.show("/new-task"), "/new-task", name="greet the world", workflow=json.dumps(ECHO))
    assert "It is added." in page.text
    assert "It runs by itself" in page.text
    page = board.send(board.show("/tasks/greet%20the%20world/run"), "/run", init_params='{"text": "good morning"}')

    assert "The task was called" in page.text
    assert "1 of 1 completed" in page.text
    assert '"text": "good morning"' in page.text
    assert "Step say: completed" in page.text
    page = board.show("/tasks/greet%20the%20world")
    assert "1 trajectory: 1 completed." in page.text
    assert "greet the world" in board.show("/tasks?q=WORLD").text
    assert "No task matches." in board.show("/tasks?q=moon").text


def test_a_routine_of_a_task_says_its_cadence_in_words_and_is_run_paused_resumed_and_deleted(board, call_jetty):
    call_jetty("tasks/{}", {"name": "greet", "workflow": ECHO})
    page = board.send(board.show("/tasks/greet/new-routine"), "/new-routine", **ROUTINE)
    assert "UTC time" in page.text
    assert "It has started none yet." in page.text

    ran = board.send(page, "/routines/hourly/action", action="run-now")
    assert "Its run, with the routine" in ran.text
    page = board.send(board.show("/tasks/greet/routines/hourly"), "/action", action="pause")
    assert "The routine is paused." in page.text
    assert "none while it is paused" in page.text
    page = board.send(page, "/action", action="resume")
    assert "none while it is paused" not in page.text
    routine = next(link for link in page.links if "/routines/" in link and "/tasks/" not in link)
    assert "Why did it" in board.get(routine).text
    board.send_surely(page, "/routines/hourly/action", action="delete")
    assert "No routine calls it." in board.show("/tasks/greet").text


def test_a_routine_is_edited_and_its_secrets_are_kept_and_never_in_a_page(board, call_jetty):
    call_jetty("tasks/{}", {"name": "greet", "workflow": ECHO})
    fields = {**ROUTINE, "type": "weekly", "hour_utc": "7", "day_of_week": "mon", "webhook_secret": SECRET}
    fields |= {"secret_params": json.dumps({"token": SECRET}), "webhook_url": "https://hooks.example.org/in"}
    fields |= {"init_params_overrides": '{"text": "x"}'}
    pages = [board.send(board.show("/tasks/greet/new-routine"), "/new-routine", **fields)]
    assert "token" in pages[0].text
    assert "hooks.example.org" in pages[0].text

    pages.append(board.show("/tasks/greet/routines/hourly/edit"))
    assert '"token": "***"' in pages[-1].form("/edit")["fields"]["secret_params"]
    pages.append(board.send(pages[-1], "/edit", name="weekly", hour_utc="8"))
    assert "The changes are saved." in pages[-1].text
    assert "At 08:05 every Monday, UTC time" in pages[-1].text
    assert "signed" in pages[-1].text
    wrong = {"type": "weekly", "day_of_week": "", "webhook_secret": SECRET, "secret_params": json.dumps({"a": SECRET})}
    pages.append(board.send(board.show("/tasks/greet/routines/weekly/edit"), "/edit", **wrong))
    assert 422 == pages[-1].status
    assert "This has to be filled in." in pages[-1].text
    assert "Type it again" in pages[-1].text
    pages.append(board.send(board.show("/tasks/greet/routines/weekly/edit"), "/edit", unsigned="yes"))
    assert "not signed" in pages[-1].text
    assert [] == [page for page in pages if SECRET in page.html]


@pytest.mark.parametrize(
    ("path", "wrong", "sentence"),
    [
        ("/new-task", {"name": "-", "workflow": json.dumps(ECHO)}, "name"),
        ("/new-task", {"name": "x", "workflow": "{"}, "This is no JSON object"),
        ("/new-task", {"name": "x", "workflow": '{"steps": ["a"]}'}, "steps are not configured: a"),
        ("/tasks/greet/run", {"init_params": "[]"}, "This is no JSON object"),
        ("/tasks/greet/run", {"init_params": '{"text": 1, "text": 2}'}, "'text' is given again"),
        ("/tasks/greet/run", {"webhook_url": "ftp://example.org"}, "http"),
        ("/tasks/greet/run", {"webhook_url": "http://10.0.0.5/"}, "public host"),
        ("/tasks/greet/new-routine", {**ROUTINE, "minute_utc": "soon"}, "This is no whole number."),
        ("/tasks/greet/new-routine", {**ROUTINE, "minute_utc": "99"}, "59"),
        ("/tasks/greet/new-routine", {**ROUTINE, "name": "Not Small"}, "may not stand here"),
        ("/tasks/greet/new-routine", {**ROUTINE, "init_params_overrides": "{"}, "This is no JSON object"),
    ],
)
def test_what_is_wrong_with_a_task_or_a_call_stands_beside_its_field(board, call_jetty, path, wrong, sentence):
    call_jetty("tasks/{}", {"name": "greet", "workflow": ECHO})
    page = board.send(board.show(path), path, **wrong)

    assert (4, True) == (page.status // 100, sentence in page.text)
    assert 'aria-invalid="true"' in page.html
    fields = page.form(path)["fields"]
    assert wrong == {name: fields[name] for name in wrong}


def test_a_trajectory_that_waits_shows_what_its_worker_reports_and_is_ended_and_labelled(board, call_jetty):
    call_jetty("tasks/{}", {"name": "count", "workflow": SQL})
    number = call_jetty("run/{}/count", {})["trajectory_id"]
    path = f"/tasks/count/trajectories/{number}"
    assert "It waits for a worker" in board.show("/tasks/count").text
    assert "waiting" in board.show(path).text

    claim = call_jetty("workers/{}/claim", {"worker": "w1"})["claim_id"]
    report = {"step": "query", "inputs": {"sql": "SELECT 1"}, "outputs": {"rows": 1}, "status": "completed"}
    call_jetty(f"workers/{{}}/{number}/{claim}/steps", report)
    usage = {"cost_micros": 184_000, "input_tokens": 12_000, "output_tokens": 850}
    call_jetty(f"workers/{{}}/{number}/{claim}/usage", usage)
    log = {"part": 0, "output": [{"stream": "stdout", "text": "\x1b[1mhalf way\x1b[0m"}]}
    call_jetty(f"workers/{{}}/{number}/{claim}/log", log)

    page = board.show(path)
    for text in ("taken by the worker w1", "SELECT 1", '"rows": 1', "0.1840", "12,000 in, 850 out", "half way"):
        assert text in page.text, text
    page = board.send(page, "/labels", key="quality", value="good")
    assert "quality good" in page.text
    page = board.send(page, "/status", status="cancelled")
    assert "The status of the trajectory is changed." in page.text
    assert "Cancelled" in page.text
    wrong = board.send(page, "/labels", key="", value="kept")
    assert (422, "kept") == (wrong.status, wrong.form("/labels")["fields"]["value"])


def test_a_task_is_edited_and_deleted(board, call_jetty):
    call_jetty("tasks/{}", {"name": "greet", "workflow": ECHO})
    page = board.send(board.show("/tasks/greet/edit"), "/edit", name="welcome", description="Says hello.")
    assert "The changes are saved." in page.text
    assert "version 2" in page.text
    board.send_surely(page, "/tasks/welcome/delete")
    assert 404 == board.show("/tasks/welcome").status


def test_a_key_for_a_client_is_shown_once(board):
    page = board.send(board.show("/tasks"), "/collection-keys", name="sdk")
    assert "it is shown once" in page.text
    assert "mlc_" in page.text
    token = page.text.split(" mlc_")[1].split()[0]
    assert token not in board.show("/people").html
    assert 422 == board.send(board.show("/tasks"), "/collection-keys", name=" ").status


def test_variables_are_set_and_deleted_and_their_values_are_in_no_page(board, api, company):
    pages = [board.show("/variables")]
    assert "There is no variable yet." in pages[0].text
    pages.append(board.send(pages[0], "/variables", name="API_TOKEN", secret_value=SECRET))
    assert "API_TOKEN sealed" in pages[1].text
    pages.append(board.send(board.show("/variables"), "/variables", name="9", secret_value=SECRET))
    assert "beginning with no digit" in pages[2].text
    assert "Type it again" in pages[2].text
    assert (
        "This would keep the present value."
        in board.send(pages[1], "/variables", name="API_TOKEN", secret_value="***").text
    )
    gone = board.send_surely(board.show("/variables"), "/variables", delete="API_TOKEN")
    assert "There is no variable yet." in gone.text
    assert [] == [page for page in pages if SECRET in page.html]


def test_whoever_may_only_read_sees_no_button_and_whoever_may_not_assign_no_button_that_calls(
    viewer, member, call_jetty
):
    call_jetty("tasks/{}", {"name": "count", "workflow": SQL})
    call_jetty("routines/{}/count", {"name": "daily", "cadence": {"type": "daily", "hour_utc": 9}})
    number = call_jetty("run/{}/count", {})["trajectory_id"]
    paths = (
        "/tasks",
        "/tasks/count",
        "/tasks/count/routines/daily",
        f"/tasks/count/trajectories/{number}",
        "/variables",
    )
    actions = {board: [] for board in (viewer, member)}
    for board, action_paths in actions.items():
        for path in paths:
            page = board.show(path)
            assert 200 == page.status, path
            action_paths += [form["action"] for form in page.forms if "csrf" in form["fields"]]
            action_paths += [
                link for link in page.links if link and link.endswith(("/new-task", "/edit", "/run", "/new-routine"))
            ]
    ends = {board: {action.rpartition("/")[2] for action in found} for board, found in actions.items()}
    assert {"sign-out", "sign-out-everywhere", "action"} == ends[viewer] | {"action"}
    assert {"run", "new-routine", "collection-keys"}.isdisjoint(ends[member])
    assert {"new-task", "status", "labels", "variables", "delete"} <= ends[member]
    for path in paths[1:3]:
        assert "Run now" not in viewer.show(path).text
        assert "Run now" not in member.show(path).text


@pytest.mark.parametrize("ending", ["/collection-keys", "/tasks/greet/trajectories/{}/labels", "/people/agents"])
def test_a_form_whose_right_is_lost_meanwhile_says_that_it_is(board, viewer, call_jetty, ending):
    call_jetty("tasks/{}", {"name": "greet", "workflow": SQL})
    number = call_jetty("run/{}/greet", {})["trajectory_id"]
    csrf = viewer.show().form("/sign-out")["fields"]["csrf"]
    path = f"/board/companies/{board.company}{ending.format(number)}"

    page = viewer.post(path, {"csrf": csrf, "name": "x", "key": "x", "value": "y"})

    assert (403, True) == (page.status, "You may not do this" in page.text)


@pytest.mark.parametrize("path", ["", "/greet", "/greet/routines/hourly", "/greet/trajectories/{}"])
def test_pages_of_tasks_are_told_what_changes(board, call_jetty, path):
    call_jetty("tasks/{}", {"name": "greet", "workflow": SQL})
    call_jetty("routines/{}/greet", {"name": "hourly", "cadence": {"type": "hourly"}})
    number = call_jetty("run/{}/greet", {})["trajectory_id"]
    with follow_page(board, f"/tasks{path.format(number)}") as stream:
        call_jetty(f"trajectory/{{}}/greet/{number}/labels", {"key": "a", "value": "b", "author": "c"})

        assert board.api.system.store.head() == stream.position()


def test_the_search_finds_tasks(board, call_jetty):
    call_jetty("tasks/{}", {"name": "greet the world", "workflow": SQL})
    page = board.show("/find?q=WORLD")
    assert "Tasks greet the world version 1" in page.text
    assert any(link.endswith("/tasks/greet%20the%20world") for link in page.links)
