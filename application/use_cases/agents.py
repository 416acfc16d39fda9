"""Agents (contract 7.3)."""

from collections.abc import Callable
from uuid import UUID

from application.access import Principal, Resource, authorize
from application.commands import AgentDraft, AgentPatch
from application.streams import AGENT
from application.use_cases import companies
from application.use_cases.references import check_agent, merged
from application.work import Work
from domain import agent
from domain.agent import Agent
from domain.errors import NotFound
from domain.events import AgentCreated, AgentEvent
from domain.values import AgentProfile


def create(work: Work, principal: Principal, company_id: UUID, draft: AgentDraft) -> UUID:
    authorize(work, principal, "administer", companies.enter(work, company_id))
    check_agent(work, company_id, draft.reports_to)
    agent_id = work.new_id()
    url_key = companies.claim(work, f"agent|{company_id}", agent.url_keys(draft.name), agent_id, company_id)
    profile = merged(AgentProfile(name=draft.name), draft)
    work.record(agent_id, [AgentCreated(profile=profile, url_key=url_key)], company_id)
    return agent_id


def update(work: Work, principal: Principal, agent_id: UUID, patch: AgentPatch) -> UUID:
    found = _writable(work, principal, agent_id)
    if isinstance(patch.reports_to, UUID):
        check_agent(work, work.company_of(agent_id), patch.reports_to)
    work.record(agent_id, agent.update(found, merged(found.profile, patch)))
    return agent_id


def pause(work: Work, principal: Principal, agent_id: UUID, reason: str) -> UUID:
    return _change(work, principal, agent_id, lambda found: agent.pause(found, reason))


def resume(work: Work, principal: Principal, agent_id: UUID) -> UUID:
    return _change(work, principal, agent_id, agent.resume)


def approve(work: Work, principal: Principal, agent_id: UUID) -> UUID:
    return _change(work, principal, agent_id, agent.approve)


def terminate(work: Work, principal: Principal, agent_id: UUID) -> UUID:
    return _change(work, principal, agent_id, agent.terminate)


def resource(work: Work, agent_id: UUID) -> Resource:
    return Resource(company_id=work.owner_of(AGENT, agent_id), kind="Agent", owner=agent_id)


def _change(work: Work, principal: Principal, agent_id: UUID, decide: Callable[[Agent], list[AgentEvent]]) -> UUID:
    work.record(agent_id, decide(_writable(work, principal, agent_id)))
    return agent_id


def _writable(work: Work, principal: Principal, agent_id: UUID) -> Agent:
    authorize(work, principal, "administer", resource(work, agent_id))
    if (found := work.get(AGENT, agent_id)) is None:
        raise NotFound("Agent not found")
    return found
