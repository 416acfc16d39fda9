"""Which webhooks can be called: disabled, paused, archived, deleted; policies, paused projects and agents."""

from typing import Any

import pytest

from tests.api import Api
from tests.web.hooks import JSON, MODES, NOT_ACTIVE, NOT_FOUND, SIGNED, UNAUTHORIZED, Hook, hook, refusal_of, runs_of


def disable(api: Api, sender: Hook, _: str) -> None:
    api.patch(f"/routine-triggers/{sender.trigger}", {"enabled": False})


def paused(api: Api, _: Hook, routine: str) -> None:
    api.patch(f"/routines/{routine}", {"status": "paused"})


def archived(api: Api, _: Hook, routine: str) -> None:
    api.patch(f"/routines/{routine}", {"status": "archived"})


@pytest.mark.parametrize("change", [disable, paused, archived])
@pytest.mark.parametrize("mode", SIGNED)
def test_only_who_knows_the_secret_is_told_that_a_webhook_is_not_active(api: Api, routine: str, mode: str, change: Any):
    """Contract 3.5, 6."""
    sender = hook(api, routine, mode)
    before = refusal_of(sender.knowing("0" * 48).call())
    change(api, sender, routine)

    assert UNAUTHORIZED == before == refusal_of(sender.knowing("0" * 48).call())
    assert NOT_ACTIVE == refusal_of(sender.call())
    assert [] == runs_of(api, routine)


@pytest.mark.parametrize("mode", MODES)
def test_a_deleted_webhook_is_not_found_with_the_secret_or_without(api: Api, routine: str, mode: str):
    sender = hook(api, routine, mode)

    assert 204 == api.request("DELETE", f"/routine-triggers/{sender.trigger}").status_code

    assert NOT_FOUND == refusal_of(sender.call()) == refusal_of(sender.send())


def test_a_webhook_that_is_enabled_again_fires_again(api: Api, routine: str):
    sender = hook(api, routine, enabled=False)

    before = refusal_of(sender.call())
    api.patch(f"/routine-triggers/{sender.trigger}", {"enabled": True})

    assert NOT_ACTIVE == before
    assert 202 == sender.call().status_code


def test_a_paused_project_does_not_suppress_a_webhook(api: Api, company: str, agent: str):
    """Contract 4.2."""
    project = api.post(f"/companies/{company}/projects", {"name": "x"})["id"]
    sender = hook(api, api.routine(company, agent, projectId=project))
    api.post(f"/projects/{project}/pause")

    assert "issue_created" == sender.fire()["status"]


def test_a_paused_agent_makes_the_run_fail_and_a_terminated_one_is_a_refusal(api: Api, routine: str, agent: str):
    """Contract 3.7, 5.3."""
    sender = hook(api, routine)
    api.post(f"/agents/{agent}/pause")

    run = sender.fire()
    api.post(f"/agents/{agent}/terminate")
    refusal = sender.call()

    assert ("failed", "Agent is not invokable in its current state", None) == (
        run["status"],
        run["failureReason"],
        run["linkedIssueId"],
    )
    assert (409, "agent_not_assignable") == (refusal.status_code, refusal.json()["code"])
    assert 1 == len(runs_of(api, routine))


@pytest.mark.parametrize(("policy", "outcome"), [("coalesce_if_active", "coalesced"), ("skip_if_active", "skipped")])
def test_a_webhook_goes_through_the_concurrency_policy(api: Api, company: str, agent: str, policy: str, outcome: str):
    sender = hook(api, api.routine(company, agent, concurrencyPolicy=policy))

    first, second = sender.fire(b'{"a": 1}', JSON), sender.fire(b'{"a": 2}', JSON)

    assert ["issue_created", outcome] == [first["status"], second["status"]]
    assert (first["linkedIssueId"], first["id"]) == (second["linkedIssueId"], second["coalescedIntoRunId"])
    assert {"a": 2} == second["triggerPayload"]
