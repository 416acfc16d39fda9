"""A form says what is wrong in words, and a page with a form that its reader may not send says so at once."""

import pytest

from web.board.sentences import plain

TASK = {"steps": ["query"], "step_configs": {"query": {"activity": "sql"}}}


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("Required", "This has to be filled in."),
        ("is required", "This has to be filled in."),
        ("String must contain at least 1 character(s)", "This has to be filled in."),
        ("String must contain at most 120 character(s)", "Write at most 120 characters."),
        ("Array must contain at least 1 element(s)", "Give at least 1."),
        ("Invalid enum value. Expected 'low' | 'high', received 'x', received'", "Choose one of these: low, high."),
        ("Expected 'low' | 'high', received null", "Choose one of these: low, high."),
        ("Expected integer, received float", "Write a whole number."),
        ("Number must be less than or equal to 59", "Write a number that is not above 59."),
        ("Invalid uuid", "This is no id."),
        ("Invalid date: YYYY-MM-DD is expected", "This is no date: write it like 2026-11-30."),
        ("The zone is unknown", "The zone is unknown"),
    ],
)
def test_what_the_api_says_of_types_is_a_sentence(message, sentence):
    assert sentence == plain(message)


def test_a_word_that_is_none_of_the_choices_is_refused_beside_its_field_with_the_choices(board, api, company, agent):
    fields = {"title": "x", "priority": "soon", "concurrencyPolicy": "never"}
    page = board.send(board.show("/routines/new"), "/routines/new", **fields)
    assert "Choose one of these: critical, high, medium, low." in page.text
    assert ("Invalid enum", "Expected") == tuple(word for word in ("Invalid enum", "Expected") if word not in page.text)

    api.post(f"/v1/tasks/{company}", {"name": "t", "workflow": TASK})
    page = board.send(board.show("/tasks/t/new-routine"), "/new-routine", name="r", type="yearly", minute_utc="99")
    assert "Choose one of these: manual, hourly" in page.text
    assert "Choose one of these: " in board.show("/routines?sort=odd").text


def test_a_form_that_one_may_not_send_says_so_at_once_and_names_who_may(board, viewer, api, company, agent):
    schedule = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "UTC"}
    routine = api.routine(company, agent, triggers=[schedule])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    api.post(f"/v1/tasks/{company}", {"name": "t", "workflow": TASK})
    api.post(f"/v1/routines/{company}/t", {"name": "r", "cadence": {"type": "manual"}})
    for number in range(7):
        api.post(f"/companies/{company}/members", {"name": f"Writer {number}", "membershipRole": "member"})
    forms = [f"/routines/{routine}/{form}" for form in ("edit", "run", "pause", "triggers/new", f"triggers/{trigger}")]
    forms += ["/routines/new", "/new-task", "/tasks/t/edit", "/tasks/t/run", "/tasks/t/new-routine"]
    forms += ["/tasks/t/routines/r/edit"]

    refused = {path: viewer.show(path) for path in forms}

    assert {403} == {page.status for page in refused.values()}
    assert [] == [path for path, page in refused.items() if "Writer 0" not in page.text or page.has_form("/edit")]
    assert "for members who may assign work: " in refused["/routines/new"].text
    assert "for members who may write: " in refused["/new-task"].text
    assert "others." in refused["/new-task"].text
    assert {200} == {board.show(path).status for path in forms}
