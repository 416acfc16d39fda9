"""The routes of revisions of routines (contract 3.6)."""

from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from application.access import Caller
from application.use_cases import revisions as use_cases
from application.use_cases.revisions import RestoredRevision
from domain import disclosure
from domain.identity import revision_of
from projections import responses
from projections.engine.table import Connection
from projections.responses import ResponseBody
from projections.routines import revisions, routines
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, make_page, place_of
from web.http.path_ids import RevisionId, RoutineId
from web.http.routing import get, post
from web.paperclip.triggers import TriggerSecret, secrets_of

MODELS = ("routines",)


class RestoreAnswer(ResponseBody, frozen=True, kw_only=True):
    """The restored routine, its new revision, and the new secrets of webhooks that had been deleted."""

    routine: responses.Routine
    revision: responses.Revision
    restored_from_revision_id: UUID
    restored_from_revision_number: int
    secret_materials: list[TriggerSecret]


class Revisions(Controller):
    """Revisions of a routine."""

    tags = ("revisions",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/routines/{routine_id:str}/revisions", operation_id="listRevisions", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        routine_id: FromPath[RoutineId],
    ) -> Response[list[responses.Revision]]:
        """
        Returns the revisions of the routine, newest first, at most 100. Whoever may not change the triggers sees `***`
        as the `publicId` of webhooks.
        """
        list_name = f"revisions of {routine_id}"
        before = place_of(paging.cursor, list_name, int)
        history, addresses = backend.authorize(caller, use_cases.read_history, routine_id)
        part = revisions.page(history, before=before, max_bytes=backend.limits.max_page_bytes)
        part = part.of(disclosure.mask_unless(list(part), addresses=addresses))
        return make_page(paging, list_name, part, lambda revision: revision.revision_number)

    @post(
        "/routines/{routine_id:str}/revisions/{revision_id:str}/restore",
        operation_id="restoreRevision",
        refuses=(403, 409, 422),
        status_code=200,
    )
    def restore(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        public_url: NamedDependency[str],
        routine_id: FromPath[RoutineId],
        revision_id: FromPath[RevisionId],
    ) -> Response[RestoreAnswer]:
        """
        Brings back the settings and triggers of this revision. A webhook that was deleted gets a new address and
        secret. This is no way back for an archived routine.
        """
        changed = backend.change(caller, MODELS, use_cases.restore, routine_id, revision_id)
        return changed.answer(lambda conn: _answer_restored(conn, changed.result, public_url))


def _answer_restored(conn: Connection, restored: RestoredRevision, public_url: str) -> RestoreAnswer | None:
    if (routine := routines.routine(conn, restored.routine_id)) is None:
        return None
    return RestoreAnswer(
        routine=routine,
        revision=revisions.newest_revision(restored.history),
        restored_from_revision_id=revision_of(restored.routine_id, restored.from_revision),
        restored_from_revision_number=restored.from_revision,
        secret_materials=secrets_of(restored.new_secrets, public_url),
    )
