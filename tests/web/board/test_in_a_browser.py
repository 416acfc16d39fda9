"""
The board in Debian's Chromium: what needs scripts, keyboard, colours and width. `make install-browser install-clients`.

Each page is looked at by axe-core in both schemes and at the width of a phone; a script or style that the policy of the pages
refuses is an error in the console, and fails the test that caused it.
"""

import re
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from development.browser import find_chromium
from domain.events import DeliveryDead
from tests.web import people
from tests.web.board.conftest import Board

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make install-dev")

CHROMIUM = find_chromium()
AXE = Path(__file__).parents[3] / "development/clients/node_modules/axe-core/axe.min.js"
# A page is open for half a second: optimising its scripts, or a process for each tab, takes more than it gives.
LEAN = [
    "--no-sandbox",
    "--js-flags=--no-opt,--no-maglev",
    "--process-per-site",
    "--renderer-process-limit=1",
    "--disable-gpu",
    "--disable-software-rasterizer",
]
ALL_RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
RULES_OF_COLOUR_AND_SIZE = {
    "type": "rule",
    "values": ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"],
}
PHONE = 360
PARTS = 3  # of the pages, which take a while on a busy machine
UNBROKEN = "W" * 200  # a word that is wider than any screen
LONG = "A routine with a title that is long enough to be wrapped on each and every screen, also on those that are wide"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium: make install-browser"),
    pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: make install-clients"),
]


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=LEAN)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def company(api):
    """A company in which everything has happened once."""
    company = api.company("Acme")
    agent, _ = api.agent(company)
    other, _ = api.agent(company, "Ledger")
    api.routine(company, other, title=LONG, status="paused", pauseNote="Waiting " * 20)
    api.routine(company, other, title=UNBROKEN)
    api.routine(company, other, title="Rest", status="paused")  # a link that is shorter than what stands beside it
    schedule = {"kind": "schedule", "cronExpression": "*/30 * * * *", "timezone": "Europe/Amsterdam", "label": "often"}
    triggers = [schedule, {"kind": "webhook"}]
    audit = api.routine(
        company,
        agent,
        title="Audit",
        description="Look at {{what}}.",
        triggers=triggers,
        variables=[{"name": "what", "defaultValue": "all"}],
    )
    for status in ("done", "cancelled", None, None):
        run = api.post(f"/routines/{audit}/run", {"payload": {"number": 17}})
        if status:
            reason = {"failureReason": "exit status 3: lockfile is stale"} if status == "cancelled" else {}
            api.patch(f"/issues/{run['linkedIssueId']}", {"status": status, **reason})
    api.post(f"/issues/{run['linkedIssueId']}/comments", {"body": "Half of it is done."})
    api.post(f"/companies/{company}/webhook-endpoints", {"url": "https://hooks.example.org/in", "events": ["run.*"]})
    api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "viewer"})
    task = {"init_params": {"size": 10}, "steps": ["query"], "step_configs": {"query": {"activity": "sql"}}}
    api.post(f"/v1/tasks/{company}", {"name": "count", "description": LONG, "workflow": task})
    api.post(f"/v1/tasks/{company}", {"name": UNBROKEN[:100], "description": UNBROKEN, "workflow": task})
    daily = {"name": "daily", "cadence": {"type": "daily", "hour_utc": 9}, "init_params_overrides": {"size": 3}}
    api.post(f"/v1/routines/{company}/count", daily | {"webhook_url": f"https://hooks.example.org/{'x' * 80}"})
    api.post(f"/v1/routines/{company}/count/daily/run-now")
    claimed = api.post(f"/v1/workers/{company}/claim", {"worker": "w1"})
    work = f"/v1/workers/{company}/{claimed['trajectory']['trajectory_id']}/{claimed['claim_id']}"
    api.post(f"{work}/steps", {"step": "query", "inputs": {"sql": f"SELECT {'x' * 200}"}, "outputs": {"rows": [1, 2]}})
    api.post(f"{work}/log", {"part": 0, "output": [{"stream": "stderr", "text": "warning: " + "x" * 200}]})
    api.patch(
        f"/v1/collections/{company}/environment", {"environment_variables": {"API_TOKEN": "x", UNBROKEN[:60]: "x"}}
    )
    goal = api.post(f"/companies/{company}/goals", {"title": LONG})["id"]
    api.post(f"/companies/{company}/projects", {"name": UNBROKEN[:100], "description": LONG, "goalId": goal})
    api.post(f"/companies/{company}/folders", {"name": "Nightly"})
    api.patch(f"/routines/{audit}", {"env": {"TOKEN": {"type": "secret_ref", "name": "API_TOKEN"}}})
    return company


@pytest.fixture
def errors():
    return []


@pytest.fixture(scope="module")
def window(api, chromium):
    """A window in which somebody has signed in, by a link, for all tests that need none of their own: each has a process."""
    window = open_window(api, chromium)
    link = httpx.post(f"{api.url}/board/sign-in-links", headers={"Authorization": f"Bearer {api.token}"}).text
    page = window.new_page()
    page.goto(link.removeprefix("https://routines.example"))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/board/companies/|/$"))
    page.goto("/api/health")  # a page that does nothing: the process ends with the last one
    yield window
    window.close()


def open_window(api, chromium, **options):
    window = chromium.new_context(base_url=api.url, **options)
    window.set_default_timeout(10_000)
    return window


@pytest.fixture(scope="module")
def session(window):
    """The cookies of whoever has signed in."""
    return window.cookies()


@pytest.fixture
def page(window, session, errors):
    """A page of the window, with nothing yet, of somebody who is signed in."""
    window.clear_cookies()
    window.add_cookies(session)
    page = watch_errors(window.new_page(), errors)
    yield page
    page.close()


@pytest.fixture
def tab(page, company, errors):
    """A page at the home of the company, on which nothing may go wrong."""
    page.goto(f"/board/companies/{company}")
    yield page
    assert [] == errors


def watch_errors(page, errors):
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page


def paths(api, company):
    """Every page of the board, with something on it and with nothing."""
    audit = api.get(f"/companies/{company}/routines?q=audit")[0]
    trigger, webhook = (one["id"] for one in api.get(f"/routines/{audit['id']}")["triggers"])
    run = api.get(f"/companies/{company}/runs?status=failed")[0]
    live = api.get(f"/companies/{company}/runs?status=issue_created")[0]
    trajectory = api.get(f"/v1/db/trajectories/{company}/count")["trajectories"][0]["trajectory_id"]
    routine, agent = f"/routines/{audit['id']}", audit["assigneeAgentId"]
    empty = api.company("Nobody")
    of_company = [
        *(
            "",
            "/routines",
            "/routines?q=nothing",
            "/routines/new",
            "/runs",
            "/issues",
            "/deliveries",
            "/people",
            "/log",
            "/refusals",
            "/system",
            "/week",
            "/find?q=a",
            "/find?q=nothing",
        ),
        *(
            routine,
            f"{routine}?why=2026-11-29+09:00&zone=UTC",
            f"{routine}/revisions",
            f"{routine}/what-if",
            f"{routine}/past",
            f"{routine}/past?at={api.system.store.head()}",
            f"{routine}/edit",
            f"{routine}/pause",
            f"{routine}/run",
        ),
        *(f"{routine}/triggers/new", f"{routine}/triggers/new?kind=webhook", f"{routine}/triggers/new?kind=chain"),
        *(f"{routine}/triggers/{trigger}", f"{routine}/triggers/{webhook}", f"{routine}/triggers/{trigger}/backfills"),
        *("/routines?column=agent&column=project&column=folder&column=priority&column=triggers&column=changed",),
        *(
            "/variables",
            "/tasks",
            "/new-task",
            "/tasks/count",
            f"/tasks/{UNBROKEN[:100]}",
            "/tasks/count/run",
            "/tasks/count/new-routine",
        ),
        *("/tasks/count/routines/daily", "/tasks/count/routines/daily/edit", f"/tasks/count/trajectories/{trajectory}"),
        *("/structure", "/structure/projects/new", f"/structure/company/{company}", f"/structure/agents/{agent}"),
        *(f"/runs/{run['id']}", f"/runs/{live['id']}", f"/issues/{live['linkedIssueId']}"),
    ]
    addresses = [f"/board/companies/{company}{path}" for path in of_company]
    addresses += [
        f"/board/companies/{empty}{path}" for path in ("", "/routines", "/runs", "/tasks", "/system", "/structure")
    ]
    return [*addresses, "/board/settings"]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_page_has_a_barrier_in_either_scheme_and_none_is_wider_than_a_phone(api, page, company, errors, part):
    page.add_init_script(path=AXE)
    faults = []
    for path in paths(api, company)[part::PARTS]:
        look_at(page, "light", 1280)
        page.goto(path)
        faults += [(path, "light", *fault) for fault in [*find_faults(page, ALL_RULES), *find_excess_width(page)]]
        look_at(page, "dark", PHONE)
        faults += [
            (path, "dark", *fault) for fault in [*find_faults(page, RULES_OF_COLOUR_AND_SIZE), *find_excess_width(page)]
        ]
    assert ([], []) == (faults, errors)


def look_at(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})


def find_excess_width(page):
    width = page.evaluate("document.documentElement.scrollWidth")
    return [("wider than the window", width)] if width > page.viewport_size["width"] else []


def find_faults(page, rules):
    result = page.evaluate("rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", rules)
    return [(fault["id"], [node["html"][:160] for node in fault["nodes"][:3]]) for fault in result["violations"]]


def find_faults_in_both_schemes(page):
    page.evaluate(AXE.read_text())
    faults = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        faults += [(scheme, *fault) for fault in find_faults(page, ALL_RULES)]
    return faults


def test_the_doors_have_no_barrier_either(page):
    page.context.clear_cookies()
    page.emulate_media(color_scheme="dark")
    for path in ("/board/sign-in", "/board/sign-in/x", "/board/nowhere"):
        page.goto(path)
        page.evaluate(AXE.read_text())
        assert [] == find_faults(page, ALL_RULES), path


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


def test_a_page_that_changes_by_itself_keeps_what_is_typed_opened_chosen_and_scrolled_to(tab, api):
    company = api.company("Busy")
    agent, _ = api.agent(company)
    routines = [api.routine(company, agent, title=f"Report {number:02}") for number in range(30)]
    run = api.post(f"/routines/{routines[0]}/run", {})
    issue = f"/issues/{run['linkedIssueId']}"
    tab.goto(f"/board/companies/{company}{issue}")
    tab.get_by_text("It renews itself.").wait_for()
    tab.get_by_label("Comment").fill("I am about to say")
    tab.get_by_label("Why it failed").fill("that")
    api.post(f"{issue}/comments", {"body": "Somebody was quicker."})
    tab.get_by_text("Somebody was quicker.").wait_for()
    assert ["I am about to say", "that"] == [
        tab.get_by_label(name).input_value() for name in ("Comment", "Why it failed")
    ]
    assert tab.evaluate("document.activeElement.name") == "failureReason"

    tab.goto(f"/board/companies/{company}/log")
    tab.get_by_text("It renews itself.").wait_for()
    row = tab.locator(f"#row-{api.system.store.head()}")
    row.locator("summary").click()
    api.post(f"/companies/{company}/goals", {"title": "Grow"})
    tab.locator(f"#row-{api.system.store.head()}").wait_for()
    assert row.locator("pre").is_visible()

    tab.goto(f"/board/companies/{company}/routines?sort=changed")
    tab.get_by_text("It renews itself.").wait_for()
    tab.get_by_label("Choose Report 07").check()
    place = f"document.getElementById('row-{routines[3]}').getBoundingClientRect().top"
    tab.locator(f"#row-{routines[3]}").scroll_into_view_if_needed()
    before = tab.evaluate(place)
    api.patch(f"/routines/{routines[7]}", {"title": "Report 07, changed"})
    tab.get_by_label("Choose Report 07, changed").wait_for()
    assert ["Choose Report 07, changed"] == [
        box.get_attribute("aria-label") for box in tab.locator("tbody input:checked").all()
    ]
    assert pytest.approx(before, abs=1) == tab.evaluate(place)
    assert tab.evaluate("scrollY") > 0


def test_a_page_that_its_reader_may_not_see_any_more_asks_no_further(api, page):
    company = api.company("Left")
    member = api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "viewer"})
    page.context.clear_cookies()
    page.context.add_cookies(cookies_of(api, company, member["token"]))
    page.goto(f"/board/companies/{company}/runs")
    page.get_by_text("It renews itself.").wait_for()
    api.request("DELETE", f"/companies/{company}/members/{member['userId']}")
    page.get_by_text("It cannot be renewed any more.").wait_for()
    questions = []
    page.on("request", lambda request: questions.append(request.url))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # when it would connect again
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 0))")
    assert [] == questions


def cookies_of(api, company, token):
    """The cookies of somebody who has signed in with a browser without a screen."""
    client, url = Board(api, company, token).client, api.url.replace("http:", "https:")
    client.close()
    return [{"name": one.name, "value": one.value, "url": url, "secure": True} for one in client.cookies.jar]


def test_a_trajectory_changes_by_itself_and_keeps_what_is_typed(tab, api):
    company = api.company("Steps")
    workflow = {"steps": ["query"], "step_configs": {"query": {"activity": "sql"}}}
    api.post(f"/v1/tasks/{company}", {"name": "count", "workflow": workflow})
    api.post(f"/v1/run/{company}/count", {})
    claimed = api.post(f"/v1/workers/{company}/claim", {"worker": "w1"})
    number = claimed["trajectory"]["trajectory_id"]
    tab.goto(f"/board/companies/{company}/tasks/count/trajectories/{number}")
    tab.get_by_text("It renews itself.").wait_for()
    tab.get_by_label("Set it to").select_option("cancelled")
    tab.get_by_label("Label").fill("I am about to say")
    api.post(f"/v1/workers/{company}/{number}/{claimed['claim_id']}/steps", {"step": "query", "outputs": {"rows": 3}})
    tab.get_by_role("heading", name="Steps: 1 of 1 completed").wait_for()
    assert ["cancelled", "I am about to say"] == [
        tab.get_by_label(name).input_value() for name in ("Set it to", "Label")
    ]
    assert tab.evaluate("document.activeElement.name") == "key"
    api.post(f"/v1/trajectory/{company}/count/statuses", {str(number): "completed"})
    tab.locator("#output:not([hx-get])").wait_for()


def test_an_old_secret_counts_down_to_its_end(tab, api, company):
    routine = api.get(f"/companies/{company}/routines?q=audit")[0]["id"]
    webhook = next(one["id"] for one in api.get(f"/routines/{routine}")["triggers"] if one["kind"] == "webhook")
    tab.goto(f"/board/companies/{company}/routines/{routine}/triggers/{webhook}")
    tab.get_by_label("The present secret is good for").select_option("24 hours more")
    tab.get_by_role("button", name="Make a new secret and show it once").click()
    tab.get_by_text("The secret before it is accepted until tomorrow").wait_for()
    tab.goto(f"/board/companies/{company}/routines/{routine}/triggers/{webhook}")
    left = tab.locator(".left")
    before = left.text_content()
    assert re.fullmatch(": 23 h 59 min [0-9]+ s more", before)
    tab.locator(".left", has_not_text=before).wait_for()
    left.evaluate("element => { element.dataset.until = '2020-01-01T00:00:00Z'; }")
    tab.get_by_text(", which is over.").wait_for()


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


def test_the_home_changes_by_itself_and_keeps_the_focus(tab, api, company):
    tab.get_by_role("link", name="Audit", exact=True).first.focus()
    tab.get_by_text("It renews itself.").wait_for()
    api.routine(
        company,
        api.get(f"/companies/{company}/agents")[0]["id"],
        title="Brand new",
        triggers=[{"kind": "schedule", "cronExpression": "* * * * *"}],
    )
    tab.get_by_role("link", name="Brand new").first.wait_for()
    assert tab.evaluate("document.activeElement.textContent") == "Audit"


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


def test_a_page_whose_session_has_ended_asks_for_a_sign_in_and_one_that_cannot_be_renewed_stays(api, page, company):
    page.goto(f"/board/companies/{company}")
    page.get_by_text("It renews itself.").wait_for()
    page.route(f"**/companies/{company}", lambda route: route.fulfill(status=503, body="<p>Not now</p>"))
    with page.expect_response(lambda answer: answer.status == 503):
        api.post(f"/companies/{company}/goals", {"title": "Grow"})
    assert page.get_by_role("heading", name="Needs attention").is_visible()
    page.unroute(f"**/companies/{company}")

    page.context.clear_cookies()
    api.post(f"/companies/{company}/goals", {"title": "Grow more"})

    page.get_by_label("Board token").wait_for()


def test_a_comment_outlives_its_session_and_a_question_is_left_by_keyboard(api, page):
    company = api.company("Interrupted")
    agent, _ = api.agent(company)
    issue = api.post(f"/routines/{api.routine(company, agent)}/run", {})["linkedIssueId"]
    api.post(f"/companies/{company}/projects", {"name": "Launch"})
    page.set_viewport_size({"width": PHONE, "height": 740})
    page.goto(f"/board/companies/{company}/issues/{issue}")
    page.get_by_text("It renews itself.").wait_for()
    page.get_by_label("Comment").fill("Half of it\nis done.")

    page.context.clear_cookies()
    api.post(f"/issues/{issue}/comments", {"body": "The page is told of this."})

    page.get_by_text("Your session has ended. Send what you typed").wait_for()
    assert "Half of it\nis done." == page.get_by_label("Comment").input_value()
    page.get_by_role("button", name="Add the comment").press("Enter")
    page.get_by_label("Board token").wait_for()
    assert [] == find_faults_in_both_schemes(page)
    page.keyboard.type(api.token)
    page.keyboard.press("Enter")
    page.get_by_text("You are signed in.").wait_for()
    assert [] == find_faults_in_both_schemes(page)
    page.keyboard.press("Enter")
    page.get_by_text("Nothing is saved yet").wait_for()
    assert "Half of it\nis done." == page.get_by_label("Comment").input_value()
    assert [] == find_faults_in_both_schemes(page)
    page.get_by_role("button", name="Add the comment").press("Enter")
    page.get_by_text("The comment is added.").wait_for()

    page.goto(f"/board/companies/{company}/structure")
    page.get_by_role("link", name="Edit: Launch").press("Enter")
    page.get_by_role("button", name="Delete the project").press("Enter")
    page.get_by_role("heading", name="Delete the project “Launch”?").wait_for()
    assert [] == find_faults_in_both_schemes(page)
    page.get_by_role("link", name="Change nothing").press("Enter")
    page.wait_for_url(re.compile("/structure/projects/"))
    assert ["Launch"] == [project["name"] for project in api.get(f"/companies/{company}/projects")]
