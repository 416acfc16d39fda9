import httpx
import pytest

SCHEDULE = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "UTC"}
EVERYTHING = {
    "title": "Briefing for {{team}}",
    "description": "Write it.",
    "priority": "high",
    "concurrencyPolicy": "skip_if_active",
    "maxRunDurationSec": "3600",
    "retry": "yes",
    "retryPolicy.maxAttempts": "4",
    "retryPolicy.backoffFactor": "1.5",
    "alertBounds.overdueAfterSec": "86400",
    "maxCost": "2.50",
    "windowSec": "86400",
    "probe.url": "https://example.com/queue",
    "probe.path": "queue.size",
    "probe.equals": "3",
    "probe.ifUnanswered": "fire",
    "variables.0.name": "team",
    "variables.0.type": "select",
    "variables.0.options": "sales, support",
    "variables.0.defaultValue": "sales",
    "cronExpression": "30 7 * * 1",
    "timezone": "Europe/Amsterdam",
}


def test_a_routine_is_created_with_all_that_the_form_has(board, api, agent):
    page = board.send(board.show("/routines/new"), "/routines/new", **EVERYTHING, assigneeAgentId=agent)

    assert "The routine is created." in page.text
    routine = api.get(f"/routines/{page.response.url.path.rsplit('/', 1)[1]}")
    assert ("high", "skip_if_active", 3600) == tuple(
        routine[name] for name in ("priority", "concurrencyPolicy", "maxRunDurationSec")
    )
    assert (4, 1.5) == (routine["retryPolicy"]["maxAttempts"], routine["retryPolicy"]["backoffFactor"])
    assert {"maxCostMicros": 2_500_000, "windowSec": 86_400} == routine["budget"]
    wanted = {"path": "queue.size", "equals": 3}
    assert {"url": "https://example.com/queue", "status": None, "json": wanted, "ifUnanswered": "fire"} == routine[
        "probe"
    ]
    assert 86_400 == routine["alertBounds"]["overdueAfterSec"]
    assert ("team", ["sales", "support"]) == (routine["variables"][0]["name"], routine["variables"][0]["options"])
    assert ("30 7 * * 1", "Europe/Amsterdam") == tuple(
        routine["triggers"][0][name] for name in ("cronExpression", "timezone")
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"title": " "}, "This has to be filled in."),
        ({"cronExpression": "61 * * * *"}, "61"),
        ({"timezone": "Mars/Base"}, "There is no such zone"),
        ({"maxRunDurationSec": "soon"}, "This is no whole number."),
        ({"maxCost": "much"}, "This is no number."),
        ({"windowSec": ""}, "This has to be filled in."),
        ({"probe.url": "ftp://example.com"}, "http"),
        ({"probe.url": "http://queue.internal/"}, "public host"),
        ({"probe.path": ""}, "Say where in the answer this value is wanted."),
        ({"variables.0.name": "9"}, "Not saved."),
        ({"variables.0.type": "number"}, "This is no number."),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(board, api, company, wrong, sentence):
    page = board.send(board.show("/routines/new"), "/routines/new", **{**EVERYTHING, **wrong})

    assert (page.status // 100, [], True) == (4, api.get(f"/companies/{company}/routines"), sentence in page.text)
    assert 'aria-invalid="true"' in page.html
    fields = page.form("/routines/new")["fields"]
    assert {**EVERYTHING, **wrong} == {name: fields[name] for name in EVERYTHING}


def test_the_form_shows_what_the_schedule_would_do_before_anything_is_saved(board, api, company):
    page = board.send(board.show("/routines/new"), "/routines/new", check="1", cronExpression="0 9 * * 1-5", title="x")

    assert "At 09:00 on Monday to Friday, UTC time" in page.text
    assert "In the next 7 days it fires 5 times." in page.text
    assert [] == api.get(f"/companies/{company}/routines")


def test_a_preview_marks_clock_changes_and_says_what_is_wrong(board, company):
    fields = board.show("/routines/new").form("/routines/new")["fields"]
    path = f"/board/companies/{company}/schedule-preview"
    berlin = board.post(path, {**fields, "cronExpression": "30 2 * * *", "timezone": "Europe/Berlin"})
    assert "Clocks change" in berlin.text
    assert "must have exactly 5 fields, got 1" in board.post(path, {**fields, "cronExpression": "*"}).text
    assert "Write a cron expression" in board.post(path, {**fields, "cronExpression": ""}).text


@pytest.mark.parametrize("wanted", [None, 3, "3", "ready", True, 0.5])
def test_saving_without_a_change_makes_no_revision(board, api, company, agent, wanted):
    probe = {"url": "https://example.com/queue", "status": 204, "json": {"path": "a.0", "equals": wanted}}
    variables = [{"name": "a", "required": False, "label": "A"}]
    routine = api.routine(company, agent, description="One\nTwo", variables=variables, probe=probe)
    before = api.get(f"/routines/{routine}")

    page = board.send(board.show(f"/routines/{routine}/edit"), "/edit")

    assert "Nothing was changed." in page.text
    assert before["latestRevisionNumber"] == api.get(f"/routines/{routine}")["latestRevisionNumber"]


def test_a_conflict_shows_both_versions_and_saves_nothing_until_it_is_said_again(board, api, company, agent):
    routine = api.routine(company, agent, title="Briefing")
    mine = board.show(f"/routines/{routine}/edit")
    api.patch(f"/routines/{routine}", {"title": "Theirs"})

    page = board.send(mine, "/edit", title="Mine", description="Kept")

    assert 409 == page.status
    assert "title Mine Theirs" in page.text
    assert ("Mine", "Kept") == tuple(page.form("/edit")["fields"][name] for name in ("title", "description"))
    assert "Theirs" == api.get(f"/routines/{routine}")["title"]
    assert "The changes are saved." in board.send(page, "/edit").text
    assert "Mine" == api.get(f"/routines/{routine}")["title"]


def test_a_schedule_says_what_its_change_adds_and_takes_away(board, api, company, agent):
    routine = api.routine(company, agent, triggers=[SCHEDULE])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    page = board.show(f"/routines/{routine}/triggers/{trigger}")
    assert "In the next 7 days nothing changes." in page.text

    page = board.send(page, f"/triggers/{trigger}", check="1", cronExpression="0 10 * * *")
    assert "it adds 7 firings and takes away 7 firings" in page.text
    assert "0 9 * * *" == api.get(f"/routines/{routine}")["triggers"][0]["cronExpression"]

    page = board.send(page, f"/triggers/{trigger}", startsAt="2030-01-01 09:00", excludedDates="2030-12-25 2030-12-26")
    saved = api.get(f"/routines/{routine}")["triggers"][0]
    assert "The trigger is saved." in page.text
    assert ("0 10 * * *", "2030-01-01T09:00:00.000Z") == (saved["cronExpression"], saved["startsAt"])
    assert ["2030-12-25", "2030-12-26"] == saved["excludedDates"]


@pytest.mark.parametrize(
    ("field", "text"), [("runAt", "soon"), ("jitterSec", "-1"), ("excludedDates", "x"), ("cronExpression", "x")]
)
def test_a_wrong_field_of_a_schedule_is_named_and_kept(board, api, company, agent, field, text):  # noqa: PLR0917
    routine = api.routine(company, agent)
    page = board.send(board.show(f"/routines/{routine}/triggers/new"), "/triggers/new", **{field: text})
    assert page.status // 100 == 4
    assert 'aria-invalid="true"' in page.html
    assert text == page.form("/triggers/new")["fields"][field]


def test_a_webhook_shows_its_address_and_secret_once_with_a_command_that_works(board, api, company, agent):
    routine = api.routine(company, agent)
    page = board.send(board.show(f"/routines/{routine}/triggers/new?kind=webhook"), "/triggers/new")

    assert "it is shown once" in page.text
    secret = page.text.split(" Secret ")[1].split()[0]
    path = page.text.split("https://routines.example")[1].split()[0]
    assert f'"Authorization: Bearer {secret}"' in page.text
    answer = httpx.post(board.url + path, headers={"Authorization": f"Bearer {secret}"}, json={"hello": "world"})
    assert 202 == answer.status_code
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    for later in (f"/routines/{routine}", f"/routines/{routine}/triggers/{trigger}"):
        assert secret not in board.show(later).html


def test_a_secret_is_rotated_and_a_sample_judged_without_starting_work(board, api, company, agent):
    routine = api.routine(company, agent, triggers=[{"kind": "webhook"}])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    form = board.show(f"/routines/{routine}/triggers/{trigger}")

    judged = board.send(form, "/sample", headers="Authorization: Bearer wrong", body="{}")
    rotated = board.send(form, "/rotate", overlap="3600")

    assert "The answer would be 401" in judged.text
    assert [] == api.get(f"/routines/{routine}/runs")
    assert "Keep this now" in rotated.text


def test_a_chain_follows_another_routine_and_a_trigger_is_deleted(board, api, company, agent):
    first, second = (api.routine(company, agent, title=title) for title in ("First", "Second"))
    page = board.send(board.show(f"/routines/{second}/triggers/new?kind=chain"), "/triggers/new", afterRoutineId=first)
    assert "After another routine" in page.text
    trigger = api.get(f"/routines/{second}")["triggers"][0]

    page = board.send_surely(board.show(f"/routines/{second}/triggers/{trigger['id']}"), "/delete")

    assert "The trigger is deleted." in page.text
    assert [] == api.get(f"/routines/{second}")["triggers"]


def test_a_backfill_shows_what_it_would_run_before_it_begins(board, api, company, agent):
    routine = api.routine(company, agent, triggers=[{**SCHEDULE, "cronExpression": "0 * * * *"}])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    form = board.show(f"/routines/{routine}/triggers/{trigger}/backfills")

    page = board.send(form, "/backfills", **{"from": "2020-01-01 00:00", "to": "2020-01-01 05:00"})
    assert "Of 6 occurrences, 6 would run" in page.text
    assert [] == api.get(f"/routine-triggers/{trigger}/backfills")
    begun = board.send(page, "/backfills", confirmed="1")
    assert "The backfill has begun." in begun.text
    assert "The backfill is cancelled" in board.send_surely(begun, "/cancel").text
    assert 422 == board.send(form, "/backfills", **{"from": "soon"}).status
