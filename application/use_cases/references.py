"""Checks that what a body points at exists and belongs to the same company (contract 3.2, 3.7)."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from application.event_store.stream_kinds import AGENT, FOLDER, GOAL, ISSUE, PROJECT, Kind
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.budgets import BudgetDraft
from application.request_bodies.routines import AlertBoundsDraft, ProbeDraft, RetryPolicyDraft
from domain.board import agent
from domain.errors import InvalidField, NotFound, RuleViolation

S = TypeVar("S", bound=Struct)


def check_project(work: UnitOfWork, company_id: UUID, project_id: UUID | None) -> None:
    """Raise NotFound for an unknown or deleted project, RuleViolation for one of another company; None passes."""
    project = _same_company(work, company_id, project_id, PROJECT, "Project")
    if project is not None and project.deleted:
        raise NotFound("Project not found")


def check_goal(work: UnitOfWork, company_id: UUID, goal_id: UUID | None) -> None:
    """Raise NotFound for an unknown or deleted goal, RuleViolation for one of another company; None passes."""
    goal = _same_company(work, company_id, goal_id, GOAL, "Goal")
    if goal is not None and goal.deleted:
        raise NotFound("Goal not found")


def check_folder(work: UnitOfWork, company_id: UUID, folder_id: UUID | None, name: str = "Folder") -> None:
    """Raise NotFound for an unknown or deleted folder, RuleViolation for one of another company; None passes."""
    folder = _same_company(work, company_id, folder_id, FOLDER, name)
    if folder is not None and folder.deleted:
        raise NotFound(f"{name} not found")


def check_parent_issue(work: UnitOfWork, company_id: UUID, issue_id: UUID | None) -> None:
    """Raise NotFound for an unknown issue, RuleViolation for one of another company; None passes."""
    _same_company(work, company_id, issue_id, ISSUE, "Parent issue")


def check_agent(work: UnitOfWork, company_id: UUID, agent_id: UUID | None, name: str = "Agent") -> None:
    """Raise NotFound for an unknown agent, RuleViolation for one of another company; `name` begins the message."""
    _same_company(work, company_id, agent_id, AGENT, name)


def check_assignee(work: UnitOfWork, company_id: UUID, agent_id: UUID | None) -> None:
    """
    Raise an error unless routines can be assigned to the agent; None passes.

    That is NotFound for an unknown agent, RuleViolation for one of another company, Conflict for one that is terminated
    or not approved yet.
    """
    if agent_id is None:
        return
    if (current := work.get(AGENT, agent_id)) is None:
        raise NotFound("Assignee agent not found")
    if work.company_of(agent_id) != company_id:
        raise RuleViolation("Assignee must belong to same company")
    agent.must_be_assignable(current, str(agent_id), str(company_id))


def check_superiors(work: UnitOfWork, reports_to: UUID | None, agent_id: UUID | None = None) -> None:
    """Raise InvalidField when an agent would report to itself through others, or has too many superiors."""
    _check_line(work, AGENT, reports_to, agent_id, lambda above: above.profile.reports_to, "reportsTo")


def check_goals_above(work: UnitOfWork, parent_id: UUID | None, goal_id: UUID | None = None) -> None:
    """Raise InvalidField when a goal would lie above itself, or too many lie above it."""
    _check_line(work, GOAL, parent_id, goal_id, lambda above: above.details.parent_id, "parentId")


def check_folders_above(work: UnitOfWork, parent_id: UUID | None, folder_id: UUID | None = None) -> None:
    """Raise InvalidField when a folder would lie in itself, or too many lie around it."""
    _check_line(work, FOLDER, parent_id, folder_id, lambda above: above.details.parent_id, "parentId")


def check_issues_above(
    work: UnitOfWork, parent_id: UUID | None, issue_id: UUID | None = None, field: str = "parentId"
) -> None:
    """Raise InvalidField for this field when an issue would lie above itself, or too many lie above it."""
    _check_line(work, ISSUE, parent_id, issue_id, lambda above: above.details.parent_id, field)


def _check_line(  # noqa: PLR0913, PLR0917 what tells the kinds of lines apart
    work: UnitOfWork,
    kind: Kind[S],
    first: UUID | None,
    own: UUID | None,
    parent_of: Callable[[S], UUID | None],
    field: str,
) -> None:
    """
    Follow a line of parents up to its end; raise InvalidField if it comes back to where it began, or is too long.

    All of the line is read and so guarded: of two writers who would close a circle together the second is refused.
    """
    current = first
    for _ in range(work.limits.max_parents):
        if current is None:
            return
        if current == own:
            raise InvalidField(f"{field} must not lead back to itself", field)
        state = work.get(kind, current)
        current = None if state is None else parent_of(state)
    if current is not None:
        raise InvalidField(f"{field} must have at most {work.limits.max_parents - 1} above it", field)


def merge_patch(old: S, patch: Struct, **values: Any) -> S:
    """Return `old` with the fields that the patch sets; `values` replace patch fields whose type is another one."""
    patched = {name: _of_domain(value) for name, value in asdict(patch).items() if value is not UNSET}
    fields = set(old.__struct_fields__)
    return replace(old, **{name: values.get(name, value) for name, value in patched.items() if name in fields})


def _of_domain(value: Any) -> Any:
    return value.value() if isinstance(value, AlertBoundsDraft | BudgetDraft | ProbeDraft | RetryPolicyDraft) else value


def _same_company(work: UnitOfWork, company_id: UUID, id_: UUID | None, kind: Kind[S], name: str) -> S | None:
    if id_ is None:
        return None
    if (state := work.get(kind, id_)) is None:
        raise NotFound(f"{name} not found")
    if work.company_of(id_) != company_id:
        raise RuleViolation(f"{name} must belong to same company")
    return state
