"""People made straight from events, since no route makes them: users, memberships, keys, agents of any status."""

from datetime import datetime
from uuid import UUID, uuid4

from application import tokens
from domain.events import AgentCreated, KeyIssued, KeyRevoked, MemberJoined, UserRegistered
from domain.identity import key_of, membership_of
from domain.values import AgentProfile, AgentStatus, MemberRole
from tests.api import Api

ASSIGN = ("tasks:assign",)


def user(api: Api, *, admin: bool = False) -> tuple[UUID, str]:
    """Id and token of a new user, who is a member of nothing."""
    user_id = uuid4()
    registered = UserRegistered(name="Robin", email="robin@example.org", instance_admin=admin)
    api.system.executor.attempt(lambda work: work.record(user_id, [registered]))
    return user_id, key(api, user_id)


def member(api: Api, company_id: str, role: MemberRole, permissions: tuple[str, ...] = ASSIGN) -> str:
    """The token of a new member of the company."""
    user_id, token = user(api)
    joined = MemberJoined(user_id=user_id, role=role, permissions=permissions)
    stream, company = membership_of(user_id, UUID(company_id)), UUID(company_id)
    api.system.executor.attempt(lambda work: work.record(stream, [joined], company))
    return token


def key(api: Api, user_id: UUID, *, expires_at: datetime | None = None, revoked: bool = False) -> str:
    """A further token of a user."""
    token = tokens.mint("board")
    events = [KeyIssued(name="a key", user_id=user_id, expires_at=expires_at), *([KeyRevoked()] if revoked else [])]
    api.system.executor.attempt(lambda work: work.record(key_of(token), events))
    return token


def agent(api: Api, company_id: str, status: AgentStatus) -> str:
    """The id of a new agent in a status that no route leads to."""
    agent_id, created = uuid4(), AgentCreated(profile=AgentProfile(name="New"), url_key="new", status=status)
    api.system.executor.attempt(lambda work: work.record(agent_id, [created], UUID(company_id)))
    return str(agent_id)
