"""Whoever saves a form that shows what is no longer there is shown both versions; nothing is replaced unseen, and nothing typed is lost."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import pytest

from web.board.api import Api

TASK = {"steps": ["query"], "step_configs": {"query": {"activity": "sql"}}}
SCHEDULE = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "UTC"}
SAID = "Somebody else has changed it since you opened this page."


class Edited(NamedTuple):
    """Something that two people edit: where its form is, what one types, how the other saves, and what is saved."""

    path: str
    ending: str
    mine: Mapping[str, str]
    theirs: Callable[[], Any]
    shown: str
    saved: Callable[[], str]
    button: Mapping[str, str] = {}


def a_task(api, company, agent):
    api.post(f"/v1/tasks/{company}", {"name": "t", "workflow": TASK})
    path = f"/v1/tasks/{company}/t"
    return Edited(
        "/tasks/t/edit",
        "/edit",
        {"description": "Mine"},
        lambda: api.request("PUT", path, {"description": "Theirs"}).raise_for_status(),
        "description Mine Theirs",
        lambda: api.get(path)["description"],
    )


def a_routine_of_a_task(api, company, agent):
    api.post(f"/v1/tasks/{company}", {"name": "t", "workflow": TASK})
    api.post(f"/v1/routines/{company}/t", {"name": "r", "cadence": {"type": "daily", "hour_utc": 9}})
    path = f"/v1/routines/{company}/t/r"
    return Edited(
        "/tasks/t/routines/r/edit",
        "/edit",
        {"minute_utc": "20"},
        lambda: api.patch(path, {"cadence": {"type": "daily", "hour_utc": 9, "minute_utc": 30}}),
        "minute utc 20 30",
        lambda: str(api.get(path)["cadence"]["minute_utc"]),
    )


def a_trigger(api, company, agent):
    routine = api.routine(company, agent, triggers=[SCHEDULE])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    return Edited(
        f"/routines/{routine}/triggers/{trigger}",
        f"/triggers/{trigger}",
        {"cronExpression": "0 8 * * *"},
        lambda: api.patch(f"/routine-triggers/{trigger}", {"cronExpression": "0 7 * * *"}),
        "cron expression 0 8 * * * 0 7 * * *",
        lambda: api.get(f"/routines/{routine}")["triggers"][0]["cronExpression"],
    )


def an_issue(api, company, agent):
    issue = api.post(f"/routines/{api.routine(company, agent)}/run", {})["linkedIssueId"]
    return Edited(
        f"/issues/{issue}",
        "/status",
        {"status": "in_progress"},
        lambda: api.patch(f"/issues/{issue}", {"status": "in_review"}),
        "status in progress in review",
        lambda: api.get(f"/issues/{issue}")["status"],
    )


def a_budget(api, company, agent):
    def spent_at_most():
        return str(api.get(f"/agents/{agent}")["budget"]["maxCostMicros"] // 1_000_000)

    return Edited(
        "/people",
        f"/agents/{agent}",
        {"maxCost": "2", "windowSec": "60"},
        lambda: api.patch(f"/agents/{agent}", {"budget": {"maxCostMicros": 3_000_000, "windowSec": 60}}),
        "max cost 2 3",
        spent_at_most,
        {"action": "budget"},
    )


def a_member(api, company, agent):
    member = api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "viewer"})["userId"]
    path = f"/companies/{company}/members"
    return Edited(
        "/people",
        f"/members/{member}",
        {"role": "member"},
        lambda: api.patch(f"{path}/{member}", {"membershipRole": "admin"}),
        "role member admin",
        lambda: next(one["membershipRole"] for one in api.get(path) if one["userId"] == member),
    )


def a_pause(api, company, agent):
    routine = api.routine(company, agent)
    return Edited(
        f"/routines/{routine}/pause",
        "/pause",
        {"note": "Mine"},
        lambda: api.patch(f"/routines/{routine}", {"status": "paused", "pauseNote": "Theirs"}),
        "note Mine Theirs",
        lambda: api.get(f"/routines/{routine}")["pauseNote"],
    )


EDITED = [a_task, a_routine_of_a_task, a_trigger, an_issue, a_budget, a_member, a_pause]


@pytest.fixture(params=EDITED)
def edited_thing(request, api, company, agent):
    return request.param(api, company, agent)


def test_a_conflict_shows_both_versions_and_is_saved_when_it_is_said_again(board, edited_thing):
    form = board.show(edited_thing.path)
    edited_thing.theirs()
    theirs = edited_thing.saved()

    page = board.send(form, edited_thing.ending, **edited_thing.mine, **edited_thing.button)

    assert (409, theirs) == (page.status, edited_thing.saved())
    assert SAID in page.text
    assert edited_thing.shown in page.text
    assert edited_thing.mine.items() <= page.form(edited_thing.ending)["fields"].items()
    board.send(page, edited_thing.ending, **edited_thing.button)
    assert next(iter(edited_thing.mine.values())) == edited_thing.saved()


def test_what_is_changed_while_the_form_is_being_saved_is_not_replaced(board, edited_thing, monkeypatch):
    form, call = board.show(edited_thing.path), Api.call

    async def late(self, method, *args, **kwargs):
        if method in ("PATCH", "PUT"):
            monkeypatch.setattr(Api, "call", call)
            await asyncio.to_thread(edited_thing.theirs)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(Api, "call", late)
    page = board.send(form, edited_thing.ending, **edited_thing.mine, **edited_thing.button)

    assert (422, True) == (page.status, "yours is not the current copy" in page.text)
    assert edited_thing.mine.items() <= page.form(edited_thing.ending)["fields"].items()
    again = board.send(page, edited_thing.ending, **edited_thing.button)
    assert (409, True) == (again.status, SAID in again.text)


def test_a_form_that_was_wrong_at_first_still_does_not_replace_what_was_saved_meanwhile(board, api, company, agent):
    routine = api.routine(company, agent, title="Briefing")
    form = board.show(f"/routines/{routine}/edit")
    api.patch(f"/routines/{routine}", {"title": "Theirs"})

    wrong = board.send(form, "/edit", title="Mine", maxRunDurationSec="soon")
    page = board.send(wrong, "/edit", maxRunDurationSec="60")

    assert (422, 409) == (wrong.status, page.status)
    assert "title Mine Theirs" in page.text
    assert "Theirs" == api.get(f"/routines/{routine}")["title"]


def test_a_secret_that_was_typed_is_in_no_page_of_a_conflict(board, api, company, agent):
    edited_thing = a_routine_of_a_task(api, company, agent)
    form = board.show(edited_thing.path)
    edited_thing.theirs()

    page = board.send(form, "/edit", **edited_thing.mine, secret_params=msgspec.json.encode({"a": "hunter2"}).decode())

    assert 409 == page.status
    assert "hunter2" not in page.html
    assert "Type it again" in page.text


def test_a_form_that_is_saved_as_it_is_changes_no_moment_not_even_one_in_an_hour_that_clocks_show_twice(
    board, api, company, agent
):
    moments = {"startsAt": "2098-10-26T00:30:00.000Z", "endsAt": "2098-10-26T01:30:00.000Z"}  # both at 02:30 there
    trigger = {**SCHEDULE, "cronExpression": "*/10 * * * *", "timezone": "Europe/Amsterdam", **moments}
    routine = api.routine(company, agent, triggers=[trigger, {**SCHEDULE, "startsAt": "2098-01-01T09:00:30.250Z"}])
    for one in api.get(f"/routines/{routine}")["triggers"]:
        board.send(board.show(f"/routines/{routine}/triggers/{one['id']}"), f"/triggers/{one['id']}", label="x")
        saved = next(now for now in api.get(f"/routines/{routine}")["triggers"] if now["id"] == one["id"])
        assert ("x", one["startsAt"], one["endsAt"]) == (saved["label"], saved["startsAt"], saved["endsAt"])
    api.patch(f"/routines/{routine}", {"status": "paused", "resumeAt": "2098-01-01T09:00:30.250Z"})
    board.send(board.show(f"/routines/{routine}/pause"), "/pause", note="x")
    assert "2098-01-01T09:00:30.250Z" == api.get(f"/routines/{routine}")["resumeAt"]


def test_a_comma_is_read_only_where_it_parts_thousands(board, api, company):
    path = f"/structure/company/{company}"
    wrong = board.send(board.show(path), f"/{company}", maxCost="2,5", windowSec="60")
    assert (422, "2,5", True) == (
        wrong.status,
        wrong.form(f"/{company}")["fields"]["maxCost"],
        "no number" in wrong.text,
    )
    board.send(wrong, f"/{company}", maxCost="1,204.5", windowSec="86,400")
    assert {"maxCostMicros": 1_204_500_000, "windowSec": 86_400} == api.get(f"/companies/{company}")["budget"]
