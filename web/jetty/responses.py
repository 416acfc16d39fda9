"""Bodies of answers that no read model shows as they are, such as those with secrets for one caller."""

from typing import Any, Literal
from uuid import UUID

from projections.engine.table import Connection
from projections.firing import run_logs
from projections.jetty import trajectories
from projections.jetty.responses import Label, ResponseBody, Trajectory


class WorkflowResponse(ResponseBody, frozen=True, kw_only=True):
    """The trajectory that a call has started (Jetty contract 5.1)."""

    workflow_id: str
    trajectory_id: int
    run_id: UUID
    message: str = "Workflow started"
    result: dict[str, Any] = {}
    trajectory: Trajectory
    steps: dict[str, Any] = {}
    metadata: str = ""

    @classmethod
    def of(cls, trajectory: Trajectory, message: str = "Workflow started") -> "WorkflowResponse":
        """Return the answer for a trajectory."""
        return cls(
            workflow_id=trajectory.workflow_id,
            trajectory_id=trajectory.trajectory_id,
            run_id=trajectory.run_id,
            message=message,
            result={name: step.outputs for name, step in trajectory.steps.items()},
            trajectory=trajectory,
            steps=dict(trajectory.steps),
        )


def read_workflow(conn: Connection, trajectory_id: UUID) -> WorkflowResponse | None:
    """Return the answer to a call, with its trajectory as it is now; None if there is no such trajectory."""
    trajectory = trajectories.one(conn, trajectory_id)
    return None if trajectory is None else WorkflowResponse.of(trajectory)


class Healthy(ResponseBody, frozen=True, kw_only=True):
    """Whether the service works: `degraded` when something is wrong."""

    status: Literal["healthy", "degraded"]


class Message(ResponseBody, frozen=True, kw_only=True):
    """The confirmation of a change, in words."""

    message: str


class Trial(ResponseBody, frozen=True, kw_only=True):
    """The trial of a collection. `active` is always false, since there are no trials."""

    active: bool = False


class Templates(ResponseBody, frozen=True, kw_only=True):
    """The steps that need no worker."""

    templates: list[dict[str, Any]]


class Ingested(ResponseBody, frozen=True, kw_only=True):
    """The trajectory of a run that was made elsewhere."""

    trajectory_id: int
    name: str
    storage_path: str
    status: str
    labels: list[Label]


class Statuses(ResponseBody, frozen=True, kw_only=True):
    """The statuses that were set, by trajectory."""

    updated: dict[str, str]


class Stats(ResponseBody, frozen=True, kw_only=True):
    """The numbers of trajectories of a task, in all and by status."""

    total: int
    by_status: dict[str, int]


class LogLine(ResponseBody, frozen=True, kw_only=True):
    """An event of a trajectory: its moment, its stored name, and a text for readers."""

    at: str
    event: str
    text: str


class Logs(ResponseBody, frozen=True, kw_only=True):
    """The events of a trajectory, oldest first, and its present status."""

    workflow_id: str
    status: str
    logs: list[LogLine]


class TrajectoryLogPart(ResponseBody, frozen=True, kw_only=True):
    """What a command printed in a moment, under the claim of the worker that ran it. `at` has thousandths of a second."""

    position: int
    claim_id: UUID
    at: str
    output: list[run_logs.LogOutput]


class TrajectoryLog(ResponseBody, frozen=True, kw_only=True):
    """A piece of a trajectory's log, and where the next begins. When it `is_over`, no further part will come."""

    parts: list[TrajectoryLogPart]
    next: int
    is_over: bool


class LogTaken(ResponseBody, frozen=True, kw_only=True):
    """Whether the log takes no more of this claim."""

    is_full: bool


class Claimed(ResponseBody, frozen=True, kw_only=True):
    """A trajectory that a worker has claimed, with its secrets, which only that worker gets."""

    claim_id: UUID
    lease_s: int
    trajectory: Trajectory
    init_params: dict[str, Any]
    secret_params: dict[str, Any]
    environment_variables: dict[str, Any]

    def __repr__(self) -> str:
        return f"Claimed({self.claim_id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("claim_id", self.claim_id)]
