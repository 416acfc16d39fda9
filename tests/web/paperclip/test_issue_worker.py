"""`routines worker` with an agent's key, against the running API."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from routines.worker import cli, supervision
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


def test_a_command_that_fails_is_told_at_its_next_attempt_which_one_it_is(
    api: Api, agent: tuple[str, str, str], work: Work, tmp_path: Path
):
    run = fire(api, routine(api, agent, retryPolicy={"maxAttempts": 2, "backoffSeconds": 3_600}))
    issue = f"/issues/{run['linkedIssueId']}"

    work(f"cat > {tmp_path}/first; exit 3")
    between = api.get(f"/routine-runs/{run['id']}")
    assert ("issue_created", "backlog") == (between["status"], api.get(issue)["status"])
    assert between["nextAttemptAt"] is not None
    api.patch(issue, {"status": "todo"})
    work(f"cat > {tmp_path}/second")

    first, second = (json.loads((tmp_path / name).read_text()) for name in ("first", "second"))
    assert [(1, 2), (2, 2)] == [(document["attempt"], document["maxAttempts"]) for document in (first, second)]
    ended = api.get(f"/routine-runs/{run['id']}")
    assert ("completed", 2) == (ended["status"], ended["attempt"])
    assert [("failed", "exit status 3"), ("completed", None)] == [
        (attempt["outcome"], attempt["reason"]) for attempt in ended["attempts"]
    ]


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
