"""The routes that pause or resume many routines of a company at once (our addition)."""

from collections.abc import Callable
from uuid import UUID, uuid4

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from application.access import Caller
from application.request_bodies.routines import BulkPause, BulkResume, BulkSelection, RoutinePatch
from application.use_cases import routines as use_cases
from domain.errors import DomainError, InvalidField, RuleViolation
from domain.values import RoutineStatus
from projections.responses import ResponseBody
from projections.routines import routine_list
from projections.routines.routine_list import SelectedRoutine
from web.http.backend import Backend
from web.http.path_ids import CompanyId
from web.http.routing import post
from web.http.validation import must_resume

MODELS = ("routines",)
MOST = 1_000


class Refused(ResponseBody, frozen=True, kw_only=True):
    """A routine that was not changed, and the reason."""

    routine_id: UUID
    error: str


class BulkAnswer(ResponseBody, frozen=True, kw_only=True):
    """The outcome for each selected routine: it was changed, was left as it is, or was refused."""

    changed: list[UUID]
    unchanged: list[UUID]
    refused: list[Refused]


class BulkPauseAnswer(BulkAnswer, frozen=True, kw_only=True):
    """The same for a pause, with the id by which it can be undone."""

    pause_id: UUID


class Bulk(Controller):
    """Changes of many routines at once."""

    path = "/companies/{company_id:str}/routines"
    tags = ("routines",)

    @post("/pause", operation_id="pauseRoutines", refuses=(403, 422), status_code=200)
    def pause(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[BulkPause],
    ) -> BulkPauseAnswer:
        """
        Pauses the active routines of the company, of a project, of an agent, of a list, or with a text in them;
        several of these narrow the selection. Each routine is changed by itself, so a refusal does not hold back the
        others.
        """
        must_resume(data.resume_at, backend.executor.clock())
        patch = RoutinePatch(status="paused", pause_note=data.pause_note, resume_at=data.resume_at)
        pause_id = uuid4()

        def pause(routine_id: UUID) -> bool:
            backend.executor.execute(caller, use_cases.update, routine_id, patch, pause_id)
            return True

        answer = _change_each(backend, caller, company_id, data, "active", pause)
        return BulkPauseAnswer(
            changed=answer.changed, unchanged=answer.unchanged, refused=answer.refused, pause_id=pause_id
        )

    @post("/resume", operation_id="resumeRoutines", refuses=(403, 422), status_code=200)
    def resume(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[BulkResume],
    ) -> BulkAnswer:
        """
        Undoes `pauseRoutines` for a selection, which is made in the same way: resumes what a bulk pause has paused, or
        only what the one with this `pauseId` has. Routines that were paused by themselves stay paused. Occurrences that
        passed in the meantime are not caught up with.
        """

        def resume(routine_id: UUID) -> bool:
            return backend.executor.execute(caller, use_cases.undo_bulk_pause, routine_id, data.pause_id).result

        return _change_each(backend, caller, company_id, data, "paused", resume)


def _change_each(  # noqa: PLR0913, PLR0917 the selection and what becomes of it
    backend: Backend,
    caller: Caller,
    company_id: UUID,
    selection: BulkSelection,
    status: RoutineStatus,
    change: Callable[[UUID], bool],
) -> BulkAnswer:
    """Change each selected routine that has this status; `change` returns whether it did."""
    answer = BulkAnswer(changed=[], unchanged=[], refused=[])
    for routine in _select_routines(backend, caller, company_id, selection):
        try:
            is_changed = routine.status == status and change(routine.id)
        except DomainError as refusal:
            answer.refused.append(Refused(routine_id=routine.id, error=refusal.message))
        else:
            (answer.changed if is_changed else answer.unchanged).append(routine.id)
    return answer


def _select_routines(
    backend: Backend, caller: Caller, company_id: UUID, selection: BulkSelection
) -> list[SelectedRoutine]:
    """Return the selected routines. Raise RuleViolation if they are too many, InvalidField if one does not exist."""
    backend.authorize(caller, use_cases.may_work, company_id)
    filters = routine_list.Filters(
        q=selection.q, project_id=selection.project_id, assignee_agent_id=selection.assignee_agent_id
    )
    ids = selection.routine_ids
    with backend.consistent_read(*MODELS) as conn:
        matches = routine_list.select(conn, company_id, filters, ids=ids, limit=MOST + 1)
        existing_ids = (
            {routine.id for routine in routine_list.select(conn, company_id, ids=ids, limit=MOST)} if ids else set()
        )
    for index, id_ in enumerate(ids or ()):
        if id_ not in existing_ids:
            raise InvalidField("Routine not found", f"routineIds.{index}")
    if len(matches) > MOST:
        raise RuleViolation(f"The selection matches more than {MOST:,} routines; narrow it.")
    return matches
