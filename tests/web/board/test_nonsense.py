"""Whatever stands in an address or a form, the answer is a page that says what is wrong."""

from uuid import uuid4

import pytest

from projections.overview import ListPlace
from web.board import pages
from web.http.paging import cursor_of

NOTHING = "00000000-0000-4000-8000-000000000000"
NONSENSE = ("x/../y?z#é", "9" * 1_000, "0001-01-01T00:00:00+14:00", f"{NOTHING}/runs")
PARAMETERS = {
    "": ("done",),
    "/find": ("q",),
    "/routines": ("q", "status", "agent", "project", "folder", "sort", "column", "cursor"),
    "/palette": ("q",),
    "/live": ("routine", "trigger", "run", "issue", "after"),
    "/routines/{routine}": ("at", "why", "zone", "trigger"),
    "/routines/{routine}/revisions": ("cursor",),
    "/routines/{routine}/past": ("at",),
    "/routines/{routine}/what-if": (
        *("from", "to", "triggerId", "cronExpression", "timezone", "jitterSec"),
        *("concurrencyPolicy", "catchUpPolicy", "maxRunDurationSec"),
    ),
    "/routines/{routine}/pause": ("back",),
    "/routines/{routine}/triggers/new": ("kind",),
    "/runs": ("status", "source", "routine", "agent", "from", "to", "cursor"),
    "/runs/{run}": ("after",),
    "/issues": ("status", "agent", "q", "cursor"),
    "/issues/{issue}": ("cursor",),
    "/log": ("kind", "actor", "routine", "run", "issue", "trigger", "stream", "from", "to", "order", "cursor"),
    "/tasks": ("q", "cursor"),
    "/tasks/echo": ("cursor",),
    "/tasks/echo/trajectories/{number}": ("after", "cursor"),
    "/deliveries": ("status", "endpoint", "cursor"),
}
FIELDS = (
    *("title", "name", "email", "role", "note", "until", "status", "action", "body", "headers", "agent", "key", "url"),
    *("events", "kind", "label", "cronExpression", "timezone", "runAt", "startsAt", "endsAt", "excludedDates", "base"),
    *("jitterSec", "signingMode", "replayWindowSec", "afterRoutineId", "afterOutcome", "overlap", "routine", "trigger"),
    *("from", "to", "zone", "back", "payload", "maxCost", "windowSec", "maxRunDurationSec", "assigneeAgentId", "retry"),
    *("retryPolicy.backoffFactor", "alertBounds.missedInARow", "variables.0.name", "variables.0.defaultValue"),
    *("variable.number", "all", "q", "project", "failureReason", "workflow", "init_params", "secret_params", "type"),
    *(
        "hour_utc",
        "minute_utc",
        "day_of_week",
        "webhook_url",
        "webhook_secret",
        "init_params_overrides",
        "value",
        "sure",
    ),
    *("env.0.name", "env.0.type", "env.0.value", "env.0.variable", "env.0.kept", "parentIssueId"),
)
FILLINGS = (*NONSENSE, "1e308", str(10**30))


@pytest.fixture
def things_of_company(api, company, agent):
    schedule = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "Asia/Tokyo"}
    routine = api.routine(company, agent, variables=[{"name": "number", "type": "number", "defaultValue": 1}])
    triggers = [api.post(f"/routines/{routine}/triggers", one)["trigger"] for one in (schedule, {"kind": "webhook"})]
    run = api.post(f"/routines/{routine}/run", {})
    api.post(f"/v1/tasks/{company}", {"name": "echo", "workflow": {}})
    api.post(f"/v1/routines/{company}/echo", {"name": "daily", "cadence": {"type": "manual"}})
    return {
        "number": api.post(f"/v1/run/{company}/echo", {})["trajectory_id"],
        "routine": routine,
        "trigger": triggers[0]["id"],
        "webhook": triggers[1]["id"],
        "run": run["id"],
        "issue": run["linkedIssueId"],
        "agent": agent,
        "project": api.post(f"/companies/{company}/projects", {"name": "Launch"})["id"],
    }


def test_no_nonsense_in_an_address_is_a_failure_of_the_service(board, things_of_company):
    failed = []
    for path, names in PARAMETERS.items():
        for name in names:
            for text in NONSENSE:
                answer = board.client.get(
                    f"/board/companies/{board.company}{path.format(**things_of_company)}", params={name: text}
                )
                if answer.status_code >= 500:
                    failed.append((path, name, text))
    assert [] == failed


def test_no_nonsense_in_a_form_is_a_failure_of_the_service(board, things_of_company):
    csrf, failed = board.show("/system").form("/sign-out")["fields"]["csrf"], []
    paths = [path for page in pages.PAGES for path in page.paths if "POST" in page.http_methods]
    assert len(paths) > 25
    for path in paths:
        kinds = {
            "company_id": board.company,
            "routine_id": things_of_company["routine"],
            "run_id": things_of_company["run"],
        }
        kinds |= {"task": "echo", "name": "daily", "number": things_of_company["number"]}
        kinds |= {"kind": "projects", "id": things_of_company["project"]}
        kinds |= {"issue_id": things_of_company["issue"], "trigger_id": things_of_company["trigger"]}
        address = "/".join(
            str(kinds.get(part.strip("{}").partition(":")[0], NOTHING)) if part.startswith("{") else part
            for part in path.split("/")
        )
        for text in FILLINGS:
            fields = dict.fromkeys(FIELDS, text) | {"csrf": csrf, "key": str(uuid4()), "kind": "schedule"}
            if text in NONSENSE[:2] and path.endswith("/new"):
                fields["kind"] = "webhook"
            answer = board.client.post(address, data=fields, headers={"Origin": board.url})
            if answer.status_code >= 500:
                failed.append((path, text[:40], answer.status_code))
    assert [] == failed


@pytest.mark.parametrize("key", ["x", "2026-W01-1", "0001-01-01", "infinity"])
def test_a_cursor_that_somebody_has_made_up_is_refused_or_read_as_a_moment(board, key):
    cursor = cursor_of(f"board next {board.company}", ListPlace(key, uuid4()))
    assert board.show(f"/routines?cursor={cursor}").status in (200, 400)


@pytest.mark.parametrize("origin", ["http://[", "://", "https://", "null", "é"])
def test_an_origin_that_is_no_address_is_refused(board, origin):
    answer = board.client.post("/board/sign-in", data={}, headers={"Origin": origin.encode()})
    assert 403 == answer.status_code


def test_a_page_of_one_company_shows_and_changes_nothing_of_another(board, api, things_of_company):
    """Its reader is a member of both: what the page says of the company and of their rights is right for one of them."""
    elsewhere = f"/board/companies/{api.company('Other')}"
    csrf = board.show("/system").form("/sign-out")["fields"]["csrf"]
    routine = "/routines/{routine}"
    trigger = f"{routine}/triggers/{{trigger}}"
    reads = [
        routine,
        f"{routine}/what-if",
        f"{routine}/past",
        f"{routine}/edit",
        f"{routine}/run",
        f"{routine}/pause",
        f"{routine}/revisions",
        trigger,
    ]
    reads += [f"{routine}/triggers/new", f"{trigger}/backfills", "/runs/{run}", "/runs?routine={routine}"]
    reads += ["/issues/{issue}", "/log?routine={routine}", "/log?run={run}", "/log?issue={issue}"]
    reads += ["/issues?agent={agent}", "/runs?agent={agent}", "/routines?agent={agent}", "/routines?project={project}"]
    reads += ["/tasks/echo", "/tasks/echo/edit", "/tasks/echo/run", "/tasks/echo/routines/daily"]
    reads += ["/tasks/echo/trajectories/{number}"]
    writes = ["/tasks/echo/run", "/tasks/echo/delete", "/tasks/echo/trajectories/{number}/labels"]
    writes += [f"{routine}/run", f"{routine}/pause", f"{routine}/edit", f"{routine}/triggers/new", trigger]
    writes += [f"{trigger}/delete", f"{trigger}/backfills", "/runs/{run}/again", "/issues/{issue}/comments"]
    writes += ["/issues/{issue}/release", f"{routine}/triggers/{{webhook}}/rotate"]
    of_what = (
        f"/routines/{things_of_company['routine']}",
        f"/issues/{things_of_company['issue']}",
        f"/agents/{things_of_company['agent']}",
    )
    before = [api.get(path) for path in of_what]

    statuses = {path: board.get(elsewhere + path.format(**things_of_company)).status for path in reads}
    for path in writes:
        fields = {"csrf": csrf, "kind": "api", "title": "Taken", "overlap": "0", "body": "hello"}
        statuses[f"POST {path}"] = board.post(elsewhere + path.format(**things_of_company), fields).status
    fields = {"csrf": csrf, "status": "archived"}
    for path in (f"{routine}/status", "/issues/{issue}/status"):
        statuses[f"POST {path}"] = board.post(elsewhere + path.format(**things_of_company), fields).status
    for action in ("pause", "key", "budget"):
        fields = {"csrf": csrf, "action": action}
        statuses[f"POST {action}"] = board.post(
            f"{elsewhere}/people/agents/{things_of_company['agent']}", fields
        ).status

    assert {} == {path: status for path, status in statuses.items() if status != 404}
    assert before == [api.get(path) for path in of_what]


def test_a_backfill_of_another_trigger_is_not_cancelled(board, api, things_of_company):
    schedule = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "UTC"}
    other = api.post(f"/routines/{things_of_company['routine']}/triggers", schedule)["trigger"]["id"]
    backfill = api.post(
        f"/routine-triggers/{other}/backfills", {"from": "2020-01-01T00:00:00Z", "to": "2020-01-09T00:00:00Z"}
    )["id"]
    csrf = board.show("/system").form("/sign-out")["fields"]["csrf"]
    triggers = f"/board/companies/{board.company}/routines/{things_of_company['routine']}/triggers"

    pages = [
        board.post(f"{triggers}/{trigger}/backfills/{backfill}/cancel", {"csrf": csrf})
        for trigger in (things_of_company["trigger"], other)
    ]

    assert [404, 200] == [page.status for page in pages]
    assert "The backfill is cancelled" in board.send(pages[1], "/cancel").text


@pytest.mark.parametrize("host", ["x:abc", "[", "x:99999"])
def test_a_host_that_is_none_still_leads_to_the_sign_in(browser, host):
    answer = browser.client.get("/board/settings?a=b", headers={"Host": host})
    assert (303, "/board/sign-in?next=%2Fboard%2Fsettings%3Fa%3Db") == (answer.status_code, answer.headers["location"])
