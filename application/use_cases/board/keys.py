"""Bearer keys: they are shown once, stored as a hash, and revoked for good (contract 1.2, 7.1)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UnsetType
from msgspec.structs import replace

from application import tokens
from application.access import BoardUser, Principal, authorize, require_board
from application.event_store.stream_kinds import KEY, MEMBERSHIP, USER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import AgentKeyDraft, BoardKeyDraft
from application.use_cases.board import agents, companies
from domain.board import access
from domain.board.access import Key
from domain.errors import Forbidden, NotFound, Unauthenticated
from domain.events import KeyIssued, UserRegistered
from domain.identity import FIRST_USER, key_of, membership_of
from domain.values import Value

Expiry = datetime | None | UnsetType  # None: the key never ends; UNSET: it ends after the usual time


class NewKey(Value, frozen=True):
    """A new key with its token, which is shown in one reply and never again."""

    key_id: UUID
    name: str
    token: str
    created_at: datetime
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"NewKey(key_id={self.key_id!r}, name={self.name!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("key_id", self.key_id), ("name", self.name)]


def create_for_board(work: UnitOfWork, principal: Principal, draft: BoardKeyDraft) -> NewKey:
    """Create a key of the caller; raise InvalidField when it would outlive the key that the caller uses."""
    if not isinstance(principal, BoardUser):
        raise Unauthenticated("Board authentication required")
    if principal.instance_auditor:
        raise Forbidden("Auditor access is read-only")
    expires_at = expiry(work, principal, draft.expires_at, "expiresAt")
    return mint_for_user(work, principal.user_id, draft.name, expires_at)


def create_for_member(
    work: UnitOfWork, principal: Principal, company_id: UUID, user_id: UUID, draft: BoardKeyDraft
) -> NewKey:
    """
    Create a further key for a member whose own have expired or are lost; raise InvalidField as `create_for_board` does.

    Only instance admins may: with it one acts as that user, in whatever company they are.
    """
    companies.enter_to_manage(work, principal, company_id)
    if not require_board(principal).instance_admin:
        raise Forbidden("Instance admin required")
    if work.get(MEMBERSHIP, membership_of(user_id, company_id)) is None:
        raise NotFound("Member not found")
    return mint_for_user(work, user_id, draft.name, expiry(work, principal, draft.expires_at, "expiresAt"))


def expiry(work: UnitOfWork, principal: Principal, requested_expiry: Expiry, field: str) -> datetime | None:
    """
    Return when a new board key ends, None for never; UNSET asks for the usual time.

    Raises InvalidField for a key that would outlive the caller's.
    """
    own_key = _own_key(work, principal)
    if isinstance(requested_expiry, UnsetType):
        return access.usual_expiry(own_key, work.now)
    access.check_expiry(requested_expiry, own_key, field)
    return requested_expiry


def issue(  # noqa: PLR0913, PLR0917 the fields of a key, and the name of its expiry in the request
    work: UnitOfWork,
    principal: Principal,
    token: str,
    company_id: UUID,
    key: KeyIssued,
    requested_expiry: Expiry,
    field: str,
) -> NewKey:
    """
    Record a key of an agent or a collection; it ends with the key that asks for it unless another time is requested.

    It rests on the membership of whoever issues it, as that is now. Raises InvalidField for a key that would outlive
    the caller's.
    """
    own_key = _own_key(work, principal)
    expires_at = own_key.expires_at if isinstance(requested_expiry, UnsetType) else requested_expiry
    access.check_expiry(expires_at, own_key, field)
    issuer_version = work.version_of(membership_of(require_board(principal).user_id, company_id))
    limited_key = replace(key, expires_at=expires_at, issuer_version=issuer_version)
    work.record(key_of(token), [limited_key], company_id)
    return NewKey(key_id=key_of(token), name=key.name, token=token, created_at=work.now, expires_at=expires_at)


def revoke_board_key(work: UnitOfWork, principal: Principal, key_id: UUID) -> UUID:
    """Revoke a key of the caller's own; raise NotFound for any other."""
    if not isinstance(principal, BoardUser):
        raise Unauthenticated("Board authentication required")
    key = work.get(KEY, key_id)
    if key is None or key.user_id != principal.user_id:
        raise NotFound("Board API key not found")
    work.record(key_id, access.revoke(key))
    return key_id


def create_for_agent(work: UnitOfWork, principal: Principal, agent_id: UUID, draft: AgentKeyDraft) -> NewKey:
    """
    Create a key of an agent; raise InvalidField as `issue` does.

    With it the agent fires its routines, so only those may create it who may do that themselves.
    """
    resource = agents.resource(work, agent_id)
    authorize(work, principal, "entrust", resource)
    if resource.company_id is None:
        raise NotFound("Agent not found")
    key = KeyIssued(name=draft.name, agent_id=agent_id)
    return issue(work, principal, tokens.mint("agent"), resource.company_id, key, draft.expires_at, "expiresAt")


def may_list_agent_keys(work: UnitOfWork, principal: Principal, agent_id: UUID) -> None:
    """Raise unless the caller is a member who may write."""
    authorize(work, principal, "administer", agents.resource(work, agent_id))


def revoke_agent_key(work: UnitOfWork, principal: Principal, agent_id: UUID, key_id: UUID) -> UUID:
    """Revoke a key of the agent, whoever issued it; raise NotFound for any other."""
    authorize(work, principal, "administer", agents.resource(work, agent_id))
    key = work.get(KEY, key_id)
    if key is None or key.agent_id != agent_id:
        raise NotFound("Key not found")
    work.record(key_id, access.revoke(key))
    return key_id


def may_manage(work: UnitOfWork, principal: Principal, company_id: UUID) -> None:
    """Raise Forbidden for all but owners and admins: they see all keys that were issued in a company."""
    access.must_manage_keys(companies.enter_to_manage(work, principal, company_id))


def revoke_of_company(work: UnitOfWork, principal: Principal, company_id: UUID, key_id: UUID) -> UUID:
    """Revoke a key of an agent or a collection, whoever issued it; raise NotFound for any other."""
    may_manage(work, principal, company_id)
    key = work.get(KEY, key_id)
    if key is None or key.user_id is not None or work.company_of(key_id) != company_id:
        raise NotFound("Key not found")
    work.record(key_id, access.revoke(key))
    return key_id


def mint_first(work: UnitOfWork) -> NewKey | None:
    """Create the first user of an installation and a board key for them; return None when there is one already."""
    if work.get(USER, FIRST_USER) is not None:
        return None
    work.record(FIRST_USER, [UserRegistered(name="Board", instance_admin=True)])
    return mint_for_user(work, FIRST_USER, "first board key", None)


def mint_board_key(work: UnitOfWork, name: str, user_id: UUID = FIRST_USER) -> NewKey:
    """
    Create a further key for a user when the others are lost or expired; for an operator at the database.

    Raises NotFound for an unknown user, Conflict for one who was erased.
    """
    if (user := work.get(USER, user_id)) is None:
        raise NotFound("There is no such user; the first one is made by `routines init`")
    access.must_not_be_erased(user)
    return mint_for_user(work, user_id, name, None)


def mint_for_auditor(work: UnitOfWork, name: str) -> NewKey:
    """Register an auditor of the whole installation, and create a board key for them; for an operator at the database."""
    user_id = work.new_id()
    work.record(user_id, [UserRegistered(name=name, instance_auditor=True)])
    return mint_for_user(work, user_id, f"key of {name}", None)


def mint_for_user(work: UnitOfWork, user_id: UUID, name: str, expires_at: datetime | None) -> NewKey:
    """Create a board key of a user; without `expires_at` it is good until it is revoked."""
    token = tokens.mint("board")
    work.record(key_of(token), [KeyIssued(name=name, user_id=user_id, expires_at=expires_at)])
    return NewKey(key_id=key_of(token), name=name, token=token, created_at=work.now, expires_at=expires_at)


def _own_key(work: UnitOfWork, principal: Principal) -> Key:
    """Return the key of the board user who asks, of a session the one that it rests on; raise Unauthenticated for none."""
    own_key = work.get(KEY, require_board(principal).key_id)
    if own_key is not None and own_key.session is not None:
        own_key = work.get(KEY, own_key.session.rests_on)
    if own_key is None:
        raise Unauthenticated
    return own_key
