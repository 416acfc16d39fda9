"""What somebody types in Chromium is not lost when their session ends, by keyboard alone; and a question has no barrier."""

import re
from pathlib import Path

import pytest

from tests.web.board.conftest import Board

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make install-dev")

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).parents[3] / "development/clients/node_modules/axe-core/axe.min.js"
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's Chromium: make install-browser"),
    pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: make install-clients"),
]


def find_barriers(page):
    page.evaluate(AXE.read_text())
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        result = page.evaluate("rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES)
        found += [(scheme, fault["id"]) for fault in result["violations"]]
    return found


def test_a_comment_outlives_its_session_and_a_question_is_left_by_keyboard(board: Board, api, company, agent):
    issue = api.post(f"/routines/{api.routine(company, agent)}/run", {})["linkedIssueId"]
    api.post(f"/companies/{company}/projects", {"name": "Launch"})
    session = {cookie.name: cookie.value for cookie in board.client.cookies.jar}
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(base_url=api.url, viewport={"width": 360, "height": 740})
        context.set_default_timeout(10_000)
        context.add_cookies(
            [
                {"name": name, "value": value, "url": api.url.replace("http:", "https:"), "secure": True}
                for name, value in session.items()
            ]
        )
        page = context.new_page()
        page.goto(f"/board/companies/{company}/issues/{issue}")
        page.get_by_text("It renews itself.").wait_for()
        page.get_by_label("Comment").fill("Half of it\nis done.")

        context.clear_cookies()
        api.post(f"/issues/{issue}/comments", {"body": "The page is told of this."})

        page.get_by_text("Your session has ended. Send what you typed").wait_for()
        assert "Half of it\nis done." == page.get_by_label("Comment").input_value()
        page.get_by_role("button", name="Add the comment").press("Enter")
        page.get_by_label("Board token").wait_for()
        barriers = find_barriers(page)
        page.keyboard.type(api.token)
        page.keyboard.press("Enter")
        page.get_by_text("You are signed in.").wait_for()
        barriers += find_barriers(page)
        page.keyboard.press("Enter")
        page.get_by_text("Nothing is saved yet").wait_for()
        assert "Half of it\nis done." == page.get_by_label("Comment").input_value()
        barriers += find_barriers(page)
        page.get_by_role("button", name="Add the comment").press("Enter")
        page.get_by_text("The comment is added.").wait_for()

        page.goto(f"/board/companies/{company}/structure")
        page.get_by_role("link", name="Edit: Launch").press("Enter")
        page.get_by_role("button", name="Delete the project").press("Enter")
        page.get_by_role("heading", name="Delete the project “Launch”?").wait_for()
        barriers += find_barriers(page)
        page.get_by_role("link", name="Change nothing").press("Enter")
        page.wait_for_url(re.compile("/structure/projects/"))
        browser.close()
    assert [] == barriers
    assert ["Launch"] == [project["name"] for project in api.get(f"/companies/{company}/projects")]
