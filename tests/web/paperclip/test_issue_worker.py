"""`routines worker` with an agent's key, against the running API."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result

from application.event_store.stream_kinds import ISSUE
from application.use_cases import deadlines
from domain.routines.deadline import Overdue
from routines.worker import cli, live_log, supervision
from tests.api import Api
from tests.waiting import wait_for

Work = Callable[[str], Result]


@pytest.fixture
def agent(api: Api) -> tuple[str, str, str]:
    company = api.company()
    return company, *api.agent(company)


@pytest.fixture
def work(api: Api, agent: tuple[str, str, str], tmp_path: Path) -> Work:
    def work(script: str) -> Result:
        options = ["--url", api.url, "--token", agent[2], "--once", "--state-dir", str(tmp_path / "claims")]
        return CliRunner().invoke(cli.worker, [*options, "--", "sh", "-c", script])

    return work


def routine(api: Api, agent: tuple[str, str, str], **fields: Any) -> str:
    return api.routine(agent[0], agent[1], variables=[{"name": "branch"}], **fields)


def fire(api: Api, routine_id: str) -> Any:
    trigger = api.post(f"/routines/{routine_id}/triggers", {"kind": "webhook", "signingMode": "bearer"})
    secret = {"Authorization": f"Bearer {trigger['secretMaterial']['webhookSecret']}"}
    body = {"branch": "main", "repository": {"full_name": "acme/shop"}}
    return api.post(f"/routine-triggers/public/{trigger['trigger']['publicId']}/fire", body, token=None, headers=secret)


def comments(api: Api, run: Any) -> list[str]:
    return [comment["body"] for comment in api.get(f"/issues/{run['linkedIssueId']}/comments")]


def test_what_a_webhook_sent_reaches_the_command_and_its_failure_reaches_the_run(
    api: Api, agent: tuple[str, str, str], work: Work, tmp_path: Path
):
    routine_id = routine(api, agent, maxRunDurationSec=600)
    run = fire(api, routine_id)

    result = work(f"cat > {tmp_path}/input; echo $ROUTINES_VARIABLE_branch; echo no such file >&2; exit 3")

    assert 1 == result.exit_code
    document = json.loads((tmp_path / "input").read_text())
    shown = api.get(f"/routine-runs/{run['id']}")
    unchanged = shown.keys() - {"status", "failureReason", "completedAt", "updatedAt", "attempts"}
    assert {name: shown[name] for name in unchanged} == {name: document["run"][name] for name in unchanged}
    assert {"full_name": "acme/shop"} == document["payload"]["repository"]
    assert {"branch": "main"} == document["variables"]
    assert (routine_id, run["linkedIssueId"]) == (document["routine"]["id"], document["issue"]["id"])
    assert ("webhook", run["triggerId"]) == (document["trigger"]["kind"], document["trigger"]["id"])
    assert shown["deadline"] == document["deadline"] is not None
    assert ("failed", "exit status 3: no such file") == (shown["status"], shown["failureReason"])
    assert ["exit status 3: no such file\n\nmain\n\n\nStandard error:\n\nno such file\n"] == comments(api, run)


def test_a_webhook_of_nine_megabytes_reaches_the_command_whole_and_its_end_the_run(
    api: Api, agent: tuple[str, str, str], work: Work, tmp_path: Path
):
    rows = "12,34,é\n" * 1_000_000
    trigger = api.post(f"/routines/{routine(api, agent)}/triggers", {"kind": "webhook", "signingMode": "none"})
    path = f"/routine-triggers/public/{trigger['trigger']['publicId']}/fire"
    run = api.post(path, {"branch": "main", "rows": rows}, token=None)

    result = work(f'cat > {tmp_path}/input; echo "$ROUTINES_OMITTED" >&2; echo \'{{"usage": {{"costMicros": 5}}}}\'')

    assert 0 == result.exit_code, result.output
    assert rows == json.loads((tmp_path / "input").read_text())["payload"]["rows"]
    [row] = api.get(f"/routines/{run['routineId']}/runs")
    assert (False, True) == ("rows" in row["triggerPayload"], row["triggerPayloadBytes"] > 9_000_000)
    ended = api.get(f"/routine-runs/{run['id']}")
    assert ("completed", 5, rows) == (ended["status"], ended["costMicros"], ended["triggerPayload"]["rows"])
    assert ["ROUTINES_PAYLOAD\n"] == [text for stream, text in log_of(api, run) if stream == "stderr"]


def test_a_command_that_fails_is_told_at_its_next_attempt_which_one_it_is(
    api: Api, agent: tuple[str, str, str], work: Work, tmp_path: Path
):
    run = fire(api, routine(api, agent, retryPolicy={"maxAttempts": 2, "backoffSeconds": 3_600}))
    issue = f"/issues/{run['linkedIssueId']}"

    first_try = work(f"cat > {tmp_path}/first; exit 3")
    between = api.get(f"/routine-runs/{run['id']}")
    again = f"tried again: exit status 3; attempt 2 of 2 is at {between['nextAttemptAt']}"
    assert (1, True) == (first_try.exit_code, again in first_try.output)
    assert ("issue_created", "backlog") == (between["status"], api.get(issue)["status"])
    assert between["nextAttemptAt"] is not None
    api.patch(issue, {"status": "todo"})
    work(f"cat > {tmp_path}/second")

    first, second = (json.loads((tmp_path / name).read_text()) for name in ("first", "second"))
    assert [(1, 2), (2, 2)] == [(document["attempt"], document["maxAttempts"]) for document in (first, second)]
    ended = api.get(f"/routine-runs/{run['id']}")
    assert ("completed", 2) == (ended["status"], ended["attempt"])
    listed = api.get(f"/companies/{ended['companyId']}/runs?routineId={ended['routineId']}")
    [shown] = api.get(f"/routines/{ended['routineId']}/runs")
    assert [(2, 2)] * 2 == [(one["attempt"], one["maxAttempts"]) for one in (*listed, shown)]
    assert [("failed", "exit status 3"), ("completed", None)] == [
        (attempt["outcome"], attempt["reason"]) for attempt in ended["attempts"]
    ]


def log_of(api: Api, run: Any) -> list[tuple[str, str]]:
    parts = api.get(f"/routine-runs/{run['id']}/log")["parts"]
    return [(piece["stream"], piece["text"]) for part in parts for piece in part["output"]]


def test_the_log_of_a_run_grows_while_its_command_runs_and_holds_no_token(
    api: Api, agent: tuple[str, str, str], work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_log, "PAUSE_S", 0.05)
    run = fire(api, routine(api, agent))
    script = f"""
        echo begun with {agent[2]}; sleep 0.3; echo oh >&2
        until test -e {tmp_path}/go; do sleep 0.02; done; echo ended"""
    seen = []

    def watch() -> None:
        wait_for(lambda: len(log_of(api, run)) == 2)
        seen.extend([*log_of(api, run), api.get(f"/routine-runs/{run['id']}/log")["isOver"]])
        (tmp_path / "go").touch()

    thread = Thread(target=watch)
    thread.start()
    work(script)
    thread.join()

    assert [("stdout", "begun with ***\n"), ("stderr", "oh\n"), False] == seen
    assert ("stdout", "ended\n") == log_of(api, run)[-1]
    assert api.get(f"/routine-runs/{run['id']}/log")["isOver"]


def test_of_a_command_that_prints_very_much_the_log_keeps_a_part_and_says_how_much_it_left_out(
    api: Api, agent: tuple[str, str, str], work: Work
):
    run = fire(api, routine(api, agent))

    work("yes 0123456789abcde | head -c 4000000")

    run_log = log_of(api, run)
    kept = sum(len(text) for stream, text in run_log if stream == "stdout")
    left_out = sum(int(text.split()[1]) for stream, text in run_log if stream == "mark")
    assert 4_000_000 == kept + left_out
    assert kept <= live_log.MOST_PART * len(run_log)


def test_a_lease_that_runs_out_is_on_the_record_and_the_next_worker_makes_another_attempt(
    api: Api, agent: tuple[str, str, str], work: Work, tmp_path: Path
):
    run = fire(api, routine(api, agent))
    path, session = f"/issues/{run['linkedIssueId']}", str(uuid4())
    dead = {"agentId": agent[1], "expectedStatuses": ["todo"], "leaseSeconds": 2}
    headers = {"X-Paperclip-Run-Id": session}
    until = api.request("POST", f"{path}/checkout", dead, token=agent[2], headers=headers).json()["checkoutLeaseUntil"]

    def settle() -> int:
        moment = api.system.executor.query(lambda work: work.get(ISSUE, UUID(run["linkedIssueId"]))).lease_until
        row = Overdue(id=UUID(run["linkedIssueId"]), company_id=UUID(run["companyId"]), kind="lease", ends_at=moment)
        return api.system.executor.attempt(lambda work: deadlines.settle(work, [row]), actor="scheduler").result

    wait_for(lambda: settle() == 1)
    freed = api.get(path)
    assert ("todo", agent[1], None) == (freed["status"], freed["assigneeAgentId"], freed["checkoutRunId"])
    assert "issue_created" == api.get(f"/routine-runs/{run['id']}")["status"]
    assert [True] == [session in text and until[:19] in text for text in comments(api, run)]
    late = api.request("PATCH", path, {"status": "done"}, token=agent[2], headers=headers)
    assert (409, True) == (late.status_code, "lease ran out" in late.json()["error"])

    assert 0 == work(f"echo $ROUTINES_START > {tmp_path}/start").exit_code
    assert "2\n" == (tmp_path / "start").read_text()
    assert "completed" == api.get(f"/routine-runs/{run['id']}")["status"]


@pytest.mark.parametrize("takes_over", [False, True])
def test_work_that_is_lost_is_stopped_and_its_output_is_kept(
    api: Api,
    agent: tuple[str, str, str],
    work: Work,
    *,
    takes_over: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.setattr(supervision, "LOOK_S", 0.1)
    run = fire(api, routine(api, agent))
    issue, begun = f"/issues/{run['linkedIssueId']}", tmp_path / "begun"
    change = {"assigneeAgentId": api.agent(agent[0], "Other")[0]} if takes_over else {"status": "cancelled"}

    def lose() -> None:
        wait_for(begun.exists)
        api.patch(issue, change)

    thread = Thread(target=lose)
    thread.start()
    result = work(f"echo so far; touch {shlex.quote(str(begun))}; exec sleep 600")
    thread.join()

    reason = "the issue is not assigned to this agent any more" if takes_over else "the issue was moved to cancelled"
    assert 1 == result.exit_code
    assert f"stopped: {reason}" in result.output
    assert [f"stopped: {reason}\n\nso far\n"] == comments(api, run)
    assert change.items() <= api.get(issue).items()
    assert list((tmp_path / "claims").iterdir()) == []
