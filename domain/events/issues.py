"""Issues and the comments on them."""

from datetime import datetime
from uuid import UUID

from domain.events.event import Event
from domain.values import FreedReason, IssueDetails, IssueStatus, Text, Workspace


class IssueOpened(Event, frozen=True, tag="issue.opened"):
    """
    An issue was opened for an agent. An execution issue names the routine and the run that opened it, and `occurrence`
    is the planned moment that the run is for, if a schedule planned it.
    """

    details: IssueDetails
    status: IssueStatus
    routine_id: UUID | None = None
    run_id: UUID | None = None
    occurrence: datetime | None = None
    created_by_agent_id: UUID | None = None
    created_by_user_id: UUID | None = None
    workspace: Workspace | None = None


class IssueEdited(Event, frozen=True, tag="issue.edited"):
    """The details of the issue changed."""

    details: IssueDetails


class IssueMoved(Event, frozen=True, tag="issue.moved"):
    """The status of the issue changed."""

    status: IssueStatus


class IssueCheckedOut(Event, frozen=True, tag="issue.checked_out"):
    """An agent works on the issue, in the work session `run_id`; with a lease, until `lease_until` unless it is renewed."""

    agent_id: UUID
    run_id: UUID | None
    lease_until: datetime | None = None


class IssueLeaseRenewed(Event, frozen=True, tag="issue.lease_renewed"):
    """The work session of the agent that has the issue renewed its lease."""

    agent_id: UUID
    until: datetime


class IssueReleased(Event, frozen=True, tag="issue.released"):
    """Nobody works on the issue, and nobody is assigned to it."""


class IssueFreed(Event, frozen=True, tag="issue.freed"):
    """
    The issue was taken from the work session `run_id` and stays with its assignee: the session's lease ran out, or
    somebody of the board released it by force. That session may not change the issue any more.
    """

    reason: FreedReason
    run_id: UUID | None


class CommentAdded(Event, frozen=True, tag="comment.added"):
    """Somebody commented on an issue. A comment without agent and user is from the system."""

    issue_id: UUID
    body: Text
    agent_id: UUID | None = None
    user_id: UUID | None = None
    run_id: UUID | None = None


IssueEvent = IssueOpened | IssueEdited | IssueMoved | IssueCheckedOut | IssueLeaseRenewed | IssueReleased | IssueFreed
