"""
Which secrets of the vault are still needed.

A secret is stored before the event that names it is recorded, and dropped after the event that replaces it. If Postgres
goes away in between, a secret is left behind that nothing needs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from application.event_store.stream_kinds import AGENT, COMPANY, ENDPOINT, ROUTINE, TRAJECTORY, TRIGGER
from application.event_store.unit_of_work import UnitOfWork
from application.secrets.vault import SecretPlace
from application.use_cases import endpoints, routine_environment, task_firing, triggers
from application.use_cases.board import agents
from application.use_cases.jetty import collections, task_routines
from domain.jetty.trajectory import LIVE
from domain.routines import trigger
from domain.webhooks import signing_keys


def find_needed(work: UnitOfWork, places: Iterable[SecretPlace]) -> list[SecretPlace]:
    """Return those of these records of the vault whose secret its owner uses. One of an unknown purpose is needed."""
    return [
        place
        for place in places
        if (find_used := USED.get(place.purpose)) is None or place.id in find_used(work, place.owner_id)
    ]


def _of_trigger(work: UnitOfWork, trigger_id: UUID) -> Sequence[UUID]:
    webhook = work.get(TRIGGER, trigger_id)
    if webhook is None or webhook.deleted or webhook.webhook is None:
        return []
    return trigger.good_secrets_of(webhook, work.now)


def _of_endpoint(work: UnitOfWork, endpoint_id: UUID) -> Sequence[UUID]:
    endpoint = work.get(ENDPOINT, endpoint_id)
    return [] if endpoint is None or endpoint.deleted else signing_keys.signing_secret_ids(endpoint.signing, work.now)


def _of_agent(work: UnitOfWork, agent_id: UUID) -> Sequence[UUID]:
    agent = work.get(AGENT, agent_id)
    if agent is None or agent.status == "terminated" or agent.heartbeat is None:
        return []
    return signing_keys.signing_secret_ids(agent.heartbeat, work.now)


def _of_company(work: UnitOfWork, company_id: UUID) -> Sequence[UUID]:
    company = work.get(COMPANY, company_id)
    return [] if company is None or company.environment is None else [company.environment.id]


def _of_routine(work: UnitOfWork, routine_id: UUID) -> Sequence[UUID]:
    routine = work.get(ROUTINE, routine_id)
    if routine is None or routine.settings.env is None or routine.settings.env.sealed is None:
        return []
    return [routine.settings.env.sealed.id]


def _of_call(work: UnitOfWork, owner_id: UUID) -> Sequence[UUID]:
    """Return the secrets of a call of a task, which a routine makes or somebody has made by hand."""
    routine, trajectory = work.get(ROUTINE, owner_id), work.get(TRAJECTORY, owner_id)
    if routine is not None and routine.settings.call is not None and routine.settings.status != "archived":
        return task_firing.secret_ids(routine.settings.call)
    if trajectory is None:
        return []
    ids = [trajectory.callback.secret_id] if trajectory.callback and trajectory.callback.secret_id else []
    return [*ids, trajectory.secrets.id] if trajectory.secrets and trajectory.status in LIVE else ids


USED: Mapping[str, Callable[[UnitOfWork, UUID], Sequence[UUID]]] = {  # by purpose
    triggers.PURPOSE: _of_trigger,
    endpoints.PURPOSE: _of_endpoint,
    agents.HEARTBEAT: _of_agent,
    collections.PURPOSE: _of_company,
    routine_environment.PURPOSE: _of_routine,
    task_routines.SECRETS: _of_call,
    task_routines.CALLBACK: _of_call,
}
