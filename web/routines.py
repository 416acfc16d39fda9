"""Routines, their triggers and runs (contract 3, 4, 5)."""

import math
import re
from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from application.access import Caller
from application.commands import RoutineDraft, RoutinePatch, RunRequest, TriggerDraft, TriggerPatch
from application.use_cases import routines as use_cases
from application.use_cases import runs, triggers, viewing
from domain.errors import NotFound
from projections import routines, run_history, shapes
from projections.read_model import Connection
from projections.run_history import run_of
from projections.shapes import Shape
from web.backend import POSITION_HEADER, Backend
from web.requests import identified, uuid_or_none
from web.routing import delete, get, patch, post

LIST_MODELS = ("routines", "run_history", "issues")
DETAIL_MODELS = (*LIST_MODELS, "directory")
RUNS, MOST_RUNS = 50, 200
NUMBER = re.compile(r"[0-9.eE+-]+|-inf")


class SecretMaterial(Shape, frozen=True, kw_only=True):
    """Where a webhook trigger is called, and the secret, which is shown this once."""

    webhook_url: str
    webhook_secret: str


class RevisionName(Shape, frozen=True, kw_only=True):
    id: UUID
    routine_id: UUID
    revision_number: int


class TriggerCreated(Shape, frozen=True, kw_only=True):
    trigger: shapes.Trigger
    secret_material: SecretMaterial | None
    revision: RevisionName


class Routines(Controller):
    tags = ("routines",)

    @get("/companies/{company_id:str}/routines", operation_id="listRoutines")
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        company_id: FromPath[str],
        project_id: Annotated[str | None, QueryParameter(name="projectId")] = None,
    ) -> list[shapes.RoutineListItem]:
        """Newest change first, archived ones included."""
        project = uuid_or_none(project_id, "projectId")
        id_ = identified(company_id, "Company")
        backend.ask(caller, viewing.company, id_)
        with backend.shown(*LIST_MODELS, eventual=eventual) as conn:
            return routines.page(conn, id_, project)

    @post("/companies/{company_id:str}/routines", operation_id="createRoutine")
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        data: JSONBody[RoutineDraft],
    ) -> Response[shapes.Routine]:
        """Stored paused when it has no assignee."""
        made = backend.change(caller, ("routines",), use_cases.create, identified(company_id, "Company"), data)
        return made.answer(lambda conn: routines.routine(conn, made.result), 201)

    @get("/routines/{routine_id:str}", operation_id="getRoutine")
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        routine_id: FromPath[str],
    ) -> shapes.RoutineDetail:
        """With project, assignee, triggers, the newest runs and the active issue."""
        id_ = identified(routine_id, "Routine")
        backend.ask(caller, use_cases.may_read, id_)
        with backend.shown(*DETAIL_MODELS, eventual=eventual) as conn:
            if (found := routines.detail(conn, id_)) is None:
                raise NotFound("Routine not found")
            return found

    @patch("/routines/{routine_id:str}", operation_id="updateRoutine")
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_id: FromPath[str],
        data: JSONBody[RoutinePatch],
    ) -> Response[shapes.Routine]:
        """Absent fields stay as they are; null clears what may be empty."""
        changed = backend.change(caller, ("routines",), use_cases.update, identified(routine_id, "Routine"), data)
        return changed.answer(lambda conn: routines.routine(conn, changed.result))

    @get("/routines/{routine_id:str}/runs", operation_id="listRuns")
    def runs(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        routine_id: FromPath[str],
        limit: FromQuery[str | None] = None,
    ) -> list[shapes.RunSummary]:
        """Newest first; 50 of them, or `limit` from 1 to 200."""
        id_ = identified(routine_id, "Routine")
        backend.ask(caller, use_cases.may_read, id_)
        with backend.shown(*LIST_MODELS, eventual=eventual) as conn:
            return run_history.recent(conn, id_, _limit(limit))

    @post("/routines/{routine_id:str}/run", operation_id="runRoutine", status_code=202)
    def run(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_id: FromPath[str],
        data: JSONBody[RunRequest],
    ) -> Response[shapes.Run]:
        """Fires now, under the concurrency policy; the same idempotency key gives the same run."""
        id_ = identified(routine_id, "Routine")
        done = backend.executor.execute(caller, runs.fire_by_hand, id_, data)
        return Response(run_of(done.result), status_code=202, headers={POSITION_HEADER: str(done.position)})

    @post("/routines/{routine_id:str}/triggers", operation_id="createTrigger")
    def create_trigger(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_id: FromPath[str],
        data: JSONBody[TriggerDraft],
    ) -> Response[TriggerCreated]:
        id_ = identified(routine_id, "Routine")
        made = backend.change(caller, ("routines",), triggers.create, id_, data)

        def created(conn: Connection) -> TriggerCreated | None:
            trigger, of = routines.trigger(conn, made.result), routines.routine(conn, id_)
            if trigger is None or of is None:
                return None
            revision = RevisionName(id=of.latest_revision_id, routine_id=id_, revision_number=of.latest_revision_number)
            return TriggerCreated(trigger=trigger, secret_material=None, revision=revision)

        return made.answer(created, 201)

    @patch("/routine-triggers/{trigger_id:str}", operation_id="updateTrigger")
    def update_trigger(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        trigger_id: FromPath[str],
        data: JSONBody[TriggerPatch],
    ) -> Response[shapes.Trigger]:
        """A schedule starts anew from now."""
        id_ = identified(trigger_id, "Routine trigger")
        changed = backend.change(caller, ("routines",), triggers.update, id_, data)
        return changed.answer(lambda conn: routines.trigger(conn, changed.result))

    @delete("/routine-triggers/{trigger_id:str}", operation_id="deleteTrigger")
    def delete_trigger(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], trigger_id: FromPath[str]
    ) -> None:
        backend.executor.execute(caller, triggers.delete, identified(trigger_id, "Routine trigger"))


def _limit(given: str | None) -> int:
    """Absent or not a number: 50; fractions are cut off; clamped to 1..200 (contract 5.5)."""
    try:
        number = float(given or "") if NUMBER.fullmatch(given or "") else math.nan
    except ValueError:
        return RUNS
    return RUNS if math.isnan(number) else int(min(max(number, 1), MOST_RUNS))
