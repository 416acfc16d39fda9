"""A trajectory: one call of a task, from its opening to its end, in the hands of at most one worker at a time."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from domain.errors import Conflict, ImpossibleHistory, Misfit
from domain.events import (
    TrajectoryClaimed,
    TrajectoryEvent,
    TrajectoryLabelled,
    TrajectoryLeaseExtended,
    TrajectoryMoved,
    TrajectoryOpened,
    TrajectoryStepReported,
)
from domain.values import Callback, Json, Sealed, TrajectoryStatus, Value

LIVE: tuple[TrajectoryStatus, ...] = ("pending", "running")
TOLD: tuple[TrajectoryStatus, ...] = ("completed", "failed")  # of which a callback is made (Jetty contract 8)
LEASE = timedelta(seconds=60)
TIMED_OUT = "timed_out"
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
            )
        case Trajectory(), TrajectoryClaimed(claim_id=id_, until=until):
            return replace(trajectory, status="running", claim=Claim(id=id_, until=until))
        case Trajectory(), TrajectoryLeaseExtended(claim_id=id_, until=until):
            return replace(trajectory, claim=Claim(id=id_, until=until))
        case Trajectory(), TrajectoryMoved(status=status):
            return replace(trajectory, status=status, claim=trajectory.claim if status == "running" else None)
        case Trajectory(), TrajectoryStepReported() | TrajectoryLabelled():
            return trajectory
        case _:
            raise ImpossibleHistory(trajectory, event)


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
    """Raises Conflict for a claim that is not the current one."""
    must_be_claimed_by(trajectory, claim_id)
    return [TrajectoryLeaseExtended(claim_id=claim_id, until=now + LEASE)]


def report(trajectory: Trajectory, claim_id: UUID, step: TrajectoryStepReported) -> list[TrajectoryEvent]:
    """Raises Conflict as `extend` does, Misfit for a step that its workflow does not have."""
    must_be_claimed_by(trajectory, claim_id)
    known = trajectory.workflow.get("steps")
    if isinstance(known, list) and known and step.step not in known:
        raise Misfit(f"The task has no step '{step.step}'", "step")
    return [step]


def finish(
    trajectory: Trajectory, claim_id: UUID, status: TrajectoryStatus, error: str | None
) -> list[TrajectoryEvent]:
    """The worker is done with it; said again it is nothing new. Raises Conflict as `extend` does."""
    must_be_claimed_by(trajectory, claim_id)
    return move(trajectory, status, error)


def must_be_claimed_by(trajectory: Trajectory, claim_id: UUID) -> None:
    if trajectory.status != "running" or trajectory.claim is None or trajectory.claim.id != claim_id:
        raise Conflict(NOT_YOURS)


def move(trajectory: Trajectory, status: TrajectoryStatus, error: str | None = None) -> list[TrajectoryEvent]:
    """Whoever sets a status may set any (Jetty contract 7); the one that it has is nothing new."""
    return [] if status == trajectory.status else [TrajectoryMoved(status=status, error=error)]


def time_out(trajectory: Trajectory) -> list[TrajectoryEvent]:
    """It has lasted longer than its routine allows."""
    return [TrajectoryMoved(status="failed", error=TIMED_OUT)] if trajectory.status in LIVE else []
