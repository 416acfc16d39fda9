"""Firing of a routine that calls a task: it opens a trajectory (Jetty contract 5.2)."""

from collections.abc import Sequence
from uuid import UUID

from msgspec.structs import replace

from application.event_store.stream_kinds import PROJECT, RUN, TASK, TRAJECTORY
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import budgets, names, slots
from domain.board import project as projects
from domain.errors import NotFound, RuleViolation
from domain.events import TaskRoutineRemoved, TrajectoryEvent, TrajectoryMoved, TrajectoryOpened
from domain.explain import sentences
from domain.identity import trajectory_of_run
from domain.jetty import built_in, task_call, trajectory
from domain.jetty.trajectory import LIVE, Trajectory
from domain.routines import firing, run
from domain.routines.firing import FiringRequest
from domain.routines.routine import Routine
from domain.values import Failed, LiveWork, Outcome, Skipped, Started, TaskCall

GONE = "The task is gone"


def begin(work: UnitOfWork, company_id: UUID, routine: Routine, request: FiringRequest) -> None:
    """Record the run, its slot and its trajectory; one that cannot be worked on is opened as failed with the reason."""
    if (call := routine.settings.call) is None:
        raise NotFound
    guard, is_awaited = slots.read_slot(work, request.routine_id), not request.is_automatic
    outcome = budgets.limit(work, company_id, routine, request, _decide_outcome(work, routine, request))
    if isinstance(outcome, Skipped) and outcome.budget is not None and request.source in firing.BY_CALLERS:
        raise RuleViolation(sentences.over_budget(outcome.budget))
    outcome = slots.limit_live(work, routine, guard, outcome, is_awaited=is_awaited)
    if isinstance(outcome, Started) and routine.settings.concurrency_policy == "cancel_previous":
        _cancel_superseded(work, guard.live, request.run_id)
    work.record(request.run_id, [firing.fired_with(request, routine, outcome)], company_id)
    if isinstance(outcome, Started):
        live = LiveWork(issue_id=outcome.trajectory_id, run_id=request.run_id)
        slots.follow(work, request.routine_id, live, company_id, is_live=True)
        opening, error = _limit_size(work, request, *_open_call(work, call, request, company_id))
        open_trajectory(work, outcome.trajectory_id, opening, company_id, error)


def must_be_callable(work: UnitOfWork, call: TaskCall, company_id: UUID) -> None:
    """Raise RuleViolation for a call whose trajectory would be too large whenever it is fired."""
    trajectory.must_be_openable(_new_trajectory(work, call, company_id), work.limits)


def open_trajectory(
    work: UnitOfWork, trajectory_id: UUID, opening: TrajectoryOpened, company_id: UUID, error: str | None = None
) -> None:
    """Open a trajectory; what needs no worker is carried out at once, what has an `error` has failed."""
    work.record(trajectory_id, [opening], company_id)
    if error is not None:
        move(work, trajectory_id, [TrajectoryMoved(status="failed", error=error)])
    elif built_in.runs_by_itself(opening.workflow):
        *steps, end = built_in.carried_out(opening.workflow, opening.init_params, work.limits)
        work.record(trajectory_id, steps)
        move(work, trajectory_id, [end])


def move(work: UnitOfWork, trajectory_id: UUID, events: Sequence[TrajectoryEvent]) -> None:
    """Record these events of a trajectory; the run and the slot of its routine follow each change of its status."""
    old = get_trajectory(work, trajectory_id)
    company_id = work.company_of(trajectory_id)
    work.record(trajectory_id, events)
    for event in events:
        if not isinstance(event, TrajectoryMoved) or old.routine_id is None or old.run_id is None:
            continue
        if (current_run := work.get(RUN, old.run_id)) is not None:
            work.record(old.run_id, run.follow(current_run, event.status, event.error))
        live = LiveWork(issue_id=trajectory_id, run_id=old.run_id)
        slots.follow(work, old.routine_id, live, company_id, is_live=event.status in LIVE)


def _cancel_superseded(work: UnitOfWork, live: Sequence[LiveWork], successor_run_id: UUID) -> None:
    """Cancel the trajectories of earlier runs, since the routine's next run takes their place (cancel_previous)."""
    for live_work in live:
        if (current_run := work.get(RUN, live_work.run_id)) is not None:
            work.record(live_work.run_id, run.supersede(current_run, successor_run_id))
        move(work, live_work.issue_id, [TrajectoryMoved(status="cancelled")])


def get_trajectory(work: UnitOfWork, trajectory_id: UUID) -> Trajectory:
    """Return the trajectory; raise NotFound."""
    if (current := work.get(TRAJECTORY, trajectory_id)) is None:
        raise NotFound
    return current


def release(work: UnitOfWork, routine_id: UUID, call: TaskCall) -> None:
    """Free what an archived routine holds: its name, its place in the task, its secrets."""
    names.release_name(work, names.routines_of(call.task_id), call.name)
    task = work.get(TASK, call.task_id)
    if task is not None and not task.deleted and routine_id in task.routines:
        work.record(call.task_id, [TaskRoutineRemoved(routine_id=routine_id)])
    work.drop(secret_ids(call))


def secret_ids(call: TaskCall) -> list[UUID]:
    """Return the vault's ids of the secrets of a call."""
    ids = [call.secrets.id] if call.secrets else []
    return [*ids, call.callback.secret_id] if call.callback and call.callback.secret_id else ids


def _decide_outcome(work: UnitOfWork, routine: Routine, request: FiringRequest) -> Outcome:
    outcome = Started(trajectory_id=trajectory_of_run(request.run_id))
    if request.source in firing.BY_CALLERS:
        return outcome  # a caller always gets a trajectory, whatever cadence, pause and overlap say
    if projects.is_paused(work.get(PROJECT, request.project_id)):
        return firing.PROJECT_PAUSED
    if (held_outcome := firing.held_outcome(request, routine.settings)) is not None:
        return held_outcome
    if request.superseded_by is not None:
        return firing.superseded_outcome(request.superseded_by)
    if isinstance(request.rendered, Failed):
        return (
            outcome  # the trajectory opens as failed; live ones are not read, since they may be why the firing failed
        )
    guard = slots.read_slot(work, request.routine_id)
    return run.outcome(routine.settings.concurrency_policy, slots.newest_live_work(work, routine, guard), outcome)


def _open_call(
    work: UnitOfWork, call: TaskCall, request: FiringRequest, company_id: UUID
) -> tuple[TrajectoryOpened, str | None]:
    """Return what the call opens, and why it cannot be begun, or None."""
    opening = replace(_new_trajectory(work, call, company_id), routine_id=request.routine_id, run_id=request.run_id)
    task = work.get(TASK, call.task_id)
    if task is None or task.deleted:
        return opening, GONE
    return opening, request.rendered.reason if isinstance(request.rendered, Failed) else None


def _new_trajectory(work: UnitOfWork, call: TaskCall, company_id: UUID) -> TrajectoryOpened:
    """Return the trajectory that the call would open now, whatever fires it."""
    task = work.get(TASK, call.task_id)
    workflow = task.details.workflow if task else {}
    return TrajectoryOpened(
        task_id=call.task_id,
        name=names.full_name_of_task(work, company_id, call.task_id),
        workflow=workflow,
        init_params=task_call.init_params(call.overrides, workflow),
        callback=call.callback if call.callback and call.callback.url else None,
        source="routine",
        author=work.actor,
    )


def _limit_size(
    work: UnitOfWork, request: FiringRequest, opening: TrajectoryOpened, error: str | None
) -> tuple[TrajectoryOpened, str | None]:
    """
    Return what a call opens, and why it failed; one that is too large is opened without its workflow and parameters.

    Only a call that the service makes by itself fails like that. To callers, who wait for the answer, it raises RuleViolation.
    """
    try:
        trajectory.must_be_openable(opening, work.limits)
    except RuleViolation as refusal:
        if not request.is_automatic:
            raise
        return replace(opening, workflow={}, init_params={}), error or refusal.message
    return opening, error
