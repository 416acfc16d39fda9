"""An agent, which does the work that issues describe."""

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
    """The state of an agent: its profile, its status, and the secrets that sign its heartbeats."""

    profile: AgentProfile
    status: AgentStatus
    heartbeat: Signing | None = None


def evolve(agent: Agent | None, event: AgentEvent) -> Agent:
    """Fold an event into the state of an agent. Raise ImpossibleHistory if the event cannot follow."""
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
            return replace(agent, heartbeat=signing_keys.rotate_secret(agent.heartbeat, secret_id, until))
        case Agent(), AgentHeartbeatStopped():
            return replace(agent, profile=replace(agent.profile, heartbeat_url=None))
        case _:
            raise ImpossibleHistory(agent, event)


def update(agent: Agent, profile: AgentProfile) -> list[AgentEvent]:
    """Change the profile; nothing is recorded when it is the same."""
    return [] if profile == agent.profile else [AgentUpdated(profile=profile)]


def pause(agent: Agent, reason: str) -> list[AgentEvent]:
    """Pause the agent; nothing if it is paused already. Raise Conflict if it is terminated or not approved yet."""
    if agent.status in ("terminated", "pending_approval"):
        raise Conflict(f"Cannot pause {agent.status.replace('_', ' ')} agent")
    return [] if agent.status == "paused" else [AgentPaused(reason=reason)]


def resume(agent: Agent) -> list[AgentEvent]:
    """Resume the agent; nothing if it is not paused. Raise Conflict if it is terminated."""
    if agent.status == "terminated":
        raise Conflict("Cannot resume terminated agent")
    return [AgentResumed()] if agent.status == "paused" else []


def approve(agent: Agent) -> list[AgentEvent]:
    """Approve the agent. Raise Conflict unless it waits for approval."""
    if agent.status != "pending_approval":
        raise Conflict("Only pending approval agents can be approved")
    return [AgentApproved()]


def terminate(agent: Agent) -> list[AgentEvent]:
    """Terminate the agent for good; nothing if it is terminated already."""
    return [] if agent.status == "terminated" else [AgentTerminated()]


def set_heartbeat_secret(agent: Agent, secret_id: UUID, old_until: datetime | None) -> list[AgentEvent]:
    """
    Sign the heartbeats with this secret from now on, and until `old_until` with the previous one as well.

    Raise RuleViolation if the agent has no address for heartbeats.
    """
    if agent.profile.heartbeat_url is None:
        raise RuleViolation("The agent has no heartbeatUrl: set one first")
    return [AgentHeartbeatSecretSet(secret_id=secret_id, old_until=old_until)]


def stop_heartbeat(agent: Agent, reason: str) -> list[AgentEvent]:
    """Remove the address for heartbeats, with the reason; nothing if there is none."""
    return [] if agent.profile.heartbeat_url is None else [AgentHeartbeatStopped(reason=reason)]


def must_be_assignable(agent: Agent, agent_id: str, company_id: str) -> None:
    """Raise Conflict, with details for the client, if the agent is terminated or not approved yet (contract 3.7)."""
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
    """Return whether the agent can be given execution issues: it is not paused, terminated or unapproved."""
    return agent.status not in ("paused", "terminated", "pending_approval")


def may_hold_keys(agent: Agent) -> bool:
    """Return whether the agent's keys are accepted: it is not terminated or unapproved."""
    return agent.status not in ("terminated", "pending_approval")


def slug(name: str) -> str:
    """Return a short name for addresses: lower-case words joined by hyphens, `unnamed` if nothing is left."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"


def url_keys(name: str) -> Iterator[str]:
    """Yield short names to try, in order: scout, scout-2, scout-3 ..."""
    yield slug(name)
    yield from (f"{slug(name)}-{number}" for number in count(2))
