"""What somebody has typed is there again after they had to sign in again; nothing is saved by that, and no secret is kept."""

import httpx
import pytest

from tests.web.board.conftest import Page
from web.board.forms import without_credentials

TYPED = {"title": "Digest of\u202e the day", "description": "first\n\nsecond & <b>"}
SECRET = "hunter2-of-the-form"
TASK = {"steps": ["query"], "step_configs": {"query": {"activity": "sql"}}}


def end_session(board):
    board.client.cookies = httpx.Cookies()


def sign_in_again(board, door):
    """Sign in on the page that a form was answered with, and press the button that leads back to the form."""
    signed_in = board.send(door, "/board/sign-in", token=board.api.token)
    assert "You are signed in." in signed_in.text
    return board.send(signed_in, signed_in.forms[0]["action"])


def test_a_form_that_is_sent_after_the_session_has_ended_is_there_again_after_the_sign_in(board, api, company):
    form = board.show("/routines/new")
    end_session(board)

    door = board.send(form, "/routines/new", **TYPED)

    assert (401, True) == (door.status, "What you typed is kept" in door.text)
    wrong = board.send(door, "/board/sign-in", token="nonsense")
    assert 422 == wrong.status
    again = sign_in_again(board, wrong)
    assert (422, True) == (again.status, "Nothing is saved yet" in again.text)
    fields = again.form("/routines/new")["fields"]
    assert TYPED == {name: fields[name].replace("\r\n", "\n") for name in TYPED}
    assert [] == api.get(f"/companies/{company}/routines")
    assert "The routine is created." in board.send(again, "/routines/new").text
    assert [TYPED["title"]] == [one["title"] for one in api.get(f"/companies/{company}/routines")]


def test_a_tab_from_before_a_new_sign_in_keeps_what_is_typed_in_it(board, api, company):
    form = board.show("/structure/projects/new")
    end_session(board)
    board.sign_in(api.token)

    again = board.send(form, "/projects/new", name="Launch")

    assert (422, True) == (again.status, "Nothing is saved yet" in again.text)
    assert [] == api.get(f"/companies/{company}/projects")
    assert "Launch" in board.send(again, "/projects/new").text
    assert ["Launch"] == [one["name"] for one in api.get(f"/companies/{company}/projects")]


@pytest.fixture
def forms_with_secrets(api, company, agent):
    routine = api.routine(company, agent, triggers=[{"kind": "webhook"}])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    api.post(f"/v1/tasks/{company}", {"name": "t", "workflow": TASK})
    return [
        ("/variables", "/variables", {"name": "TOKEN", "secret_value": SECRET}, "Type it again"),
        (f"/routines/{routine}/edit", "/edit", {"env.0.name": "TOKEN", "env.0.value": SECRET}, "Type it again"),
        ("/tasks/t/run", "/run", {"secret_params": f'{{"a": "{SECRET}"}}', "webhook_secret": SECRET}, "Type it again"),
        (
            "/tasks/t/new-routine",
            "/new-routine",
            {"name": "r", "secret_params": f'{{"a": "{SECRET}"}}', "webhook_secret": SECRET},
            "Type it again",
        ),
        (
            f"/routines/{routine}/triggers/{trigger}",
            "/sample",
            {"headers": f"X-Kind: ping\nAuthorization: Bearer {SECRET}"},
            "X-Kind: ping Authorization: ***",
        ),
    ]


def test_no_secret_that_was_typed_is_on_any_page_on_the_way_back(board, api, forms_with_secrets):
    for path, ending, typed, hint in forms_with_secrets:
        form = board.show(path)
        end_session(board)
        door = board.send(form, ending, **typed)
        signed_in = board.send(door, "/board/sign-in", token=api.token)
        again = board.send(signed_in, signed_in.forms[0]["action"])
        assert [] == [page.status for page in (door, signed_in, again) if SECRET in page.html], path
        assert hint in again.text, (path, again.text)


def test_a_credential_among_the_headers_of_a_sample_is_in_no_page(board, forms_with_secrets):
    path, ending, typed, shown = forms_with_secrets[-1]
    page = board.send(board.show(path), ending, **typed)
    assert (200, False, True) == (page.status, SECRET in page.html, shown in page.text)


def test_the_credentials_among_headers_are_masked_and_nothing_else():
    masked = ("authorization: Bearer", " Proxy-Authorization:", "Cookie: a=", "X-Gitlab-Token:\t", "x-api-key:")
    shown = ("Authorization:", "X-Kind: ping", "Idempotency-Key: of today", "")
    headers = without_credentials("\n".join([*(f"{start}{SECRET}" for start in masked), *shown]))
    assert (len(masked), False) == (headers.count("***"), SECRET in headers)
    assert headers.endswith("\n".join(shown))


def test_buttons_of_an_earlier_session_do_nothing(board, api, company, agent):
    routine = api.routine(company, agent, title="Digest")
    page, people, zone = board.show(f"/routines/{routine}"), board.show("/people"), board.get("/board/settings")
    end_session(board)
    board.sign_in(api.token)
    assert 422 == board.send(page, "/run").status
    assert [] == api.get(f"/companies/{company}/runs")
    pressed = board.send(people, f"/agents/{agent}", action="pause")
    assert (422, True) == (pressed.status, "Open it again and repeat it." in pressed.text)
    assert "idle" == api.get(f"/agents/{agent}")["status"]
    again = board.send(zone, "/board/settings", zone="Asia/Tokyo")
    assert (422, "Asia/Tokyo") == (again.status, again.form("/board/settings")["fields"]["zone"])
    assert "Times in UTC" in board.show().text


def test_a_button_that_is_pressed_after_the_session_has_ended_asks_after_the_sign_in(board, api, company):
    api.post(f"/v1/tasks/{company}", {"name": "echo", "workflow": {}})
    page = board.show("/tasks/echo")
    end_session(board)

    confirmation = sign_in_again(board, board.send(page, "/tasks/echo/delete"))

    assert (200, True) == (confirmation.status, "Delete the task “echo”?" in confirmation.text)
    assert "It is removed." in board.send(confirmation, "/tasks/echo/delete").text


@pytest.mark.parametrize("text", ["long " * 4_000, "é, " * 1_500])
def test_what_is_too_long_to_be_carried_over_the_sign_in_is_left_to_the_browser(board, api, company, text):
    form = board.show("/structure/projects/new")
    end_session(board)

    door = board.send(form, "/projects/new", name="Launch", description=text)

    assert (401, True) == (door.status, "in another tab" in door.text)
    assert text[:20] not in door.html
    board.sign_in(api.token)
    again = board.send(form, "/projects/new", name="Launch", description=text)
    assert (422, True) == (again.status, "Nothing is saved yet" in again.text)
    board.send(again, "/projects/new")
    assert [text] == [one["description"] for one in api.get(f"/companies/{company}/projects")]


def test_what_a_sign_in_carries_is_a_form_of_the_board(board, browser, api):
    fields = {"token": api.token, "next": "/board/settings"}
    assert 400 == browser.post("/board/sign-in", {**fields, "typed": "a=b&" * 2_000}).status
    assert "Board token" in browser.get("/board/settings").text
    page = browser.post("/board/sign-in", {**fields, "typed": f"secret_value={SECRET}&csrf=x&note=%3Cb%3E"})
    assert {"secret_value": "typed before", "note": "<b>"} == page.form("/board/settings")["fields"]
    assert SECRET not in page.html
    elsewhere = browser.post("/board/sign-in", {**fields, "next": "https://evil.example/", "typed": "note=x"})
    assert "You are signed in." not in elsewhere.text


def test_a_page_of_elsewhere_brings_no_form_back(board):
    form = board.show("/routines/new").form("/routines/new")
    end_session(board)
    answer = Page(board.client.post(form["action"], data=TYPED, headers={"Origin": "https://evil.example"}))
    assert (403, False) == (answer.status, "Digest" in answer.html)


def test_a_text_whose_line_ends_a_browser_has_changed_is_no_change(board, api, company, agent):
    description = "first\r\nsecond\rthird\n"
    variables = [{"name": "text", "type": "textarea", "defaultValue": "one\r\ntwo"}]
    routine = api.routine(company, agent, description=description, variables=variables)
    project = api.post(f"/companies/{company}/projects", {"name": "Launch", "description": description})["id"]
    api.patch(f"/routines/{routine}", {"status": "paused", "pauseNote": description.strip()})

    def as_a_browser_sends(page, ending, name):
        sent = page.form(ending)["fields"][name].replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
        return {name: sent}

    form = board.show(f"/routines/{routine}/edit")
    default = as_a_browser_sends(form, "/edit", "variables.0.defaultValue")
    saved = board.send(form, "/edit", **as_a_browser_sends(form, "/edit", "description"), **default)
    assert "Nothing was changed." in saved.text
    for path, ending, name in (
        (f"/structure/projects/{project}", f"/{project}", "description"),
        (f"/routines/{routine}/pause", "/pause", "note"),
    ):
        form = board.show(path)
        assert 200 == board.send(form, ending, **as_a_browser_sends(form, ending, name)).status
    assert description == api.get(f"/projects/{project}")["description"]
    assert description.strip() == api.get(f"/routines/{routine}")["pauseNote"]
