"""Routines (contract 3)."""

from uuid import UUID

from msgspec import UNSET
from msgspec.structs import replace

from application.access import Action, AgentCaller, BoardUser, CollectionCaller, Principal, Resource, authorize, may
from application.event_store.stream_kinds import COMPANY, ROUTINE
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.routines import RoutineDraft, RoutinePatch
from application.use_cases import probes, references, routine_environment, schedule_changes, task_firing
from application.use_cases.board import companies
from domain.board import company
from domain.errors import Conflict, DomainError, Forbidden, InvalidField, NotFound
from domain.events import IssueOpened
from domain.identity import revision_of
from domain.routines import routine, variables
from domain.routines.routine import Routine
from domain.values import RoutineSettings, Variable

OTHER_ASSIGNEE = "Agents can only assign routines to themselves"


def create(work: UnitOfWork, principal: Principal, company_id: UUID, draft: RoutineDraft) -> UUID:
    """Create a routine and return its id; an agent may create only routines that are assigned to it."""
    entry = companies.enter(work, company_id)
    authorize(
        work,
        principal,
        "assign",
        Resource(company_id=entry.company_id, kind="Company", by_company=True, owner=draft.assignee_agent_id),
    )
    routine_id = work.new_id()
    env = routine_environment.bind(work, principal, company_id, routine_id, draft.env)
    settings = references.merge_patch(
        RoutineSettings(title=draft.title), draft, variables=_read_variables(draft), env=env
    )
    settings = replace(settings, probe=probes.check_probe(work, settings.probe))
    check_references(work, company_id, settings, check_assignee=True)
    variables.check_defaults(settings.variables)
    [created] = routine.create(settings, find_responsible_user(work, principal, settings), work.limits)
    _check_pause(draft, created.settings)
    work.record(routine_id, [created], company_id)
    return routine_id


def update(
    work: UnitOfWork, principal: Principal, routine_id: UUID, patch: RoutinePatch, bulk_pause_id: UUID | None = None
) -> UUID:
    """
    Change the settings that the patch sets; raise Conflict when `base_revision_id` is not the current revision.

    A bulk pause says which one it is (`bulk_pause_id`).

    An archived routine stays archived, else it raises Conflict as well. Occurrences that wait when it is archived are
    missed; when it is paused they wait on. Resumed schedules go on as `go_on` says.
    """
    current = get_writable_routine(work, principal, routine_id, "own")
    if patch.env not in (UNSET, None):
        routine.must_not_call_a_task(current)  # the work of a task gets the environment of the collection
    company_id = work.company_of(routine_id)
    env = routine_environment.bind(work, principal, company_id, routine_id, patch.env, current.settings.env)
    settings = references.merge_patch(current.settings, patch, variables=_read_variables(patch), env=env)
    settings = replace(settings, probe=probes.check_probe(work, settings.probe, current.settings.probe))
    if current.settings.status != "paused":
        settings = replace(settings, bulk_pause_id=bulk_pause_id)
    _authorize_change(work, principal, routine_id, current, patch)
    events = routine.update(current, settings, work.limits)
    new = events[0].settings if events else current.settings  # type: ignore[union-attr]
    _check_pause(patch, new, current.settings)
    activates = new.status == "active" and current.settings.status != "active"
    check_references(
        work, company_id, new, check_assignee=patch.assignee_agent_id is not UNSET or activates, old=current.settings
    )
    variables.check_defaults(new.variables)
    if routine.has_enabled_schedule(current):
        routine.must_be_schedulable(new)
    _check_base(routine_id, current, patch)
    if new.status == "archived" and current.settings.status != "archived":
        schedule_changes.record_all_waiting_as_missed(work, current)
        if new.call is not None:
            task_firing.release(work, routine_id, new.call)
            events = routine.update(current, replace(new, call=replace(new.call, secrets=None, callback=None)))
    if activates:
        schedule_changes.resume_all(work, current)
    work.record(routine_id, events)
    return routine_id


def undo_bulk_pause(work: UnitOfWork, principal: Principal, routine_id: UUID, pause_id: UUID | None) -> bool:
    """
    Resume a routine that this bulk pause (None: any) has paused; return False for one that was paused otherwise.

    Raises as `update` does.
    """
    current = get_writable_routine(work, principal, routine_id, "own")
    paused_by = current.settings.bulk_pause_id
    if current.settings.status != "paused" or paused_by is None or pause_id not in (None, paused_by):
        return False
    update(work, principal, routine_id, RoutinePatch(status="active"))
    return True


def resume_overdue(work: UnitOfWork, routine_id: UUID, current: Routine) -> None:
    """Resume a routine whose pause is over; it stays paused without an end when its assignee cannot work or its company is archived."""
    new_settings = replace(current.settings, status="active", resume_at=None)
    try:
        company.must_not_be_archived(work.get(COMPANY, work.company_of(routine_id)))
        references.check_assignee(work, work.company_of(routine_id), new_settings.assignee_agent_id)
        events = routine.update(current, new_settings)
    except DomainError as refusal:
        stays = replace(current.settings, resume_at=None, pause_note=f"Could not be resumed: {refusal.message}")
        events = routine.update(current, stays)
    else:
        schedule_changes.resume_all(work, current)
    work.record(routine_id, events)


def resource(work: UnitOfWork, routine_id: UUID) -> Resource:
    """Return the routine as a resource whose owner is its assignee; an unknown one belongs to no company."""
    current = work.get(ROUTINE, routine_id)
    owner = current.settings.assignee_agent_id if current else None
    return Resource(company_id=work.owner_of(ROUTINE, routine_id), kind="Routine", owner=owner)


def may_read(work: UnitOfWork, principal: Principal, routine_id: UUID) -> bool:
    """
    Raise unless the caller may see the routine; return whether they may change its triggers.

    Those who may change them see the addresses of its webhooks.
    """
    target = resource(work, routine_id)
    authorize(work, principal, "read", target)
    return may(work, principal, "assign", target)


def may_work(work: UnitOfWork, principal: Principal, company_id: UUID) -> None:
    """Raise unless the caller is an agent of the company, or a member who may write."""
    authorize(work, principal, "work", companies.enter(work, company_id))


def get_writable_routine(work: UnitOfWork, principal: Principal, routine_id: UUID, action: Action) -> Routine:
    """Return the routine to a caller who may change it; the action is `own`, or `assign` where it assigns work."""
    authorize(work, principal, action, resource(work, routine_id))
    if (current := work.get(ROUTINE, routine_id)) is None:
        raise NotFound("Routine not found")
    return current


def _authorize_change(
    work: UnitOfWork, principal: Principal, routine_id: UUID, current: Routine, patch: RoutinePatch
) -> None:
    reassigns = patch.assignee_agent_id not in (UNSET, current.settings.assignee_agent_id)
    if isinstance(principal, AgentCaller):
        if patch.assignee_agent_id not in (UNSET, principal.agent_id):
            raise Forbidden(OTHER_ASSIGNEE)
    elif reassigns or (patch.status == "active" and current.settings.status != "active"):
        authorize(work, principal, "assign", resource(work, routine_id))


def check_references(
    work: UnitOfWork,
    company_id: UUID,
    new: RoutineSettings,
    *,
    check_assignee: bool,
    old: RoutineSettings | None = None,
) -> None:
    """Raise when the settings point at something unknown or unusable; references that have not changed may stay."""
    if old is None or new.project_id != old.project_id:
        references.check_project(work, company_id, new.project_id)
    if check_assignee:
        references.check_assignee(work, company_id, new.assignee_agent_id)
    if old is None or new.goal_id != old.goal_id:
        references.check_goal(work, company_id, new.goal_id)
    if old is None or new.folder_id != old.folder_id:
        references.check_folder(work, company_id, new.folder_id)
    if old is None or new.parent_issue_id != old.parent_issue_id:
        references.check_parent_issue(work, company_id, new.parent_issue_id)
        references.check_issues_above(work, new.parent_issue_id, field="parentIssueId")


def _check_pause(body: RoutineDraft | RoutinePatch, new: RoutineSettings, old: RoutineSettings | None = None) -> None:
    """Raise InvalidField for what belongs to a pause if the routine is not paused; what it had before is cleared."""
    for name, field in (("pause_note", "pauseNote"), ("resume_at", "resumeAt")):
        value = getattr(body, name)
        if value in (UNSET, None) or new.status == "paused" or (old is not None and value == getattr(old, name)):
            continue
        raise InvalidField(f"{field} belongs to a pause, and the routine is {new.status}", field)


def _check_base(routine_id: UUID, current: Routine, patch: RoutinePatch) -> None:
    head = revision_of(routine_id, current.revision)
    if patch.base_revision_id not in (None, head):
        raise Conflict("Routine was updated by someone else", {"currentRevisionId": str(head)})


def find_responsible_user(work: UnitOfWork, principal: Principal, settings: RoutineSettings) -> UUID | None:
    """Return the user who created the routine; for an agent, the user who created the parent issue (contract 2)."""
    if isinstance(principal, BoardUser):
        return principal.user_id
    if isinstance(principal, CollectionCaller):
        return None
    parent = settings.parent_issue_id and work.history(settings.parent_issue_id)[0].event
    return parent.created_by_user_id if isinstance(parent, IssueOpened) else None


def _read_variables(body: RoutineDraft | RoutinePatch) -> tuple[Variable, ...]:
    return () if body.variables is UNSET else tuple(draft.variable() for draft in body.variables)
