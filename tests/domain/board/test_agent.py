"""An agent's life: contract 3.7, 7.3."""

from itertools import islice
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.board import agent
from domain.errors import Conflict, ImpossibleHistory
from domain.events import AgentApproved, AgentCreated, AgentPaused, AgentResumed, AgentTerminated, AgentUpdated
from domain.values import AgentProfile
from tests.given import given

AGENT, COMPANY = str(UUID(int=1)), str(UUID(int=2))
PROFILE = AgentProfile(name="Scout")
CREATED = AgentCreated(profile=PROFILE, url_key="scout")
PENDING = replace(CREATED, status="pending_approval")


def agent_with_status(status):
    return given(agent.evolve, replace(CREATED, status=status))


def test_a_new_agent_is_idle():
    assert given(agent.evolve, CREATED) == agent.Agent(profile=PROFILE, status="idle")


def test_a_pause_holds_until_resumed():
    idle = given(agent.evolve, CREATED)

    assert [AgentPaused(reason="holiday")] == agent.pause(idle, "holiday")
    assert [] == agent.pause(agent_with_status("paused"), "again")
    assert [AgentResumed()] == agent.resume(agent_with_status("paused"))
    assert [] == agent.resume(idle)
    assert given(agent.evolve, CREATED, AgentPaused(), AgentResumed()) == idle


def test_termination_is_the_end():
    terminated = given(agent.evolve, CREATED, AgentTerminated())

    assert [] == agent.terminate(terminated)
    with pytest.raises(Conflict, match="Cannot resume terminated agent"):
        agent.resume(terminated)
    with pytest.raises(Conflict, match="Cannot pause terminated agent"):
        agent.pause(terminated, "manual")
    with pytest.raises(Conflict, match="Only pending approval agents can be approved"):
        agent.approve(terminated)


def test_only_a_waiting_agent_is_approved():
    assert [AgentApproved()] == agent.approve(given(agent.evolve, PENDING))
    assert given(agent.evolve, PENDING, AgentApproved()).status == "idle"
    with pytest.raises(Conflict, match="Only pending approval agents can be approved"):
        agent.approve(given(agent.evolve, CREATED))


def test_pausing_and_resuming_is_no_way_round_the_approval():
    waiting = given(agent.evolve, PENDING)
    try:
        paused = given(agent.evolve, PENDING, *agent.pause(waiting, "manual"))
        back = given(agent.evolve, PENDING, *agent.pause(waiting, "manual"), *agent.resume(paused))
    except Conflict:
        return

    assert back.status == "pending_approval"


def test_an_update_that_changes_nothing_is_no_event():
    idle = given(agent.evolve, CREATED)

    assert [] == agent.update(idle, PROFILE)
    assert [AgentUpdated(profile=replace(PROFILE, role="qa"))] == agent.update(idle, replace(PROFILE, role="qa"))


@pytest.mark.parametrize("status", ["active", "idle", "running", "paused", "error"])
def test_agents_in_service_may_be_assigned(status):
    agent.must_be_assignable(agent_with_status(status), AGENT, COMPANY)


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        ("terminated", "assignee_terminated", "Cannot assign routines to terminated agents"),
        ("pending_approval", "pending_approval", "Cannot assign routines to pending approval agents"),
    ],
)
def test_an_agent_out_of_service_gets_no_routines(status, reason, message):
    with pytest.raises(Conflict, match=message) as refusal:
        agent.must_be_assignable(agent_with_status(status), AGENT, COMPANY)

    assert refusal.value.details == {
        "code": "agent_not_assignable",
        "reason": reason,
        "companyId": COMPANY,
        "assigneeAgentId": AGENT,
        "invalidAncestorAgentId": None,
        "missingAncestorAgentId": None,
        "ancestorChain": [],
    }


@pytest.mark.parametrize(
    ("status", "invokable", "keys"),
    [
        ("idle", True, True),
        ("active", True, True),
        ("running", True, True),
        ("error", True, True),
        ("paused", False, True),
        ("pending_approval", False, False),
        ("terminated", False, False),
    ],
)
def test_who_is_given_work_and_whose_keys_are_known(status, invokable, keys):
    assert agent.is_invokable(agent_with_status(status)) is invokable
    assert agent.may_hold_keys(agent_with_status(status)) is keys


def test_short_names_are_words_with_hyphens_numbered_from_two():
    assert list(islice(agent.url_keys("  Über Scout! 7 "), 3)) == ["ber-scout-7", "ber-scout-7-2", "ber-scout-7-3"]
    assert next(agent.url_keys("日本")) == "unnamed"


@pytest.mark.parametrize("facts", [[AgentPaused()], [CREATED, CREATED]])
def test_a_contradiction_in_the_log_stops_loudly(facts):
    with pytest.raises(ImpossibleHistory):
        given(agent.evolve, *facts)
