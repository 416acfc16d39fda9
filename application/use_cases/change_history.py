"""The whole history of a routine or a trigger, for those who may see the revisions of the routine."""

from collections.abc import Sequence
from uuid import UUID

from application.access import Principal
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import revisions
from domain.errors import NotFound
from domain.events import TriggerCreated
from domain.recorded import Recorded


def of_routine(work: UnitOfWork, principal: Principal, routine_id: UUID) -> Sequence[Recorded]:
    """Return the events of a routine. Raise NotFound or Forbidden as for its revisions."""
    history, _ = revisions.read_history(work, principal, routine_id)
    return history


def of_trigger(work: UnitOfWork, principal: Principal, trigger_id: UUID) -> Sequence[Recorded]:
    """Return the events of a trigger, also of a deleted one. Raise NotFound or Forbidden as for its routine's revisions."""
    history = work.history(trigger_id)
    created = history[0].event if history else None
    if not isinstance(created, TriggerCreated):
        raise NotFound("Routine trigger not found")
    try:
        revisions.may_list(work, principal, created.routine_id)
    except NotFound:
        raise NotFound("Routine trigger not found") from None
    return history
