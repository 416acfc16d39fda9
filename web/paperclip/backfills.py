"""The routes of backfills, which run past occurrences of a schedule (our addition)."""

from typing import Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from application.access import Caller
from application.request_bodies.routines import BackfillDraft
from application.use_cases import backfills as use_cases
from domain.schedule.time_words import local
from projections.firing import backfills
from projections.firing.backfills import Backfill
from projections.responses import ResponseBody, time
from web.http.backend import Backend
from web.http.moments import check_years
from web.http.paging import NEXT, Paging, make_page, paging, place_of, row_of
from web.http.path_ids import BackfillId, TriggerId
from web.http.requests import parse_whole_number
from web.http.routing import get, post

MODELS = ("backfills",)
USUAL, MOST = 50, 200


class WouldRun(ResponseBody, frozen=True, kw_only=True):
    """An occurrence in UTC and in the schedule's zone. `action` is `leave_out` if it already has the run `runId`."""

    at: str
    local: str
    action: Literal["run", "leave_out"]
    run_id: UUID | None


class BackfillPreview(ResponseBody, frozen=True, kw_only=True):
    """
    What a backfill would do now: of `count` occurrences it would run `toRun`. The first 100 are listed. If it would be
    refused, `refusedBecause` says why.
    """

    trigger_id: UUID
    routine_id: UUID
    from_: str = msgspec.field(name="from")
    to: str
    count: int
    to_run: int
    left_out: int
    refused_because: str | None
    occurrences: list[WouldRun]


class Backfills(Controller):
    """Backfills of schedule triggers."""

    tags = ("backfills",)
    dependencies = {"paging": Provide(paging)}

    @post(
        "/routine-triggers/{trigger_id:str}/backfills/preview",
        operation_id="previewBackfill",
        refuses=(422,),
        status_code=200,
    )
    def preview(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        trigger_id: FromPath[TriggerId],
        data: JSONBody[BackfillDraft],
    ) -> BackfillPreview:
        """Says what a backfill of this range would run, by the schedule as it is now. Nothing is recorded."""
        return _preview_answer(backend.authorize(caller, use_cases.preview, trigger_id, _check_range(data)))

    @post(
        "/routine-triggers/{trigger_id:str}/backfills",
        operation_id="createBackfill",
        refuses=(403, 409, 422),
    )
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        trigger_id: FromPath[TriggerId],
        idempotency_key: NamedDependency[str | None],
        data: JSONBody[BackfillDraft],
    ) -> Response[Backfill]:
        """
        Runs the occurrences of a range in the past, oldest first, except those that have already run.

        Its runs carry its id as `backfillId`. The range ends before the occurrences that the schedule itself still has
        to settle. The same idempotency key gives the same backfill; for another request it is refused with 409.
        """
        changed = backend.change(caller, MODELS, use_cases.create, trigger_id, _check_range(data), idempotency_key)
        return changed.answer(lambda conn: backfills.backfill(conn, changed.result), 201)

    @get("/routine-triggers/{trigger_id:str}/backfills", operation_id="listBackfills", response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        trigger_id: FromPath[TriggerId],
    ) -> Response[list[Backfill]]:
        """Returns the backfills of the trigger, newest first."""
        limit = parse_whole_number(paging.limit, "limit", USUAL, 1, MOST)
        list_name = f"backfills of {trigger_id}"
        after = place_of(paging.cursor, list_name, UUID)
        backend.authorize(caller, use_cases.may_list, trigger_id)
        with backend.consistent_read(*MODELS) as conn:
            before = row_of(after, lambda backfill_id: backfills.position(conn, trigger_id, backfill_id))
            part = backfills.of_trigger(conn, trigger_id, limit, before=before)
        return make_page(paging, list_name, part, lambda backfill: backfill.id)

    @get("/routine-backfills/{backfill_id:str}", operation_id="getBackfill")
    def detail(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], backfill_id: FromPath[BackfillId]
    ) -> Backfill:
        """Returns the backfill, and how far it has come."""
        return backend.find_authorized(caller, MODELS, "Backfill", lambda conn: backfills.backfill(conn, backfill_id))

    @post(
        "/routine-backfills/{backfill_id:str}/cancel",
        operation_id="cancelBackfill",
        refuses=(403, 409),
        status_code=200,
    )
    def cancel(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], backfill_id: FromPath[BackfillId]
    ) -> Response[Backfill]:
        """
        Cancels the backfill. It starts no further runs. Its runs stay, and a backfill of the same range continues from
        there.
        """
        cancelled = backend.change(caller, MODELS, use_cases.cancel, backfill_id)
        return cancelled.answer(lambda conn: backfills.backfill(conn, cancelled.result))


def _check_range(draft: BackfillDraft) -> BackfillDraft:
    """Return the draft if its range lies within the accepted years. Raise Invalid."""
    check_years(draft.from_, "from")
    check_years(draft.to, "to")
    return draft


def _preview_answer(preview: use_cases.Preview) -> BackfillPreview:
    return BackfillPreview(
        trigger_id=preview.trigger_id,
        routine_id=preview.routine_id,
        from_=time(preview.since),
        to=time(preview.until),
        count=preview.count,
        to_run=preview.count - preview.left_out,
        left_out=preview.left_out,
        refused_because=preview.obstacle,
        occurrences=[
            WouldRun(
                at=time(moment),
                local=local(moment, preview.zone).isoformat(),
                action="run" if run_id is None else "leave_out",
                run_id=run_id,
            )
            for moment, run_id in preview.occurrences
        ],
    )
