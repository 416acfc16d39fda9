import re
from pathlib import Path
from uuid import uuid4

import pytest

from web.board import timeline

PAGE = (Path(__file__).parents[3] / "docs" / "explain.md").read_text()
MISSED_REASONS = re.findall(
    "`([a-z_]+)`", PAGE.partition("| `missed` |")[2].partition("\n")[0].rpartition("|")[0].rpartition("|")[2]
)
MINUTELY = {"kind": "schedule", "cronExpression": "* * * * *", "timezone": "Europe/Amsterdam", "label": "often"}
YEARLY = {"kind": "schedule", "cronExpression": "0 9 1 1 *", "timezone": "Asia/Tokyo"}


@pytest.fixture
def routine(api, company, agent):
    return api.routine(company, agent, title="Briefing", concurrencyPolicy="skip_if_active", triggers=[YEARLY])


def test_a_routine_shows_its_next_run_in_the_zone_of_its_schedule_and_what_is_planned(board, routine):
    page = board.show(f"/routines/{routine}")

    assert "Fri 1 Jan 2027 09:00" in page.text
    assert "January" in page.text
    assert "planned" in page.text
    assert "It has not run yet." in page.text


def test_the_window_of_the_timeline_follows_the_pace_of_the_schedule(board, api, company, agent):
    often = api.routine(company, agent, triggers=[MINUTELY])
    rarely = api.routine(company, agent, triggers=[YEARLY])
    assert "30 min back, 30 min ahead, in Europe/Amsterdam" in board.show(f"/routines/{often}").text
    assert "730 days back, 730 days ahead, in Asia/Tokyo" in board.show(f"/routines/{rarely}").text


def test_the_timeline_goes_forward_into_the_future(board, routine):
    later = next(link for link in board.show(f"/routines/{routine}").links if link and "=2028-" in link)
    assert "Sat 1 Jan 2028 09:00" in board.get(later).text


@pytest.mark.parametrize("reason", MISSED_REASONS)
def test_why_an_occurrence_was_missed_is_told_in_words_that_are_true_of_what_was_missed(reason):
    occurrence = {
        "outcome": "missed",
        "reason": reason,
        "concurrencyPolicy": "skip_if_active",
        "catchUpPolicy": "skip_missed",
    }
    told = timeline.why(occurrence, None)

    assert told != reason.replace("_", " ")
    assert "project" not in told
    assert ("skip_missed" in told) == (reason == "skip_missed")


def test_a_paused_routine_says_why_nothing_is_planned(board, api, routine):
    api.patch(f"/routines/{routine}", {"status": "paused", "pauseNote": "Holidays"})
    page = board.show(f"/routines/{routine}")
    assert "The routine is paused, so nothing is planned." in page.text
    assert "“Holidays”" in page.text


def test_a_routine_without_a_trigger_says_the_next_step(board, api, company, agent):
    page = board.show(f"/routines/{api.routine(company, agent)}")
    assert "It has no trigger" in page.text
    assert "Only by hand" in page.text


def test_why_it_did_not_run_is_a_sentence_with_its_evidence(board, routine):
    page = board.show(f"/routines/{routine}?why=2026-11-29+09:00&zone=Asia/Tokyo")
    assert "Rests on" in page.text
    assert "of the log" in page.text


@pytest.mark.parametrize(
    ("moment", "zone"), [("yesterday", "UTC"), ("2026-11-29 09:00", "Mars/Base"), ("9999-99-99", "UTC")]
)
def test_a_question_about_no_time_keeps_what_was_typed(board, routine, moment, zone):
    page = board.show(f"/routines/{routine}?why={moment}&zone={zone}")
    assert f"This is no time in {zone}" in page.text
    assert moment in page.html


def test_a_revision_is_shown_as_a_difference_and_restored(board, api, routine):
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    api.patch(f"/routine-triggers/{trigger}", {"cronExpression": "0 10 1 1 *"})
    page = board.show(f"/routines/{routine}")
    assert "- trigger schedule: cronExpression: 0 9 1 1 *" in page.text
    assert "+ trigger schedule: cronExpression: 0 10 1 1 *" in page.text

    revisions = board.show(f"/routines/{routine}/revisions")
    page = board.send(revisions, "/restore")

    assert "The revision is restored, as a new one." in page.text
    assert "0 9 1 1 *" == api.get(f"/routines/{routine}")["triggers"][0]["cronExpression"]


def test_revisions_name_the_things_that_settings_point_at(board, api, company, agent, routine):
    project = api.post(f"/companies/{company}/projects", {"name": "Launch"})["id"]
    issue = api.post(f"/companies/{company}/issues", {"title": "Above"})
    other = api.routine(company, agent, title="The one before")
    at = api.get(f"/companies/{company}/events?limit=1")[0]["position"]
    api.patch(f"/routines/{routine}", {"projectId": project, "parentIssueId": issue["id"]})
    api.post(f"/routines/{routine}/triggers", {"kind": "chain", "afterRoutineId": other, "label": "next"})
    trigger = api.get(f"/routines/{routine}")["triggers"][-1]["id"]
    api.patch(f"/routine-triggers/{trigger}", {"afterRoutineId": api.routine(company, agent, title="Another")})

    revisions, past = board.show(f"/routines/{routine}/revisions").text, board.show(f"/routines/{routine}/past?at={at}")

    assert "+ projectId: Launch" in revisions
    assert f"+ parentIssueId: {issue['identifier']}" in revisions
    assert "afterRoutineId: The one before after: + trigger next: afterRoutineId: Another" in revisions
    assert "afterRoutineId: Another" in board.show(f"/routines/{routine}").text
    assert "nothing Launch" in past.text


def test_a_restored_webhook_shows_its_new_secret_once(board, api, company, agent):
    routine = api.routine(company, agent, triggers=[{"kind": "webhook"}])
    api.request("DELETE", f"/routine-triggers/{api.get(f'/routines/{routine}')['triggers'][0]['id']}")

    page = board.send(board.show(f"/routines/{routine}/revisions"), "/restore")

    assert "Keep this now: it is shown once." in page.text
    assert "/api/routine-triggers/public/" in page.text


def test_a_run_shows_what_it_was_given_and_runs_again_with_the_same(board, api, company, agent):
    routine = api.routine(company, agent, title="Hello {{name}}", variables=[{"name": "name", "defaultValue": "you"}])
    run = api.post(f"/routines/{routine}/run", {"payload": {"number": 17}, "variables": {"name": "Ada"}})
    page = board.show(f"/runs/{run['id']}")
    for text in ("name Ada", '"number": 17', "Hello Ada"):
        assert text in page.text
    api.patch(f"/issues/{run['linkedIssueId']}", {"status": "done"})

    page = board.show(f"/runs/{run['id']}")

    again = board.send(page, "/again")
    board.send(page, "/again")

    assert '"number": 17' in again.text
    assert "name Ada" in again.text
    assert 2 == len(api.get(f"/routines/{routine}/runs"))


def test_a_run_that_failed_says_why_and_a_joined_one_leads_to_the_other(board, api, company, agent):
    routine = api.routine(company, agent)
    first, second = (api.post(f"/routines/{routine}/run", {}) for _ in range(2))
    api.patch(f"/issues/{first['linkedIssueId']}", {"status": "cancelled", "failureReason": "exit status 3"})

    assert "failed exit status 3" in board.show(f"/runs/{first['id']}").text
    joined = board.show(f"/runs/{second['id']}")
    assert "The run that was still open" in joined.text
    assert any(link and link.endswith(first["id"]) for link in joined.links)


def test_runs_are_narrowed_by_outcome_source_and_time(board, api, company, agent):
    routine = api.routine(company, agent, title="Briefing")
    for _ in range(2):
        api.post(f"/routines/{routine}/run", {})
    rows = {
        query: board.show(f"/runs?{query}").html.count("<tr")
        for query in ("", "status=coalesced", "source=schedule", "from=2020-01-01")
    }
    assert {"": 3, "status=coalesced": 2, "source=schedule": 0, "from=2020-01-01": 3} == rows
    assert "This is no time in UTC" in board.show("/runs?from=soon").text
    assert 3 == board.show(f"/runs?routine={routine}").html.count("<tr")


def test_an_issue_is_commented_moved_and_given_to_another(board, api, company, agent):
    other, _ = api.agent(company, "Ledger")
    routine = api.routine(company, agent)
    issue = api.post(f"/routines/{routine}/run", {})["linkedIssueId"]
    page = board.show(f"/issues/{issue}")

    assert "Well done" in board.send(page, "/comments", body="Well done").text
    assert 422 == board.send(page, "/comments", body="").status
    moved = board.send(page, "/status", status="blocked", agent=other)

    assert "The issue is changed." in moved.text
    assert ("blocked", other) == tuple(api.get(f"/issues/{issue}")[name] for name in ("status", "assigneeAgentId"))
    assert "Inbox of Ledger" in board.show(f"/issues?agent={other}").text


def test_a_routine_that_needs_a_value_asks_for_it_and_runs_with_it(board, api, company, agent):
    variables = [{"name": "team"}, {"name": "many", "type": "number", "defaultValue": 3}]
    routine = api.routine(company, agent, title="For {{team}}", variables=variables)

    page = board.send(board.show(f"/routines/{routine}"), "/run")
    assert (422, True) == (page.status, "Not run." in page.text)
    wrong = board.send(page, "/run", **{"variable.team": "sales", "variable.many": "few", "payload": "[]"})
    assert "This is no number." in wrong.text
    assert "This is no JSON object" in wrong.text
    assert "few" == wrong.form("/run")["fields"]["variable.many"]
    run = board.send(wrong, "/run", **{"variable.many": "7", "payload": '{"number": 17}'})

    assert "team sales" in run.text
    assert "many 7" in run.text
    assert '"number": 17' in run.text


def test_a_payload_with_variables_of_its_own_is_shown_whole(board, api, company, agent):
    routine = api.routine(company, agent, triggers=[{"kind": "webhook", "signingMode": "none"}])
    public_id = api.get(f"/routines/{routine}")["triggers"][0]["publicId"]
    run = api.post(f"/routine-triggers/public/{public_id}/fire", {"variables": ["one", "two"]})
    assert '"two"' in board.show(f"/runs/{run['id']}").text


def test_the_output_of_a_run_goes_on_after_its_first_part(board, api, company):
    agent, token = api.agent(company)
    run = api.post(f"/routines/{api.routine(company, agent)}/run", {})
    headers = {"X-Paperclip-Run-Id": str(uuid4())}
    for path, body in (
        (f"/issues/{run['linkedIssueId']}/checkout", {"agentId": agent, "expectedStatuses": ["todo"]}),
        *(
            (f"/routine-runs/{run['id']}/log", {"part": part, "output": [{"stream": "stdout", "text": text}]})
            for part, text in enumerate((*["a" * 65_536] * 4, "the end"))
        ),
    ):
        assert 200 == api.request("POST", path, body, token=token, headers=headers).status_code

    first = board.show(f"/runs/{run['id']}")
    assert "the end" not in first.text
    later = board.get(next(link for link in first.links if link and "after=" in link))
    assert "the end" in later.text
    assert not any(link and "after=" in link for link in later.links)
