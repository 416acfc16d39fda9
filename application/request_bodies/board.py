"""The bodies about companies, their members, agents, keys, projects, goals and folders."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from application.request_bodies.budgets import BudgetDraft
from application.request_bodies.fields import (
    Body,
    Cents,
    Email,
    KeyName,
    Label,
    Name,
    Object,
    Permissions,
    Text,
    Title,
    Url,
)
from domain.values import AgentRole, GoalLevel, GoalStatus, MemberRole, ProjectStatus


class CompanyDraft(Body, frozen=True):
    """Describes a company to create."""

    name: Name
    description: Text | None = None
    budget: BudgetDraft | None = None  # not in Paperclip


class CompanyPatch(Body, frozen=True):
    """Changes a company. Fields that are absent stay as they are."""

    name: Name | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    budget: BudgetDraft | None | UnsetType = UNSET


class AgentDraft(Body, frozen=True):
    """Describes an agent to create."""

    name: Name
    role: AgentRole = "general"
    title: Label | None = None
    reports_to: UUID | None = None
    adapter_type: Name = "process"
    adapter_config: Object = {}
    metadata: Object | None = None
    budget_monthly_cents: Cents = 0
    heartbeat_url: Url | None = None
    budget: BudgetDraft | None = None  # not in Paperclip


class AgentPatch(Body, frozen=True):
    """Changes an agent. Fields that are absent stay as they are."""

    name: Name | UnsetType = UNSET
    role: AgentRole | UnsetType = UNSET
    title: Label | None | UnsetType = UNSET
    reports_to: UUID | None | UnsetType = UNSET
    adapter_type: Name | UnsetType = UNSET
    adapter_config: Object | UnsetType = UNSET
    metadata: Object | None | UnsetType = UNSET
    budget_monthly_cents: Cents | UnsetType = UNSET
    heartbeat_url: Url | None | UnsetType = UNSET
    budget: BudgetDraft | None | UnsetType = UNSET


class ProjectDraft(Body, frozen=True):
    """Describes a project to create."""

    name: Name
    description: Text | None = None
    status: ProjectStatus = "backlog"
    goal_id: UUID | None = None
    lead_agent_id: UUID | None = None
    target_date: date | None = None
    color: Label | None = None


class ProjectPatch(Body, frozen=True):
    """Changes a project. Fields that are absent stay as they are."""

    name: Name | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    status: ProjectStatus | UnsetType = UNSET
    goal_id: UUID | None | UnsetType = UNSET
    lead_agent_id: UUID | None | UnsetType = UNSET
    target_date: date | None | UnsetType = UNSET
    color: Label | None | UnsetType = UNSET


class GoalDraft(Body, frozen=True):
    """Describes a goal to create."""

    title: Title
    description: Text | None = None
    level: GoalLevel = "task"
    status: GoalStatus = "planned"
    parent_id: UUID | None = None
    owner_agent_id: UUID | None = None


class GoalPatch(Body, frozen=True):
    """Changes a goal. Fields that are absent stay as they are."""

    title: Title | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    level: GoalLevel | UnsetType = UNSET
    status: GoalStatus | UnsetType = UNSET
    parent_id: UUID | None | UnsetType = UNSET
    owner_agent_id: UUID | None | UnsetType = UNSET


class FolderDraft(Body, frozen=True):
    """Describes a folder to create, in another folder if `parentId` names one."""

    name: Name
    parent_id: UUID | None = None


class FolderPatch(Body, frozen=True):
    """Changes a folder. Fields that are absent stay as they are; `parentId` null moves it out of all."""

    name: Name | UnsetType = UNSET
    parent_id: UUID | None | UnsetType = UNSET


class FolderMove(Body, frozen=True):
    """Moves a folder into another one, or out of all if `parentId` is null."""

    parent_id: UUID | None


class FolderItems(Body, frozen=True):
    """Moves routines into a folder, or out of all if `folderId` is null."""

    routine_ids: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=1_000)]
    folder_id: UUID | None


class BoardKeyDraft(Body, frozen=True):
    """Describes a key to create for a user."""

    name: KeyName = "paperclipai cli"
    expires_at: datetime | None | UnsetType = UNSET  # None: it never expires; UNSET: it expires in 30 days


class AgentKeyDraft(Body, frozen=True):
    """Describes a key to create for an agent."""

    name: KeyName = "default"
    expires_at: datetime | None | UnsetType = (
        UNSET  # None: it never expires; UNSET: it expires with the key of the request
    )


class PauseRequest(Body, frozen=True):
    """Says why an agent is paused."""

    reason: Label = "manual"


class MemberDraft(Body, frozen=True):
    """Adds an existing user, by `userId`, or a new one. `name` and `email` count only when `userId` is absent."""

    user_id: UUID | None = None
    name: Name | None = None
    email: Email | None = None
    membership_role: MemberRole = "member"
    permissions: Permissions | UnsetType = UNSET  # UNSET: the default ones of the role
    key_expires_at: datetime | None | UnsetType = UNSET  # for the first key of a new user; as in BoardKeyDraft

    def faults(self) -> list[tuple[str, str]]:
        """Report a user who has neither an id nor a name, and a key expiry for an existing user, who gets no key."""
        faults = [] if self.user_id or self.name else [("name", "Either userId or the name of a new user is required")]
        if self.user_id and self.key_expires_at is not UNSET:
            faults.append(("keyExpiresAt", "A user who is known gets no key"))
        return faults


class MemberPatch(Body, frozen=True):
    """Changes the role or the permissions of a member. Fields that are absent stay as they are."""

    membership_role: MemberRole | UnsetType = UNSET
    permissions: Permissions | UnsetType = UNSET
