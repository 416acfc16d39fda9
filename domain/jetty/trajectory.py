"""A trajectory: one call of a task, from its opening to its end, in the hands of at most one worker at a time."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from domain.bounds.json_size import size_of
from domain.bounds.limits import DEFAULT, Limits
from domain.errors import Conflict, ImpossibleHistory, InvalidField, RuleViolation
from domain.events import (
    TrajectoryClaimed,
    TrajectoryEvent,
    TrajectoryLabelled,
    TrajectoryLeaseExtended,
    TrajectoryMoved,
    TrajectoryOpened,
    TrajectoryStepReported,
)
from domain.jetty import task
from domain.values import Callback, Json, Sealed, TrajectoryStatus, Value

LIVE: tuple[TrajectoryStatus, ...] = ("pending", "running")
TOLD: tuple[TrajectoryStatus, ...] = ("completed", "failed")  # of which a callback is made (Jetty contract 8)
LEASE = timedelta(seconds=60)
TIMED_OUT = "timed_out"
SETTLED = timedelta(seconds=5)  # so soon after a lease has begun it is not extended
STEP, LABEL = "step ", "label "  # what the names of such parts begin with
NOT_YOURS = "The claim is not the current one: another worker has the trajectory, or it has ended"


class Claim(Value, frozen=True):
    """A worker's hold on it."""

    id: UUID
    until: datetime


class Trajectory(Value, frozen=True):
    task_id: UUID
    workflow: Json
    init_params: Json
    routine_id: UUID | None
    run_id: UUID | None
    secrets: Sealed | None
    callback: Callback | None
    status: TrajectoryStatus = "pending"
    claim: Claim | None = None
    parts: dict[str, int] = {}  # how many bytes of JSON it holds, by what they are


def evolve(trajectory: Trajectory | None, event: TrajectoryEvent) -> Trajectory:
    match trajectory, event:
        case None, TrajectoryOpened():
            return Trajectory(
                task_id=event.task_id,
                workflow=event.workflow,
                init_params=event.init_params,
                routine_id=event.routine_id,
                run_id=event.run_id,
                secrets=event.secrets,
                callback=event.callback,
                parts=parts_after({}, event),
            )
        case Trajectory(), TrajectoryClaimed(claim_id=id_, until=until):
            return replace(trajectory, status="running", claim=Claim(id=id_, until=until))
        case Trajectory(), TrajectoryLeaseExtended(claim_id=id_, until=until):
            return replace(trajectory, claim=Claim(id=id_, until=until))
        case Trajectory(), TrajectoryMoved(status=status):
            return replace(trajectory, status=status, claim=trajectory.claim if status == "running" else None)
        case Trajectory(), TrajectoryStepReported() | TrajectoryLabelled():
            return replace(trajectory, parts=parts_after(trajectory.parts, event))
        case _:
            raise ImpossibleHistory(trajectory, event)


def parts_after(parts: dict[str, int], event: TrajectoryEvent) -> dict[str, int]:
    """The sizes of what a trajectory holds, after an event; a step or a label that is reported again replaces itself."""
    match event:
        case TrajectoryOpened():
            return parts | {"call": size_of(event.workflow, event.init_params, event.metadata)}
        case TrajectoryStepReported(step=step, inputs=inputs, outputs=outputs):
            return parts | {STEP + step: size_of(step, inputs, outputs)}
        case TrajectoryLabelled(key=key, value=value, author=author):
            return parts | {LABEL + key: size_of(key, value, author)}
        case _:
            return parts


def must_fit(parts: dict[str, int], limits: Limits) -> None:
    """Raises Unacceptable when a trajectory would hold too much."""
    steps, labels = (sum(name.startswith(kind) for name in parts) for kind in (STEP, LABEL))
    if steps > limits.max_task_steps:
        raise RuleViolation(f"A trajectory has at most {limits.max_task_steps} steps")
    if labels > limits.max_trajectory_labels:
        raise RuleViolation(f"A trajectory has at most {limits.max_trajectory_labels} labels")
    if (size := sum(parts.values())) > limits.max_trajectory_bytes:
        raise RuleViolation(
            f"A trajectory holds at most {limits.max_trajectory_bytes} bytes of parameters, steps and labels, "
            f"and would hold {size}"
        )


def must_be_openable(opened: TrajectoryOpened, limits: Limits) -> None:
    """Raises Unacceptable when its task has too many steps, or what it is called with is too large."""
    task.must_have_few_steps(opened.workflow, limits)
    must_fit(parts_after({}, opened), limits)


def may_be_claimed(trajectory: Trajectory, now: datetime) -> bool:
    """Whether nobody has it: it waits, or its worker has not been heard of for longer than its lease."""
    if trajectory.status == "pending":
        return True
    return trajectory.status == "running" and trajectory.claim is not None and trajectory.claim.until <= now


def claim(trajectory: Trajectory, claim_id: UUID, worker: str, now: datetime) -> list[TrajectoryEvent]:
    """Nothing when another has it."""
    if not may_be_claimed(trajectory, now):
        return []
    return [TrajectoryClaimed(claim_id=claim_id, worker=worker, until=now + LEASE)]


def extend(trajectory: Trajectory, claim_id: UUID, now: datetime) -> list[TrajectoryEvent]:
    """Nothing when it has just been extended. Raises Conflict for a claim that is not the current one."""
    claim = must_be_claimed_by(trajectory, claim_id)
    if now + LEASE - claim.until < SETTLED:
        return []
    return [TrajectoryLeaseExtended(claim_id=claim_id, until=now + LEASE)]


def report(
    trajectory: Trajectory, claim_id: UUID, step: TrajectoryStepReported, limits: Limits = DEFAULT
) -> list[TrajectoryEvent]:
    """Raises Conflict as `extend` does, Misfit for a step that its workflow does not have, Unacceptable for too much."""
    must_be_claimed_by(trajectory, claim_id)
    known = trajectory.workflow.get("steps")
    if isinstance(known, list) and known and step.step not in known:
        raise InvalidField(f"The task has no step '{step.step}'", "step")
    must_fit(parts_after(trajectory.parts, step), limits)
    return [step]


def label(trajectory: Trajectory, labelled: TrajectoryLabelled, limits: Limits = DEFAULT) -> list[TrajectoryEvent]:
    """Raises Unacceptable for one too many."""
    must_fit(parts_after(trajectory.parts, labelled), limits)
    return [labelled]


def finish(
    trajectory: Trajectory, claim_id: UUID, status: TrajectoryStatus, error: str | None
) -> list[TrajectoryEvent]:
    """The worker is done with it; said again it is nothing new. Raises Conflict as `extend` does."""
    must_be_claimed_by(trajectory, claim_id)
    return move(trajectory, status, error)


def must_be_claimed_by(trajectory: Trajectory, claim_id: UUID) -> Claim:
    if trajectory.status != "running" or trajectory.claim is None or trajectory.claim.id != claim_id:
        raise Conflict(NOT_YOURS)
    return trajectory.claim


def move(trajectory: Trajectory, status: TrajectoryStatus, error: str | None = None) -> list[TrajectoryEvent]:
    """Whoever sets a status may set any (Jetty contract 7); the one that it has is nothing new."""
    return [] if status == trajectory.status else [TrajectoryMoved(status=status, error=error)]


def time_out(trajectory: Trajectory) -> list[TrajectoryEvent]:
    """It has lasted longer than its routine allows."""
    return [TrajectoryMoved(status="failed", error=TIMED_OUT)] if trajectory.status in LIVE else []
