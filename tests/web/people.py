"""
People made straight from events where no route makes them: users of no company, keys and agents of any status.

The log lets nobody do that but its owner (`operate`).
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid4

from application import tokens
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases.board import keys
from domain.events import AgentCreated, AnyEvent, KeyIssued, KeyRevoked, UserRegistered
from domain.identity import key_of
from domain.values import AgentProfile, AgentStatus, MemberRole
from routines import bootstrap
from routines.settings import Settings
from tests.api import Api


def operate(api: Api, decide: Callable[[UnitOfWork], None]) -> None:
    """Records as an operator does, who logs in to the database as its owner."""
    if api.operator is not None:
        api.operator.executor.attempt(decide)
        return
    url = api.system.settings.database_url.replace("routines_service", "postgres", 1)
    with bootstrap.system(Settings(database_url=url)) as system:
        system.executor.attempt(decide)


def user(api: Api, *, admin: bool = False) -> tuple[UUID, str]:
    """Id and token of a new user, who is a member of nothing."""
    user_id = uuid4()
    event = UserRegistered(name="Robin", email="robin@example.org", instance_admin=admin)
    operate(api, lambda work: work.record(user_id, [event]))
    return user_id, key(api, user_id)


def auditor(api: Api) -> str:
    """The token of a new auditor of the instance."""
    minted: list[str] = []
    operate(api, lambda work: minted.append(keys.mint_for_auditor(work, "Ada").token))
    return minted[-1]


def member(api: Api, company_id: str, role: MemberRole, permissions: tuple[str, ...] | None = None) -> str:
    """The token of a new member of the company, with the usual permissions of the role unless others are given."""
    user_id, token = user(api)
    permission_fields = {} if permissions is None else {"permissions": permissions}
    api.post(f"/companies/{company_id}/members", {"userId": str(user_id), "membershipRole": role, **permission_fields})
    return token


def key(api: Api, user_id: UUID, *, expires_at: datetime | None = None, revoked: bool = False) -> str:
    """A further token of a user."""
    token = tokens.mint("board")
    events: list[AnyEvent] = [
        KeyIssued(name="a key", user_id=user_id, expires_at=expires_at),
        *([KeyRevoked()] if revoked else []),
    ]
    operate(api, lambda work: work.record(key_of(token), events))
    return token


def agent(api: Api, company_id: str, status: AgentStatus) -> str:
    """The id of a new agent in a status that no route leads to."""
    agent_id, created = uuid4(), AgentCreated(profile=AgentProfile(name="New"), url_key="new", status=status)
    api.system.executor.attempt(lambda work: work.record(agent_id, [created], UUID(company_id)))
    return str(agent_id)
