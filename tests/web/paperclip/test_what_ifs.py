"""The past of a routine, replayed with other settings: what would have run, and nothing is recorded."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.what_if.ledger import Ledger, Missed
from tests.api import Api
from tests.web.past import HOUR, Past
from web.paperclip import what_ifs

MORNING = datetime(2024, 11, 20, 6, 0, 30, tzinfo=UTC)
RANGE = {"from": "2024-11-20T06:00:30Z", "to": "2024-11-20T23:59:59Z"}


class Day(Past):
    """An hourly routine under skip_if_active, whose work takes 90 minutes; the scheduler is away from 14:30 to 18:10."""

    def __init__(self, api: Api, **fields: Any) -> None:
        super().__init__(api, MORNING)
        self.id = self.routine(**{"concurrency_policy": "skip_if_active", **fields})
        self.trigger = self.schedule(self.id, cron_expression="0 * * * *")
        for hour in range(7, 24):
            if not 14 < hour <= 18:
                self._tick_at(hour, 0)
            if hour == 18:
                self._tick_at(18, 10)

    def _tick_at(self, hour: int, minute: int) -> None:
        self.at(hour, minute)
        self.tick(self.trigger)
        if hour % 2:
            return
        self.at(hour, 30)
        opened = self.now.replace(minute=0) - HOUR
        if hour not in (16, 18):
            self.finish(self.trigger, opened)


@pytest.fixture(scope="module")
def day_fixture(api: Api) -> Day:
    return Day(api)


def ask(api: Api, day_fixture: Day, **change: Any) -> Any:
    return api.post(f"/routines/{day_fixture.id}/what-if", RANGE | change)


def kinds(answer: Any) -> dict[str, int]:
    return {kind: count for kind, count in answer["counts"].items() if count}


def test_without_a_change_the_answer_is_what_happened(api: Api, day_fixture: Day):
    answer = ask(api, day_fixture)

    assert answer["actual"] == answer["replayed"]
    assert (kinds(answer), answer["differences"], answer["assumedDurations"]) == ({}, [], 0)
    shown = api.get(f"/routine-triggers/{day_fixture.trigger}/occurrences", params=RANGE)["occurrences"]
    settled = [one for one in shown if one["outcome"] != "planned"]
    assert answer["actual"]["missed"] == sum(one["count"] for one in settled if one["outcome"] == "missed") > 0
    assert answer["actual"]["ran"] == sum(one["outcome"] == "issue_created" for one in settled)
    assert answer["actual"]["skipped"] == sum(one["outcome"] == "skipped" for one in settled) > 0
    assert answer["routines"] == 1


def test_nothing_is_recorded(api: Api, day_fixture: Day):
    before = api.system.store.head()

    ask(api, day_fixture, cronExpression="*/10 * * * *", concurrencyPolicy="cancel_previous", jitterSec=60)

    assert api.system.store.head() == before


def test_what_was_skipped_would_run_under_another_policy(api: Api, day_fixture: Day):
    answer = ask(api, day_fixture, concurrencyPolicy="always_enqueue")

    skipped = answer["actual"]["skipped"]
    assert kinds(answer) == {"changed": skipped}
    assert answer["replayed"]["ran"] == answer["actual"]["ran"] + skipped
    first = answer["differences"][0]
    assert (first["was"]["outcome"], first["wouldBe"]["outcome"]) == ("skipped", "issue_created")
    assert first["plannedAt"] == "2024-11-20T08:00:00.000Z"
    assert answer["assumedDurations"] == skipped


def test_a_shorter_limit_ends_the_work_before_the_next_occurrence(api: Api, day_fixture: Day):
    answer = ask(api, day_fixture, maxRunDurationSec=1_800)

    assert answer["replayed"]["skipped"] == 0
    assert answer["replayed"]["ran"] == answer["actual"]["fired"]


def test_what_was_missed_would_be_caught_up_with(api: Api, day_fixture: Day):
    answer = ask(api, day_fixture, catchUpPolicy="enqueue_missed_with_cap")

    assert (answer["actual"]["missed"], answer["replayed"]["missed"]) == (4, 0)
    late = [one for one in answer["differences"] if one["kind"] == "added"]
    assert [one["plannedAt"][11:16] for one in late] == ["15:00", "16:00", "17:00", "18:00"]
    assert {one["wouldBe"]["at"] for one in late} == {"2024-11-20T18:10:00.000Z"}
    assert answer["replayed"]["longestWaitMs"] == 190 * 60 * 1000


def test_another_schedule_runs_at_its_own_times_and_is_looked_at_when_the_scheduler_was_there(
    api: Api, day_fixture: Day
):
    answer = ask(api, day_fixture, cronExpression="15 */2 * * *", concurrencyPolicy="always_enqueue")

    added = [one for one in answer["differences"] if one["kind"] == "added"]
    assert [(one["plannedAt"][11:16], one["wouldBe"]["at"][11:16]) for one in added] == [
        ("06:15", "06:15"),
        ("08:15", "08:15"),
        ("10:15", "10:15"),
        ("12:15", "12:15"),
        ("14:15", "14:15"),
        ("18:15", "18:15"),
        ("20:15", "20:15"),
        ("22:15", "22:15"),
    ]
    assert answer["counts"]["removed"] == answer["actual"]["fired"]
    assert answer["replayed"]["missed"] == 1  # 16:15: the scheduler was away


def test_jitter_moves_runs(api: Api, day_fixture: Day):
    answer = ask(api, day_fixture, jitterSec=600, concurrencyPolicy="always_enqueue")

    moved = {one["kind"] for one in answer["differences"] if one["was"] and one["was"]["outcome"] == "issue_created"}
    assert moved == {"moved"}
    assert answer["replayed"]["busiest"]["runs"] == 1


def test_a_range_within_the_past_begins_with_what_was_live_then(api: Api, day_fixture: Day):
    part = {"from": "2024-11-20T09:15:00Z", "to": "2024-11-20T12:10:00Z"}

    answer = ask(api, day_fixture, **part)
    longer = ask(api, day_fixture, **part, concurrencyPolicy="always_enqueue")

    assert answer["actual"] == answer["replayed"]
    assert answer["actual"]["fired"] == 3
    assert kinds(longer) == {"changed": answer["actual"]["skipped"]}


def test_a_company_is_replayed_together(api: Api):
    day_fixture = Day(api)
    other = day_fixture.routine(title="Other")
    trigger = day_fixture.schedule(other, cron_expression="0 * * * *")
    day_fixture.at(23, 59)
    assert trigger

    same = api.post(f"/companies/{day_fixture.company}/what-if", RANGE)
    changed = api.post(f"/companies/{day_fixture.company}/what-if", RANGE | {"concurrencyPolicy": "always_enqueue"})

    assert (same["routines"], same["differences"], same["actual"]) == (2, [], same["replayed"])
    assert {one["routineId"] for one in changed["differences"]} == {str(day_fixture.id)}
    assert changed["counts"]["changed"] == same["actual"]["skipped"]


def test_missed_ranges_of_a_company_beyond_the_limit_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch):
    past = Past(api, MORNING)
    assert past.routine()
    assert past.routine(title="Other")
    missed = Missed(trigger_id=uuid4(), at=MORNING, first=MORNING, last=MORNING, count=1, reason="late")
    monkeypatch.setattr(what_ifs, "replay", lambda *_: (Ledger(missed=[missed] * 10_003), Ledger()))

    answer = api.request("POST", f"/companies/{past.company}/what-if", RANGE)

    assert (answer.status_code, "10,000" in answer.text) == (422, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cronExpression": "61 * * * *"}, "cronExpression"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"triggerId": str(uuid4())}, "triggerId"),
        ({"from": "2024-11-21T00:00:00Z"}, "from"),
        ({"to": "2224-11-21T00:00:00Z"}, "to"),
        ({"from": "0024-11-21T00:00:00Z"}, "from"),
        ({"jitterSec": -1}, "jitterSec"),
        ({"concurrencyPolicy": "whatever"}, "concurrencyPolicy"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_the_name_of_its_field(api: Api, day_fixture: Day, body: Any, field: str):
    answer = api.request("POST", f"/routines/{day_fixture.id}/what-if", RANGE | body)

    assert answer.status_code in (400, 422), answer.text
    assert field in answer.text


def test_with_several_schedules_a_cron_expression_is_for_one_that_is_named(api: Api, day_fixture: Day):
    past = Past(api, MORNING)
    routine = past.routine()
    first, second = (past.schedule(routine, cron_expression=f"{minute} * * * *") for minute in (0, 30))
    path = f"/routines/{routine}/what-if"

    refused = api.request("POST", path, RANGE | {"cronExpression": "5 * * * *"})

    assert (refused.status_code, "triggerId" in refused.text) == (422, True)
    named = api.post(path, RANGE | {"cronExpression": "5 * * * *", "triggerId": str(second)})
    assert {UUID(one["triggerId"]) for one in named["differences"]} == {second}
    assert first


def test_too_much_is_refused(api: Api, day_fixture: Day, set_limits: Callable[..., None]):
    set_limits(max_what_if_firings=1_000)
    minutely = RANGE | {"from": "2024-01-01T00:00:00Z", "cronExpression": "* * * * *", "to": "2025-01-01T00:00:00Z"}

    answer = api.request("POST", f"/routines/{day_fixture.id}/what-if", minutely)

    assert (answer.status_code, "1,000" in answer.text) == (422, True)


def test_of_many_differences_some_are_shown_and_all_are_counted(
    api: Api, day_fixture: Day, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(what_ifs, "MOST_SHOWN", 2)

    answer = ask(api, day_fixture, concurrencyPolicy="always_enqueue")

    assert len(answer["differences"]) == 2 < answer["counts"]["changed"]
