"""A browser, somebody who has signed in there, and a company in which everything has happened once."""

import re

import httpx
import pytest

from tests.web.board.in_a_browser.looking import CHROMIUM, UNBROKEN, open_window, watch_errors

# A page is open for half a second: optimising its scripts, or a process for each tab, takes more than it gives.
LEAN = [
    "--no-sandbox",
    "--js-flags=--no-opt,--no-maglev",
    "--process-per-site",
    "--renderer-process-limit=1",
    "--disable-gpu",
    "--disable-software-rasterizer",
]
LONG = "A routine with a title that is long enough to be wrapped on each and every screen, also on those that are wide"


@pytest.fixture(scope="package")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make install-dev")
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


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
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
