import re
from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from domain.events import DeliveryDead
from projections.engine import positions
from tests.web import people
from tests.web.board.conftest import Board
from web.board import system
from web.board.home import REASONS, cells_of
from web.monitoring.checkup import Reason

YEARLY = {"kind": "schedule", "cronExpression": "0 9 1 1 *", "timezone": "Asia/Tokyo"}


@pytest.mark.usefixtures("nothing_overdue")
def test_an_empty_company_says_how_to_begin(board):
    page = board.show()
    assert "There is no routine yet." in page.text
    assert "Create the first one" in page.text


@pytest.mark.usefixtures("nothing_overdue")
def test_the_home_counts_what_is_there_and_says_how_many_things_need_somebody(board, api, company, agent):
    failing = api.routine(company, agent, title="Audit")
    api.routine(company, agent, title="Old", status="paused")
    run = api.post(f"/routines/{failing}/run", {})
    assert "Nothing needs you." in board.show().text

    api.patch(f"/issues/{run['linkedIssueId']}", {"status": "cancelled", "failureReason": "exit status 3"})

    page = board.show()
    assert "One thing needs you." in page.text
    assert "1 active, of 2" in page.text
    assert "1 failed in 24 hours" in page.text
    assert "Audit : exit status 3" in page.text


@pytest.mark.usefixtures("nothing_overdue")
def test_a_routine_that_fails_often_for_one_reason_hides_no_other_failure(board, api, company, agent):
    routines = [
        api.routine(company, agent, title=title, concurrencyPolicy="always_enqueue") for title in ("Rare", "Frequent")
    ]
    for routine, reason in [(routines[0], "exit status 3"), *[(routines[1], "the disk is full")] * 6]:
        run = api.post(f"/routines/{routine}/run", {})
        api.patch(f"/issues/{run['linkedIssueId']}", {"status": "cancelled", "failureReason": reason})

    page = board.show()

    assert 2 == page.html.count("Open run: ")
    assert "Rare : exit status 3" in page.text
    assert "; 6 runs failed so" in page.text
    assert "All 7 failed runs" in page.text


@pytest.mark.usefixtures("nothing_overdue")
@pytest.mark.parametrize(("policy", "outcome"), [("coalesce_if_active", "coalesced"), ("skip_if_active", "skipped")])
def test_a_routine_that_loses_runs_to_an_open_issue_names_it_and_what_became_of_them(
    board, api, agent, policy, outcome
):
    routine = api.routine(board.company, agent, title="Audit", concurrencyPolicy=policy)
    runs = [api.post(f"/routines/{routine}/run", {}) for _ in range(4)]
    issue = api.get(f"/issues/{runs[0]['linkedIssueId']}")["identifier"]

    text = board.show().text

    assert (
        f"{outcome} Audit loses occurrences: 3 of its last 4 runs began no work: a run was still open. {issue} is open now."
        in text
    )


@pytest.mark.usefixtures("nothing_overdue")
def test_a_routine_that_loses_runs_for_another_reason_blames_no_issue_that_is_open(board, api, company, agent):
    budget = {"maxCostMicros": 1, "windowSec": 3600}
    routine = api.routine(company, agent, title="Audit", concurrencyPolicy="always_enqueue", budget=budget)
    run = api.post(f"/routines/{routine}/run", {})
    api.post(f"/routine-runs/{run['id']}/usage", {"costMicros": 2})
    with api.system.pool.connection() as conn:
        positions.wait(conn, ["spending"], 10)
    for _ in range(3):
        api.post(f"/routines/{routine}/run", {})

    text = board.show().text

    assert "skipped Audit loses occurrences: 3 of its last 4 runs began no work: a budget is used up. Why?" in text


@pytest.mark.usefixtures("nothing_overdue")
def test_deliveries_that_were_given_up_need_somebody(board, api, company):
    path = f"/companies/{company}/webhook-endpoints"
    endpoint = api.post(path, {"url": "https://hooks.example.org/in", "events": ["run.failed"]})["id"]
    delivery = api.post(f"{path}/{endpoint}/test")["id"]
    dead = DeliveryDead(attempt=1, reason="The receiver answered 410", status=410)
    people.operate(api, lambda work: work.record(UUID(delivery), [dead], UUID(company)))

    page = board.show()

    assert "One thing needs you." in page.text
    assert "1 dead delivery" in page.text
    assert "Dead 1 delivery was given up." in page.text


def test_what_runs_next_is_first(board, api, company, agent):
    api.routine(company, agent, title="Later", triggers=[YEARLY])
    api.routine(company, agent, title="Sooner", triggers=[{**YEARLY, "cronExpression": "* * * * *"}])
    html = board.show().html
    assert html.index("Sooner") < html.index("Later")


def test_the_grid_counts_the_runs_of_each_hour_of_the_coming_week(board, api, company, agent):
    for _ in range(2):
        api.routine(company, agent, triggers=[{**YEARLY, "cronExpression": "0 9 * * *", "timezone": "UTC"}])
    page = board.show("/week")
    assert "The busiest hour is" in page.text
    assert "at 09:00, with 2 runs." in page.text
    assert 168 == page.html.count("<rect")


def test_the_system_page_says_whether_the_service_works_and_how_far_each_read_model_is(board):
    page = board.show("/system")
    assert "Read models" in page.text
    assert "run_history up to date" in page.text


def test_a_delivery_is_sent_once_more_and_an_endpoint_shows_its_secret_once(board, api, company):
    fields = board.show("/deliveries").form("/endpoints")["fields"]
    path = f"/board/companies/{company}/deliveries/endpoints"
    wrong = board.post(path, {**fields, "url": "nonsense", "events": "run.*"})
    assert (422, "nonsense") == (wrong.status, wrong.form("/endpoints")["fields"]["url"])

    answer = board.post(path, {**fields, "url": "https://hooks.example.org/in", "events": "run.failed, alert.*"})

    assert "Keep this now" in answer.text
    endpoint = api.get(f"/companies/{company}/webhook-endpoints")[0]
    assert ["run.failed", "alert.*"] == endpoint["events"]
    page = board.show("/deliveries")
    assert "The delivery will be sent" in board.send(page, endpoint["id"], action="test").text
    assert "waiting" in board.show(f"/deliveries?endpoint={endpoint['id']}").text
    assert "disabled" in board.send(page, endpoint["id"], action="disable").text
    assert "It is removed." in board.send_surely(page, endpoint["id"], action="delete").text


def test_people_agents_and_keys_are_added_changed_and_taken_away(board, api, company):
    page = board.show("/people")
    key = board.send(page, "/people/members", name="Ada", role="member")
    assert "pcp_board_" in key.text
    agent = board.send(page, "/people/agents", name="Scout")
    assert "Scout" in agent.text
    token = board.send(page, "/people/keys", name="laptop").text
    assert "pcp_board_" in token

    page = board.show("/people")
    assert "pcp_" not in page.html
    assert "laptop" in page.text
    ada = next(member for member in api.get(f"/companies/{company}/members") if member["name"] == "Ada")
    board.send_surely(page, f"/members/{ada['userId']}", role="viewer")
    assert "viewer" == next(m for m in api.get(f"/companies/{company}/members") if m["name"] == "Ada")["membershipRole"]
    scout = api.get(f"/companies/{company}/agents")[0]["id"]
    assert "paused" in board.send(page, f"/agents/{scout}", action="pause").text
    assert "pcp_" in board.send(page, f"/agents/{scout}", action="key").text
    laptop = next(key for key in api.get("/board-api-keys") if key["name"] == "laptop")
    assert "The key is revoked." in board.send_surely(page, f"/keys/{laptop['id']}/revoke").text


def test_a_member_is_given_the_right_to_assign_work_and_loses_it(board, api, company):
    board.send(board.show("/people"), "/people/members", name="Ada", role="member")
    ada = next(one for one in api.get(f"/companies/{company}/members") if one["name"] == "Ada")

    def permissions(send=board.send, **changed):
        send(board.show("/people"), f"/members/{ada['userId']}", **changed)
        return next(one for one in api.get(f"/companies/{company}/members") if one["name"] == "Ada")["permissions"]

    assert [] == permissions(board.send_surely, assigns="none")
    assert "member may not assign work" in board.show("/people").text
    assert [] == permissions(role="viewer", assigns="usual")
    assert ["tasks:assign"] == permissions(role="member")


def test_an_agent_gets_a_budget_and_what_is_wrong_with_it_stands_beside_its_field(board, api, company, agent):
    page, form = board.show("/people"), f"/people/agents/{agent}"
    assert "No budget" in page.text
    for fields, sentence in (
        ({"maxCost": "x", "windowSec": "60"}, "This is no number."),
        ({"maxCost": "1", "windowSec": "5"}, "a number that is not below 60"),
        ({"maxCost": "1", "windowSec": ""}, "This has to be filled in."),
        ({"maxCost": "", "windowSec": "60"}, "This has to be filled in."),
    ):
        refused = board.send(page, form, action="budget", **fields)
        assert (422, True, 1) == (refused.status, sentence in refused.text, refused.html.count('class="error"'))
        assert fields.items() <= refused.form(form)["fields"].items()
    page = board.send(page, form, action="budget", maxCost="1234567.5", windowSec="3600")
    assert "Budget: 1234567.5 within 1 h" in page.text
    assert {"maxCostMicros": 1_234_567_500_000, "windowSec": 3600} == api.get(f"/agents/{agent}")["budget"]
    board.send(page, form, action="budget", maxCost="", windowSec="")
    assert api.get(f"/agents/{agent}")["budget"] is None


@pytest.mark.parametrize("ending", ["/people/members", "/people/agents", "/people/keys"])
def test_a_name_that_is_missing_is_said_beside_its_field(board, ending):
    page = board.send(board.show("/people"), ending, name=" ")
    assert page.status == 422
    assert 'class="error"' in page.html


def test_each_hour_stands_below_what_clocks_show_also_where_they_change():
    begin = datetime(2026, 10, 24, tzinfo=ZoneInfo("Europe/Amsterdam"))  # they go back in the night after
    cells = cells_of(begin)
    assert [24, 25, 26, 26, 27] == cells[24:29]
    assert 7 * 24 - 1 == cells[-1]


def test_an_admin_sees_no_button_for_an_owner(api, company):
    people.member(api, company, "owner")
    admin = Board(api, company, people.member(api, company, "admin"))
    page = admin.show("/people")
    owners = [one["userId"] for one in api.get(f"/companies/{company}/members") if one["membershipRole"] == "owner"]
    assert owners
    assert not any(page.has_form(f"/members/{id_}") for id_ in owners)
    assert page.has_form("/members")
    assert 'value="owner"' not in page.html
    admin.client.close()


def test_the_board_has_a_sentence_for_whatever_is_wrong_with_the_service():
    assert {word for words in get_args(Reason) for word in get_args(words)} == {*REASONS}


def test_the_system_page_says_of_each_process_how_one_can_tell_and_draws_the_last_day(board, api, company, agent):
    assert "Nothing ran in the last 24 hours." in board.show("/system").text
    routine = api.routine(company, agent)
    for _ in range(2):
        api.post(f"/routines/{routine}/run", {})

    page = board.show("/system")

    assert "web works It has answered you." in page.text
    # Whether they are late depends on other tests, too: those have left schedules in the database that nobody fires.
    for process in ("scheduler", "projector", "delivery"):
        assert re.search(rf"\b{process} (works|is late|is behind) ", page.text)
    assert 'aria-label="1 under way in 24 hours"' in page.html
    assert 'aria-label="1 coalesced in 24 hours"' in page.html
    assert "When something is wrong" in page.text


def test_a_process_that_does_not_keep_up_is_named_with_what_shows_it():
    now = datetime(2026, 11, 29, tzinfo=UTC)
    models = [{"stopped": "KeyError", "behindS": 0.0}, {"stopped": None, "behindS": 3.0}]
    late = {"webhook": (2, now - timedelta(minutes=2))}

    def seen(health, waiting):
        return {
            one.name: (one.word, one.sentence) for one in system.processes_of({"version": "1"} | health, waiting, now)
        }

    processes = seen({"readModels": models, "overdueSchedules": 3}, late)
    assert ("is late", "3 schedules are due for more than a minute.") == processes["scheduler"]
    assert ("stopped", "1 read model has stopped; the table below names them.") == processes["projector"]
    assert (
        "is late",
        "What waits longest was to be sent 2 min ago: a receiver fails, or nothing is sent.",
    ) == processes["delivery"]
    processes = seen({"readModels": models[1:], "overdueSchedules": 0}, {"webhook": (1, now)})
    assert ("is behind", "1 read model is behind the log.") == processes["projector"]
    assert "works" == processes["delivery"][0]
    assert ("works", "No schedule is due for more than a minute.") == processes["scheduler"]
    processes = seen({"readModels": [], "overdueSchedules": 0}, {})
    assert ("works", "All 0 read models are up to date.") == processes["projector"]
