"""Goals (contract 7.4)."""

from uuid import UUID

from application.access import Principal, Resource, authorize
from application.event_store.stream_kinds import GOAL
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import GoalDraft, GoalPatch
from application.use_cases.board import companies
from application.use_cases.references import check_agent, check_goal, check_goals_above, merge_patch
from domain.board import goal
from domain.board.goal import Goal
from domain.errors import NotFound
from domain.events import GoalCreated
from domain.values import GoalDetails


def create(work: UnitOfWork, principal: Principal, company_id: UUID, draft: GoalDraft) -> UUID:
    """Create a goal; raise InvalidField when too many goals would lie above it."""
    authorize(work, principal, "administer", companies.enter(work, company_id))
    details = merge_patch(GoalDetails(title=draft.title), draft)
    _check(work, company_id, None, details)
    goal_id = work.new_id()
    work.record(goal_id, [GoalCreated(details=details)], company_id)
    return goal_id


def update(work: UnitOfWork, principal: Principal, goal_id: UUID, patch: GoalPatch) -> UUID:
    """Change the fields that the patch sets; references are checked when they change."""
    current = _find_writable(work, principal, goal_id)
    details = merge_patch(current.details, patch)
    _check(work, work.company_of(goal_id), goal_id, details, current.details)
    work.record(goal_id, goal.update(current, details))
    return goal_id


def delete(work: UnitOfWork, principal: Principal, goal_id: UUID) -> UUID:
    """Delete a goal; what points at it stays as it is."""
    work.record(goal_id, goal.delete(_find_writable(work, principal, goal_id)))
    return goal_id


def _check(
    work: UnitOfWork, company_id: UUID, goal_id: UUID | None, new: GoalDetails, old: GoalDetails | None = None
) -> None:
    if old is None or new.parent_id != old.parent_id:
        check_goal(work, company_id, new.parent_id)
        check_goals_above(work, new.parent_id, goal_id)
    if old is None or new.owner_agent_id != old.owner_agent_id:
        check_agent(work, company_id, new.owner_agent_id, "Owner agent")


def _find_writable(work: UnitOfWork, principal: Principal, goal_id: UUID) -> Goal:
    current = work.get(GOAL, goal_id)
    is_gone = current is None or current.deleted
    company_id = None if is_gone else work.company_of(goal_id)
    authorize(work, principal, "administer", Resource(company_id=company_id, kind="Goal"))
    if current is None:
        raise NotFound("Goal not found")
    return current
