"""A routine with schedules in the past of the running API: use cases carried out at times of our choosing."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from application.access import Caller, Principal
from application.event_store.stream_kinds import TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from application.request_bodies.board import AgentDraft, CompanyDraft, ProjectDraft
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import RoutineDraft, RoutinePatch
from application.request_bodies.triggers import ScheduleDraft, TriggerPatch
from application.use_cases import routines, schedule_firing, triggers
from application.use_cases.board import agents, companies, issues, projects
from domain.identity import issue_of_run, run_of_occurrence
from domain.routines.trigger import DueTrigger
from projections.engine import positions
from projections.firing import activity
from tests.api import Api

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def _set_up(work: UnitOfWork, by: Principal) -> tuple[UUID, UUID, UUID]:
    """A company, its agent and its project."""
    company = companies.create(work, by, CompanyDraft(name="Then"))
    agent = agents.create(work, by, company, AgentDraft(name="Scout")).agent_id
    return company, agent, projects.create(work, by, company, ProjectDraft(name="Move"))


class Past:
    """It has a company, an agent and a project, and a clock that starts at `now`."""

    def __init__(self, api: Api, now: datetime) -> None:
        self.now = now
        self.system = api.system
        self.executor = Executor(api.system.store, lambda: self.now, api.system.vault)
        self.caller = Caller(token=api.token)
        self.company, self.agent, self.project = self.ask(_set_up)

    def ask(self, use_case: Any, *args: Any) -> Any:
        return self.executor.execute(self.caller, use_case, *args).result

    def at(self, hour: int, minute: int = 0, second: int = 0) -> None:
        """Goes to a time of the same day."""
        self.now = self.now.replace(hour=hour, minute=minute, second=second)

    def routine(self, **fields: Any) -> UUID:
        drafted = {"title": "Check", "assignee_agent_id": self.agent, **fields}
        return UUID(str(self.ask(routines.create, self.company, RoutineDraft(**drafted))))

    def change(self, routine_id: UUID, **fields: Any) -> None:
        self.ask(routines.update, routine_id, RoutinePatch(**fields))

    def schedule(self, routine_id: UUID, **fields: Any) -> UUID:
        return UUID(str(self.ask(triggers.create, routine_id, ScheduleDraft(**fields)).trigger_id))

    def edit(self, trigger_id: UUID, **fields: Any) -> None:
        self.ask(triggers.update, trigger_id, TriggerPatch(**fields))

    def delete(self, trigger_id: UUID) -> None:
        self.ask(triggers.delete, trigger_id)

    def finish(self, trigger_id: UUID, occurrence: datetime, status: Any = "done") -> None:
        """The issue that an occurrence opened is closed."""
        issue = issue_of_run(run_of_occurrence(trigger_id, occurrence))
        self.ask(issues.update, issue, IssuePatch(status=status), None)

    def tick(self, *trigger_ids: UUID) -> int:
        """What the scheduler does with these triggers."""

        def settle(work: Any) -> int:
            rows = []
            with self.system.pool.connection() as conn:
                positions.wait(conn, activity.JOINED, 10)
                routine_ids = [work.get(TRIGGER, id_).routine_id for id_ in trigger_ids]
                windows = activity.windows(conn, routine_ids)
            for id_ in trigger_ids:
                trigger = work.get(TRIGGER, id_)
                row = DueTrigger(
                    trigger_id=id_,
                    trigger_version=work.version_of(id_),
                    routine_id=trigger.routine_id,
                    company_id=work.company_of(id_),
                    next_at=trigger.next_unsettled_at,
                    window=windows[trigger.routine_id],
                )
                rows.append(row)
            return schedule_firing.fire_due(work, rows)

        return self.executor.attempt(settle, actor="scheduler").result
