"""Agents hear of their issues, and whoever started a trajectory or a routine of its end, with the headers of the contract."""

import hashlib
import hmac

import pytest
from standardwebhooks import Webhook

from application.request_bodies.board import AgentDraft
from application.request_bodies.jetty import CadenceConfig, RoutineChange, RoutineCreate, RunCreate
from application.use_cases.board import agents
from application.use_cases.jetty import task_routines, trajectories
from application.use_cases.names import RoutinePath
from domain.events import TrajectoryOpened
from tests.processes.delivery.conftest import TASK
from tests.waiting import wait_for
from verification.faults.receiver import Receiver


def test_an_agent_hears_of_an_issue_that_is_opened_for_it(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        agent = delivery_fixture.ask(
            agents.create, delivery_fixture.company, AgentDraft(name="Scout", heartbeat_url=receiver.url)
        )
        issue = delivery_fixture.issue(assignee_agent_id=agent.agent_id)
        delivery_fixture.issue("for nobody")
        start_delivery()
        [got] = wait_for(lambda: receiver.good)
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])

    assert Webhook(agent.heartbeat_secret).verify(got.body, dict(got.headers))
    assert got.json["type"] == "issue.opened"
    assert (got.json["data"]["issueId"], got.json["data"]["agentId"]) == (str(issue), str(agent.agent_id))


def test_the_end_of_a_trajectory_is_told_with_the_headers_of_the_contract(delivery_fixture, start_delivery):
    delivery_fixture.task()
    with Receiver() as receiver:
        request = RunCreate(init_params={"text": "hi"}, webhook_url=receiver.url, webhook_secret="shh")
        delivery_fixture.ask(trajectories.run, TASK, request)
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    sent = got.headers["x-mise-timestamp"]
    text = f"{sent}.".encode() + got.body
    assert got.headers["x-mise-signature"] == hmac.new(b"shh", text, hashlib.sha256).hexdigest()
    number = next(
        one.position for one in delivery_fixture.system.store.history() if isinstance(one.event, TrajectoryOpened)
    )
    assert got.headers["x-mise-trajectory-id"] == str(number)
    assert (got.json["trajectory_id"], got.json["workflow_id"]) == (number, f"flow-my-org-say--{number}")
    assert got.headers["content-type"] == "application/json"
    assert (got.json["status"], got.json["name"]) == ("completed", "my-org/say")
    assert got.json["steps"]["say"]["outputs"] == {"text": "hi"}
    assert (got.json["total_steps"], got.json["completed_steps"]) == (["say"], ["say"])
    assert got.json["init_params"] == {"text": "hi"}


def test_without_a_secret_a_callback_has_no_signature(delivery_fixture, start_delivery):
    delivery_fixture.task()
    with Receiver() as receiver:
        delivery_fixture.ask(trajectories.run, TASK, RunCreate(webhook_url=receiver.url))
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    assert "x-mise-signature" not in got.headers
    assert "x-mise-timestamp" in got.headers


def test_cancelled_and_archived_trajectories_are_told_to_nobody(delivery_fixture):
    company = delivery_fixture.task({"steps": []})
    request = RunCreate(webhook_url="https://example.com/")
    ends = ("cancelled", "archived", "completed", "failed")
    opened = [delivery_fixture.ask(trajectories.run, TASK, request) for _ in ends]
    delivery_fixture.ask(trajectories.set_statuses, TASK, dict(zip(opened, ends, strict=True)))

    assert {one.target_id for one in delivery_fixture.list_deliveries(company)} == set(opened[2:])


@pytest.mark.parametrize(("old", "new"), [("old", "new"), (None, "new"), ("old", None)])
def test_a_routines_callback_is_signed_with_the_secret_that_it_has_now(delivery_fixture, start_delivery, old, new):
    delivery_fixture.task()
    with Receiver() as receiver:
        draft = RoutineCreate(
            name="r",
            cadence=CadenceConfig(type="manual"),
            webhook_url=receiver.url,
            webhook_secret=old,
        )
        delivery_fixture.ask(task_routines.create, TASK, draft)
        path = RoutinePath(collection="my-org", task="say", name="r")
        delivery_fixture.ask(task_routines.run_now, path)
        delivery_fixture.ask(task_routines.update, path, RoutineChange(webhook_secret=new))
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    text = f"{got.headers['x-mise-timestamp']}.".encode() + got.body
    signature = None if new is None else hmac.new(new.encode(), text, hashlib.sha256).hexdigest()
    assert signature == got.headers.get("x-mise-signature")
