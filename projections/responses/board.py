"""Companies, their members, agents, projects and goals as clients read them."""

from typing import Any, Literal
from uuid import UUID

from domain.values import AgentRole, AgentStatus, Budget, GoalLevel, GoalStatus, MemberRole, ProjectStatus
from projections.responses.body import ResponseBody


class Company(ResponseBody, frozen=True, kw_only=True):
    """A company. `issuePrefix` and a number make the identifiers of its issues."""

    id: UUID
    name: str
    description: str | None
    status: Literal["active", "archived"] = "active"
    issue_prefix: str
    issue_counter: int = 0
    default_responsible_user_id: str | None = None
    budget_monthly_cents: int = 0
    spent_monthly_cents: int = 0
    require_board_approval_for_new_agents: bool = False
    budget: Budget | None = None
    created_at: str
    updated_at: str


class Membership(ResponseBody, frozen=True, kw_only=True):
    """A membership of a user in a company."""

    company_id: UUID
    membership_role: MemberRole
    status: str = "active"


class MemberFields(Membership, frozen=True, kw_only=True):
    """A membership with its user and the user's permissions."""

    user_id: UUID
    permissions: tuple[str, ...]
    created_at: str
    updated_at: str


class Member(MemberFields, frozen=True, kw_only=True):
    """A member of a company, with the user's name and email address."""

    name: str
    email: str | None


class AssigneeSummary(ResponseBody, frozen=True, kw_only=True):
    """An agent as a routine that is assigned to it shows it."""

    id: UUID
    name: str
    role: AgentRole
    title: str | None
    url_key: str


class Agent(AssigneeSummary, frozen=True, kw_only=True):
    """An agent of a company. A heartbeat is sent to `heartbeatUrl`, if there is one, when work waits for the agent."""

    company_id: UUID
    status: AgentStatus
    reports_to: UUID | None
    adapter_type: str
    adapter_config: dict[str, Any]
    paused_at: str | None = None
    pause_reason: str | None = None
    permissions: dict[str, Any] = {}
    budget_monthly_cents: int = 0
    spent_monthly_cents: int = 0
    metadata: dict[str, Any] | None = None
    heartbeat_url: str | None = None
    budget: Budget | None = None
    created_at: str
    updated_at: str


class Project(ResponseBody, frozen=True, kw_only=True):
    """A project of a company. While `pausedAt` is set, it is paused."""

    id: UUID
    company_id: UUID
    goal_id: UUID | None
    name: str
    description: str | None
    status: ProjectStatus
    lead_agent_id: UUID | None
    target_date: str | None
    color: str | None
    paused_at: str | None = None
    pause_reason: str | None = None
    archived_at: str | None = None
    url_key: str
    goal_ids: tuple[UUID, ...] = ()
    created_at: str
    updated_at: str


class Goal(ResponseBody, frozen=True, kw_only=True):
    """A goal of a company."""

    id: UUID
    company_id: UUID
    title: str
    description: str | None
    level: GoalLevel
    status: GoalStatus
    parent_id: UUID | None
    owner_agent_id: UUID | None
    created_at: str
    updated_at: str
