"""A project groups routines and issues; while it is paused, schedules of its routines are suppressed."""

from msgspec.structs import replace

from domain.errors import Conflict, ImpossibleHistory
from domain.events import ProjectCreated, ProjectDeleted, ProjectEvent, ProjectPaused, ProjectResumed, ProjectUpdated
from domain.values import ProjectDetails, Value


class Project(Value, frozen=True):
    details: ProjectDetails
    paused: bool = False
    deleted: bool = False


def evolve(project: Project | None, event: ProjectEvent) -> Project:
    match project, event:
        case None, ProjectCreated(details=details):
            return Project(details=details)
        case Project(deleted=False), ProjectUpdated(details=details):
            return replace(project, details=details)
        case Project(deleted=False), ProjectPaused():
            return replace(project, paused=True)
        case Project(deleted=False), ProjectResumed():
            return replace(project, paused=False)
        case Project(deleted=False), ProjectDeleted():
            return replace(project, deleted=True)
        case _:
            raise ImpossibleHistory(project, event)


def is_paused(project: Project | None) -> bool:
    """Whether it keeps its routines from working; no project, or one that is gone, does not."""
    return project is not None and project.paused and not project.deleted


def update(project: Project, details: ProjectDetails) -> list[ProjectEvent]:
    return [] if details == project.details else [ProjectUpdated(details=details)]


def pause(project: Project) -> list[ProjectEvent]:
    return [] if project.paused else [ProjectPaused()]


def resume(project: Project) -> list[ProjectEvent]:
    return [ProjectResumed()] if project.paused else []


def delete(project: Project, *, in_use: bool = False) -> list[ProjectEvent]:
    if in_use:
        raise Conflict("Project has routines: move or reassign them first")
    return [] if project.deleted else [ProjectDeleted()]
