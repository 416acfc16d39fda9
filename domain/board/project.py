"""A project groups routines and issues; while it is paused, schedules of its routines are suppressed."""

from msgspec.structs import replace

from domain.errors import Conflict, ImpossibleHistory
from domain.events import ProjectCreated, ProjectDeleted, ProjectEvent, ProjectPaused, ProjectResumed, ProjectUpdated
from domain.values import ProjectDetails, Value


class Project(Value, frozen=True):
    """The state of a project; a deleted one stays known, since issues keep its id."""

    details: ProjectDetails
    paused: bool = False
    deleted: bool = False


def evolve(project: Project | None, event: ProjectEvent) -> Project:
    """Fold an event into the state of a project. Raise ImpossibleHistory if the event cannot follow."""
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
    """Return whether the project keeps its routines from working; None, or a deleted one, does not."""
    return project is not None and project.paused and not project.deleted


def update(project: Project, details: ProjectDetails) -> list[ProjectEvent]:
    """Change the details; nothing is recorded when they are the same."""
    return [] if details == project.details else [ProjectUpdated(details=details)]


def pause(project: Project) -> list[ProjectEvent]:
    """Suppress the schedules of the project's routines; nothing if it is paused already."""
    return [] if project.paused else [ProjectPaused()]


def resume(project: Project) -> list[ProjectEvent]:
    """Let the schedules of the project's routines run again; nothing if it is not paused."""
    return [ProjectResumed()] if project.paused else []


def delete(project: Project, *, in_use: bool = False) -> list[ProjectEvent]:
    """Delete the project; nothing if it is deleted already. Raise Conflict if it has routines (`in_use`)."""
    if in_use:
        raise Conflict("Project has routines: move or reassign them first")
    return [] if project.deleted else [ProjectDeleted()]
