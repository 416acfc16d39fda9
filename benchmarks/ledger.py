"""A company, its routines and their due schedules, written straight into the log of a fresh database."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial, reduce
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.sql import SQL, Identifier

from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from domain.events import AgentCreated, AnyEvent, CompanyCreated, RoutineCreated, RoutineTriggerAdded, TriggerCreated
from domain.identity import slot_of
from domain.routines import slot
from domain.values import AgentProfile, CompanyDetails, LiveWork, RoutineSettings, TriggerSettings
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
EXPRESSIONS = 50  # that the schedules share
numbers = itertools.count()
Batch = list[tuple[UUID, list[AnyEvent]]]


@contextmanager
def fresh_system(postgres: LocalPostgres, key_file: str | None = None) -> Iterator[System]:
    """Yield the service on a database of its own, dropped at the end; whatever the time, it is NOON there."""
    with database(postgres) as url:
        bootstrap.prepare(Settings(database_url=url))
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("UPDATE log.rules SET max_clock_difference = NULL")
        service_url = url.replace("postgres@", "routines_service@")
        with bootstrap.system(Settings(database_url=service_url, key_file=key_file)) as system:
            yield system


@contextmanager
def database(postgres: LocalPostgres) -> Iterator[str]:
    """Yield the superuser's URL of an empty database, dropped at the end."""
    name = f"bench_{next(numbers)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        yield postgres.url("postgres", name)
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def arm(system: System, many: int, next_at: datetime = NOON, fired: int = 0) -> UUID:
    """
    Make so many routines with one schedule each, due at `next_at` and again later; return the id of their company.

    Each has `fired` so many times before, and its work was done: its slot has been taken and freed as often.
    """
    minutes = (f"{next_at.minute},{(next_at.minute + 1 + number % EXPRESSIONS) % 60}" for number in range(many))
    schedules = [
        (TriggerSettings(cron_expression=f"{minute} * * * *", timezone="Europe/Amsterdam"), next_at)
        for minute in minutes
    ]
    company_id = _arm_schedules(system, schedules, next_at)
    if fired:
        _fire_before(system, company_id, next_at, fired)
    return company_id


def arm_once(system: System, moments: Sequence[datetime]) -> UUID:
    """Make routines with one schedule each, which fires once, at one of the moments."""
    schedules = [(TriggerSettings(run_at=moment, timezone="UTC"), moment) for moment in moments]
    return _arm_schedules(system, schedules, moments[0])


def arm_one(system: System, next_at: datetime, **policies: Any) -> UUID:
    """Make one routine with an every-minute schedule that has not fired since `next_at`."""
    return _arm_schedules(
        system, [(TriggerSettings(cron_expression="* * * * *", timezone="UTC"), next_at)], next_at, **policies
    )


def _arm_schedules(
    system: System, schedules: Sequence[tuple[TriggerSettings, datetime]], now: datetime, **policies: Any
) -> UUID:
    executor = Executor(system.store, lambda: now)
    company_id, agent_id = uuid4(), uuid4()
    company = CompanyCreated(details=CompanyDetails(name="Acme"), issue_prefix=f"B{next(numbers)}")
    batch: Batch = [
        (company_id, [company]),
        (agent_id, [AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout")]),
    ]
    settings = RoutineSettings(
        title="Check the inbox", description="All of it.", assignee_agent_id=agent_id, **policies
    )
    for schedule, next_at in schedules:
        routine_id, trigger_id = uuid4(), uuid4()
        routine_event = RoutineTriggerAdded(trigger_id=trigger_id, kind="schedule")
        batch.append((routine_id, [RoutineCreated(settings=settings), routine_event]))
        trigger_event = TriggerCreated(routine_id=routine_id, kind="schedule", settings=schedule, next_at=next_at)
        batch.append((trigger_id, [trigger_event]))
    for start in range(0, len(batch), 1_000):
        executor.attempt(partial(_record, batch=batch[start : start + 1_000], company_id=company_id))
    return company_id


def _fire_before(system: System, company_id: UUID, now: datetime, fired: int) -> None:
    routine_ids = [one.stream_id for one in system.store.history() if isinstance(one.event, RoutineCreated)]
    batch = [(slot_of(routine_id), _slot_events(routine_id, fired)) for routine_id in routine_ids]
    executor = Executor(system.store, lambda: now)
    at_once = max(1, 1_000 // fired)  # streams: of each firing some two events
    for start in range(0, len(batch), at_once):
        executor.attempt(partial(_record, batch=batch[start : start + at_once], company_id=company_id))


def _slot_events(routine_id: UUID, fired: int) -> list[AnyEvent]:
    events: list[AnyEvent] = []
    state = slot.EMPTY
    for _ in range(fired):
        live = LiveWork(issue_id=uuid4(), run_id=uuid4())
        taking = slot.take_slot(state, routine_id, live)
        state = reduce(slot.evolve, taking, state)
        freeing = slot.free_slot(state, routine_id, live.issue_id)
        state = reduce(slot.evolve, freeing, state)
        events += [*taking, *freeing]
    return events


def _record(work: UnitOfWork, batch: Batch, company_id: UUID) -> None:
    work.load(stream_id for stream_id, _ in batch)
    for stream_id, events in batch:
        work.record(stream_id, events, company_id)
