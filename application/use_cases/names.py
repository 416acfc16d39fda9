"""Names by which Jetty's clients call collections, tasks in them, and routines of a task (Jetty contract 1)."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from application.access import Action, Principal, Resource, authorize, may
from application.event_store.stream_kinds import CLAIM, COMPANY, ROUTINE, TASK
from application.event_store.unit_of_work import UnitOfWork
from domain.errors import DomainError, NotFound
from domain.events import NameClaimed, NameReleased
from domain.identity import claim_of
from domain.jetty import task as tasks
from domain.jetty.task import Task
from domain.routines.routine import Routine
from domain.values import TaskCall, Value

COLLECTIONS = "collection"
LONGEST = 200  # characters of a name


class TaskPath(Value, frozen=True):
    """A task by the names in an address."""

    collection: str
    task: str


class RoutinePath(TaskPath, frozen=True):
    """A routine by the names in an address."""

    name: str


class TaskRef(Value, frozen=True):
    """The task that a path names, with its ids."""

    company_id: UUID
    task_id: UUID
    task: Task


class RoutineRef(Value, frozen=True):
    """The routine that a path names, with its ids, its task and its call."""

    company_id: UUID
    task_id: UUID
    task: Task
    routine_id: UUID
    routine: Routine
    call: TaskCall


Named = TypeVar("Named")
Place = TypeVar("Place", bound=UUID | TaskRef | RoutineRef)


def tasks_of(company_id: UUID) -> str:
    """Return the scope of the names of a company's tasks."""
    return f"task|{company_id}"


def routines_of(task_id: UUID) -> str:
    """Return the scope of the names of a task's routines."""
    return f"routine|{task_id}"


def take(  # noqa: PLR0913, PLR0917 the fields of a claim, and its refusal
    work: UnitOfWork, scope: str, name: str, holder_id: UUID, company_id: UUID, refusal: DomainError
) -> None:
    """Claim the name for its holder; raise `refusal` when somebody has it."""
    if work.get(CLAIM, claim_of(scope, name)) is not None:
        raise refusal
    work.record(claim_of(scope, name), [NameClaimed(scope=scope, name=name, holder_id=holder_id)], company_id)


def release_name(work: UnitOfWork, scope: str, name: str) -> None:
    """Release the name, so that others can take it; do nothing when nobody has it."""
    if work.get(CLAIM, claim_of(scope, name)) is not None:
        work.record(claim_of(scope, name), [NameReleased()])


def look_with_rights(
    work: UnitOfWork, principal: Principal, find: Callable[[UnitOfWork, Principal, Named], Place], reference: Named
) -> tuple[Place, bool]:
    """Return what `find` gives, and whether the caller may change its callbacks, and so sees their addresses."""
    resource = find(work, principal, reference)
    company_id = resource if isinstance(resource, UUID) else resource.company_id
    return resource, may(work, principal, "assign", Resource(company_id=company_id, kind="Collection"))


def collection(work: UnitOfWork, principal: Principal, name: str, action: Action = "read") -> UUID:
    """
    Return the company that a collection is.

    Raises NotFound for an unknown one, and in the same words for one that the caller may not see.
    """
    company_id = _company_named(work, name)
    authorize(work, principal, action, Resource(company_id=company_id, kind="Collection"))
    if company_id is None:
        raise NotFound
    return company_id


def task(work: UnitOfWork, principal: Principal, path: TaskPath, action: Action = "read") -> TaskRef:
    """Return the task at the path; raise NotFound when it is unknown or deleted, or the caller may not see it."""
    company_id = collection(work, principal, path.collection, action)
    task_id = _find_holder(work, tasks_of(company_id), path.task)
    return TaskRef(company_id=company_id, task_id=task_id, task=tasks.must_be_there(work.get(TASK, task_id)))


def routine(work: UnitOfWork, principal: Principal, path: RoutinePath, action: Action = "read") -> RoutineRef:
    """Return the routine at the path; raise NotFound when it is unknown or archived, or the caller may not see it."""
    ref = task(work, principal, path, action)
    routine_id = _find_holder(work, routines_of(ref.task_id), path.name)
    current = work.get(ROUTINE, routine_id)
    if current is None or current.settings.call is None or current.settings.status == "archived":
        raise NotFound
    return RoutineRef(
        company_id=ref.company_id,
        task_id=ref.task_id,
        task=ref.task,
        routine_id=routine_id,
        routine=current,
        call=current.settings.call,
    )


def name_of_collection(work: UnitOfWork, company_id: UUID) -> str:
    """Return the name of a company as a collection; one without such a name goes by its id."""
    company = work.get(COMPANY, company_id)
    return str(company_id) if company is None or company.collection_name is None else company.collection_name


def full_name_of_task(work: UnitOfWork, company_id: UUID, task_id: UUID) -> str:
    """Return the name that a task has everywhere: <collection>/<task>."""
    current = work.get(TASK, task_id)
    return f"{name_of_collection(work, company_id)}/{current.details.name if current else task_id}"


def _company_named(work: UnitOfWork, name: str) -> UUID | None:
    """Return the company that has claimed the name; a company that has claimed none goes by its id."""
    if not 0 < len(name) <= LONGEST:
        return None
    if (company_id := work.get(CLAIM, claim_of(COLLECTIONS, name))) is not None:
        return company_id
    try:
        company_id = UUID(name)
    except ValueError:
        return None
    company = work.get(COMPANY, company_id)
    return None if company is None or company.collection_name is not None or str(company_id) != name else company_id


def _find_holder(work: UnitOfWork, scope: str, name: str) -> UUID:
    claim = work.get(CLAIM, claim_of(scope, name)) if 0 < len(name) <= LONGEST else None
    if claim is None:
        raise NotFound
    return claim
