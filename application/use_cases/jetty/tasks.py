"""Tasks, which routines and callers call (Jetty contract 7)."""

from uuid import UUID

from msgspec import UNSET

from application.access import Principal
from application.event_store.stream_kinds import ROUTINE
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.jetty import TaskChange, TaskCreate
from application.use_cases import names
from application.use_cases.jetty import task_routines
from application.use_cases.names import TaskPath
from application.use_cases.references import merge_patch
from domain.errors import Conflict, InvalidField
from domain.events import TaskDeleted, TaskRoutineRemoved
from domain.jetty import task
from domain.values import TaskDetails

RESERVED = frozenset({"search"})  # names that stand for an operation in the path of a task


def create(work: UnitOfWork, principal: Principal, collection: str, draft: TaskCreate) -> UUID:
    """Create a task; raise InvalidField for a workflow that is none and a reserved name, Conflict for a taken name."""
    company_id = names.collection(work, principal, collection, "administer")
    _check_name(draft.name)
    details = TaskDetails(name=draft.name, description=draft.description, workflow=draft.workflow)
    events = task.create(details, work.limits)
    task_id = work.new_id()
    refusal = _name_conflict(draft.name, collection)
    names.take(work, names.tasks_of(company_id), draft.name, task_id, company_id, refusal)
    work.record(task_id, events, company_id)
    return task_id


def update(work: UnitOfWork, principal: Principal, path: TaskPath, change: TaskChange) -> UUID:
    """Change the fields that the patch sets; raise as `create` does."""
    ref = names.task(work, principal, path, "administer")
    details = merge_patch(ref.task.details, change)
    events = task.update(ref.task, details, work.limits)
    if change.name is not UNSET and details.name != ref.task.details.name:
        _check_name(details.name)
        scope = names.tasks_of(ref.company_id)
        names.take(
            work, scope, details.name, ref.task_id, ref.company_id, _name_conflict(details.name, path.collection)
        )
        names.release_name(work, scope, ref.task.details.name)
    work.record(ref.task_id, events)
    return ref.task_id


def delete(work: UnitOfWork, principal: Principal, path: TaskPath) -> bool:
    """
    Carry out one step of deleting a task; return True once it is gone.

    Its routines go with it, the newest first, each in a step of its own, since all of them may be more than one unit of
    work may read. Its trajectories stay.
    """
    ref = names.task(work, principal, path, "administer")
    if ref.task.routines:
        _archive_routine(work, ref.task_id, ref.task.routines[-1])
        return False
    names.release_name(work, names.tasks_of(ref.company_id), ref.task.details.name)
    work.record(ref.task_id, [TaskDeleted()])
    return True


def _archive_routine(work: UnitOfWork, task_id: UUID, routine_id: UUID) -> None:
    routine = work.get(ROUTINE, routine_id)
    if routine is not None and routine.settings.call is not None:
        task_routines.archive(work, routine_id, routine, routine.settings.call)
    else:
        work.record(task_id, [TaskRoutineRemoved(routine_id=routine_id)])


def _check_name(name: str) -> None:
    if name in RESERVED:
        raise InvalidField(f"The name '{name}' is reserved: a task of this name could not be read", "name")


def _name_conflict(name: str, collection: str) -> Conflict:
    return Conflict(f"Task with name '{name}' already exists in collection '{collection}'")
