"""A routine as it was at a moment, on a page."""

import pytest

SCHEDULE = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "UTC", "label": "morning"}


@pytest.fixture
def routine(api, company, agent):
    return api.routine(company, agent, title="Briefing", triggers=[SCHEDULE])


def test_a_routine_stands_there_as_it_was_with_what_has_become_different_and_by_whom(board, api, routine):
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    position = api.system.store.head()
    api.patch(f"/routines/{routine}", {"title": "Summary", "priority": "high"})
    api.patch(f"/routine-triggers/{trigger}", {"cronExpression": "0 10 * * *"})
    api.post(f"/routines/{routine}/run", {})

    page = board.show(f"/routines/{routine}/past?at={position}")

    assert 200 == page.status
    assert "3 settings are different now" in page.text
    assert "title Briefing Summary" in page.text
    assert "trigger: cronExpression 0 9 * * * 0 10 * * *" in page.text
    assert "It had not run yet." in page.text
    assert "Live issue none" in page.text
    assert "Its settings are the same now" in board.show(f"/routines/{routine}/past?at={api.system.store.head()}").text


def test_settings_of_then_and_what_differs_are_words(board, api, company, routine):
    api.patch(f"/v1/collections/{company}/environment", {"environment_variables": {"TOKEN": "x"}})
    env = {"OWN": {"type": "plain", "value": "x"}, "SHARED": {"type": "secret_ref", "name": "TOKEN"}}
    api.patch(f"/routines/{routine}", {"env": env, "retryPolicy": {"maxAttempts": 2}})
    position = api.system.store.head()
    api.patch(f"/routines/{routine}", {"env": None, "retryPolicy": None})

    page = board.show(f"/routines/{routine}/past?at={position}")

    shown = "OWN : a value of its own, sealed SHARED : the company variable TOKEN"
    assert f"Environment {shown}" in page.text
    assert "Attempts at most 2" in page.text
    assert "env OWN: a value of its own, sealed; SHARED: the company variable TOKEN nothing" in page.text
    assert "{" not in page.text
    api.patch(f"/routines/{routine}", {"env": env})
    assert f"Environment {shown}" in board.show(f"/routines/{routine}").text


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        ("yesterday", "This is no time in UTC, and no position of the log"),
        ("2000-01-01 09:00", "did not exist yet"),
        ("2999-01-01 09:00", "asOf"),
        ("99999999999", ""),
    ],
)
def test_a_moment_that_is_none_is_said_beside_its_field_and_stays_there(board, routine, at, sentence):
    page = board.show(f"/routines/{routine}/past?at={at}")
    assert (422, True) == (page.status, 'id="at-error"' in page.html)
    assert sentence in page.text
    assert at == page.form("/past")["fields"]["at"]
