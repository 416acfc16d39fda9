"""Who may do what: users, memberships, keys. The rules themselves are in application/access.py."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from domain.errors import ImpossibleHistory
from domain.events import KeyIssued, KeyRevoked, MemberJoined, NameClaimed, UserRegistered
from domain.values import MemberRole, Value


class User(Value, frozen=True):
    """A person on the board."""

    instance_admin: bool


class Membership(Value, frozen=True):
    """A user's standing in one company."""

    role: MemberRole
    permissions: tuple[str, ...]


class Key(Value, frozen=True):
    """A bearer token that was handed out."""

    user_id: UUID | None
    agent_id: UUID | None
    expires_at: datetime | None
    revoked: bool = False


def evolve_user(user: User | None, event: UserRegistered) -> User:
    if user is not None:
        raise ImpossibleHistory(user, event)
    return User(instance_admin=event.instance_admin)


def evolve_membership(membership: Membership | None, event: MemberJoined) -> Membership:
    if membership is not None:
        raise ImpossibleHistory(membership, event)
    return Membership(role=event.role, permissions=event.permissions)


def evolve_key(key: Key | None, event: KeyIssued | KeyRevoked) -> Key:
    match key, event:
        case None, KeyIssued():
            return Key(user_id=event.user_id, agent_id=event.agent_id, expires_at=event.expires_at)
        case Key(), KeyRevoked():
            return replace(key, revoked=True)
        case _:
            raise ImpossibleHistory(key, event)


def evolve_claim(claim: UUID | None, event: NameClaimed) -> UUID:
    if claim is not None:
        raise ImpossibleHistory(claim, event)
    return event.holder_id


def is_good(key: Key, now: datetime) -> bool:
    """A revoked or expired key is an unknown key."""
    return not key.revoked and (key.expires_at is None or now < key.expires_at)


def revoke(key: Key) -> list[KeyRevoked]:
    return [] if key.revoked else [KeyRevoked()]
