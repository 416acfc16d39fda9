"""Reading the revisions of a routine, and restoring an earlier one (contract 3.6)."""

from collections.abc import Sequence
from uuid import UUID

from msgspec.structs import replace

from application.access import AgentCaller, Principal
from application.event_store.stream_kinds import FOLDER, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import chains, probes, routines, schedule_changes, triggers
from application.use_cases.triggers import NewSecret
from domain.errors import Conflict, Forbidden, NotFound
from domain.events import RoutineRestored
from domain.identity import revision_of
from domain.recorded import Recorded
from domain.routines import routine, trigger
from domain.routines.routine import Routine
from domain.values import TriggerState, Value

OWN_ONLY = "Agents can only restore routine revisions assigned to themselves"


class RestoredRevision(Value, frozen=True):
    """A revision that was restored, the events of the routine with this one, and the webhook secrets that were made for it."""

    routine_id: UUID
    from_revision: int
    history: Sequence[Recorded]
    new_secrets: tuple[NewSecret, ...]


def may_list(work: UnitOfWork, principal: Principal, routine_id: UUID) -> bool:
    """
    Raise unless the caller may see the revisions: agents see those of their own routines only (contract 3).

    Returns what `routines.may_read` does.
    """
    sees_addresses = routines.may_read(work, principal, routine_id)
    if isinstance(principal, AgentCaller):
        routines.get_writable_routine(work, principal, routine_id, "own")
    return sees_addresses


def read_history(work: UnitOfWork, principal: Principal, routine_id: UUID) -> tuple[Sequence[Recorded], bool]:
    """Return the events of a routine, and whether the caller sees addresses. Raises as `may_list` does."""
    sees_addresses = may_list(work, principal, routine_id)
    return work.history(routine_id), sees_addresses


def restore(work: UnitOfWork, principal: Principal, routine_id: UUID, revision_id: UUID) -> RestoredRevision:
    """
    Restore settings and triggers; deleted triggers come back under their ids, webhooks among them with a new secret.

    Raises NotFound for an unknown revision, Conflict for the current one and for a routine that is archived or calls a
    task, Forbidden when an agent would restore one that is assigned to another.
    """
    current = routines.get_writable_routine(work, principal, routine_id, "assign")
    old_revision = _routine_at(work, routine_id, revision_id)
    if old_revision.revision == current.revision:
        raise Conflict("Selected revision is already the latest revision", {"currentRevisionId": str(revision_id)})
    routine.must_not_be_archived(current)
    routine.must_not_call_a_task(current)
    if isinstance(principal, AgentCaller) and old_revision.settings.assignee_agent_id != principal.agent_id:
        raise Forbidden(OWN_ONLY)
    company_id = work.company_of(routine_id)
    old_revision = _out_of_deleted_folder(work, old_revision)
    routines.check_references(work, company_id, old_revision.settings, check_assignee=True, old=current.settings)
    probes.check_probe(work, old_revision.settings.probe, current.settings.probe)
    work.load([*current.triggers, *old_revision.triggers])
    for id_ in current.triggers.keys() - old_revision.triggers.keys():
        triggers.remove(work, id_, triggers.get_trigger(work, id_))
    (restore_event,) = routine.restore(current, old_revision, old_revision.triggers, work.now)
    new_secrets = [
        _restore(work, id_, state, current, restore_event, company_id) for id_, state in old_revision.triggers.items()
    ]
    states = {id_: trigger.state_of(triggers.get_trigger(work, id_)) for id_ in old_revision.triggers}
    work.record(routine_id, [replace(restore_event, triggers=states)])
    return RestoredRevision(
        routine_id=routine_id,
        from_revision=old_revision.revision,
        history=work.history(routine_id),
        new_secrets=tuple(secret for secret in new_secrets if secret is not None),
    )


def _routine_at(work: UnitOfWork, routine_id: UUID, revision_id: UUID) -> Routine:
    """Return the routine as it was at a revision; raise NotFound."""
    state = None
    for recorded in work.history(routine_id):
        state = routine.evolve(state, recorded.event)  # type: ignore[arg-type]
        if revision_of(routine_id, recorded.version) == revision_id:
            return state
    raise NotFound("Routine revision not found")


def _out_of_deleted_folder(work: UnitOfWork, old_revision: Routine) -> Routine:
    """Return the earlier routine, without its folder if that is deleted: this alone must not prevent a restore."""
    folder = work.get(FOLDER, old_revision.settings.folder_id)
    if folder is None or not folder.deleted:
        return old_revision
    return replace(old_revision, settings=replace(old_revision.settings, folder_id=None))


def _restore(  # noqa: PLR0913, PLR0917 the trigger and the routine, before and after
    work: UnitOfWork, trigger_id: UUID, state: TriggerState, old: Routine, new: RoutineRestored, company_id: UUID
) -> NewSecret | None:
    """Restore a trigger, before the routine itself is restored."""
    if (current := work.get(TRIGGER, trigger_id)) is None:
        raise NotFound("Routine trigger not found")
    chains.must_be_linkable(work, current.routine_id, state.settings)
    if current.deleted:
        webhook, new_secret = triggers.open_webhook(work, trigger_id, state.settings.signing_mode, company_id)
        work.record(trigger_id, trigger.restore(current, state, work.now, webhook))
    else:
        webhook, new_secret = triggers.fit_secret(work, trigger_id, current, state.settings.signing_mode)
        schedule_changes.change_settings(
            work, trigger_id, current, old, state.settings, webhook, status=new.settings.status, may_be_over=True
        )
    return new_secret
