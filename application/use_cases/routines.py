"""Routines (contract 3)."""

from uuid import UUID

from msgspec import UNSET

from application.access import Action, AgentCaller, Principal, Resource, authorize
from application.commands import RoutineDraft, RoutinePatch, VariableDraft
from application.streams import ROUTINE, TRIGGER
from application.use_cases import companies, references
from application.work import Work
from domain import routine, trigger
from domain.errors import Conflict, Forbidden, NotFound
from domain.identity import revision_of
from domain.routine import Routine
from domain.values import RoutineSettings, Variable

OTHER_ASSIGNEE = "Agents can only assign routines to themselves"


def create(work: Work, principal: Principal, company_id: UUID, draft: RoutineDraft) -> UUID:
    entered = companies.enter(work, company_id)
    authorize(
        work,
        principal,
        "assign",
        Resource(company_id=entered.company_id, kind="Company", by_company=True, owner=draft.assignee_agent_id),
    )
    settings = references.merged(RoutineSettings(title=draft.title), draft, variables=_variables(draft.variables))
    _check_references(work, company_id, settings, check_assignee=True)
    routine_id = work.new_id()
    work.record(routine_id, routine.create(settings), company_id)
    return routine_id


def update(work: Work, principal: Principal, routine_id: UUID, patch: RoutinePatch) -> UUID:
    found = writable(work, principal, routine_id, "own")
    settings = references.merged(found.settings, patch, variables=_variables(patch.variables))
    _authorize_change(work, principal, routine_id, found, patch)
    events = routine.update(found, settings)
    new = events[0].settings if events else found.settings  # type: ignore[union-attr]
    activates = new.status == "active" and found.settings.status != "active"
    company_id = work.company_of(routine_id)
    _check_references(
        work, company_id, new, check_assignee=patch.assignee_agent_id is not UNSET or activates, old=found.settings
    )
    if _has_enabled_schedule(work, found):
        routine.must_be_schedulable(new)
    _check_base(routine_id, found, patch)
    work.record(routine_id, events)
    if activates:
        _reschedule(work, found)
    return routine_id


def resource(work: Work, routine_id: UUID) -> Resource:
    found = work.get(ROUTINE, routine_id)
    owner = found.settings.assignee_agent_id if found else None
    return Resource(company_id=work.owner_of(ROUTINE, routine_id), kind="Routine", owner=owner)


def may_read(work: Work, principal: Principal, routine_id: UUID) -> None:
    authorize(work, principal, "read", resource(work, routine_id))


def writable(work: Work, principal: Principal, routine_id: UUID, action: Action) -> Routine:
    """The routine, for a caller who may change it: action `own`, or `assign` where work is assigned by it."""
    authorize(work, principal, action, resource(work, routine_id))
    if (found := work.get(ROUTINE, routine_id)) is None:
        raise NotFound("Routine not found")
    return found


def _authorize_change(work: Work, principal: Principal, routine_id: UUID, found: Routine, patch: RoutinePatch) -> None:
    reassigns = patch.assignee_agent_id not in (UNSET, found.settings.assignee_agent_id)
    if isinstance(principal, AgentCaller):
        if patch.assignee_agent_id not in (UNSET, principal.agent_id):
            raise Forbidden(OTHER_ASSIGNEE)
    elif reassigns or (patch.status == "active" and found.settings.status != "active"):
        authorize(work, principal, "assign", resource(work, routine_id))


def _check_references(
    work: Work, company_id: UUID, new: RoutineSettings, *, check_assignee: bool, old: RoutineSettings | None = None
) -> None:
    if old is None or new.project_id != old.project_id:
        references.check_project(work, company_id, new.project_id)
    if check_assignee:
        references.check_assignee(work, company_id, new.assignee_agent_id)
    if old is None or new.goal_id != old.goal_id:
        references.check_goal(work, company_id, new.goal_id)
    if old is None or new.parent_issue_id != old.parent_issue_id:
        references.check_issue(work, company_id, new.parent_issue_id)


def _check_base(routine_id: UUID, found: Routine, patch: RoutinePatch) -> None:
    head = revision_of(routine_id, found.revision)
    if patch.base_revision_id not in (None, head):
        raise Conflict("Routine was updated by someone else", {"currentRevisionId": str(head)})


def _has_enabled_schedule(work: Work, found: Routine) -> bool:
    schedules = [id_ for id_, kind in found.triggers.items() if kind == "schedule"]
    work.load(schedules)
    states = [work.get(TRIGGER, id_) for id_ in schedules]
    return any(state is not None and state.settings.enabled for state in states)


def _reschedule(work: Work, found: Routine) -> None:
    """What passed while the routine was paused is not made up for."""
    for id_, kind in found.triggers.items():
        state = work.get(TRIGGER, id_)
        if kind == "schedule" and state is not None:
            work.record(id_, trigger.reschedule(state, work.now))


def _variables(given: object) -> tuple[Variable, ...]:
    """Of two entries of one name the later wins (contract 2.1)."""
    drafts = given if isinstance(given, tuple) else ()
    by_name = {draft.name: _variable(draft) for draft in drafts}
    return tuple(by_name.values())


def _variable(draft: VariableDraft) -> Variable:
    return Variable(
        name=draft.name,
        label=draft.label,
        type=draft.type,
        default_value=draft.default_value,
        required=draft.required,
        options=draft.options,
    )
