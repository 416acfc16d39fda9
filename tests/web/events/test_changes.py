"""Who changed which field of a routine or a trigger, when and why: as JSON, and as a table."""

import csv
import io
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from domain.audit.changes import Change
from domain.events import RoutineCreated
from domain.recorded import Recorded
from domain.values import RoutineSettings
from tests.api import Api
from tests.web import people
from web.events.changes import _csv_cell, _page_of_changes

OF, THEN = UUID(int=1), datetime(2026, 11, 22, 12, tzinfo=UTC)


class Past:
    """A routine that was changed, got a trigger and lost it, and was restored."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.company = api.company()
        self.owner = people.member(api, self.company, "owner")
        self.routine = api.routine(self.company, api.agent(self.company)[0], title="Check", description="=1+1")
        api.patch(f"/routines/{self.routine}", {"title": "Check again", "priority": "high"}, token=self.owner)
        draft = {"kind": "schedule", "cronExpression": "0 9 * * *"}
        self.trigger = api.post(f"/routines/{self.routine}/triggers", draft)["trigger"]["id"]
        api.patch(f"/routine-triggers/{self.trigger}", {"cronExpression": "0 10 * * *"}, token=self.owner)
        api.request("DELETE", f"/routine-triggers/{self.trigger}")
        hook = api.post(f"/routines/{self.routine}/triggers", {"kind": "webhook", "signingMode": "bearer"})
        self.hook, self.address, self.secret = (
            hook["trigger"]["id"],
            hook["trigger"]["publicId"],
            hook["secretMaterial"],
        )
        api.post(f"/routine-triggers/{self.hook}/rotate-secret", {})
        revisions = api.get(f"/routines/{self.routine}/revisions")
        api.post(f"/routines/{self.routine}/revisions/{revisions[-1]['id']}/restore")


@pytest.fixture(scope="module")
def past_api(api: Api) -> Past:
    return Past(api)


def differences(changes: list[Any], kind: str) -> dict[str, tuple[Any, Any]]:
    return {change["field"]: (change["before"], change["after"]) for change in changes if change["kind"] == kind}


def test_each_change_says_which_field_was_what_and_who_made_it_what(past_api: Past):
    changes = past_api.api.get(f"/routines/{past_api.routine}/changes")

    assert differences(changes, "routine.updated") == {
        "title": ("Check", "Check again"),
        "priority": ("medium", "high"),
    }
    (title,) = [change for change in changes if change["kind"] == "routine.updated" and change["field"] == "title"]
    assert title["actorName"] == "the user “Robin”"
    assert title["why"] == "The settings of the routine Check again were changed; it is active, by the user “Robin”."
    assert differences(changes, "routine.created")["title"] == (None, "Check")
    cron = f"triggers.{past_api.trigger}.cronExpression"
    assert differences(changes, "routine.trigger_added")[cron] == (None, "0 9 * * *")
    assert differences(changes, "routine.trigger_changed") == {cron: ("0 9 * * *", "0 10 * * *")}
    assert differences(changes, "routine.trigger_removed")[cron] == ("0 10 * * *", None)
    assert differences(changes, "routine.restored")["title"] == ("Check again", "Check")
    assert differences(changes, "routine.secret_rotated") == {f"triggers.{past_api.hook}.secret": (None, None)}
    assert [change["position"] for change in changes] == sorted((one["position"] for one in changes), reverse=True)


def test_a_trigger_has_its_history_also_when_it_is_deleted(past_api: Past):
    changes = past_api.api.get(f"/routine-triggers/{past_api.trigger}/changes")

    assert differences(changes, "trigger.updated") == {"cronExpression": ("0 9 * * *", "0 10 * * *")}
    assert differences(changes, "trigger.deleted")["cronExpression"] == ("0 10 * * *", None)


def test_the_history_comes_in_pages_of_events(past_api: Past):
    whole, path, seen = (
        past_api.api.get(f"/routines/{past_api.routine}/changes"),
        f"/routines/{past_api.routine}/changes?limit=2",
        [],
    )
    while path:
        answer = past_api.api.request("GET", path)
        seen += answer.json()
        cursor = answer.headers.get("X-Next-Cursor")
        path = cursor and f"/routines/{past_api.routine}/changes?limit=2&cursor={cursor}"

    assert whole == seen
    foreign = past_api.api.request("GET", f"/routine-triggers/{past_api.trigger}/changes?limit=1").headers[
        "X-Next-Cursor"
    ]
    assert 400 == past_api.api.request("GET", f"/routines/{past_api.routine}/changes?cursor={foreign}").status_code


def test_a_page_has_the_changes_of_so_many_events_or_of_as_many_as_fit_but_of_one_at_least():
    title = RoutineCreated(settings=RoutineSettings(title="Check"))
    events = [
        Recorded(stream_id=OF, version=n, at=THEN, actor="system", company_id=OF, event=title) for n in range(1, 4)
    ]
    changes = [Change(recorded=one, field=field, after="x" * 100) for one in events for field in ("priority", "title")]

    def versions(limit, max_bytes):
        page = _page_of_changes(changes, limit, max_bytes)
        return [change.recorded.version for change in page], page.more, page.last

    assert ([3, 3], True, 3) == versions(50, 10) == versions(1, 10_000)
    assert ([3, 3, 2, 2], True, 2) == versions(50, 500) == versions(2, 10_000)
    assert ([3, 3, 2, 2, 1, 1], False) == versions(3, 10_000)[:2]


@pytest.mark.parametrize("begin", "=+-@\t\r")
def test_a_text_of_a_table_is_no_formula(begin: str):
    assert (f"'{begin}1", "1-1") == (_csv_cell(f"{begin}1"), _csv_cell("1-1"))


def test_the_history_is_a_table_for_those_who_ask_for_one(past_api: Past):
    path = f"/routines/{past_api.routine}/changes"
    answer = past_api.api.request("GET", path, headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))

    assert answer.headers["content-type"].startswith("text/csv")
    assert [(row["field"], row["position"]) for row in rows] == [
        (change["field"], str(change["position"])) for change in past_api.api.get(path)
    ]
    (description,) = [row for row in rows if row["field"] == "description" and row["kind"] == "routine.created"]
    assert description["after"] == "'=1+1"  # no spreadsheet calculates it


def test_no_address_and_no_secret_is_in_a_history(past_api: Past):
    texts = [
        past_api.api.request("GET", path).text
        for path in (f"/routines/{past_api.routine}/changes", f"/routine-triggers/{past_api.hook}/changes")
    ]

    assert not any(
        hidden in text for text in texts for hidden in (past_api.address, str(past_api.secret["webhookSecret"]))
    )


def changes_between(past_api: Past, begin: int, end: int, routine: str | None = None) -> Any:
    return past_api.api.get(f"/routines/{routine or past_api.routine}/diff?from={begin}&to={end}")


def position_of(past_api: Past, kind: str) -> int:
    changes = past_api.api.get(f"/routines/{past_api.routine}/changes")
    return next(int(change["position"]) for change in changes if change["kind"] == kind)


def test_two_moments_differ_by_fields_and_triggers_and_the_events_say_who_made_it_so(past_api: Past):
    created, updated, changed = (
        position_of(past_api, kind) for kind in ("routine.created", "routine.updated", "routine.trigger_changed")
    )

    field_differences = changes_between(past_api, created, changed)

    assert field_differences["routine"] == [
        {"field": "priority", "before": "medium", "after": "high", "events": [updated]},
        {"field": "title", "before": "Check", "after": "Check again", "events": [updated]},
    ]
    (added,) = field_differences["triggers"]
    assert (added["id"], added["change"]) == (past_api.trigger, "added")
    assert ("0 10 * * *", changed) in [(one["after"], one["events"][-1]) for one in added["fields"]]
    assert [cause["kind"] for cause in field_differences["events"]] == [
        *("routine.updated", "routine.trigger_added", "routine.trigger_changed")
    ]
    assert (field_differences["events"][0]["actorName"], field_differences["events"][0]["position"]) == (
        "the user “Robin”",
        updated,
    )


def test_a_trigger_differs_in_what_was_changed_and_is_removed_with_all_that_it_had(past_api: Past):
    added, changed, removed = (
        position_of(past_api, f"routine.trigger_{what}") for what in ("added", "changed", "removed")
    )
    added = min(added, changed - 1)

    (edited,) = changes_between(past_api, changed - 1, changed)["triggers"]
    (gone,) = changes_between(past_api, changed, removed)["triggers"]

    assert edited["change"] == "changed"
    assert [one["field"] for one in edited["fields"]] == ["cronExpression"]
    assert gone["change"] == "removed"
    assert {one["after"] for one in gone["fields"]} == {None}


def test_what_was_changed_back_is_no_difference_and_a_new_secret_is_one_that_is_not_shown(past_api: Past):
    created, head = position_of(past_api, "routine.created"), past_api.api.system.store.head()
    rotated = position_of(past_api, "routine.secret_rotated")

    field_differences = past_api.api.get(f"/routines/{past_api.routine}/diff?from={created}")

    assert field_differences["toPosition"] == head
    assert "title" not in {one["field"] for one in field_differences["routine"]}
    (hook,) = changes_between(past_api, rotated - 1, rotated)["triggers"]
    assert hook["fields"] == [{"field": "secret", "before": None, "after": None, "events": [rotated]}]
    assert changes_between(past_api, head, head)["events"] == []


def test_a_trigger_that_came_and_went_between_the_moments_is_no_difference(past_api: Past):
    api = past_api.api
    routine = api.routine(past_api.company, api.agent(past_api.company)[0])
    begin = api.system.store.head()
    hook = api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "bearer"})["trigger"]["id"]
    api.post(f"/routine-triggers/{hook}/rotate-secret", {})
    there = changes_between(past_api, begin, api.system.store.head(), routine)
    api.request("DELETE", f"/routine-triggers/{hook}")

    gone = changes_between(past_api, begin, api.system.store.head(), routine)

    assert [(one["id"], one["change"]) for one in there["triggers"]] == [(hook, "added")]
    assert "excludedDates" not in {one["field"] for one in there["triggers"][0]["fields"]}, "it is empty as before"
    assert (gone["triggers"], gone["events"]) == ([], [])


def test_the_events_stand_in_the_order_in_which_they_happened_whatever_their_fields_are_called(past_api: Past):
    api = past_api.api
    routine = api.routine(past_api.company, api.agent(past_api.company)[0])
    begin = api.system.store.head()
    for change in ({"title": "First"}, {"priority": "high"}):
        api.patch(f"/routines/{routine}", change)

    changes = changes_between(past_api, begin, api.system.store.head(), routine)

    assert ["priority", "title"] == [one["field"] for one in changes["routine"]]
    assert [one["events"][0] for one in reversed(changes["routine"])] == [one["position"] for one in changes["events"]]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=20&from=21", 400),
        ("", 422),
        ("from=x", 422),
        ("from=99999999999", 422),
        ("from=20&to=19", 422),
        ("from=1", 404),
    ],
)
def test_moments_that_cannot_be_compared_are_refused(past_api: Past, query: str, status: int):
    assert past_api.api.request("GET", f"/routines/{past_api.routine}/diff?{query}").status_code == status


def test_what_differs_is_what_the_routine_was_at_both_moments(past_api: Past):
    changes = past_api.api.get(f"/routines/{past_api.routine}/changes")
    positions = sorted({int(change["position"]) for change in changes})
    then = {one: past_api.api.get(f"/routines/{past_api.routine}?asOf={one}") for one in positions}

    for begin, end in pairwise(positions):
        values_by_field = {
            one["field"]: (one["before"], one["after"]) for one in changes_between(past_api, begin, end)["routine"]
        }
        for field in ("title", "priority", "status", "description"):
            before, after = then[begin][field], then[end][field]
            assert values_by_field.get(field, (before, before)) == (before, after)
