"""With `asOf` a request gets what it was answered at that moment, whatever has become of the thing since."""

from datetime import UTC, timedelta
from typing import Any

import pytest

from projections.engine import moments
from tests.api import Api
from tests.web import people
from tests.web.served import serve_further
from web.http.paging import cursor_of


class Past:
    """A company in which something happens, and what was answered after each step, by path."""

    def __init__(self, api: Api) -> None:
        self.api, self.company = api, api.company()
        self.noted: list[tuple[int, dict[str, Any]]] = []
        self.lists = [f"/companies/{self.company}/{name}" for name in ("routines?limit=5", "issues", "runs?limit=5")]
        self.paths: list[str] = [*self.lists]
        self.agent, _ = api.agent(self.company)
        self.note()
        self.routine = api.routine(self.company, self.agent, title="First")
        self.paths += [f"/routines/{self.routine}", f"/routines/{self.routine}/runs"]
        self.note()
        draft = {"kind": "schedule", "cronExpression": "0 9 * * *"}
        trigger = api.post(f"/routines/{self.routine}/triggers", draft)["trigger"]["id"]
        self.note()
        self.run = api.post(f"/routines/{self.routine}/run", {"payload": {"n": 1}})
        self.paths += [f"/routine-runs/{self.run['id']}", f"/issues/{self.run['linkedIssueId']}"]
        self.note()
        api.patch(f"/routines/{self.routine}", {"title": "Second", "priority": "high"})
        self.note()
        api.patch(f"/issues/{self.run['linkedIssueId']}", {"status": "done"})
        self.note()
        api.request("DELETE", f"/routine-triggers/{trigger}")
        api.patch(f"/routines/{self.routine}", {"status": "archived"})
        self.note()

    def note(self) -> None:
        answers = {path: self.api.get(path) for path in self.paths}
        self.noted.append((self.api.system.store.head(), answers))


@pytest.fixture(scope="module")
def past_api(api: Api) -> Past:
    return Past(api)


def as_of(path: str, moment: object) -> str:
    return f"{path}{'&' if '?' in path else '?'}asOf={moment}"


def test_what_was_answered_at_a_position_is_answered_as_of_it_afterwards(past_api: Past):
    for position, answers in past_api.noted:
        for path, answer in answers.items():
            past_answer = past_api.api.request("GET", as_of(path, position))

            assert (past_answer.status_code, past_answer.json()) == (200, answer), (position, path)
            assert past_answer.headers["X-Routines-Position"] == str(position)


def test_a_time_means_the_last_event_that_was_recorded_by_then(past_api: Past):
    (position, answers), *_ = past_api.noted[3:]
    with past_api.api.system.pool.connection() as conn:
        (at,) = conn.execute("SELECT recorded_at FROM log.events WHERE position = %s", (position,)).fetchone() or ()
    shown = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    answer = past_api.api.request("GET", as_of(f"/routines/{past_api.routine}", shown))

    assert answer.headers["X-Routines-Position"] == str(position)
    assert answer.json() == answers[f"/routines/{past_api.routine}"]
    with past_api.api.system.pool.connection() as conn:
        assert position == moments.position_at(conn, at)
        assert position > moments.position_at(conn, at - moments.MICROSECOND)


def test_a_run_has_ended_as_of_the_event_that_says_so_and_not_before(past_api: Past):
    with past_api.api.system.pool.connection() as conn:
        query = "SELECT position FROM log.events WHERE stream_id = %s AND name = 'run.completed'"
        (position,) = conn.execute(query, (past_api.run["id"],)).fetchone() or ()
    path = f"/routine-runs/{past_api.run['id']}"

    assert "issue_created" == past_api.api.get(as_of(path, position - 1))["status"]
    assert "completed" == past_api.api.get(as_of(path, position))["status"]


def test_what_did_not_exist_yet_is_not_found(past_api: Past):
    before = past_api.noted[0][0]

    for path in past_api.paths[len(past_api.lists) :]:
        answer = past_api.api.request("GET", as_of(path, before))
        assert answer.status_code == 404
        assert f"at position {before} of the log it did not exist yet" in answer.json()["error"]
    assert past_api.api.get(as_of(f"/routines/{past_api.routine}", past_api.noted[1][0]))["title"] == "First"


def test_a_list_before_its_first_row_is_empty(past_api: Past):
    assert past_api.api.get(as_of(f"/companies/{past_api.company}/routines", 0)) == []
    assert past_api.api.get(as_of(f"/companies/{past_api.company}/issues", "2020-01-01T00:00:00Z")) == []
    assert past_api.api.get(as_of(f"/companies/{past_api.company}/runs", 0)) == []


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        ("", "asOf must be a time"),
        ("yesterday", "asOf must be a time"),
        ("-1", "asOf must be a time"),
        ("2026-13-01T00:00:00Z", "asOf must be a time"),
        ("1960-01-01T00:00:00Z", "asOf must be a time"),
        ("99999999999", "asOf lies in the future: the log ends at position"),
        ("2098-01-01T00:00:00Z", "asOf lies in the future: it is"),
    ],
)
def test_a_moment_that_is_none_or_has_not_come_is_refused(past_api: Past, moment: str, reason: str):
    for path in past_api.paths:
        answer = past_api.api.request("GET", as_of(path, moment))
        assert answer.status_code == 422
        assert answer.json()["error"].startswith(reason)


def test_what_cannot_be_answered_as_of_then_is_refused_and_not_ignored(past_api: Past):
    position, api = past_api.noted[-1][0], past_api.api

    for path in (f"/companies/{past_api.company}/routines?q=x", f"/companies/{past_api.company}/issues?limit=101"):
        assert api.request("GET", as_of(path, position)).status_code == 422
    assert api.request("GET", as_of(f"/companies/{past_api.company}/issues?limit=100", position)).status_code == 200
    for path in past_api.paths:
        twice = api.request("GET", f"{as_of(path, position)}&asOf={position - 1}")
        assert (twice.status_code, twice.json()["error"]) == (400, "asOf must be given once")
    for path in past_api.paths:
        for name in ("asof", "as_of"):
            misspelt = api.request("GET", as_of(path, position).replace("asOf", name))
            assert (misspelt.status_code, misspelt.json()["details"][0]["path"]) == (400, [name])
            assert "did you mean 'asOf'?" in misspelt.json()["error"]
    for path in ("/companies", f"/companies/{past_api.company}/agents", f"/routines/{past_api.routine}/revisions"):
        assert api.request("GET", as_of(path, position)).status_code == 400


def test_pages_as_of_a_moment_lead_to_the_next_as_they_did(past_api: Past):
    api = past_api.api
    other = api.routine(past_api.company, past_api.agent)
    for _ in range(3):
        api.post(f"/routines/{other}/run", {})
    position, paths = api.system.store.head(), (f"/routines/{other}/runs", f"/companies/{past_api.company}/runs")
    first = {path: api.request("GET", f"{path}?limit=2").json() for path in paths}
    second = {path: api.get(f"{path}?limit=4")[2:] for path in paths}
    later = api.post(f"/routines/{other}/run", {})["id"]

    for path in paths:
        then = api.request("GET", as_of(f"{path}?limit=2", position))
        cursor = then.headers["X-Next-Cursor"]

        assert then.json() == first[path]
        assert f"asOf={position}" in then.headers["Link"]
        assert api.get(as_of(f"{path}?limit=2&cursor={cursor}", position)) == second[path]
    for path, name in zip(paths, (f"runs of {other}", f"all runs of {past_api.company}"), strict=True):
        of_later = cursor_of(name, later)
        assert api.request("GET", as_of(f"{path}?cursor={of_later}", position)).status_code == 400


def test_an_answer_as_of_a_moment_that_is_known_is_not_sent_again(past_api: Past):
    position, answers = past_api.noted[-1]

    for path in answers:
        first = past_api.api.request("GET", as_of(path, position))
        again = past_api.api.request("GET", as_of(path, position), headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.headers["X-Routines-Position"]) == (304, str(position))


def test_who_may_read_a_thing_now_may_read_its_past_and_nobody_else(past_api: Past):
    api, (position, _) = past_api.api, past_api.noted[3]
    stranger = people.member(api, api.company(), "owner")
    viewer = people.member(api, past_api.company, "viewer")

    for path in past_api.paths:
        assert api.request("GET", as_of(path, position), token=viewer).status_code == 200
        assert api.request("GET", as_of(path, position), token=stranger).status_code in {403, 404}


def test_addresses_of_then_are_shown_to_whoever_may_change_them_now(past_api: Past):
    api, probe = past_api.api, {"url": "https://example.com/ready"}
    other = api.routine(past_api.company, past_api.agent, probe=probe)
    hook = api.post(f"/routines/{other}/triggers", {"kind": "webhook", "signingMode": "bearer"})["trigger"]
    position = api.system.store.head()
    viewer = people.member(api, past_api.company, "viewer")
    api.request("POST", f"/routine-triggers/public/{hook['publicId']}/fire", token=None)

    (shown,) = api.get(as_of(f"/routines/{other}", position))["triggers"]
    (masked,) = api.get(as_of(f"/routines/{other}", position), token=viewer)["triggers"]

    assert (shown["publicId"], masked["publicId"]) == (hook["publicId"], "***")
    assert "lastRefusal" not in shown, "a call was refused since"
    assert "lastRefusal" in api.get(f"/routines/{other}")["triggers"][0]
    for token, url in ((api.token, probe["url"]), (viewer, "***")):
        listed = api.get(as_of(f"/companies/{past_api.company}/routines", position), token=token)
        assert [url] == [routine["probe"]["url"] for routine in listed if routine["id"] == other]


def test_what_has_happened_is_no_future_for_a_process_whose_clock_is_behind(past_api: Past):
    api = past_api.api
    [newest] = api.get(f"/companies/{past_api.company}/events?order=newest&limit=1")
    with serve_further(api, clock=lambda: api.system.clock() - timedelta(days=1)) as late_api:
        answer = late_api.request("GET", as_of(f"/routines/{past_api.routine}", newest["recordedAt"]))

    assert 200 == answer.status_code, answer.text


def test_as_of_now_is_what_is_answered_now(past_api: Past):
    with past_api.api.system.pool.connection() as conn:
        (now,) = conn.execute("SELECT clock_timestamp()").fetchone() or (None,)
    text = now.astimezone(UTC).isoformat().replace("+00:00", "Z")

    head = past_api.api.system.store.head()

    answer = past_api.api.request("GET", as_of(f"/routines/{past_api.routine}", text))

    assert past_api.api.get(f"/routines/{past_api.routine}") == answer.json()
    assert str(head) == answer.headers["X-Routines-Position"]
