"""Bearer keys: minted once, stored as a hash, revoked for good (contract 1.2, 7.1)."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from application import tokens
from application.access import BoardUser, Principal, authorize
from application.commands import AgentKeyDraft, BoardKeyDraft
from application.streams import KEY, USER
from application.use_cases import agents
from application.work import Work
from domain import access
from domain.errors import NotFound, Unknown
from domain.events import KeyIssued, UserRegistered
from domain.identity import FIRST_USER, key_of
from domain.values import Value

LIFETIME = timedelta(days=30)


class Minted(Value, frozen=True):
    """A new key; the token is shown here and never again."""

    key_id: UUID
    name: str
    token: str
    created_at: datetime
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Minted(key_id={self.key_id!r}, name={self.name!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("key_id", self.key_id), ("name", self.name)]


def create_for_board(work: Work, principal: Principal, draft: BoardKeyDraft) -> Minted:
    if not isinstance(principal, BoardUser):
        raise Unknown("Board authentication required")
    return mint_for_user(work, principal.user_id, draft.name, _expiry(draft.expires_at, work.now))


def revoke_board_key(work: Work, principal: Principal, key_id: UUID) -> UUID:
    if not isinstance(principal, BoardUser):
        raise Unknown("Board authentication required")
    key = work.get(KEY, key_id)
    if key is None or key.user_id != principal.user_id:
        raise NotFound("Board API key not found")
    work.record(key_id, access.revoke(key))
    return key_id


def create_for_agent(work: Work, principal: Principal, agent_id: UUID, draft: AgentKeyDraft) -> Minted:
    resource = agents.resource(work, agent_id)
    authorize(work, principal, "administer", resource)
    token = tokens.mint("agent")
    work.record(key_of(token), [KeyIssued(name=draft.name, agent_id=agent_id)], resource.company_id)
    return Minted(key_id=key_of(token), name=draft.name, token=token, created_at=work.now)


def may_list_agent_keys(work: Work, principal: Principal, agent_id: UUID) -> None:
    authorize(work, principal, "administer", agents.resource(work, agent_id))


def revoke_agent_key(work: Work, principal: Principal, agent_id: UUID, key_id: UUID) -> UUID:
    authorize(work, principal, "administer", agents.resource(work, agent_id))
    key = work.get(KEY, key_id)
    if key is None or key.agent_id != agent_id:
        raise NotFound("Key not found")
    work.record(key_id, access.revoke(key))
    return key_id


def mint_first(work: Work) -> Minted | None:
    """The first user of an installation and a board key for them; None when there is one already."""
    if work.get(USER, FIRST_USER) is not None:
        return None
    work.record(FIRST_USER, [UserRegistered(name="Board", instance_admin=True)])
    return mint_for_user(work, FIRST_USER, "first board key", None)


def mint_board_key(work: Work, name: str, user_id: UUID = FIRST_USER) -> Minted:
    """A further key for a user, by an operator at the database, when the others are lost or expired."""
    if work.get(USER, user_id) is None:
        raise NotFound("There is no such user; the first one is made by `routines init`")
    return mint_for_user(work, user_id, name, None)


def mint_for_user(work: Work, user_id: UUID, name: str, expires_at: datetime | None) -> Minted:
    """A board key of a user; `expires_at` None: it is good until it is revoked."""
    token = tokens.mint("board")
    work.record(key_of(token), [KeyIssued(name=name, user_id=user_id, expires_at=expires_at)])
    return Minted(key_id=key_of(token), name=name, token=token, created_at=work.now, expires_at=expires_at)


def _expiry(given: datetime | None | UnsetType, now: datetime) -> datetime | None:
    return now + LIFETIME if given is UNSET else given
