"""The routes that call a task by hand: run, and run-sync, which answers when the call is over (Jetty contract 7)."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from litestar import Controller, Response
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from application.access import Caller
from application.event_store.postgres_errors import UNAVAILABLE
from application.request_bodies.jetty import RunCreate
from application.use_cases.jetty import collections
from application.use_cases.jetty import trajectories as use_cases
from application.use_cases.names import TaskPath
from domain.jetty.trajectory import LIVE
from projections.engine.positions import Lagging
from projections.jetty import trajectories
from projections.jetty.responses import Trajectory
from web.http.backend import Backend
from web.http.media_types import FORMS, JSON
from web.jetty.requests import JettyRequest
from web.jetty.responses import WorkflowResponse, read_workflow
from web.jetty.routing import post
from web.jetty.sync_waits import SyncWaits

MODELS = ("trajectories",)
BODY = {"body": RunCreate, "media_types": (JSON, *FORMS)}  # the handler reads it from JSON or from a form
PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)  # between two reads of a call that is still running; the last one repeats
PATIENCE_S = 300.0  # after which run-sync answers that the call is still running


class Runs(Controller):
    """Calls of tasks by hand."""

    path = "/"
    tags = ("runs",)

    @post("/run/{collection:str}/{task:str}", operation_id="runTask", status_code=200, sync_to_thread=None, opt=BODY)
    async def run(
        self,
        request: JettyRequest,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
    ) -> Response[WorkflowResponse]:
        """
        Calls the task. The body is JSON, or a form whose parts `init_params` and `secret_params` are JSON;
        `webhook_url` and `webhook_secret` may be given as well. The task need not declare the parameters.
        """
        body = await request.run()
        return await sync_to_thread(_start_run, backend, caller, task_path, body)

    @post(
        "/run-sync/{collection:str}/{task:str}",
        operation_id="runTaskSync",
        status_code=200,
        sync_to_thread=None,
        opt={**BODY, "waits": True},  # it answers with the outcome of the call, not with the change
    )
    async def run_sync(
        self,
        request: JettyRequest,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        task_path: NamedDependency[TaskPath],
        sync_waits: NamedDependency[SyncWaits],
    ) -> Response[WorkflowResponse]:
        """
        Calls the task like `runTask`, and answers when the call is over, or after five minutes; the call then
        continues all the same.

        A process holds a limited number of such calls open, in all and for each company. A further one is answered
        with 503 and Retry-After, and starts nothing.
        """
        body = await request.run()
        company_id = await sync_to_thread(backend.authorize, caller, collections.enter, task_path.collection)
        with sync_waits.hold(company_id):
            changed = await sync_to_thread(backend.change, caller, MODELS, use_cases.run, task_path, body)
            trajectory = await _end_of(request, lambda: sync_to_thread(_show_trajectory, backend, changed.result))
        if trajectory is None:
            return await sync_to_thread(changed.answer, lambda conn: read_workflow(conn, changed.result))
        message = "Workflow is still running" if trajectory.status in LIVE else "Workflow finished"
        return Response(WorkflowResponse.of(trajectory, message), status_code=200)


def _start_run(backend: Backend, caller: Caller, task_path: TaskPath, body: RunCreate) -> Response[WorkflowResponse]:
    changed = backend.change(caller, MODELS, use_cases.run, task_path, body)
    return changed.answer(lambda conn: read_workflow(conn, changed.result))


def _show_trajectory(backend: Backend, trajectory_id: UUID) -> Trajectory | None:
    """
    Return the trajectory as the read model shows it now, without waiting for the model: the caller polls.

    Returns None while the database is away. It has started, so an error that says "try again" would start it twice.
    """
    with suppress(Lagging, *UNAVAILABLE), backend.consistent_read(*MODELS, eventual=True) as conn:
        return trajectories.one(conn, trajectory_id)
    return None


async def _end_of(request: JettyRequest, look: Callable[[], Awaitable[Trajectory | None]]) -> Trajectory | None:
    """Return the trajectory when it has ended, or as it is after PATIENCE_S or when the client has left."""
    departure = asyncio.ensure_future(_await_departure(request))
    try:
        trajectory, waited_s, turn = await look(), 0.0, 0
        while (trajectory is None or trajectory.status in LIVE) and waited_s < PATIENCE_S and not departure.done():
            pause_s = PAUSES_S[min(turn, len(PAUSES_S) - 1)]
            await asyncio.wait({departure}, timeout=pause_s)
            trajectory, waited_s, turn = await look(), waited_s + pause_s, turn + 1
        return trajectory
    finally:
        departure.cancel()


async def _await_departure(request: JettyRequest) -> None:
    """Wait until the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
