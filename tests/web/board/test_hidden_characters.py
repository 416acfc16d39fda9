"""What turns the direction of a text, or cannot be seen, stands in no page but in the fields of forms, where it is kept."""

import pytest

from web.board.hidden_characters import HIDDEN, reveal

NAME = "invoice\u202efdp.exe\u200b"
SHOWN = "invoice[U+202E]fdp.exe[U+200B]"


@pytest.mark.parametrize(
    "path", ["", "/routines", "/runs", "/issues", "/people", "/log", "/find?q=invoice", "/routines/new"]
)
def test_names_and_titles_are_shown_with_the_code_points_of_hidden_characters(board, api, company, path):
    agent, _ = api.agent(company, NAME)
    api.routine(company, agent, title=NAME)
    api.post(f"/routines/{api.routine(company, agent, title=NAME)}/run", {})

    page = board.show(path)

    assert SHOWN in page.text.replace(" ", "") if path else SHOWN in page.text
    assert None is HIDDEN.search(page.html)


def test_a_form_keeps_what_is_there(board, api, company, agent):
    routine = api.routine(company, agent, title=NAME, description=NAME)
    page = board.show(f"/routines/{routine}/edit")
    assert NAME == page.form("/edit")["fields"]["title"]
    assert "Nothing was changed." in board.send(page, "/edit").text


@pytest.mark.parametrize(
    "text", ["\U0001f469\u200d\U0001f52c", "\u0645\u06cc\u200c\u062e", "tab\tand\nline", "✔\ufe0f"]
)
def test_what_scripts_and_emoji_need_stays_as_it_is(text):
    assert text == reveal(text)
