"""Pages that change by themselves keep what their reader does, and say when they can change no more."""

import re

import pytest

from tests.web.board.conftest import Board
from tests.web.board.in_a_browser.looking import NEEDS_CHROMIUM_AND_AXE, PHONE, find_faults_in_both_schemes

pytestmark = NEEDS_CHROMIUM_AND_AXE


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
    # Those of one millisecond stand in any order: what changes is above what is looked at, so that the rows between them stay.
    shown = tab.locator("tbody tr").evaluate_all("rows => rows.map((row) => row.id.replace('row-', ''))")
    changed, looked_at = shown[22], shown[26]
    title = f"Report {routines.index(changed):02}"
    tab.get_by_label(f"Choose {title}").check()
    place = f"document.getElementById('row-{looked_at}').getBoundingClientRect().top"
    tab.locator(f"#row-{looked_at}").scroll_into_view_if_needed()
    before = tab.evaluate(place)
    api.patch(f"/routines/{changed}", {"title": f"{title}, changed"})
    tab.get_by_label(f"Choose {title}, changed").wait_for()
    assert [f"Choose {title}, changed"] == [
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


def cookies_of(api, company, token):
    """The cookies of somebody who has signed in with a browser without a screen."""
    client, url = Board(api, company, token).client, api.url.replace("http:", "https:")
    client.close()
    return [{"name": one.name, "value": one.value, "url": url, "secure": True} for one in client.cookies.jar]
