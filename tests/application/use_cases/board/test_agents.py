import pytest

from application.event_store.stream_kinds import AGENT
from application.request_bodies.board import AgentDraft, AgentPatch
from application.use_cases.board import agents
from domain.errors import Conflict, Forbidden, InvalidField, NotFound, RuleViolation
from domain.events import AgentCreated, AgentPaused

HOOK = "https://example.com/beat"


def test_agents_of_one_name_have_different_keys_in_addresses(here):
    here.another_agent(name="Scout")

    assert ["scout", "scout-2"] == [event.url_key for event in here.events(AgentCreated)]


def test_an_agent_reports_to_nobody_of_another_company_and_never_to_itself(here):
    boss, stranger = here.another_agent(reports_to=here.agent), here.another_agent(here.other_company())

    with pytest.raises(RuleViolation, match="must belong to same company"):
        here.ask(agents.update, boss, AgentPatch(reports_to=stranger))
    with pytest.raises(InvalidField, match="reportsTo must not lead back to itself"):
        here.ask(agents.update, here.agent, AgentPatch(reports_to=boss))


def test_the_first_address_for_heartbeats_brings_a_secret_and_the_next_brings_none(here):
    first = here.ask(agents.update, here.agent, AgentPatch(heartbeat_url=HOOK))
    second = here.ask(agents.update, here.agent, AgentPatch(heartbeat_url=f"{HOOK}/2"))

    assert first.heartbeat_secret.startswith("whsec_")
    assert second.heartbeat_secret is None
    assert 1 == len(here.vault.secrets)


def test_a_heartbeat_secret_is_rotated_at_once_or_signs_beside_the_new_one_for_a_while(here):
    here.ask(agents.update, here.agent, AgentPatch(heartbeat_url=HOOK))

    here.ask(agents.rotate_heartbeat_secret, here.agent, 60)
    assert 2 == len(here.vault.secrets)
    here.ask(agents.rotate_heartbeat_secret, here.agent, 0)
    assert 1 == len(here.vault.secrets)


def test_who_may_not_assign_work_gives_nobody_an_address_for_heartbeats(here):
    clerk = here.member(permissions=())

    here.ask(agents.create, here.company, AgentDraft(name="Quiet"), caller=clerk)
    with pytest.raises(Forbidden, match="tasks:assign"):
        here.ask(agents.create, here.company, AgentDraft(name="Loud", heartbeat_url=HOOK), caller=clerk)


def test_an_agent_is_paused_for_a_reason_resumed_and_terminated_for_good(here):
    here.ask(agents.pause, here.agent, "holiday")
    assert ("paused", ["holiday"]) == (
        here.state(AGENT, here.agent).status,
        [event.reason for event in here.events(AgentPaused)],
    )
    here.ask(agents.resume, here.agent)
    here.ask(agents.terminate, here.agent)

    assert "terminated" == here.state(AGENT, here.agent).status
    with pytest.raises(Conflict):
        here.ask(agents.resume, here.agent)


def test_to_members_of_other_companies_an_agent_does_not_exist(here):
    stranger = here.member("owner", here.other_company())

    with pytest.raises(NotFound, match="Agent not found"):
        here.ask(agents.pause, here.agent, "mine", caller=stranger)
