"""Why a run did or did not happen at a moment."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.execute import Executor
from application.request_bodies.budgets import BudgetDraft
from application.use_cases.board import agents, projects
from domain.routines.budget import WindowSpending
from tests.api import Api
from tests.web.past import DAY, HOUR, Past

NOON = datetime(2024, 11, 20, 12, 0, 30, tzinfo=UTC)


@pytest.fixture
def past_api(api: Api) -> Past:
    return Past(api, NOON)


@pytest.fixture
def routine(past_api: Past) -> UUID:
    return past_api.routine()


@pytest.fixture
def hourly(past_api: Past, routine: UUID) -> UUID:
    return past_api.schedule(routine, cron_expression="0 * * * *")


def explain(api: Api, routine: UUID, at: datetime, **query: Any) -> Any:
    """The explanation for the only schedule."""
    params = {"at": at.isoformat(), **query}
    (explanation,) = api.get(f"/routines/{routine}/explain", params=params)["triggers"]
    return explanation


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2024, 11, 20, hour, minute, second, tzinfo=UTC)


def roles(explanation: Any) -> list[tuple[str, str]]:
    return [(fact["role"], fact["event"]) for fact in explanation["facts"]]


def test_an_occurrence_that_ran_is_explained(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    past_api.at(13, 0, 2)
    past_api.tick(hourly)

    explanation = explain(api, routine, at(13, 0, 45))

    assert "ran" == explanation["verdict"]
    assert explanation["answer"] == (
        "The occurrence of Wed 20 Nov 2024 13:00 UTC ran: it was fired 2 s after it was due, and opened an issue, "
        "which is open."
    )
    times = {
        "at": "2024-11-20T13:00:00.000Z",
        "local": "2024-11-20T13:00:00+00:00",
        "dueAt": "2024-11-20T13:00:00.000Z",
    }
    assert times == explanation["occurrence"]
    assert (None, "2024-11-20T14:00:00.000Z") == (explanation["previous"], explanation["next"]["at"])
    assert [("status", "routine.created"), ("schedule", "trigger.created"), ("fired", "run.fired")] == roles(
        explanation
    )
    assert explanation["runId"] == explanation["facts"][-1]["streamId"]
    assert "scheduler" == explanation["facts"][-1]["actor"]
    positions = [fact["position"] for fact in explanation["facts"]]
    assert positions == sorted(positions)
    assert 0 < positions[0]


def test_an_occurrence_whose_issue_was_taken_from_its_worker_says_so(
    api: Api, past_api: Past, routine: UUID, hourly: UUID
):
    past_api.at(13, 0, 2)
    past_api.tick(hourly)
    issue = explain(api, routine, at(13, 0, 45))["issueId"]
    api.patch(f"/issues/{issue}", {"status": "in_progress"})
    freed = api.post(f"/issues/{issue}/admin/force-release")

    explanation = explain(api, routine, at(13, 0, 45))

    assert ", and opened an issue, which is open (it was released by force on " in explanation["answer"]
    assert ("freed", "issue.freed") == roles(explanation)[-1]
    assert "todo" == freed["status"]


def test_what_became_of_the_run_is_told(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    past_api.at(13)
    past_api.tick(hourly)
    past_api.finish(hourly, at(13))

    explanation = explain(api, routine, at(13))

    assert explanation["answer"].endswith("opened an issue, which is done.")
    assert ("ended", "run.completed") == roles(explanation)[-1]


@pytest.mark.parametrize(
    ("policy", "verdict", "words"),
    [
        ("coalesce_if_active", "coalesced", "was joined to the issue of the run of Wed 20 Nov 2024 13:00 UTC"),
        ("skip_if_active", "skipped", "was skipped, because the issue of the run of Wed 20 Nov 2024 13:00 UTC"),
    ],
)
def test_an_occurrence_that_met_a_live_issue_names_the_run_that_was_in_the_way(
    api: Api, past_api: Past, policy: Any, verdict: str, words: str
):
    routine = past_api.routine(concurrency_policy=policy)
    trigger = past_api.schedule(routine, cron_expression="0 * * * *")
    for hour in (13, 14):
        past_api.at(hour)
        past_api.tick(trigger)

    first, second = explain(api, routine, at(13)), explain(api, routine, at(14))

    assert (verdict, first["runId"], first["issueId"]) == (
        second["verdict"],
        second["blockingRunId"],
        second["issueId"],
    )
    assert words in second["answer"]
    assert policy in second["answer"]
    assert ("blocking", "run.fired") in roles(second)


def test_an_occurrence_whose_run_was_cancelled_by_the_next_one_says_so(api: Api, past_api: Past):
    routine = past_api.routine(concurrency_policy="cancel_previous")
    trigger = past_api.schedule(routine, cron_expression="0 * * * *")
    for hour in (13, 14):
        past_api.at(hour)
        past_api.tick(trigger)

    first = explain(api, routine, at(13))

    assert "ran" == first["verdict"]
    assert first["answer"].endswith(
        "which was cancelled when the next run took its place, as the policy cancel_previous says."
    )
    assert ("ended", "run.failed") == roles(first)[-1]


def test_of_late_occurrences_under_cancel_previous_the_older_ones_name_the_newest(api: Api, past_api: Past):
    routine = past_api.routine(concurrency_policy="cancel_previous", catch_up_policy="enqueue_missed_with_cap")
    trigger = past_api.schedule(routine, cron_expression="0 * * * *")
    past_api.at(14)
    past_api.tick(trigger)

    older, newest = explain(api, routine, at(13)), explain(api, routine, at(14))

    assert ("skipped", "superseded", newest["runId"]) == (older["verdict"], older["reason"], older["blockingRunId"])
    assert older["answer"].endswith(
        "was skipped, because a later one was due as well and took its place: the policy is cancel_previous."
    )
    assert "ran" == newest["verdict"]


def test_an_occurrence_beyond_a_budget_says_how_much_was_spent_and_when_it_frees(api: Api, past_api: Past):
    routine = past_api.routine(budget=BudgetDraft(max_cost_micros=10_000_000, window_sec=86_400))
    trigger = past_api.schedule(routine, cron_expression="0 * * * *")
    spent = WindowSpending(micros=10_250_000, reached_at=at(12))
    past_api.executor = Executor(api.system.store, lambda: past_api.now, api.system.vault, spending=lambda *_: spent)
    past_api.at(13)
    past_api.tick(trigger)

    explanation = explain(api, routine, at(13))

    assert ("skipped", "over_budget") == (explanation["verdict"], explanation["reason"])
    assert explanation["answer"].endswith(
        "was skipped: the budget of the routine is used up: 10.25 of 10.00 within 24 h, and frees on "
        "Thu 21 Nov 2024 12:00 UTC at the earliest."
    )


def test_a_late_occurrence_was_missed_by_policy(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    past_api.at(16, 30)
    past_api.tick(hourly)

    explanation = explain(api, routine, at(15))

    assert ("missed", "skip_missed", None) == (explanation["verdict"], explanation["reason"], explanation["runId"])
    assert explanation["answer"] == (
        "The occurrence of Wed 20 Nov 2024 15:00 UTC was missed: the scheduler came to it on Wed 20 Nov 2024 16:30 "
        "UTC, 1 h 30 min after it was due, and the catch-up policy skip_missed drops what is more than 60 s late. "
        "4 occurrences were missed at once."
    )


def test_an_edit_before_the_scheduler_came_is_why_an_occurrence_was_missed(
    api: Api, past_api: Past, routine: UUID, hourly: UUID
):
    past_api.at(13, 0, 20)
    past_api.edit(hourly, cron_expression="30 * * * *")

    explanation = explain(api, routine, at(13))

    assert ("missed", "edited") == (explanation["verdict"], explanation["reason"])
    assert "the schedule was edited by " in explanation["answer"]
    assert "not_an_occurrence" == explain(api, routine, at(14))["verdict"]


def test_a_moment_between_two_occurrences_is_none_and_names_its_neighbours(
    api: Api, past_api: Past, routine: UUID, hourly: UUID
):
    past_api.at(18)

    explanation = explain(api, routine, at(15, 7))

    assert ("not_an_occurrence", None) == (explanation["verdict"], explanation["occurrence"])
    assert explanation["answer"] == (
        "Wed 20 Nov 2024 15:07 UTC is no time of the schedule: the one before is Wed 20 Nov 2024 15:00 UTC, "
        "the one after is Wed 20 Nov 2024 16:00 UTC."
    )


def test_a_disabled_trigger_is_named_with_who_disabled_it_and_when(
    api: Api, past_api: Past, routine: UUID, hourly: UUID
):
    past_api.at(13, 30)
    past_api.edit(hourly, enabled=False)
    past_api.at(14, 30)
    past_api.edit(hourly, enabled=True)

    explanation = explain(api, routine, at(14))

    assert "disabled" == explanation["verdict"]
    assert "did not run: the trigger was disabled by " in explanation["answer"]
    assert explanation["answer"].endswith("on Wed 20 Nov 2024 13:30 UTC.")
    (fact,) = (fact for fact in explanation["facts"] if fact["role"] == "schedule")
    assert ("trigger.updated", "2024-11-20T13:30:30.000Z") == (fact["event"], fact["at"][:17] + "30.000Z")
    assert fact["actor"].startswith("user:")


@pytest.mark.parametrize(("status", "verdict"), [("paused", "routine_paused"), ("archived", "routine_archived")])
def test_a_routine_that_was_not_active_is_why_nothing_ran(api: Api, past_api: Past, status: Any, verdict: str):
    routine = past_api.routine()
    past_api.schedule(routine, cron_expression="0 * * * *")
    past_api.at(13, 30)
    past_api.change(routine, status=status)

    explanation = explain(api, routine, at(14))

    assert verdict == explanation["verdict"]
    assert f"the routine was {status} by " in explanation["answer"]
    assert ("status", "routine.updated") in roles(explanation)


def test_the_note_and_the_end_of_a_pause_are_told(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    past_api.at(13, 30)
    past_api.change(routine, status="paused", pause_note="Holiday", resume_at=at(20))

    assert explain(api, routine, at(14))["answer"].endswith(
        'saying "Holiday"; it is to go on from Wed 20 Nov 2024 20:00 UTC.'
    )


def test_a_pause_that_came_before_the_scheduler_is_why_an_occurrence_was_missed(
    api: Api, past_api: Past, routine: UUID, hourly: UUID
):
    past_api.at(13, 0, 10)
    past_api.change(routine, status="paused")
    assert "routine_paused" == explain(api, routine, at(13))["verdict"]

    past_api.at(14, 0, 10)
    past_api.change(routine, status="active")
    explanation = explain(api, routine, at(13))

    assert ("missed", "paused") == (explanation["verdict"], explanation["reason"])
    assert "the routine was paused before the scheduler had come to it" in explanation["answer"]


def test_a_deleted_trigger_is_explained_too(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    past_api.at(13)
    past_api.tick(hourly)
    past_api.at(13, 30)
    past_api.delete(hourly)

    assert "ran" == explain(api, routine, at(13))["verdict"]
    assert "deleted" == explain(api, routine, at(14))["verdict"]
    assert 404 == api.request("GET", f"/routine-triggers/{hourly}/occurrences").status_code


def test_before_it_was_made_there_was_no_schedule(api: Api, routine: UUID, hourly: UUID):
    explanation = explain(api, routine, at(12))

    assert "not_yet_created" == explanation["verdict"]
    assert "the schedule was not there yet" in explanation["answer"]


@pytest.mark.parametrize(
    ("limits", "verdict", "words"),
    [
        ({"excluded_dates": (date(2024, 11, 20),)}, "excluded_date", "one of those that the schedule leaves out"),
        ({"starts_at": NOON + DAY}, "before_start", "the schedule starts on Thu 21 Nov 2024 12:00:30 UTC"),
        ({"ends_at": NOON + HOUR / 2 + HOUR}, "after_end", "the schedule ended on Wed 20 Nov 2024 13:30:30 UTC"),
    ],
)
def test_what_the_limits_of_a_schedule_leave_out_is_explained(
    api: Api, past_api: Past, limits: Any, verdict: str, words: str
):
    routine = past_api.routine()
    past_api.schedule(routine, cron_expression="0 * * * *", **limits)

    explanation = explain(api, routine, at(14))

    assert verdict == explanation["verdict"]
    assert words in explanation["answer"]


def test_a_paused_project_is_why_it_was_skipped(api: Api, past_api: Past):
    routine = past_api.routine(project_id=past_api.project)
    trigger = past_api.schedule(routine, cron_expression="0 * * * *")
    past_api.at(12, 30)
    past_api.ask(projects.pause, past_api.project)
    past_api.at(13)
    past_api.tick(trigger)

    explanation = explain(api, routine, at(13))

    assert ("skipped", "project_paused") == (explanation["verdict"], explanation["reason"])
    assert "the project of the routine was paused (paused on Wed 20 Nov 2024 12:30 UTC)" in explanation["answer"]
    assert ("obstacle", "project.paused") in roles(explanation)


def test_a_paused_agent_is_why_it_failed(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    past_api.at(12, 30)
    past_api.ask(agents.pause, past_api.agent, "holiday")
    past_api.at(13)
    past_api.tick(hourly)

    explanation = explain(api, routine, at(13))

    assert "failed" == explanation["verdict"]
    assert "Agent is not invokable in its current state (it was paused by " in explanation["answer"]
    assert ("obstacle", "agent.paused") in roles(explanation)


def test_what_is_to_come_is_planned_and_says_what_stands_in_its_way(api: Api, past_api: Past):
    past_api.now = api.system.clock() - timedelta(seconds=1)
    routine = past_api.routine(project_id=past_api.project)
    past_api.schedule(routine, cron_expression="0 0 1 1 *")
    new_year = datetime(past_api.now.year + 1, 1, 1, tzinfo=UTC)

    before = explain(api, routine, new_year)
    past_api.ask(projects.pause, past_api.project)
    after = explain(api, routine, new_year)

    assert ("planned", "planned") == (before["verdict"], after["verdict"])
    assert before["answer"].endswith(" is planned.")
    assert "will be skipped as things stand" in after["answer"]


def test_an_occurrence_whose_time_has_come_is_about_to_be_settled(api: Api, routine: UUID, hourly: UUID):
    assert "being_settled" == explain(api, routine, at(13))["verdict"]


def test_times_are_told_in_the_zone_of_the_schedule_and_in_utc(api: Api, past_api: Past, routine: UUID):
    trigger = past_api.schedule(routine, cron_expression="30 14 * * *", timezone="Europe/Amsterdam")
    past_api.at(13, 30)
    past_api.tick(trigger)

    explanation = explain(api, routine, at(13, 30))

    assert "Wed 20 Nov 2024 14:30 (Europe/Amsterdam; 13:30 UTC)" in explanation["answer"]
    assert "2024-11-20T14:30:00+01:00" == explanation["occurrence"]["local"]


def test_jitter_is_seen_at_the_planned_and_at_the_due_moment(api: Api, past_api: Past, routine: UUID):
    trigger = past_api.schedule(routine, cron_expression="0 * * * *", jitter_sec=3600)
    due_at = datetime.fromisoformat(explain(api, routine, at(13))["occurrence"]["dueAt"])
    past_api.now = due_at
    past_api.tick(trigger)

    by_plan, by_due = explain(api, routine, at(13)), explain(api, routine, due_at)

    assert ("ran", "ran") == (by_plan["verdict"], by_due["verdict"])
    assert by_plan["runId"] == by_due["runId"]
    assert by_plan["answer"].startswith("The occurrence of Wed 20 Nov 2024 13:00 UTC ran: it was fired 0 ms after")


def test_a_single_moment_is_explained_in_its_minute(api: Api, past_api: Past, routine: UUID):
    once = past_api.schedule(routine, run_at=at(15, 10, 20))
    past_api.at(15, 10, 21)
    past_api.tick(once)

    assert "ran" == explain(api, routine, at(15, 10))["verdict"]
    assert "not_an_occurrence" == explain(api, routine, at(15, 11))["verdict"]


def test_every_schedule_is_explained_unless_one_is_asked_for(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    daily = past_api.schedule(routine, cron_expression="0 6 * * *")
    past_api.at(13)
    past_api.tick(hourly)

    both = api.get(f"/routines/{routine}/explain", params={"at": at(13).isoformat()})

    assert {str(hourly): "ran", str(daily): "not_an_occurrence"} == {
        explanation["triggerId"]: explanation["verdict"] for explanation in both["triggers"]
    }
    assert both["answer"] == " ".join(explanation["answer"] for explanation in both["triggers"])
    assert "not_an_occurrence" == explain(api, routine, at(13), triggerId=str(daily))["verdict"]


def test_a_routine_without_a_schedule_says_so(api: Api, routine: UUID):
    explanation = api.get(f"/routines/{routine}/explain", params={"at": at(13).isoformat()})

    assert ("The routine never had a schedule.", []) == (explanation["answer"], explanation["triggers"])


@pytest.mark.parametrize(
    ("query", "status", "path"),
    [
        ({}, 400, ["at"]),
        ({"at": "yesterday"}, 400, ["at"]),
        ({"at": "2024-11-20T13:00:00"}, 400, ["at"]),
        ({"at": "0001-01-01T00:00:00Z"}, 400, ["at"]),
        ({"at": "9999-12-31T23:59:59Z"}, 400, ["at"]),
        ({"at": "2024-11-20T13:00:00Z", "triggerId": "x"}, 400, ["triggerId"]),
    ],
)
def test_what_is_wrong_with_a_question_is_named(api: Api, untouched_routine: str, query: Any, status: int, path: Any):
    answer = api.request("GET", f"/routines/{untouched_routine}/explain", params=query)

    assert (status, path) == (answer.status_code, answer.json()["details"][0]["path"])


def test_a_trigger_of_another_routine_is_not_found(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    other = past_api.routine()
    params = {"at": at(13).isoformat()}

    for id_ in (hourly, uuid4()):
        answer = api.request("GET", f"/routines/{other}/explain", params={**params, "triggerId": str(id_)})
        assert (404, "Routine trigger not found") == (answer.status_code, answer.json()["error"])


def test_the_ends_of_time_are_answered(api: Api, past_api: Past, routine: UUID, hourly: UUID):
    for moment in ("1970-01-01T00:00:00Z", "2199-12-31T23:00:00Z"):
        assert 200 == api.request("GET", f"/routines/{routine}/explain", params={"at": moment}).status_code
