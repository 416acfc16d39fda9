"""The bodies about issues: their fields, comments, who works on them, and what the work prints."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from application.request_bodies.budgets import UsageReport
from application.request_bodies.fields import Body, Comment, Description, FailureReason, Outputs, Title
from domain.values import IssueStatus, Priority


class IssueDraft(Body, frozen=True):
    """Describes an issue to create."""

    title: Title
    description: Description | None = None
    status: IssueStatus | UnsetType = UNSET
    priority: Priority = "medium"
    assignee_agent_id: UUID | None = None
    project_id: UUID | None = None
    goal_id: UUID | None = None
    parent_id: UUID | None = None


class IssuePatch(Body, frozen=True):
    """
    Changes an issue. Fields that are absent stay as they are. `comment` is added to its comments.

    `failureReason` says why the run that opened the issue failed, and comes with the status `cancelled`. Where an agent says
    so, and the routine has a `retryPolicy` that allows another attempt, the issue waits in the backlog for it instead.
    `outputs` are what that run has brought forth: its routine's chains pass them on. `usage` is what it has used so far.
    """

    title: Title | UnsetType = UNSET
    description: Description | None | UnsetType = UNSET
    status: IssueStatus | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    assignee_agent_id: UUID | None | UnsetType = UNSET
    project_id: UUID | None | UnsetType = UNSET
    goal_id: UUID | None | UnsetType = UNSET
    parent_id: UUID | None | UnsetType = UNSET
    comment: Comment | None = None
    failure_reason: FailureReason | None = None  # not in Paperclip
    outputs: Outputs | None = None  # not in Paperclip
    usage: UsageReport | None = None  # not in Paperclip


class Checkout(Body, frozen=True):
    """
    Takes an issue for an agent, if its status is one of `expectedStatuses`. With `leaseSeconds`, it is taken from the work
    session after that time, unless the session checks it out again before.
    """

    agent_id: UUID
    expected_statuses: Annotated[tuple[IssueStatus, ...], Meta(min_length=1, max_length=20)]
    lease_seconds: Annotated[int, Meta(ge=2, le=86_400)] | None = None  # not in Paperclip


class LogPiece(Body, frozen=True):
    """Holds some output of a command; `mark` tells where something is left out."""

    stream: Literal["stdout", "stderr", "mark"]
    text: Annotated[str, Meta(min_length=1, max_length=65_536)]


class LogDraft(Body, frozen=True):
    """Holds what the command of a run has printed since the part before. A part that is sent again changes nothing."""

    part: Annotated[int, Meta(ge=0, le=1_000_000)]
    output: Annotated[tuple[LogPiece, ...], Meta(min_length=1, max_length=200)]


class CommentDraft(Body, frozen=True):
    """Holds the text of a comment."""

    body: Comment
