"""A trajectory: one call of a task, from its opening to its end. At most one worker has it at a time."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import asdict, replace

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
    TrajectoryUsageReported,
)
from domain.jetty import task
from domain.values import Callback, Json, Sealed, TrajectoryStatus, Value

LIVE: tuple[TrajectoryStatus, ...] = ("pending", "running")
TOLD: tuple[TrajectoryStatus, ...] = ("completed", "failed")  # statuses that cause a callback (Jetty contract 8)
LEASE = timedelta(seconds=60)
TIMED_OUT = "timed_out"
MOST_LAPSES = 5  # leases that run out in a row; then no further worker gets the trajectory
SETTLED = timedelta(seconds=5)  # a lease that began less than this ago is not extended
STEP, LABEL = "step ", "label "  # prefixes of the names of such parts
GIVEN_UP = f"No worker has finished the trajectory: {MOST_LAPSES} leases in a row have run out"
NOT_YOURS = "The claim is not the current one: another worker has the trajectory, or it has ended"


class Claim(Value, frozen=True):
    """A worker's claim on a trajectory, which holds until its lease ends."""

    id: UUID
    until: datetime


class Trajectory(Value, frozen=True):
    """The state of a trajectory: what was called, and who has it."""

    task_id: UUID
    workflow: Json
    init_params: Json
    routine_id: UUID | None
    run_id: UUID | None
    secrets: Sealed | None
    callback: Callback | None
    status: TrajectoryStatus = "pending"
    claim: Claim | None = None
    parts: dict[str, int] = {}  # bytes of JSON, by the name of the part
    lapses: int = 0  # leases that have run out, in a row, before the current one
    usage: TrajectoryUsageReported = TrajectoryUsageReported()  # for each field, the newest value that was reported


def evolve(trajectory: Trajectory | None, event: TrajectoryEvent) -> Trajectory:
    """Fold an event into the state of a trajectory. Raise ImpossibleHistory if the event cannot follow."""
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
            lapses = trajectory.lapses + 1 if trajectory.status == "running" else 0
            return replace(trajectory, status="running", claim=Claim(id=id_, until=until), lapses=lapses)
        case Trajectory(), TrajectoryLeaseExtended(claim_id=id_, until=until):
            return replace(trajectory, claim=Claim(id=id_, until=until))
        case Trajectory(), TrajectoryMoved(status=status):
            return replace(trajectory, status=status, claim=trajectory.claim if status == "running" else None)
        case Trajectory(), TrajectoryUsageReported():
            return replace(trajectory, usage=_merge_usage(trajectory.usage, event))
        case Trajectory(), TrajectoryStepReported() | TrajectoryLabelled():
            return replace(trajectory, parts=parts_after(trajectory.parts, event))
        case _:
            raise ImpossibleHistory(trajectory, event)


def parts_after(parts: dict[str, int], event: TrajectoryEvent) -> dict[str, int]:
    """Return the sizes of a trajectory's parts after an event; a step or label that is reported again replaces itself."""
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
    """Raise RuleViolation if a trajectory would have too many steps or labels, or too many bytes of them."""
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


def must_be_openable(opening: TrajectoryOpened, limits: Limits) -> None:
    """Raise InvalidField if its task has too many steps, RuleViolation if what it is called with is too large."""
    task.must_have_few_steps(opening.workflow, limits)
    must_fit(parts_after({}, opening), limits)


def may_be_claimed(trajectory: Trajectory, now: datetime) -> bool:
    """Return whether no worker has the trajectory: it waits, or its worker was silent for longer than its lease."""
    if trajectory.status == "pending":
        return True
    return trajectory.status == "running" and trajectory.claim is not None and trajectory.claim.until <= now


def is_given_up(trajectory: Trajectory) -> bool:
    """Return whether a trajectory that may be claimed was left by too many workers: it may be what ends them."""
    return trajectory.status == "running" and trajectory.lapses + 1 >= MOST_LAPSES


def claim(trajectory: Trajectory, claim_id: UUID, worker: str, now: datetime) -> list[TrajectoryEvent]:
    """Give the trajectory to a worker; nothing is recorded when another has it."""
    if not may_be_claimed(trajectory, now):
        return []
    return [TrajectoryClaimed(claim_id=claim_id, worker=worker, until=now + LEASE)]


def extend(trajectory: Trajectory, claim_id: UUID, now: datetime) -> list[TrajectoryEvent]:
    """
    Extend the worker's lease; nothing is recorded when it has just begun.

    Raise Conflict for a claim that is not the current one.
    """
    claim = must_be_claimed_by(trajectory, claim_id)
    if now + LEASE - claim.until < SETTLED:
        return []
    return [TrajectoryLeaseExtended(claim_id=claim_id, until=now + LEASE)]


def report(
    trajectory: Trajectory, claim_id: UUID, step: TrajectoryStepReported, limits: Limits = DEFAULT
) -> list[TrajectoryEvent]:
    """
    Record a step.

    Raise Conflict as `extend` does, InvalidField for a step that the workflow does not have, RuleViolation if the
    trajectory would become too large.
    """
    must_be_claimed_by(trajectory, claim_id)
    steps = trajectory.workflow.get("steps")
    if isinstance(steps, list) and steps and step.step not in steps:
        raise InvalidField(f"The task has no step '{step.step}'", "step")
    must_fit(parts_after(trajectory.parts, step), limits)
    return [step]


def report_usage(trajectory: Trajectory, new: TrajectoryUsageReported) -> list[TrajectoryEvent]:
    """Record what the work on the trajectory has used; nothing if all of it is known."""
    old_usage = replace(trajectory.usage, run_id=new.run_id)
    return [] if _merge_usage(old_usage, new) == old_usage else [new]


def _merge_usage(old: TrajectoryUsageReported, new: TrajectoryUsageReported) -> TrajectoryUsageReported:
    return replace(old, **{name: value for name, value in asdict(new).items() if value is not None})


def label(trajectory: Trajectory, new_label: TrajectoryLabelled, limits: Limits = DEFAULT) -> list[TrajectoryEvent]:
    """Set a label. Raise RuleViolation if the trajectory would become too large."""
    must_fit(parts_after(trajectory.parts, new_label), limits)
    return [new_label]


def finish(
    trajectory: Trajectory, claim_id: UUID, status: TrajectoryStatus, error: str | None
) -> list[TrajectoryEvent]:
    """
    Record that the worker is done; nothing if the trajectory has this status already.

    Raise Conflict as `extend` does.
    """
    must_be_claimed_by(trajectory, claim_id)
    return move(trajectory, status, error)


def must_be_claimed_by(trajectory: Trajectory, claim_id: UUID) -> Claim:
    """Return the current claim. Raise Conflict unless the trajectory is running and this claim is the current one."""
    if trajectory.status != "running" or trajectory.claim is None or trajectory.claim.id != claim_id:
        raise Conflict(NOT_YOURS)
    return trajectory.claim


def move(trajectory: Trajectory, status: TrajectoryStatus, error: str | None = None) -> list[TrajectoryEvent]:
    """Set the status; nothing if it is the same. Any status may follow any other (Jetty contract 7)."""
    return [] if status == trajectory.status else [TrajectoryMoved(status=status, error=error)]


def time_out(trajectory: Trajectory) -> list[TrajectoryEvent]:
    """Record that the trajectory lasted longer than its routine allows; nothing if it has ended."""
    return [TrajectoryMoved(status="failed", error=TIMED_OUT)] if trajectory.status in LIVE else []
