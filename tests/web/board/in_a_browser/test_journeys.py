"""What people do on the board from its beginning to its end: with scripts, by keyboard alone, on a phone, and without scripts."""

import re
from uuid import UUID

import pytest

from domain.events import DeliveryDead
from tests.web import people
from tests.web.board.in_a_browser.looking import (
    ALL_RULES,
    NEEDS_CHROMIUM_AND_AXE,
    PHONE,
    find_faults,
    find_faults_in_both_schemes,
    open_window,
)

pytestmark = NEEDS_CHROMIUM_AND_AXE


@pytest.mark.usefixtures("nothing_overdue")
def test_from_an_empty_board_to_the_first_run(api, tab):
    company = api.company("Beginners")
    tab.goto(f"/board/companies/{company}/people")
    tab.locator("#agent").fill("Scout")
    tab.get_by_role("button", name="Add the agent").click()
    tab.get_by_role("cell", name="Scout").wait_for()
    tab.goto(f"/board/companies/{company}")
    tab.get_by_role("link", name="Create the first one").click()
    tab.get_by_label("Title").fill("Water the plants")
    tab.get_by_label("Agent", exact=True).select_option(label="Scout")
    tab.get_by_role("button", name="Every 15 minutes").click()
    tab.get_by_text("In the next 7 days it fires 672 times.").wait_for()
    tab.get_by_role("button", name="Create the routine").click()
    tab.get_by_text("The routine is created.").wait_for()
    tab.get_by_role("button", name="Run now").click()
    tab.get_by_role("heading", name="Run of Water the plants").wait_for()
    assert tab.get_by_text("under way").first.is_visible()


def test_the_list_narrows_as_one_types_and_the_address_and_the_focus_stay_right(tab, company):
    tab.goto(f"/board/companies/{company}/routines")
    field = tab.get_by_label("Text in the title or description")
    field.press_sequentially("aud", delay=20)
    tab.locator("#list", has_not_text="A routine with a title").wait_for()
    tab.wait_for_url(re.compile("q=aud"))
    assert tab.evaluate("document.activeElement.id") == "q"
    assert tab.get_by_role("link", name="Audit", exact=True).is_visible()
    tab.reload()
    assert field.input_value() == "aud"


def test_a_schedule_says_what_it_means_while_one_types(tab, api, company):
    audit = api.get(f"/companies/{company}/routines?q=audit")[0]["id"]
    tab.goto(f"/board/companies/{company}/routines/{audit}/triggers/new")
    tab.get_by_label("Cron expression").fill("30 2 * * *")
    tab.get_by_label("Time zone").fill("Europe/Berlin")
    tab.get_by_text("At 02:30 every day").wait_for()
    tab.get_by_text("Clocks change").first.wait_for()
    tab.get_by_label("Cron expression").fill("99 * * * *")
    tab.locator("#preview .error").wait_for()


def test_why_it_did_not_run_is_answered_on_the_page(tab, api, company):
    audit = api.get(f"/companies/{company}/routines?q=audit")[0]["id"]
    tab.goto(f"/board/companies/{company}/routines/{audit}")
    tab.get_by_label("At", exact=True).fill("2026-01-01 09:00")
    tab.get_by_role("button", name="Explain").click()
    tab.locator("#answer .note").first.wait_for()


def test_many_are_chosen_at_once_and_paused_with_a_note(tab, api):
    company = api.company("Many")
    agent, _ = api.agent(company)
    ids = [api.routine(company, agent, title=f"Report {number}") for number in range(3)]
    tab.goto(f"/board/companies/{company}/routines")
    tab.get_by_label("Choose all on this page").check()
    tab.get_by_role("button", name="Pause…").click()
    tab.get_by_label("Note: why, for whoever wonders").fill("Holidays")
    tab.get_by_role("button", name="Pause them").click()
    tab.get_by_text("3 routines were paused.").wait_for()
    assert {"Holidays"} == {api.get(f"/routines/{id_}")["pauseNote"] for id_ in ids}


def test_an_edit_in_conflict_with_another_shows_both_and_is_saved_when_it_is_said_again(tab, api, errors):
    company = api.company("Two at once")
    agent, _ = api.agent(company)
    routine = api.routine(company, agent, title="Briefing")
    tab.goto(f"/board/companies/{company}/routines/{routine}/edit")
    tab.get_by_label("Title").fill("Mine")
    api.patch(f"/routines/{routine}", {"title": "Theirs"})
    tab.get_by_role("button", name="Save", exact=True).last.click()
    tab.get_by_text("Somebody else has changed it since you opened this page.").wait_for()
    assert "409" in errors.pop()
    assert tab.get_by_text("Theirs").first.is_visible()
    assert tab.get_by_label("Title").input_value() == "Mine"
    tab.get_by_role("button", name="Save", exact=True).last.click()
    tab.get_by_role("heading", name="Mine").wait_for()

    tab.get_by_role("link", name="All revisions").click()
    tab.get_by_role("button", name="Restore: revision 1").click()
    tab.get_by_text("The revision is restored, as a new one.").wait_for()
    tab.get_by_role("heading", name="Briefing").wait_for()


def test_a_webhook_is_set_up_and_tried_without_starting_work(tab, api):
    company = api.company("Hooked")
    agent, _ = api.agent(company)
    routine = api.routine(company, agent, title="On push")
    tab.goto(f"/board/companies/{company}/routines/{routine}")
    tab.get_by_role("link", name="Add a trigger").click()
    tab.get_by_role("link", name="Webhook").click()
    tab.get_by_role("button", name="Add the trigger").click()
    tab.get_by_text("Keep this now: it is shown once.").wait_for()
    secret = tab.locator("#secret1").text_content()
    tab.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('refused')) }")
    tab.get_by_role("button", name="Copy the secret").click()
    tab.get_by_role("button", name="Selected: press Ctrl+C").wait_for()
    assert secret == tab.evaluate("() => getSelection().toString()")
    tab.evaluate("() => { delete navigator.clipboard.writeText }")
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])  # one without windows asks nobody for them
    tab.get_by_role("button", name="Selected: press Ctrl+C").click()
    tab.wait_for_function("async (secret) => secret === await navigator.clipboard.readText()", arg=secret)
    tab.get_by_role("link", name="I have it: to the routine").click()
    tab.get_by_role("link", name="Edit: When its webhook is called").click()
    tab.get_by_label("Headers, one a line").fill(f"Content-Type: application/json\nAuthorization: Bearer {secret}")
    tab.get_by_role("button", name="Say what would become of it").click()
    tab.get_by_text("It would be taken (202)").wait_for()
    assert secret not in tab.locator("#sample").inner_html().replace(f"Bearer {secret}", "")
    assert [] == api.get(f"/routines/{routine}/runs")


def test_a_delivery_that_was_given_up_is_sent_once_more(tab, api):
    company = api.company("Told")
    path = f"/companies/{company}/webhook-endpoints"
    endpoint = api.post(path, {"url": "https://hooks.example.org/in", "events": ["run.failed"]})["id"]
    delivery = api.post(f"{path}/{endpoint}/test")["id"]
    people.operate(api, lambda work: give_up(work, UUID(delivery)))
    tab.goto(f"/board/companies/{company}/deliveries?status=dead")
    tab.get_by_text("The receiver answered 410").first.wait_for()
    tab.get_by_role("button", name="Redeliver").click()
    tab.get_by_text("The delivery will be sent once more.").wait_for()
    assert "waiting" == api.get(f"/companies/{company}/deliveries")[0]["status"]


def give_up(work, delivery_id):
    work.record(delivery_id, [DeliveryDead(attempt=1, reason="The receiver answered 410", status=410)])


def test_a_backfill_is_looked_at_begun_and_cancelled(tab, api):
    company = api.company("Behind")
    agent, _ = api.agent(company)
    schedule = {"kind": "schedule", "cronExpression": "0 * * * *", "timezone": "UTC"}
    routine = api.routine(company, agent, title="Audit", triggers=[schedule])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    tab.goto(f"/board/companies/{company}/routines/{routine}/triggers/{trigger}/backfills")
    tab.get_by_label("From (UTC)").fill("2024-11-20 07:30")
    tab.get_by_label("To (UTC)").fill("2024-11-20 10:30")
    tab.get_by_role("button", name="Show what it would run").click()
    tab.get_by_text("Of 3 occurrences, 3 would run").wait_for()
    tab.get_by_role("button", name="Run them").click()
    tab.get_by_text("The backfill has begun").wait_for()
    tab.get_by_role("button", name="Cancel: the backfill").click()
    tab.get_by_role("button", name="Cancel the backfill").click()
    tab.get_by_text("The backfill is cancelled").wait_for()
    tab.get_by_text("0 of 3").wait_for()


def test_a_key_is_made_shown_once_and_revoked(tab, company):
    tab.goto(f"/board/companies/{company}/people")
    tab.get_by_label("What is it for?").fill("laptop")
    tab.get_by_role("button", name="Make").last.click()
    tab.get_by_text("Keep this now: it is shown once.").wait_for()
    assert tab.locator("#token").text_content().startswith("pcp_board_")
    tab.get_by_role("link", name="I have it: to people and keys").click()
    tab.get_by_role("button", name="Revoke: laptop").click()
    tab.get_by_role("button", name="Revoke it").click()
    tab.get_by_text("The key is revoked.").wait_for()
    assert "pcp_board_" not in tab.content()


def test_a_phone_leads_from_the_home_to_a_run(api, chromium, session, company):
    phone = open_window(api, chromium, viewport={"width": PHONE, "height": 740}, has_touch=True, is_mobile=True)
    phone.add_cookies(session)
    page = phone.new_page()
    page.goto(f"/board/companies/{company}")
    page.get_by_role("button", name="Go to").tap()
    page.get_by_role("combobox").fill("audit")
    page.get_by_role("option", name="Audit").first.tap()
    page.get_by_role("heading", name="Audit").wait_for()
    page.get_by_role("button", name="Run now").tap()
    page.get_by_role("heading", name="Run of Audit").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    phone.close()


def test_everything_on_the_way_to_a_run_can_be_done_by_keyboard_alone(tab, api, company):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "To the content"
    tab.keyboard.press("Control+k")
    tab.keyboard.type("routines")
    tab.keyboard.press("Enter")
    tab.wait_for_url(re.compile("/routines$"))
    link = tab.get_by_role("link", name="Audit", exact=True)
    for _ in range(40):
        if link.evaluate("element => element === document.activeElement"):
            break
        tab.keyboard.press("Tab")
    assert "none" != link.evaluate("element => getComputedStyle(element).outlineStyle")
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name="Audit").wait_for()
    tab.get_by_role("button", name="Run now").focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name="Run of Audit").wait_for()
    tab.locator("summary").first.focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Sign out", exact=True).wait_for()
    tab.keyboard.press("Escape")
    assert not tab.get_by_role("button", name="Sign out", exact=True).is_visible()


def test_a_task_recurs_and_its_call_is_read_step_by_step(api, tab):
    company = api.company("Clients of tasks")
    tab.goto(f"/board/companies/{company}")
    tab.get_by_role("link", name="Tasks").click()
    tab.get_by_role("link", name="Create the first one").click()
    tab.get_by_label("Name").fill("greet")
    tab.get_by_role("button", name="Create the task").click()
    tab.get_by_role("link", name="Let it recur").click()
    tab.get_by_label("Name").fill("good-morning")
    tab.get_by_label("It runs").select_option(value="weekdays")
    tab.get_by_role("button", name="Create the routine").click()
    tab.get_by_text("At 09:00 on Monday to Friday, UTC time").wait_for()
    tab.get_by_role("button", name="Run now").click()
    tab.get_by_role("heading", name="Steps: 1 of 1 completed").wait_for()
    assert "hello" in tab.get_by_label("say gave").inner_text()
    tab.get_by_role("link", name="Its run, with the routine").click()
    tab.get_by_role("heading", name="Run of good-morning").wait_for()


def test_a_variable_of_the_company_is_bound_by_a_routine_and_columns_are_chosen(api, tab):
    company = api.company("Bound")
    routine = api.routine(company, api.agent(company)[0], title="Report")
    tab.goto(f"/board/companies/{company}/variables")
    tab.get_by_label("Name").fill("API_TOKEN")
    tab.get_by_label("Value", exact=True).fill("hunter2")
    tab.get_by_role("button", name="Set it").click()
    tab.get_by_text("The variables are changed.").wait_for()
    tab.goto(f"/board/companies/{company}/routines/{routine}/edit")
    tab.get_by_text("Probe, variables, environment").click()
    row = tab.get_by_role("group", name="Environment variable 1")
    row.get_by_label("Name").fill("TOKEN")
    row.get_by_label("It holds").select_option(value="secret_ref")
    row.get_by_label("Or the variable").select_option(value="API_TOKEN")
    tab.get_by_role("button", name="Save", exact=True).click()
    tab.get_by_text("The changes are saved.").wait_for()
    assert {"type": "secret_ref", "value": None, "name": "API_TOKEN"}.items() >= api.get(f"/routines/{routine}")["env"][
        "TOKEN"
    ].items()
    tab.goto(f"/board/companies/{company}/routines")
    tab.get_by_text("Columns", exact=True).first.click()
    tab.get_by_role("checkbox", name="Priority").check()
    tab.get_by_role("columnheader", name="Priority").wait_for()
    tab.wait_for_url(re.compile("column=priority"))


def test_the_palette_goes_anywhere_by_keyboard_and_gives_the_focus_back(tab, api, company):
    run = api.get(f"/companies/{company}/runs?status=failed")[0]["id"]
    tab.get_by_role("link", name="New routine").focus()
    tab.keyboard.press("Control+k")
    field = tab.get_by_role("combobox", name="Go to")
    tab.get_by_role("option", name="Home").wait_for()
    tab.keyboard.press("ArrowUp")  # to the last one
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    assert "Routines" in tab.locator("[aria-selected=true]").text_content()
    assert field.get_attribute("aria-activedescendant") == tab.locator("[aria-selected=true]").get_attribute("id")
    tab.keyboard.press("Escape")
    assert not field.is_visible()
    assert tab.evaluate("document.activeElement.textContent") == "New routine"

    tab.keyboard.press("Meta+k")
    tab.keyboard.type("audit")
    tab.locator("#found[data-text=audit]").wait_for()
    assert ["Routines", "Runs", "Issues"] == [
        group.get_attribute("aria-label") for group in tab.locator("#found [role=group]").all()
    ]
    assert [] == find_faults_in_both_schemes(tab)
    field.fill("nothing of the kind")
    tab.get_by_text("Nothing has this in its name.").wait_for()
    assert [] == find_faults(tab, ALL_RULES)

    field.fill(run)
    tab.keyboard.press("Enter")  # before the options are there
    tab.wait_for_url(re.compile(f"/runs/{run}"))


def test_what_would_have_been_is_asked_on_a_routines_page_and_stands_beside_what_was(tab, api, company):
    routine = api.get(f"/companies/{company}/routines?q=audit")[0]["id"]
    tab.goto(f"/board/companies/{company}/routines/{routine}")
    tab.get_by_role("link", name="What if…").click()
    tab.get_by_label("While its last run is still open").select_option("always_enqueue")
    tab.get_by_role("button", name="Replay it").click()
    tab.get_by_role("row", name=re.compile(r"ran [0-9]+ [0-9]+ \+[0-9]+")).wait_for()
    assert "≠ changed" in tab.get_by_role("row", name="coalesced").last.text_content()
    assert tab.get_by_label("While its last run is still open").input_value() == "always_enqueue"
    assert [] == find_faults_in_both_schemes(tab)
    tab.set_viewport_size({"width": PHONE, "height": 900})
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_without_scripts_everything_can_be_read(api, chromium, company):
    window = open_window(api, chromium, java_script_enabled=False)
    page = window.new_page()
    page.goto("/board/sign-in")
    page.get_by_label("Board token").fill(api.token)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"/board/companies/{company}")
    page.get_by_role("link", name="Show how many runs are planned in each hour").click()
    page.get_by_text("The busiest hour is").wait_for()
    page.goto(f"/board/companies/{company}/routines?q=audit")
    page.get_by_role("link", name="Audit", exact=True).click()
    page.get_by_role("heading", name="Why did it (not) run?").wait_for()
    window.close()
