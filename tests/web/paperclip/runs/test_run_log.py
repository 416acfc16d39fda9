"""The log of a run: what its commands print, while they run."""

from typing import Any
from uuid import uuid4

import pytest

from projections.firing import run_logs
from tests.api import Api


class Work:
    """A run whose issue a work session has."""

    def __init__(self, api: Api) -> None:
        self.api, self.company = api, api.company()
        self.agent, self.token = api.agent(self.company)
        self.run = api.post(f"/routines/{api.routine(self.company, self.agent)}/run", {})
        self.issue, self.session = self.run["linkedIssueId"], str(uuid4())
        self.begin(self.session)

    def begin(self, session: str, status: str = "todo") -> None:
        body = {"agentId": self.agent, "expectedStatuses": [status]}
        assert 200 == self.send(f"/issues/{self.issue}/checkout", body, session=session).status_code

    def send(self, path: str, body: Any, session: str | None = None, method: str = "POST") -> Any:
        headers = {"X-Paperclip-Run-Id": session or self.session}
        return self.api.request(method, path, body, token=self.token, headers=headers)

    def say(self, part: int, *texts: str, stream: str = "stdout", session: str | None = None) -> Any:
        output = [{"stream": stream, "text": text} for text in texts]
        return self.send(f"/routine-runs/{self.run['id']}/log", {"part": part, "output": output}, session)

    def log(self, after: int = 0) -> Any:
        return self.api.get(f"/routine-runs/{self.run['id']}/log?after={after}")

    def texts(self) -> list[str]:
        texts, log = [], self.log()
        while log["parts"]:
            texts += [piece["text"] for part in log["parts"] for piece in part["output"]]
            log = self.log(log["next"])
        return texts


@pytest.fixture
def work(api: Api) -> Work:
    return Work(api)


def test_a_log_grows_while_the_run_goes_on_and_is_read_from_where_one_was(work: Work):
    assert {"parts": [], "next": 0, "isOver": False} == work.log()

    assert {"isFull": False} == work.say(0, "begun\n", "more\n").json()
    first = work.log()
    work.say(1, "oh\n", stream="stderr")
    second = work.log(after=first["next"])

    assert ["begun\n", "more\n"] == [piece["text"] for piece in first["parts"][0]["output"]]
    assert [("stderr", "oh\n")] == [
        (piece["stream"], piece["text"]) for part in second["parts"] for piece in part["output"]
    ]
    assert [work.session] * 2 == [part["sessionId"] for part in work.log()["parts"]]
    work.send(f"/issues/{work.issue}", {"status": "done"}, method="PATCH")
    assert {"parts": [], "next": second["next"], "isOver": True} == work.log(after=second["next"])


def test_a_part_that_is_sent_again_is_there_once(work: Work):
    for _ in range(2):
        assert 200 == work.say(0, "once\n").status_code

    assert ["once\n"] == work.texts()


def test_only_the_session_that_has_the_issue_writes(work: Work):
    other = str(uuid4())

    assert 409 == work.say(0, "not mine", session=other).status_code
    work.api.post(f"/issues/{work.issue}/admin/force-release")
    assert 409 == work.say(0, "no more mine").status_code
    work.begin(other)
    assert 200 == work.say(0, "mine now", session=other).status_code
    assert ["mine now"] == work.texts()


def test_a_run_that_has_ended_takes_no_more(work: Work):
    work.send(f"/issues/{work.issue}", {"status": "done"}, method="PATCH")

    assert 409 == work.say(0, "late").status_code


def test_a_log_has_a_bound_and_a_mark_says_where_it_is_cut(work: Work, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_logs, "PART_COST", 400_000)

    answers = [work.say(part, f"{part}\n").json()["isFull"] for part in range(4)]

    assert [False, False, True, True] == answers
    assert ["0\n", "1\n", run_logs.OF_RUN.format(1_048_576)] == work.texts()


def test_a_company_has_a_bound_for_all_its_logs_and_what_is_old_counts_no_more(work: Work):
    def change(statement: str, *values: object) -> None:
        with work.api.system.pool.connection() as conn:
            conn.execute(statement, (*values, work.company))

    def size() -> int:
        query = "SELECT bytes FROM run_log_size WHERE company_id = %s"
        with work.api.system.pool.connection() as conn:
            return next(bytes_ for (bytes_,) in conn.execute(query, (work.company,)))

    grow = "UPDATE run_log_size SET bytes = bytes + %s WHERE company_id = %s"
    work.say(0, "old\n")
    change(grow, 1024**3)
    assert work.say(1, "too much\n").json()["isFull"]
    assert ["old\n", run_logs.OF_COMPANY.format(1024**3)] == work.texts()
    change(grow, -(1024**3))
    assert 2 * run_logs.PART_COST + 4 == size()

    change("UPDATE run_log SET at = at - interval '15 days' WHERE company_id = %s")
    with work.api.system.pool.connection() as conn:
        run_logs.forget(conn, 14)

    assert 0 == size()
    assert [] == work.texts()


@pytest.mark.parametrize("after", ["-1", "x", "1.5"])
def test_a_place_that_is_none_is_refused(work: Work, after: str):
    assert 400 == work.api.request("GET", f"/routine-runs/{work.run['id']}/log?after={after}").status_code
