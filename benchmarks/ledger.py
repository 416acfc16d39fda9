"""A company, its routines and their due schedules, written straight into the log of a fresh database."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
from psycopg.sql import SQL, Identifier

from application.execute import Executor
from application.work import Work
from domain.events import AgentCreated, AnyEvent, CompanyCreated, RoutineCreated, RoutineTriggerAdded, TriggerCreated
from domain.values import AgentProfile, CompanyDetails, RoutineSettings, TriggerSettings
from routines import bootstrap
from routines.bootstrap import System
from routines.local_postgres import LocalPostgres
from routines.settings import Settings

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
EXPRESSIONS = 50  # that the schedules share; all are due on the hour
numbers = itertools.count()
Batch = list[tuple[UUID, list[AnyEvent]]]


@contextmanager
def fresh_system(postgres: LocalPostgres) -> Iterator[System]:
    """The service on a database of its own, dropped at the end."""
    name = f"bench_{next(numbers)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        bootstrap.prepare(Settings(database_url=postgres.url("postgres", name)))
        with bootstrap.system(Settings(database_url=postgres.url("routines_service", name))) as system:
            yield system
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def arm(system: System, many: int, next_at: datetime = NOON) -> UUID:
    """That many routines with one schedule each, due at `next_at`; returns the id of their company."""
    executor = Executor(system.store, lambda: next_at)
    company_id, agent_id = uuid4(), uuid4()
    company = CompanyCreated(details=CompanyDetails(name="Acme"), issue_prefix=f"B{next(numbers)}")
    batch: Batch = [
        (company_id, [company]),
        (agent_id, [AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout")]),
    ]
    settings = RoutineSettings(title="Check the inbox", description="All of it.", assignee_agent_id=agent_id)
    for number in range(many):
        cron = f"0,{1 + number % EXPRESSIONS} * * * *"
        schedule = TriggerSettings(cron_expression=cron, timezone="Europe/Amsterdam")
        routine_id, trigger_id = uuid4(), uuid4()
        added = RoutineTriggerAdded(trigger_id=trigger_id, kind="schedule")
        batch.append((routine_id, [RoutineCreated(settings=settings), added]))
        created = TriggerCreated(routine_id=routine_id, kind="schedule", settings=schedule, next_at=next_at)
        batch.append((trigger_id, [created]))
    for start in range(0, len(batch), 1_000):
        executor.attempt(lambda work, part=batch[start : start + 1_000]: _record(work, part, company_id))
    return company_id


def _record(work: Work, batch: Batch, company_id: UUID) -> None:
    work.load(stream_id for stream_id, _ in batch)
    for stream_id, events in batch:
        work.record(stream_id, events, company_id)
