"""An agent: who does the work."""

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from uuid import UUID

from msgspec.structs import replace

from domain.errors import Conflict, ImpossibleHistory, RuleViolation
from domain.events import (
    AgentApproved,
    AgentCreated,
    AgentEvent,
    AgentHeartbeatSecretSet,
    AgentHeartbeatStopped,
    AgentPaused,
    AgentResumed,
    AgentTerminated,
    AgentUpdated,
)
from domain.values import AgentProfile, AgentStatus, Value
from domain.webhooks import signing_keys
from domain.webhooks.signing_keys import Signing


class Agent(Value, frozen=True):
    profile: AgentProfile
    status: AgentStatus
    heartbeat: Signing | None = None


def evolve(agent: Agent | None, event: AgentEvent) -> Agent:
    match agent, event:
        case None, AgentCreated(profile=profile, status=status):
            return Agent(profile=profile, status=status)
        case Agent(), AgentUpdated(profile=profile):
            return replace(agent, profile=profile)
        case Agent(), AgentPaused():
            return replace(agent, status="paused")
        case Agent(), AgentResumed() | AgentApproved():
            return replace(agent, status="idle")
        case Agent(), AgentTerminated():
            return replace(agent, status="terminated")
        case Agent(), AgentHeartbeatSecretSet(secret_id=secret_id, old_until=until):
            return replace(agent, heartbeat=signing_keys.rotated(agent.heartbeat, secret_id, until))
        case Agent(), AgentHeartbeatStopped():
            return replace(agent, profile=replace(agent.profile, heartbeat_url=None))
        case _:
            raise ImpossibleHistory(agent, event)


def update(agent: Agent, profile: AgentProfile) -> list[AgentEvent]:
    return [] if profile == agent.profile else [AgentUpdated(profile=profile)]


def pause(agent: Agent, reason: str) -> list[AgentEvent]:
    if agent.status in ("terminated", "pending_approval"):
        raise Conflict(f"Cannot pause {agent.status.replace('_', ' ')} agent")
    return [] if agent.status == "paused" else [AgentPaused(reason=reason)]


def resume(agent: Agent) -> list[AgentEvent]:
    if agent.status == "terminated":
        raise Conflict("Cannot resume terminated agent")
    return [AgentResumed()] if agent.status == "paused" else []


def approve(agent: Agent) -> list[AgentEvent]:
    if agent.status != "pending_approval":
        raise Conflict("Only pending approval agents can be approved")
    return [AgentApproved()]


def terminate(agent: Agent) -> list[AgentEvent]:
    return [] if agent.status == "terminated" else [AgentTerminated()]


def set_heartbeat_secret(agent: Agent, secret_id: UUID, old_until: datetime | None) -> list[AgentEvent]:
    """Its heartbeats are signed with it from now on; the one before goes on until then. Raises Unacceptable."""
    if agent.profile.heartbeat_url is None:
        raise RuleViolation("The agent has no heartbeatUrl: set one first")
    return [AgentHeartbeatSecretSet(secret_id=secret_id, old_until=old_until)]


def stop_heartbeat(agent: Agent, reason: str) -> list[AgentEvent]:
    return [] if agent.profile.heartbeat_url is None else [AgentHeartbeatStopped(reason=reason)]


def must_be_assignable(agent: Agent, agent_id: str, company_id: str) -> None:
    """A terminated or not yet approved agent gets no routines (contract 3.7)."""
    refusals = {
        "terminated": ("assignee_terminated", "Cannot assign routines to terminated agents"),
        "pending_approval": ("pending_approval", "Cannot assign routines to pending approval agents"),
    }
    if agent.status in refusals:
        reason, message = refusals[agent.status]
        raise Conflict(
            message,
            {
                "code": "agent_not_assignable",
                "reason": reason,
                "companyId": company_id,
                "assigneeAgentId": agent_id,
                "invalidAncestorAgentId": None,
                "missingAncestorAgentId": None,
                "ancestorChain": [],
            },
        )


def is_invokable(agent: Agent) -> bool:
    """A paused, terminated or not yet approved agent is given no execution issue."""
    return agent.status not in ("paused", "terminated", "pending_approval")


def may_hold_keys(agent: Agent) -> bool:
    """The keys of a terminated or not yet approved agent are unknown."""
    return agent.status not in ("terminated", "pending_approval")


def slug(name: str) -> str:
    """A short name for addresses: lower-case words joined by hyphens."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"


def url_keys(name: str) -> Iterator[str]:
    """Short names to try, in order: scout, scout-2, scout-3 ..."""
    yield slug(name)
    yield from (f"{slug(name)}-{number}" for number in count(2))
