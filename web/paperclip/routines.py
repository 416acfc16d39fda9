"""The routes of routines and their runs (contract 3, 5)."""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from application.access import Caller, Principal
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.budgets import UsageReport
from application.request_bodies.issues import LogDraft
from application.request_bodies.routines import RoutineDraft, RoutinePatch, RunRequest
from application.use_cases import budgets, read_access, runs, triggers
from application.use_cases import routines as use_cases
from application.use_cases import run_logs as log_access
from application.use_cases.triggers import NewRoutine
from domain import disclosure
from domain.errors import NotFound
from domain.recorded import Recorded
from projections import responses
from projections.engine.documents import Part
from projections.engine.table import Connection
from projections.firing import run_history, run_logs
from projections.firing.run_documents import detail_of
from projections.responses import ResponseBody
from projections.routines import routine_list, routines
from web.http.answers import Answer
from web.http.backend import PAST_POSITION, Backend
from web.http.idempotency import one_key
from web.http.paging import NEXT, Paging, make_page, paging, place_of, row_of
from web.http.path_ids import CompanyId, RoutineId, RunId
from web.http.reading import DocumentQuery, Documents
from web.http.requests import MOST_NUMBER, JsonRequest, parse_whole_number
from web.http.routing import get, patch, post
from web.http.validation import must_resume, parse
from web.paperclip import past_answers
from web.paperclip.past_answers import Moment
from web.paperclip.run_answers import REPEATED, run_answer
from web.paperclip.triggers import TriggerSecret, secrets_of

LIST_MODELS = ("routines", "run_history", "issues")
DETAIL_MODELS = (*LIST_MODELS, "directory")
PAGE, MOST = 100, 1_000
SHORT = 100  # rows of a list that the event loop reads; a longer one is read by a thread
RUNS, MOST_RUNS = 50, 200
NUMBER = re.compile(r"[0-9.eE+-]+|-inf")


async def filters(
    status: FromQuery[str | None] = None,
    q: FromQuery[str | None] = None,
    assignee_agent_id: Annotated[str | None, QueryParameter(name="assigneeAgentId")] = None,
    project_id: Annotated[str | None, QueryParameter(name="projectId")] = None,
    folder_id: Annotated[str | None, QueryParameter(name="folderId")] = None,
) -> routine_list.Filters:
    """Return the filters of a list of routines. It is a dependency. Raise Invalid."""
    if not (status or q or assignee_agent_id or project_id or folder_id):
        return routine_list.ALL
    query = {"q": q, "assigneeAgentId": assignee_agent_id, "projectId": project_id, "folderId": folder_id}
    fields = {name: text or None for name, text in query.items()}
    return parse(routine_list.Filters, {"status": words(status), **fields})


async def run_filters(
    status: FromQuery[str | None] = None, source: FromQuery[str | None] = None
) -> run_history.Filters:
    """Return the filters of a list of runs. It is a dependency. Raise Invalid."""
    if not (status or source):
        return run_history.ALL
    return parse(run_history.Filters, {"status": words(status), "source": words(source)})


class CreatedRoutine(responses.Routine, frozen=True, kw_only=True):
    """
    A routine that was created. `triggers` and `secretMaterials` (our addition) are there if triggers were created with
    it.
    """

    triggers: list[responses.Trigger] | UnsetType = UNSET
    secret_materials: list[TriggerSecret] | UnsetType = UNSET


class RunLog(ResponseBody, frozen=True, kw_only=True):
    """A piece of a run's log, and where the next begins. When the run `isOver`, no further part will come."""

    parts: list[run_logs.LogPart]
    next: int
    is_over: bool


class Routines(Controller):
    """Routines of a company, and their runs."""

    tags = ("routines",)
    dependencies = {
        "as_of": Provide(past_answers.moment_of_request),
        "filters": Provide(filters),
        "run_filters": Provide(run_filters),
        "paging": Provide(paging),
    }

    @get(
        "/companies/{company_id:str}/routines",
        operation_id="listRoutines",
        refuses=(403, 422),
        response_headers=(*NEXT, *PAST_POSITION),
    )
    async def list_(  # noqa: PLR0913, PLR0917 who asks, for what, and which part of it
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        filters: NamedDependency[routine_list.Filters],
        paging: NamedDependency[Paging],
        as_of: NamedDependency[Moment | None],
        company_id: FromPath[CompanyId],
    ) -> Response[list[responses.RoutineListItem]]:
        """
        Returns the routines of the company, archived ones included, the last changed first. A page has as many as fit
        into an answer, or `limit` (1 to 1,000; 100 when only `cursor` is given). `status` takes several statuses,
        joined by commas; `q` is a part of the title or the description. With `asOf` it is the list as it was then, by at
        most 100 a page, and without `q`.
        """
        list_name = f"routines of {company_id}"
        after = place_of(paging.cursor, list_name, routine_list.RoutinePlace)
        in_pages = paging.limit is not None or paging.cursor is not None
        limit = parse_whole_number(paging.limit, "limit", PAGE, 1, MOST) if in_pages else None
        if as_of is not None:
            past_page = (paging, list_name, after, limit)
            return await sync_to_thread(
                past_answers.routine_page, backend, caller, as_of, company_id, filters, past_page
            )
        max_bytes = backend.limits.max_page_bytes

        def read() -> tuple[bool, Part[responses.RoutineListItem]]:
            addresses = backend.authorize(caller, read_access.routines, company_id)
            with backend.consistent_read(*LIST_MODELS, eventual=eventual) as conn:
                return addresses, routine_list.page(
                    conn, company_id, filters, after=after, limit=limit, max_bytes=max_bytes
                )

        answer, most = None, min(limit or SHORT, SHORT)
        # A search may take long, and would hold up all that are read over its connection.
        if filters == routine_list.ALL:
            place = after or routine_list.FRONT
            values = (company_id, place.updated_at, place.title, place.id, most + 1)
            query = DocumentQuery(routine_list.LISTS_OF_MANY, values, most, max_bytes)
            answer = await backend.on_loop.read(
                caller, read_access.routines, company_id, LIST_MODELS, query, eventual=eventual
            )
        if answer is None or (answer[1].part.more and len(answer[1].part) == most != limit):
            addresses, part = await sync_to_thread(read)
        else:
            addresses, documents = answer
            if addresses:
                return _page_of_bytes(paging, list_name, documents, routine_list.place_in)
            part = routine_list.WHOLE_LIST.decode(documents.part)
        return make_page(
            paging, list_name, part.of(disclosure.mask_unless(list(part), addresses=addresses)), routine_list.place_of
        )

    @post("/companies/{company_id:str}/routines", operation_id="createRoutine", refuses=(403, 409, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        public_url: NamedDependency[str],
        company_id: FromPath[CompanyId],
        data: JSONBody[RoutineDraft],
    ) -> Response[CreatedRoutine]:
        """
        Creates a routine. It is stored paused when it has no assignee. The secrets of its webhook triggers are shown in
        this answer and never again.
        """
        must_resume(data.resume_at, backend.executor.clock())
        changed = backend.change(caller, ("routines",), triggers.create_routine, company_id, data)
        return changed.answer(lambda conn: _read_created(conn, changed.result, data, public_url), 201)

    @get("/routines/{routine_id:str}", operation_id="getRoutine", refuses=(422,), response_headers=PAST_POSITION)
    async def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        as_of: NamedDependency[Moment | None],
        routine_id: FromPath[RoutineId],
    ) -> Response[responses.RoutineDetail]:
        """
        Returns the routine with its project, assignee, triggers, newest runs and active issue. Whoever may not change
        the triggers sees `***` as the `publicId` of webhooks and as the `url` of the probe. With `asOf` all of it is as
        it was then, without `lastRefusal`.
        """
        if as_of is not None:
            return await sync_to_thread(past_answers.routine, backend, caller, as_of, routine_id)
        max_bytes = backend.limits.max_page_bytes

        def read() -> tuple[bool, responses.RoutineDetail | None]:
            addresses = backend.authorize(caller, use_cases.may_read, routine_id)
            with backend.consistent_read(*DETAIL_MODELS, eventual=eventual) as conn:
                return addresses, routines.detail(conn, routine_id, max_bytes)

        query = DocumentQuery(routines.DETAILS_OF_MANY, (routine_id, max_bytes), None, max_bytes)
        answer = await backend.on_loop.read(
            caller, use_cases.may_read, routine_id, DETAIL_MODELS, query, eventual=eventual
        )
        if answer is None:
            addresses, routine = await sync_to_thread(read)
        else:
            addresses, documents = answer
            if documents.part and addresses:
                return Answer(documents.part[0], headers={"ETag": documents.first_tag})  # type: ignore[arg-type]
            routine = next(iter(routines.DETAIL.decode(documents.part)), None)
        if routine is None:
            raise NotFound("Routine not found")
        return Answer(disclosure.mask_unless(routine, addresses=addresses))

    @patch("/routines/{routine_id:str}", operation_id="updateRoutine", refuses=(403, 409, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_id: FromPath[RoutineId],
        data: JSONBody[RoutinePatch],
    ) -> Response[responses.Routine]:
        """
        Changes the fields that are given. Absent fields stay as they are; null clears what may be empty. The status
        `archived` is final: any other is refused after it, while the rest may still be edited.
        """
        must_resume(data.resume_at, backend.executor.clock())
        changed = backend.change(caller, ("routines",), use_cases.update, routine_id, data)
        addresses = backend.authorize(caller, use_cases.may_read, routine_id)
        return changed.answer(
            lambda conn: disclosure.mask_unless(routines.routine(conn, changed.result), addresses=addresses)
        )

    @get(
        "/routines/{routine_id:str}/runs",
        operation_id="listRuns",
        refuses=(422,),
        response_headers=(*NEXT, *PAST_POSITION),
    )
    async def runs(  # noqa: PLR0913, PLR0917 who asks, for what, and which part of it
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        run_filters: NamedDependency[run_history.Filters],
        paging: NamedDependency[Paging],
        as_of: NamedDependency[Moment | None],
        routine_id: FromPath[RoutineId],
    ) -> Response[list[responses.RunSummary]]:
        """
        Returns the runs of the routine, newest first: 50 of them, or `limit` from 1 to 200. `status` and `source` take
        several values, joined by commas. With `asOf` it is the list as it was then.
        """
        list_name, limit = f"runs of {routine_id}", _parse_limit(paging.limit)
        after = place_of(paging.cursor, list_name, UUID)
        if as_of is not None:
            page = (paging, list_name, after, limit)
            return await sync_to_thread(past_answers.run_page, backend, caller, as_of, routine_id, run_filters, page)
        max_bytes = backend.limits.max_page_bytes

        def read() -> Part[responses.RunSummary]:
            backend.authorize(caller, use_cases.may_read, routine_id)
            with backend.consistent_read(*LIST_MODELS, eventual=eventual) as conn:
                before = row_of(after, lambda run_id: run_history.position(conn, routine_id, run_id))
                return run_history.recent_runs(
                    conn, routine_id, limit, filters=run_filters, before=before, max_bytes=max_bytes
                )

        answer = None
        if after is None and run_filters == run_history.ALL:
            query = DocumentQuery(run_history.RECENT_OF_MANY, (routine_id, None, limit + 1), limit, max_bytes)
            answer = await backend.on_loop.read(
                caller, use_cases.may_read, routine_id, LIST_MODELS, query, eventual=eventual
            )
        if answer is None:
            return make_page(paging, list_name, await sync_to_thread(read), lambda run: run.id)
        return _page_of_bytes(paging, list_name, answer[1], run_history.id_in)

    @post(
        "/routines/{routine_id:str}/run",
        operation_id="runRoutine",
        refuses=(403, 409, 422),
        status_code=202,
        response_headers=REPEATED,
    )
    async def run(  # noqa: PLR0913, PLR0917 who asks, and for what
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_id: FromPath[RoutineId],
        idempotency_key: NamedDependency[str | None],
        data: JSONBody[RunRequest],
        request: JsonRequest,
    ) -> Response[responses.Run]:
        """
        Fires the routine now, under its concurrency policy. The same idempotency key, in the body or the header, gives
        the same run.
        """

        def wanted() -> RunRequest:
            return replace(data, idempotency_key=one_key(idempotency_key, data.idempotency_key))

        def fire(work: UnitOfWork, principal: Principal, id_: UUID) -> list[Recorded]:
            # Read last: that two keys differ is said only to a caller who may fire the routine.
            return runs.fire_by_hand(work, principal, id_, wanted())

        decide = backend.executor.decision(caller, fire, routine_id)
        commit_result = await backend.on_loop.attempt(decide, size=len(await request.body()))
        fired = wanted()
        return run_answer(commit_result.result, commit_result, runs.digest_of(fired) if fired.idempotency_key else None)

    @get("/routine-runs/{run_id:str}", operation_id="getRun", refuses=(422,), response_headers=PAST_POSITION)
    def get_run(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        as_of: NamedDependency[Moment | None],
        run_id: FromPath[RunId],
    ) -> Response[responses.RunDetail]:
        """Returns the run as it is now, or as it was at `asOf`, with its whole payload, its deadline and its attempts."""
        if as_of is not None:
            return past_answers.run(backend, caller, as_of, run_id)
        return Answer(detail_of(backend.authorize(caller, runs.read, run_id)))

    @post("/routine-runs/{run_id:str}/usage", operation_id="reportUsage", refuses=(403, 409), status_code=200)
    def report_usage(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        run_id: FromPath[RunId],
        data: JSONBody[UsageReport],
    ) -> responses.RunDetail:
        """
        Reports what the run has used so far: its cost and its tokens, in total. A later report replaces an earlier one,
        so it may be repeated. Agents report the runs whose issues they are assigned to.
        """
        backend.executor.execute(caller, budgets.report, run_id, data)
        return detail_of(backend.authorize(caller, runs.read, run_id))

    @get("/routine-runs/{run_id:str}/log", operation_id="getRunLog")
    def get_run_log(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        run_id: FromPath[RunId],
        after: FromQuery[str | None] = None,
    ) -> RunLog:
        """
        Returns what the commands of the run have printed, also while one runs: the parts after the position `after`, oldest
        first. Ask again with `next` as `after`, until there are no parts and `isOver` is true. Logs are kept for some days
        (`ROUTINES_MAX_RUN_LOG_DAYS`).
        """
        position = parse_whole_number(after, "after", 0, 0, MOST_NUMBER)
        is_over = detail_of(backend.authorize(caller, runs.read, run_id)).completed_at is not None
        with backend.consistent_read(eventual=True) as conn:
            parts = run_logs.parts(conn, run_id, position)
        return RunLog(parts=parts, next=parts[-1].position if parts else position, is_over=is_over)

    @post("/routine-runs/{run_id:str}/log", operation_id="appendRunLog", refuses=(403, 409), status_code=200)
    def append_run_log(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        run_id: FromPath[RunId],
        data: JSONBody[LogDraft],
    ) -> run_logs.LogAppended:
        """
        Appends a part to the log of the run. Only the work session that has the issue of the run may do this; parts are
        numbered in it. What goes beyond the bounds of the run or the company is not kept, and the log says so: then
        `isFull` is true, and the session need not send more.
        """
        company_id, session = backend.authorize(caller, log_access.open_to, run_id, caller.run_id)
        with backend.pool.connection() as conn:
            return run_logs.append(conn, company_id, run_id, session, data.part, data.output, backend.limits)


def _page_of_bytes(
    paging: Paging, list_name: str, documents: Documents, place: Callable[[bytes], object]
) -> Response[Any]:
    """Return documents as a page of a list, as the bytes that they are stored as."""
    answer = make_page(paging, list_name, documents.part, place, body=documents.array)
    answer.headers["ETag"] = documents.tag
    return answer


def _read_created(conn: Connection, new: NewRoutine, draft: RoutineDraft, public_url: str) -> CreatedRoutine | None:
    if (routine := routines.routine(conn, new.routine_id)) is None:
        return None
    if not draft.triggers:
        return CreatedRoutine(**asdict(routine))
    triggers = routines.triggers_of(conn, new.routine_id)
    return CreatedRoutine(
        **asdict(routine), triggers=triggers, secret_materials=secrets_of(new.new_secrets, public_url)
    )


def words(text: str | None) -> list[str] | None:
    """Return the words that a text joins by commas, or None if there is none."""
    return [word.strip() for word in text.split(",") if word.strip()] or None if text else None


def _parse_limit(text: str | None) -> int:
    """Return the `limit`: 50 if absent or not a number, without fractions, clamped to 1..200 (contract 5.5)."""
    try:
        number = float(text or "") if NUMBER.fullmatch(text or "") else math.nan
    except ValueError:
        return RUNS
    return RUNS if math.isnan(number) else int(min(max(number, 1), MOST_RUNS))
