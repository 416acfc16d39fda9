"""Trajectories: calls by hand, and the ways to work on them, finish them, label them (Jetty contract 7)."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import asdict

from application.access import Principal
from application.event_store.stream_kinds import COMPANY, ROUTINE, TASK
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.budgets import UsageReport
from application.request_bodies.jetty import (
    FinishRequest,
    IngestCreate,
    LabelCreate,
    RunCreate,
    StepReport,
    TrajectoryUsage,
)
from application.use_cases import budgets, named_secrets, names, targets, task_firing
from application.use_cases.names import TaskPath
from domain.board import company as companies
from domain.errors import InvalidField, NotFound
from domain.events import (
    TrajectoryEvent,
    TrajectoryLabelled,
    TrajectoryMoved,
    TrajectoryOpened,
    TrajectoryStepReported,
)
from domain.identity import trajectory_of_origin
from domain.jetty import trajectory
from domain.jetty.trajectory import LIVE, Trajectory
from domain.values import Callback, TrajectoryStatus, Value
from domain.webhooks.secret import Secret

SECRETS, CALLBACK = "secret params", "callback"
LOST = "The secret_params of this call are gone"
SCORE, COST = "score.", "cost_est_usd"


class ClaimedTrajectory(Value, frozen=True):
    """A trajectory that a worker has claimed, with the secrets that only this worker gets."""

    trajectory_id: UUID
    claim_id: UUID
    secret_params: dict[str, Any]
    environment: dict[str, Any]

    def __repr__(self) -> str:
        return f"Claimed({self.trajectory_id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("trajectory_id", self.trajectory_id)]


def run(work: UnitOfWork, principal: Principal, path: TaskPath, request: RunCreate) -> UUID:
    """
    Call a task by hand and return the trajectory; parameters need not be declared by the task.

    Raises RuleViolation when it is too large, or the budget of the company is used up, InvalidField for a callback
    address to which nothing is sent.
    """
    ref = names.task(work, principal, path, "assign")
    budgets.must_allow_call(work, ref.company_id)
    targets.check_target(work, request.webhook_url, "webhook_url")
    trajectory_id = work.new_id()
    secrets = named_secrets.seal(work, trajectory_id, SECRETS, request.secret_params, ref.company_id)
    event = TrajectoryOpened(
        task_id=ref.task_id,
        name=names.full_name_of_task(work, ref.company_id, ref.task_id),
        workflow=ref.task.details.workflow,
        init_params={**_declared_params(ref), **request.init_params},
        secrets=secrets,
        callback=_keep_callback(work, trajectory_id, ref.company_id, request),
        author=work.actor,
    )
    trajectory.must_be_openable(event, work.limits)
    task_firing.open_trajectory(work, trajectory_id, event, ref.company_id)
    _drop_when_over(work, trajectory_id)
    return trajectory_id


def claim(  # noqa: PLR0913, PLR0917 the fields of a worker's request
    work: UnitOfWork, principal: Principal, collection: str, task: str | None, worker: str, waiting: Sequence[UUID]
) -> ClaimedTrajectory | None:
    """
    Give the worker the first trajectory that waits; return None when others have them all, or the company is archived.

    One whose secrets are gone, or whose workers have fallen silent again and again, is recorded as failed, with that as
    its error.
    """
    company_id = names.collection(work, principal, collection, "assign")
    if companies.is_archived(work.get(COMPANY, company_id)):
        return None
    task_id = None if task is None else names.task(work, principal, TaskPath(collection=collection, task=task)).task_id
    for trajectory_id in waiting:  # read one by one, since mostly the first can be claimed
        current = task_firing.get_trajectory(work, trajectory_id)
        if work.company_of(trajectory_id) != company_id or (task_id not in (None, current.task_id)):
            continue
        if not trajectory.may_be_claimed(current, work.now):
            continue
        if trajectory.is_given_up(current):
            task_firing.move(work, trajectory_id, [TrajectoryMoved(status="failed", error=trajectory.GIVEN_UP)])
            _drop_when_over(work, trajectory_id)
            continue
        try:
            secrets, environment = _open_secrets(work, current), _open_environment(work, company_id)
        except named_secrets.SecretsLost:
            task_firing.move(work, trajectory_id, [TrajectoryMoved(status="failed", error=LOST)])
            continue
        claim_id = uuid4()
        work.record(trajectory_id, trajectory.claim(current, claim_id, worker, work.now))
        return ClaimedTrajectory(
            trajectory_id=trajectory_id, claim_id=claim_id, secret_params=secrets, environment=environment
        )
    return None


def extend(work: UnitOfWork, principal: Principal, collection: str, trajectory_id: UUID, claim_id: UUID) -> UUID:
    """Extend the lease of a worker that needs more time; raise Conflict when another has the trajectory."""
    current = _find_held(work, principal, collection, trajectory_id)
    work.record(trajectory_id, trajectory.extend(current, claim_id, work.now))
    return trajectory_id


def report(  # noqa: PLR0913, PLR0917 the fields of a worker's request
    work: UnitOfWork, principal: Principal, collection: str, trajectory_id: UUID, claim_id: UUID, step: StepReport
) -> UUID:
    """Record that a step is done, or under way; raise Conflict when another has the trajectory."""
    current = _find_held(work, principal, collection, trajectory_id)
    event = TrajectoryStepReported(step=step.step, status=step.status, inputs=step.inputs, outputs=step.outputs)
    work.record(trajectory_id, trajectory.report(current, claim_id, event, work.limits))
    return trajectory_id


def report_usage(  # noqa: PLR0913, PLR0917 the fields of a worker's request
    work: UnitOfWork, principal: Principal, collection: str, trajectory_id: UUID, claim_id: UUID, usage: TrajectoryUsage
) -> UUID:
    """Record what the work has used so far; raise Conflict when another has the trajectory."""
    current = _find_held(work, principal, collection, trajectory_id)
    trajectory.must_be_claimed_by(current, claim_id)
    budgets.report_trajectory(work, trajectory_id, current, UsageReport(**asdict(usage)))
    return trajectory_id


def open_log(
    work: UnitOfWork, principal: Principal, collection: str, trajectory_id: UUID, claim_id: UUID
) -> tuple[UUID, UUID]:
    """Return the company and the id of the log that the worker may write; raise Conflict when another has the trajectory."""
    current = _find_held(work, principal, collection, trajectory_id)
    trajectory.must_be_claimed_by(current, claim_id)
    company_id = names.collection(work, principal, collection, "assign")
    companies.must_keep_texts(work.get(COMPANY, company_id))
    return company_id, current.run_id or trajectory_id


def finish(  # noqa: PLR0913, PLR0917 the fields of a worker's request
    work: UnitOfWork, principal: Principal, collection: str, trajectory_id: UUID, claim_id: UUID, end: FinishRequest
) -> UUID:
    """
    Record how the worker ended the trajectory, or that it hands it back (`pending`).

    Raises Conflict when another has the trajectory, InvalidField for the status `running`.
    """
    current = _find_held(work, principal, collection, trajectory_id)
    if end.status == "running":
        raise InvalidField(
            "A worker ends with completed, failed, cancelled or archived, or hands back with pending", "status"
        )
    task_firing.move(work, trajectory_id, trajectory.finish(current, claim_id, end.status, end.error))
    _drop_when_over(work, trajectory_id)
    return trajectory_id


def set_statuses(
    work: UnitOfWork, principal: Principal, path: TaskPath, statuses: Mapping[UUID, TrajectoryStatus]
) -> list[UUID]:
    """Set the statuses of trajectories of a task, all or none; clients with workers of their own end them like this."""
    ref = names.task(work, principal, path, "administer")
    work.load(statuses)
    for trajectory_id, status in statuses.items():
        current = _of_task(work, ref.task_id, trajectory_id)
        task_firing.move(work, trajectory_id, trajectory.move(current, status))
        _drop_when_over(work, trajectory_id)
    return list(statuses)


def label(work: UnitOfWork, principal: Principal, path: TaskPath, trajectory_id: UUID, draft: LabelCreate) -> UUID:
    """Label a trajectory; raise RuleViolation for one label too many."""
    ref = names.task(work, principal, path, "administer")
    current = _of_task(work, ref.task_id, trajectory_id)
    event = TrajectoryLabelled(key=draft.key, value=draft.value, author=draft.author)
    work.record(trajectory_id, trajectory.label(current, event, work.limits))
    return trajectory_id


def ingest(work: UnitOfWork, principal: Principal, path: TaskPath, draft: IngestCreate) -> UUID:
    """
    Record a run that was made elsewhere, and return its trajectory; the same id gives the same trajectory again.

    Raises InvalidField for a run that is not over.
    """
    ref = names.task(work, principal, path, "administer")
    if draft.status in LIVE:
        raise InvalidField("An ingested run is over: completed, failed, cancelled or archived", "status")
    trajectory_id = trajectory_of_origin(ref.task_id, draft.trajectory_id) if draft.trajectory_id else work.new_id()
    if work.version_of(trajectory_id):
        return trajectory_id
    opening = TrajectoryOpened(
        task_id=ref.task_id,
        name=names.full_name_of_task(work, ref.company_id, ref.task_id),
        workflow={"steps": ["ingest"]},
        init_params=draft.input if isinstance(draft.input, dict) else {"input": draft.input},
        source=draft.source or "ingest",
        author=draft.author,
        origin=draft.trajectory_id,
        metadata=draft.metadata,
    )
    outputs = draft.output if isinstance(draft.output, dict) else {"output": draft.output}
    step = TrajectoryStepReported(step="ingest", status=draft.status, inputs=opening.init_params, outputs=outputs)
    end = TrajectoryMoved(status=draft.status, error=draft.error)
    events: list[TrajectoryEvent] = [opening, step, end, *_labels_of(draft)]
    trajectory.must_fit(reduce(trajectory.parts_after, events, {}), work.limits)
    work.record(trajectory_id, events, ref.company_id)
    return trajectory_id


def time_out(work: UnitOfWork, trajectory_id: UUID) -> bool:
    """End a trajectory whose run has lasted too long; return False when it had ended already."""
    events = trajectory.time_out(task_firing.get_trajectory(work, trajectory_id))
    task_firing.move(work, trajectory_id, events)
    return bool(events)


def _declared_params(ref: names.TaskRef) -> dict[str, Any]:
    params = ref.task.details.workflow.get("init_params")
    return params if isinstance(params, dict) else {}


def _keep_callback(work: UnitOfWork, trajectory_id: UUID, company_id: UUID, request: RunCreate) -> Callback | None:
    if request.webhook_url is None:
        if request.webhook_secret is not None:
            raise InvalidField("webhook_secret needs a webhook_url", "webhook_secret")
        return None
    secret = request.webhook_secret
    secret_id = None if secret is None else work.keep(trajectory_id, CALLBACK, Secret(secret.encode()), company_id)
    return Callback(url=request.webhook_url, secret_id=secret_id)


def _labels_of(draft: IngestCreate) -> list[TrajectoryLabelled]:
    labels: dict[str, object] = {SCORE + name: value for name, value in draft.scores.items()}
    labels |= draft.labels
    if draft.cost_usd is not None:
        labels[COST] = draft.cost_usd
    return [TrajectoryLabelled(key=key, value=_label_text(value), author=draft.author) for key, value in labels.items()]


def _label_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _open_secrets(work: UnitOfWork, current: Trajectory) -> dict[str, Any]:
    """Return the secrets of a trajectory; a routine's are its current ones, so that a rotated one counts at once."""
    if current.routine_id is None:
        return named_secrets.open_secrets(work, current.secrets)
    routine = work.get(ROUTINE, current.routine_id)
    call = routine.settings.call if routine else None
    return named_secrets.open_secrets(work, call.secrets if call else None)


def _open_environment(work: UnitOfWork, company_id: UUID) -> dict[str, Any]:
    company = work.get(COMPANY, company_id)
    return named_secrets.open_secrets(work, company.environment if company else None)


def _find_held(work: UnitOfWork, principal: Principal, collection: str, trajectory_id: UUID) -> Trajectory:
    company_id = names.collection(work, principal, collection, "assign")
    current = task_firing.get_trajectory(work, trajectory_id)
    if work.company_of(trajectory_id) != company_id:
        raise NotFound
    return current


def _of_task(work: UnitOfWork, task_id: UUID, trajectory_id: UUID) -> Trajectory:
    current = task_firing.get_trajectory(work, trajectory_id)
    if current.task_id != task_id or work.get(TASK, task_id) is None:
        raise NotFound
    return current


def _drop_when_over(work: UnitOfWork, trajectory_id: UUID) -> None:
    """Drop the secrets of a call by hand once it is over."""
    current = task_firing.get_trajectory(work, trajectory_id)
    if current.secrets is not None and current.status not in LIVE:
        work.drop([current.secrets.id])
