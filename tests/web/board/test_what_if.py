"""What if: the past of a routine with other settings, on a page."""

import pytest

from tests.web.board.conftest import Board
from tests.web.paperclip.test_what_ifs import Day

RANGE = "from=2024-11-20+06:00:30&to=2024-11-20+23:59:59"


@pytest.fixture(scope="module")
def day_fixture(api):
    return Day(api)


@pytest.fixture(scope="module")
def board(api, day_fixture):
    board = Board(api, str(day_fixture.company))
    yield board
    board.client.close()


def test_the_page_begins_with_the_last_seven_days_and_says_what_the_settings_are_now(board, day_fixture):
    page = board.show(f"/routines/{day_fixture.id}/what-if")
    assert "Now 0 * * * *" in page.text
    assert "Now skip_if_active" in page.text
    assert "the answer stands here, beside what was" in page.text
    assert 200 == page.status


def test_what_would_have_been_stands_beside_what_was_and_each_difference_is_a_word(board, day_fixture):
    page = board.show(f"/routines/{day_fixture.id}/what-if?{RANGE}&catchUpPolicy=enqueue_missed_with_cap")
    assert "missed 4 0 \u22124" in page.text
    assert "4 added" in page.text
    assert "+ added nothing" in page.text
    assert "Longest wait 0 ms 3 h 10 min 3 h 10 min more" in page.text
    assert "2024-11-20 06:00:30" == page.form("/what-if")["fields"]["from"]


def test_a_run_with_another_outcome_leads_to_the_run_that_was(board, day_fixture):
    page = board.show(f"/routines/{day_fixture.id}/what-if?{RANGE}&concurrencyPolicy=always_enqueue")
    assert "\u2260 changed" in page.text
    link = next(link for link in page.links if "/runs/" in (link or ""))
    assert "skipped" in board.get(link).text


def test_without_a_change_nothing_differs(board, day_fixture):
    page = board.show(f"/routines/{day_fixture.id}/what-if?{RANGE}")
    assert "No run differs" in page.text
    assert "the same" in page.text


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("from", "", "This has to be filled in."),
        ("to", "tomorrow", "This is no time in UTC"),
        ("cronExpression", "99 * * * *", "99"),
        ("timezone", "Mars/Base", "zone"),
        ("jitterSec", "much", "This is no whole number of seconds."),
        ("maxRunDurationSec", "1.5", "This is no whole number of seconds."),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_stays_there(board, day_fixture, field, text, sentence):
    query = {"from": "2024-11-20 06:00:30", "to": "2024-11-20 23:59:59", field: text}
    page = board.show(
        f"/routines/{day_fixture.id}/what-if?" + "&".join(f"{name}={value}" for name, value in query.items())
    )
    assert 422 == page.status
    assert f'id="{field}-error"' in page.html
    assert sentence in page.text
    assert text == page.form("/what-if")["fields"][field]
