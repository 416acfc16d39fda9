"""Tasks and trajectories: what Jetty's clients call and get (Jetty contract 7)."""

from datetime import datetime
from uuid import UUID

from domain.events.event import Event
from domain.values import Callback, Payload, Sealed, TaskDetails, Text, TrajectoryStatus


class TaskCreated(Event, frozen=True, tag="task.created"):
    """A task that can be called was created."""

    details: TaskDetails


class TaskUpdated(Event, frozen=True, tag="task.updated"):
    """The details of the task changed."""

    details: TaskDetails


class TaskRoutineAdded(Event, frozen=True, tag="task.routine_added"):
    """One more routine calls the task."""

    routine_id: UUID


class TaskRoutineRemoved(Event, frozen=True, tag="task.routine_removed"):
    """A routine does not call the task any more."""

    routine_id: UUID


class TaskDeleted(Event, frozen=True, tag="task.deleted"):
    """The task is gone, and its routines with it; its trajectories stay."""


class TrajectoryOpened(Event, frozen=True, tag="trajectory.opened"):
    """
    A task was called: by a routine, which names its run, by hand, or by a push of a call that was over already
    (`source`).
    """

    task_id: UUID
    name: Text  # <collection>/<task>, by their names at that time
    workflow: Payload  # the task's at that time
    init_params: Payload = {}
    routine_id: UUID | None = None
    run_id: UUID | None = None
    secrets: Sealed | None = None  # of a call by hand; those of a routine are read when the work begins
    callback: Callback | None = None
    source: Text = "run"
    author: Text | None = None
    origin: Text | None = None  # the caller's own id of a call that was pushed
    metadata: Payload = {}


class TrajectoryClaimed(Event, frozen=True, tag="trajectory.claimed"):
    """A worker has the trajectory `until` then; other claims are refused meanwhile."""

    claim_id: UUID
    worker: Text
    until: datetime


class TrajectoryLeaseExtended(Event, frozen=True, tag="trajectory.lease_extended"):
    """The worker goes on working on the trajectory."""

    claim_id: UUID
    until: datetime


class TrajectoryStepReported(Event, frozen=True, tag="trajectory.step_reported"):
    """A step was reported, with its inputs and outputs."""

    step: Text
    status: TrajectoryStatus
    inputs: Payload = {}
    outputs: Payload = {}


class TrajectoryUsageReported(Event, frozen=True, tag="trajectory.usage_reported"):
    """
    What the work on the trajectory has used so far was reported. Each field that is not None replaces what was reported
    of it before, so a report that is repeated changes nothing.
    """

    cost_micros: int | None = None  # in millionths of the currency in which the installation counts
    input_tokens: int | None = None
    output_tokens: int | None = None
    run_id: UUID | None = None  # the run that reports the same; None for a call by hand


class TrajectoryMoved(Event, frozen=True, tag="trajectory.moved"):
    """The status of the trajectory changed. If it failed, `error` says why."""

    status: TrajectoryStatus
    error: Text | None = None


class TrajectoryLabelled(Event, frozen=True, tag="trajectory.labelled"):
    """Somebody set a label; the same key again replaces its value."""

    key: Text
    value: Text
    author: Text


TaskEvent = TaskCreated | TaskUpdated | TaskRoutineAdded | TaskRoutineRemoved | TaskDeleted


TrajectoryEvent = (
    TrajectoryOpened
    | TrajectoryClaimed
    | TrajectoryLeaseExtended
    | TrajectoryStepReported
    | TrajectoryUsageReported
    | TrajectoryMoved
    | TrajectoryLabelled
)
