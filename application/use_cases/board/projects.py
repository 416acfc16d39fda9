"""Projects (contract 7.4)."""

from collections.abc import Callable
from datetime import date
from uuid import UUID

from msgspec.structs import replace

from application.access import Principal, Resource, authorize
from application.event_store.stream_kinds import PROJECT
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import ProjectDraft, ProjectPatch
from application.use_cases.board import companies
from application.use_cases.references import check_agent, check_goal, merge_patch
from domain.board import project
from domain.board.agent import url_keys
from domain.board.project import Project
from domain.errors import NotFound
from domain.events import ProjectCreated, ProjectEvent
from domain.values import ProjectDetails


def create(work: UnitOfWork, principal: Principal, company_id: UUID, draft: ProjectDraft) -> UUID:
    """Create a project; its goal and its lead agent must be of the company."""
    authorize(work, principal, "administer", companies.enter(work, company_id))
    check_goal(work, company_id, draft.goal_id)
    check_agent(work, company_id, draft.lead_agent_id, "Lead agent")
    project_id = work.new_id()
    url_key = companies.claim(work, f"project|{company_id}", url_keys(draft.name), project_id, company_id)
    details = _merge(ProjectDetails(name=draft.name), draft)
    work.record(project_id, [ProjectCreated(details=details, url_key=url_key)], company_id)
    return project_id


def update(work: UnitOfWork, principal: Principal, project_id: UUID, patch: ProjectPatch) -> UUID:
    """Change the fields that the patch sets; references are checked when they change."""
    current = _find_writable(work, principal, project_id)
    details = _merge(current.details, patch)
    company_id = work.company_of(project_id)
    if details.goal_id != current.details.goal_id:
        check_goal(work, company_id, details.goal_id)
    if details.lead_agent_id != current.details.lead_agent_id:
        check_agent(work, company_id, details.lead_agent_id, "Lead agent")
    work.record(project_id, project.update(current, details))
    return project_id


def _merge(details: ProjectDetails, body: ProjectDraft | ProjectPatch) -> ProjectDetails:
    """Return the details with what the body sets. A date is text in them, as older versions took any text."""
    merged = merge_patch(details, body)
    return replace(merged, target_date=body.target_date.isoformat()) if isinstance(body.target_date, date) else merged


def pause(work: UnitOfWork, principal: Principal, project_id: UUID) -> UUID:
    """Pause a project: its scheduled firings open no issues, and its issues cannot be checked out."""
    return _change_project(work, principal, project_id, project.pause)


def resume(work: UnitOfWork, principal: Principal, project_id: UUID) -> UUID:
    """Resume a project."""
    return _change_project(work, principal, project_id, project.resume)


def delete(work: UnitOfWork, principal: Principal, project_id: UUID, *, in_use: bool = False) -> UUID:
    """Delete a project; raise Conflict while a routine is in it (`in_use`, from the read model). Its issues stay."""
    return _change_project(work, principal, project_id, lambda current: project.delete(current, in_use=in_use))


def _change_project(
    work: UnitOfWork, principal: Principal, project_id: UUID, decide: Callable[[Project], list[ProjectEvent]]
) -> UUID:
    work.record(project_id, decide(_find_writable(work, principal, project_id)))
    return project_id


def _find_writable(work: UnitOfWork, principal: Principal, project_id: UUID) -> Project:
    current = work.get(PROJECT, project_id)
    is_gone = current is None or current.deleted
    company_id = None if is_gone else work.company_of(project_id)
    authorize(work, principal, "administer", Resource(company_id=company_id, kind="Project"))
    if current is None:
        raise NotFound("Project not found")
    return current
