"""Issues and comments as clients read them."""

from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from domain.values import IssueStatus, Json, Priority
from projections.responses.body import ResponseBody


class IssueSummary(ResponseBody, frozen=True, kw_only=True):
    """An issue as other objects show it."""

    id: UUID
    identifier: str
    title: str
    status: IssueStatus
    priority: Priority
    updated_at: str


class Issue(IssueSummary, frozen=True, kw_only=True):
    """
    An issue.

    `checkoutLeaseUntil` is when it is taken from the work session that has it, unless the session renews its lease before.
    `checkoutCount` is how often it was checked out. Its `originKind` is `routine_execution` if a run has opened it: then `originId` is the routine, `originRunId` the run
    and `originPlannedAt` the planned moment of the occurrence that it is for, if a schedule or a backfill fired it.
    """

    company_id: UUID
    project_id: UUID | None
    goal_id: UUID | None
    parent_id: UUID | None
    description: str | None
    assignee_agent_id: UUID | None
    assignee_user_id: str | None = None
    checkout_run_id: UUID | None = None
    execution_run_id: UUID | None = None
    checkout_lease_until: str | UnsetType = UNSET  # not in Paperclip; only a checkout with a lease has it
    checkout_count: int | UnsetType = UNSET  # not in Paperclip; only an issue that was checked out has it
    created_by_agent_id: UUID | None
    created_by_user_id: str | None
    responsible_user_id: str | None = None
    issue_number: int
    origin_kind: Literal["manual", "routine_execution"]
    origin_id: UUID | None
    origin_run_id: UUID | None
    origin_planned_at: str | UnsetType = UNSET  # not in Paperclip; only an issue of an occurrence has it
    origin_fingerprint: str = "default"
    started_at: str | None = None
    completed_at: str | None = None
    cancelled_at: str | None = None
    hidden_at: str | None = None
    created_at: str
    labels: tuple[str, ...] = ()
    blocked_by: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    execution_workspace_id: UUID | None = None
    execution_workspace_preference: str | None = None
    execution_workspace_settings: Json | None = None
    project_workspace_id: UUID | None = None

    def summary(self) -> IssueSummary:
        """Return the fields by which other objects show the issue."""
        return IssueSummary(
            id=self.id,
            identifier=self.identifier,
            title=self.title,
            status=self.status,
            priority=self.priority,
            updated_at=self.updated_at,
        )


class Comment(ResponseBody, frozen=True, kw_only=True):
    """A comment on an issue, by an agent, a user or the system."""

    id: UUID
    company_id: UUID
    issue_id: UUID
    author_agent_id: UUID | None
    author_user_id: str | None
    author_type: Literal["agent", "user", "system"]
    created_by_run_id: UUID | None
    body: str
    created_at: str
    updated_at: str
