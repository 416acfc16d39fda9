"""The routes by which an outside worker claims a pending trajectory and finishes it (our addition)."""

from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from application.access import Caller
from application.request_bodies.issues import LogDraft
from application.request_bodies.jetty import ClaimRequest, FinishRequest, StepReport, TrajectoryUsage
from application.use_cases import names
from application.use_cases.jetty import collections
from application.use_cases.jetty import trajectories as use_cases
from application.use_cases.names import TaskPath
from domain.errors import NotFound
from domain.jetty.trajectory import LEASE
from projections.engine.table import Connection
from projections.firing import run_logs
from projections.jetty import trajectories
from projections.jetty.responses import Trajectory
from web.http.backend import Backend, Changed
from web.http.path_ids import ClaimId
from web.jetty.requests import number_of
from web.jetty.responses import Claimed, LogTaken
from web.jetty.routing import post

NOTHING = {204: ResponseSpec(None, description="No trajectory is waiting.", generate_examples=False)}
MODELS = ("trajectories",)
CANDIDATES = 8  # trajectories that are tried, since other workers may claim the first ones


class Workers(Controller):
    """Claims of trajectories by outside workers."""

    path = "/workers/{collection:str}"
    tags = ("workers",)

    @post("/claim", operation_id="claimTrajectory", status_code=200, responses=NOTHING)
    def claim(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        data: JSONBody[ClaimRequest],
    ) -> Response[Claimed | None]:
        """
        Hands out the oldest trajectory that waits, with its secrets, for `lease_s` seconds. The answer is 204 when
        there is none.

        A worker that does not extend the lease in time may lose the trajectory to another worker, and is answered with
        409 from then on.
        """
        waiting = _waiting_trajectories(backend, caller, collection, data.task)
        changed = backend.change(caller, MODELS, use_cases.claim, collection, data.task, data.worker, waiting)
        claim: use_cases.ClaimedTrajectory | None = changed.result
        if claim is None:
            return Response(None, status_code=204)
        return changed.answer(lambda conn: _claimed_trajectory(conn, claim))

    @post("/{trajectory:str}/{claim_id:str}/extend", operation_id="extendClaim", status_code=200)
    def extend(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        trajectory: FromPath[str],
        claim_id: FromPath[ClaimId],
    ) -> Response[Trajectory]:
        """Restarts the lease, for a worker that needs more time."""
        id_ = _trajectory_id_of(backend, caller, collection, trajectory)
        return _answer_trajectory(backend.change(caller, MODELS, use_cases.extend, collection, id_, claim_id), id_)

    @post("/{trajectory:str}/{claim_id:str}/steps", operation_id="reportStep", status_code=200)
    def report(  # noqa: PLR0913, PLR0917 the path and the body
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        trajectory: FromPath[str],
        claim_id: FromPath[ClaimId],
        data: JSONBody[StepReport],
    ) -> Response[Trajectory]:
        """Reports the inputs and outputs of a step. A further report on the same step replaces the earlier one."""
        id_ = _trajectory_id_of(backend, caller, collection, trajectory)
        return _answer_trajectory(
            backend.change(caller, MODELS, use_cases.report, collection, id_, claim_id, data), id_
        )

    @post("/{trajectory:str}/{claim_id:str}/usage", operation_id="reportTrajectoryUsage", status_code=200)
    def report_usage(  # noqa: PLR0913, PLR0917 the path and the body
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        trajectory: FromPath[str],
        claim_id: FromPath[ClaimId],
        data: JSONBody[TrajectoryUsage],
    ) -> Response[Trajectory]:
        """
        Reports what all work on the trajectory has used so far: its cost and its tokens, in total. A later report replaces
        an earlier one, so it may be repeated.
        """
        id_ = _trajectory_id_of(backend, caller, collection, trajectory)
        return _answer_trajectory(
            backend.change(caller, MODELS, use_cases.report_usage, collection, id_, claim_id, data), id_
        )

    @post("/{trajectory:str}/{claim_id:str}/log", operation_id="appendTrajectoryLog", status_code=200)
    def append_log(  # noqa: PLR0913, PLR0917 the path and the body
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        trajectory: FromPath[str],
        claim_id: FromPath[ClaimId],
        data: JSONBody[LogDraft],
    ) -> LogTaken:
        """
        Appends a part to the log of the trajectory; parts are numbered under each claim. What goes beyond the bounds of the
        trajectory or the company is not kept, and the log says so: then `is_full` is true, and the worker need not send
        more.
        """
        id_ = _trajectory_id_of(backend, caller, collection, trajectory)
        company_id, log_id = backend.authorize(caller, use_cases.open_log, collection, id_, claim_id)
        with backend.pool.connection() as conn:
            answer = run_logs.append(conn, company_id, log_id, claim_id, data.part, data.output, backend.limits)
        return LogTaken(is_full=answer.is_full)

    @post("/{trajectory:str}/{claim_id:str}/finish", operation_id="finishTrajectory", status_code=200)
    def finish(  # noqa: PLR0913, PLR0917 the path and the body
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        trajectory: FromPath[str],
        claim_id: FromPath[ClaimId],
        data: JSONBody[FinishRequest],
    ) -> Response[Trajectory]:
        """Ends the work on the trajectory. With the status `pending`, any worker may claim it again."""
        id_ = _trajectory_id_of(backend, caller, collection, trajectory)
        return _answer_trajectory(
            backend.change(caller, MODELS, use_cases.finish, collection, id_, claim_id, data), id_
        )


def _waiting_trajectories(backend: Backend, caller: Caller, collection: str, task: str | None) -> list[UUID]:
    company_id = backend.authorize(caller, collections.enter, collection)
    task_id = (
        None
        if task is None
        else backend.authorize(caller, names.task, TaskPath(collection=collection, task=task)).task_id
    )
    with backend.consistent_read(*MODELS) as conn:
        return trajectories.waiting_trajectories(conn, company_id, task_id, backend.executor.clock(), CANDIDATES)


def _trajectory_id_of(backend: Backend, caller: Caller, collection: str, trajectory: str) -> UUID:
    company_id, number = backend.authorize(caller, collections.enter, collection), number_of(trajectory)
    with backend.consistent_read(*MODELS) as conn:
        ids = trajectories.ids_by_number(conn, company_id, [number])
    if number not in ids:
        raise NotFound
    return ids[number]


def _claimed_trajectory(conn: Connection, claim: use_cases.ClaimedTrajectory) -> Claimed | None:
    trajectory = trajectories.one(conn, claim.trajectory_id)
    if trajectory is None:
        return None
    return Claimed(
        claim_id=claim.claim_id,
        lease_s=int(LEASE.total_seconds()),
        trajectory=trajectory,
        init_params=trajectory.init_params,
        secret_params=claim.secret_params,
        environment_variables=claim.environment,
    )


def _answer_trajectory(changed: Changed, trajectory_id: UUID) -> Response[Trajectory]:
    return changed.answer(lambda conn: trajectories.one(conn, trajectory_id))
