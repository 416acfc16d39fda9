import pytest

from application.event_store.stream_kinds import AGENT
from application.request_bodies.board import AgentDraft, AgentPatch
from application.use_cases.board import agents
from domain.errors import Conflict, Forbidden, InvalidField, NotFound, RuleViolation
from domain.events import AgentCreated, AgentPaused

HOOK = "https://example.com/beat"


def test_agents_of_one_name_have_different_keys_in_addresses(app):
    app.another_agent(name="Scout")

    assert ["scout", "scout-2"] == [event.url_key for event in app.events(AgentCreated)]


def test_an_agent_reports_to_nobody_of_another_company_and_never_to_itself(app):
    boss, stranger = app.another_agent(reports_to=app.agent), app.another_agent(app.other_company())

    with pytest.raises(RuleViolation, match="must belong to same company"):
        app.ask(agents.update, boss, AgentPatch(reports_to=stranger))
    with pytest.raises(InvalidField, match="reportsTo must not lead back to itself"):
        app.ask(agents.update, app.agent, AgentPatch(reports_to=boss))


def test_the_first_address_for_heartbeats_brings_a_secret_and_the_next_brings_none(app):
    first = app.ask(agents.update, app.agent, AgentPatch(heartbeat_url=HOOK))
    second = app.ask(agents.update, app.agent, AgentPatch(heartbeat_url=f"{HOOK}/2"))

    assert first.heartbeat_secret.startswith("whsec_")
    assert second.heartbeat_secret is None
    assert 1 == len(app.vault.secrets)


def test_a_heartbeat_secret_is_rotated_at_once_or_signs_beside_the_new_one_for_a_while(app):
    app.ask(agents.update, app.agent, AgentPatch(heartbeat_url=HOOK))

    app.ask(agents.rotate_heartbeat_secret, app.agent, 60)
    assert 2 == len(app.vault.secrets)
    app.ask(agents.rotate_heartbeat_secret, app.agent, 0)
    assert 1 == len(app.vault.secrets)


def test_who_may_not_assign_work_gives_nobody_an_address_for_heartbeats(app):
    clerk = app.member(permissions=())

    app.ask(agents.create, app.company, AgentDraft(name="Quiet"), caller=clerk)
    with pytest.raises(Forbidden, match="tasks:assign"):
        app.ask(agents.create, app.company, AgentDraft(name="Loud", heartbeat_url=HOOK), caller=clerk)


def test_an_agent_is_paused_for_a_reason_resumed_and_terminated_for_good(app):
    app.ask(agents.pause, app.agent, "holiday")
    assert ("paused", ["holiday"]) == (
        app.state(AGENT, app.agent).status,
        [event.reason for event in app.events(AgentPaused)],
    )
    app.ask(agents.resume, app.agent)
    app.ask(agents.terminate, app.agent)

    assert "terminated" == app.state(AGENT, app.agent).status
    with pytest.raises(Conflict):
        app.ask(agents.resume, app.agent)


def test_to_members_of_other_companies_an_agent_does_not_exist(app):
    stranger = app.member("owner", app.other_company())

    with pytest.raises(NotFound, match="Agent not found"):
        app.ask(agents.pause, app.agent, "mine", caller=stranger)
