"""Agents (contract 7.3)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from application.access import Principal, Resource, authorize
from application.event_store.stream_kinds import AGENT
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import AgentDraft, AgentPatch
from application.use_cases import signing_secrets, targets
from application.use_cases.board import companies
from application.use_cases.references import check_agent, check_superiors, merge_patch
from domain.board import agent
from domain.board.agent import Agent
from domain.errors import NotFound
from domain.events import AgentCreated, AgentEvent
from domain.values import AgentProfile, Value

HEARTBEAT = "heartbeat"


class AgentResult(Value, frozen=True):
    """An agent, and the new secret of its heartbeats if there is one, which is shown in one reply and never again."""

    agent_id: UUID
    heartbeat_secret: str | None = None

    def __repr__(self) -> str:
        return f"AgentResult({self.agent_id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("agent_id", self.agent_id)]


def create(work: UnitOfWork, principal: Principal, company_id: UUID, draft: AgentDraft) -> AgentResult:
    """Create an agent; with a heartbeatUrl it gets a secret. Raise InvalidField for one to which nothing is sent."""
    authorize(work, principal, "administer", companies.enter(work, company_id))
    check_agent(work, company_id, draft.reports_to)
    check_superiors(work, draft.reports_to)
    agent_id = work.new_id()
    url_key = companies.claim(work, f"agent|{company_id}", agent.url_keys(draft.name), agent_id, company_id)
    profile = merge_patch(AgentProfile(name=draft.name), draft)
    targets.check_target(work, profile.heartbeat_url, "heartbeatUrl")
    work.record(agent_id, [AgentCreated(profile=profile, url_key=url_key)], company_id)
    return AgentResult(agent_id=agent_id, heartbeat_secret=_heartbeat_secret(work, principal, agent_id))


def update(work: UnitOfWork, principal: Principal, agent_id: UUID, patch: AgentPatch) -> AgentResult:
    """Change the fields that the patch sets; the first heartbeatUrl brings a secret. Raise as `create` does."""
    current = _find_writable(work, principal, agent_id)
    if isinstance(patch.reports_to, UUID) and patch.reports_to != current.profile.reports_to:
        check_agent(work, work.company_of(agent_id), patch.reports_to)
        check_superiors(work, patch.reports_to, agent_id)
    profile = merge_patch(current.profile, patch)
    targets.check_target(work, profile.heartbeat_url, "heartbeatUrl", current.profile.heartbeat_url)
    work.record(agent_id, agent.update(current, profile))
    return AgentResult(agent_id=agent_id, heartbeat_secret=_heartbeat_secret(work, principal, agent_id))


def rotate_heartbeat_secret(work: UnitOfWork, principal: Principal, agent_id: UUID, overlap_s: int) -> AgentResult:
    """
    Give the agent a new secret; for `overlap_s` seconds the old one signs beside it.

    Raises RuleViolation for an agent without a heartbeatUrl.
    """
    authorize(work, principal, "entrust", resource(work, agent_id))
    current = _find_writable(work, principal, agent_id)
    secret_id, secret = signing_secrets.mint(work, agent_id, work.company_of(agent_id), HEARTBEAT)
    until = signing_secrets.retire(work, current.heartbeat, overlap_s)
    work.record(agent_id, agent.set_heartbeat_secret(current, secret_id, until))
    return AgentResult(agent_id=agent_id, heartbeat_secret=secret)


def pause(work: UnitOfWork, principal: Principal, agent_id: UUID, reason: str) -> UUID:
    """Pause an agent with the reason; raise Conflict for one that cannot be paused as it is."""
    return _change_agent(work, principal, agent_id, lambda current: agent.pause(current, reason))


def resume(work: UnitOfWork, principal: Principal, agent_id: UUID) -> UUID:
    """Resume an agent; raise Conflict for a terminated one."""
    return _change_agent(work, principal, agent_id, agent.resume)


def approve(work: UnitOfWork, principal: Principal, agent_id: UUID) -> UUID:
    """Approve an agent; raise Conflict for one that does not wait for approval."""
    return _change_agent(work, principal, agent_id, agent.approve)


def terminate(work: UnitOfWork, principal: Principal, agent_id: UUID) -> UUID:
    """Terminate an agent for good; its keys are unknown from then on."""
    return _change_agent(work, principal, agent_id, agent.terminate)


def resource(work: UnitOfWork, agent_id: UUID) -> Resource:
    """Return the agent as a resource that it owns itself; an unknown one belongs to no company."""
    return Resource(company_id=work.owner_of(AGENT, agent_id), kind="Agent", owner=agent_id)


def _change_agent(
    work: UnitOfWork, principal: Principal, agent_id: UUID, decide: Callable[[Agent], list[AgentEvent]]
) -> UUID:
    work.record(agent_id, decide(_find_writable(work, principal, agent_id)))
    return agent_id


def _heartbeat_secret(work: UnitOfWork, principal: Principal, agent_id: UUID) -> str | None:
    """
    Return the new secret of an agent that needs one, else None.

    Whoever knows the secret can tell the agent that there is work, so the caller must be allowed to entrust it.
    """
    current = work.get(AGENT, agent_id)
    if current is None or current.profile.heartbeat_url is None or current.heartbeat is not None:
        return None
    authorize(work, principal, "entrust", resource(work, agent_id))
    secret_id, secret = signing_secrets.mint(work, agent_id, work.company_of(agent_id), HEARTBEAT)
    work.record(agent_id, agent.set_heartbeat_secret(current, secret_id, None))
    return secret


def _find_writable(work: UnitOfWork, principal: Principal, agent_id: UUID) -> Agent:
    authorize(work, principal, "administer", resource(work, agent_id))
    if (current := work.get(AGENT, agent_id)) is None:
        raise NotFound("Agent not found")
    return current
