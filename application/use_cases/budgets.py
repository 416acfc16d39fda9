"""What was spent by runs, as they report it, and whether a firing is beyond a budget."""

from collections.abc import Iterator
from uuid import UUID

from msgspec.structs import asdict

from application.access import AgentCaller, Principal, Resource, authorize
from application.event_store.stream_kinds import AGENT, COMPANY, ISSUE, RUN, TRAJECTORY
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.budgets import UsageReport
from domain.errors import Forbidden, NotFound, RuleViolation
from domain.events import RunReported, TrajectoryUsageReported
from domain.explain import sentences
from domain.identity import issue_of_run
from domain.jetty import trajectory as trajectories
from domain.jetty.trajectory import Trajectory
from domain.routines import budget as budgets
from domain.routines import run as runs
from domain.routines.budget import Owner
from domain.routines.firing import FiringRequest
from domain.routines.routine import Routine
from domain.routines.run import Run
from domain.values import Budget, Opened, Outcome, OverBudget, Started

NOT_THEIRS = "Agents can only report the usage of runs of their own"


def limit(work: UnitOfWork, company_id: UUID, routine: Routine, request: FiringRequest, outcome: Outcome) -> Outcome:
    """
    Return the outcome of a firing, or Skipped with the evidence if it would begin work beyond a budget.

    What was spent is read and not guarded: costs are known after a run anyway. So a budget can be exceeded by what is
    under way.
    """
    if not isinstance(outcome, Opened | Started):
        return outcome
    exceeded_budget = over_now(work, company_id, request.routine_id, routine, request.assignee_agent_id)
    return outcome if exceeded_budget is None else budgets.skip_over_budget(exceeded_budget)


def over_now(
    work: UnitOfWork, company_id: UUID, routine_id: UUID, routine: Routine, agent_id: UUID | None
) -> OverBudget | None:
    """Return the narrowest budget that is used up now, with the evidence; None if work may begin."""
    return _first_exceeded(work, _budgets_of_firing(work, company_id, routine_id, routine, agent_id))


def must_allow_call(work: UnitOfWork, company_id: UUID) -> None:
    """Raise RuleViolation for a call of a task by hand when the budget of its company is used up."""
    if (exceeded_budget := _first_exceeded(work, _of_company(work, company_id))) is not None:
        raise RuleViolation(sentences.over_budget(exceeded_budget))


def report(work: UnitOfWork, principal: Principal, run_id: UUID, usage: UsageReport) -> UUID:
    """
    Record what a run has used so far; the same report again changes nothing.

    Raises NotFound, Forbidden for an agent that neither works on the run nor has its routine, Conflict for a run that
    began no work.
    """
    current_run = work.get(RUN, run_id)
    resource = Resource(company_id=work.owner_of(RUN, run_id), kind="Run")
    authorize(work, principal, "work", resource)
    if current_run is None:
        raise NotFound("Run not found")
    issue = work.get(ISSUE, issue_of_run(run_id))
    assignee = None if issue is None else issue.details.assignee_agent_id
    if isinstance(principal, AgentCaller) and principal.agent_id != assignee:
        raise Forbidden(NOT_THEIRS)
    _report_run(work, run_id, current_run, usage, assignee)
    if isinstance(current_run.outcome, Started):
        _report_trajectory(work, current_run.outcome.trajectory_id, usage, run_id)
    return run_id


def report_trajectory(work: UnitOfWork, trajectory_id: UUID, current: Trajectory, usage: UsageReport) -> None:
    """Record what the work on a trajectory has used so far, and that its run has, if a routine called it."""
    _report_trajectory(work, trajectory_id, usage, current.run_id)
    if current.run_id is not None and (current_run := work.get(RUN, current.run_id)) is not None:
        _report_run(work, current.run_id, current_run, usage, agent_id=None)


def _report_run(work: UnitOfWork, run_id: UUID, current_run: Run, usage: UsageReport, agent_id: UUID | None) -> None:
    event = RunReported(**asdict(usage), routine_id=current_run.routine_id, agent_id=agent_id)
    work.record(run_id, runs.report(current_run, event))


def _report_trajectory(work: UnitOfWork, trajectory_id: UUID, usage: UsageReport, run_id: UUID | None) -> None:
    if (current := work.get(TRAJECTORY, trajectory_id)) is not None:
        event = TrajectoryUsageReported(**asdict(usage), run_id=run_id)
        work.record(trajectory_id, trajectories.report_usage(current, event))


def _budgets_of_firing(
    work: UnitOfWork, company_id: UUID, routine_id: UUID, routine: Routine, agent_id: UUID | None
) -> Iterator[tuple[Owner, UUID, Budget]]:
    """Yield the budgets that hold for a firing, the narrowest first."""
    if routine.settings.budget is not None:
        yield "routine", routine_id, routine.settings.budget
    agent = work.get(AGENT, agent_id)
    if agent is not None and agent_id is not None and agent.profile.budget is not None:
        yield "agent", agent_id, agent.profile.budget
    yield from _of_company(work, company_id)


def _of_company(work: UnitOfWork, company_id: UUID) -> Iterator[tuple[Owner, UUID, Budget]]:
    company = work.get(COMPANY, company_id)
    if company is not None and company.details.budget is not None:
        yield "company", company_id, company.details.budget


def _first_exceeded(work: UnitOfWork, owned_budgets: Iterator[tuple[Owner, UUID, Budget]]) -> OverBudget | None:
    for owner, owner_id, budget in owned_budgets:
        if (
            exceeded_budget := budgets.find_excess(owner, budget, work.read_spending(owner, owner_id, budget))
        ) is not None:
            return exceeded_budget
    return None
