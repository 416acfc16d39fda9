"""Routines whose schedules are due, written straight into the log."""

from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from application.execute import Executor
from domain.events import AgentCreated, CompanyCreated, RoutineCreated, RoutineTriggerAdded, TriggerCreated
from domain.values import AgentProfile, CompanyDetails, RoutineSettings, TriggerSettings

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now


class Armed(msgspec.Struct, frozen=True):
    """A schedule of a routine, and where it stands."""

    trigger_id: object
    routine_id: object
    cron: str
    next_at: datetime


class CompanyFixture:
    """A company with one agent."""

    def __init__(self, executor: Executor):
        self.executor = executor
        self.company_id, self.agent_id = uuid4(), uuid4()
        prefix = f"T{self.company_id.hex[:5].upper()}"
        company = CompanyCreated(details=CompanyDetails(name="Acme"), issue_prefix=prefix)
        self.record(
            (self.company_id, [company]),
            (self.agent_id, [AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout")]),
        )

    def record(self, *batch, **by):
        """Events for some streams of the company, in one transaction; `actor` may say by whom."""

        def decide(work):
            work.load(stream_id for stream_id, _ in batch)
            for stream_id, events in batch:
                work.record(stream_id, events, self.company_id)

        return self.executor.attempt(decide, **by).position

    def routines(self, many=1, *, next_at, cron="* * * * *", zone="UTC", triggers=1, **settings):
        """So many routines, each with so many schedules that are next due at `next_at`."""
        armed_schedules = [
            Armed(uuid4(), routine_id, cron, next_at)
            for routine_id in [uuid4() for _ in range(many)]
            for _ in range(triggers)
        ]
        self.record(*self._record_routines(armed_schedules, settings), *self._record_triggers(armed_schedules, zone))
        return armed_schedules

    def _record_routines(self, armed_schedules, settings):
        settings_of_routine = RoutineSettings(
            **{"title": "Check the inbox", "assignee_agent_id": self.agent_id, **settings}
        )
        by_routine = {}
        for armed in armed_schedules:
            event = RoutineTriggerAdded(trigger_id=armed.trigger_id, kind="schedule")
            by_routine.setdefault(armed.routine_id, [RoutineCreated(settings=settings_of_routine)]).append(event)
        return by_routine.items()

    def _record_triggers(self, armed_schedules, zone):
        for armed in armed_schedules:
            settings = TriggerSettings(cron_expression=armed.cron, timezone=zone)
            event = TriggerCreated(
                routine_id=armed.routine_id, kind="schedule", settings=settings, next_at=armed.next_at
            )
            yield armed.trigger_id, [event]
