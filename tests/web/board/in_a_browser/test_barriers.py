"""Each page is looked at by axe-core in both schemes and at the width of a phone."""

import pytest

from tests.web.board.in_a_browser.looking import ALL_RULES, AXE, NEEDS_CHROMIUM_AND_AXE, PHONE, UNBROKEN, find_faults

RULES_OF_COLOUR_AND_SIZE = {
    "type": "rule",
    "values": ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"],
}
PARTS = 3  # of the pages, which take a while on a busy machine

pytestmark = NEEDS_CHROMIUM_AND_AXE


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


def test_the_doors_have_no_barrier_either(page):
    page.context.clear_cookies()
    page.emulate_media(color_scheme="dark")
    for path in ("/board/sign-in", "/board/sign-in/x", "/board/nowhere"):
        page.goto(path)
        page.evaluate(AXE.read_text())
        assert [] == find_faults(page, ALL_RULES), path
