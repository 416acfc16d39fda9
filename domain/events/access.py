"""Users, their memberships and keys, and names that only one holder may have."""

from datetime import datetime
from uuid import UUID

from domain.events.event import Event
from domain.values import MemberRole, Session, Text


class UserRegistered(Event, frozen=True, tag="user.registered"):
    """A person may act on the board."""

    name: Text
    email: Text | None = None
    instance_admin: bool = False
    instance_auditor: bool = False  # reads everything of the installation, and changes nothing


class UserErased(Event, frozen=True, tag="user.erased"):
    """What the log holds of the person themselves, their name and address, was made unreadable for ever, for this reason."""

    reason: str


class UserSignedOut(Event, frozen=True, tag="user.signed_out"):
    """All sessions of the user on the board have ended; keys stay as they are."""


class MemberJoined(Event, frozen=True, tag="member.joined"):
    """A user may act in a company."""

    user_id: UUID
    role: MemberRole
    permissions: tuple[str, ...] = ("tasks:assign",)


class MemberChanged(Event, frozen=True, tag="member.changed"):
    """The role or the permissions of a member changed."""

    role: MemberRole
    permissions: tuple[str, ...]
    revokes_keys: bool = False  # as in `member.removed`


class MemberRemoved(Event, frozen=True, tag="member.removed"):
    """The user may not act in the company any more; they may join again."""

    revokes_keys: bool = False  # whether the keys that they issued for agents and for the collection are revoked


class KeyIssued(Event, frozen=True, tag="key.issued"):
    """A bearer token was handed out to a user, an agent or a collection. The id of its stream follows from its SHA-256."""

    name: Text
    user_id: UUID | None = None
    agent_id: UUID | None = None
    expires_at: datetime | None = None  # None: never
    collection_id: UUID | None = None  # the company that a collection's key is bound to
    prefix: str | None = None  # the part of the token that may be shown
    issuer_version: int = 0  # version of the issuer's membership, which a key of an agent or a collection depends on
    session: Session | None = None  # what makes a user's key a session of the board


class KeyRevoked(Event, frozen=True, tag="key.revoked"):
    """The token is not accepted any more."""


class NameClaimed(Event, frozen=True, tag="name.claimed"):
    """
    A name is taken within a scope: an issue prefix, an email in a company, an agent's short name, a webhook's address.

    Older events with the scope `email` applied to all companies. They are ignored, since nobody had proved that the
    address was theirs.
    """

    scope: str
    name: Text
    holder_id: UUID


class NameReleased(Event, frozen=True, tag="name.released"):
    """The name is free again, because the task or the routine that had it was renamed or deleted."""


AccessEvent = (
    UserRegistered
    | UserErased
    | UserSignedOut
    | MemberJoined
    | MemberChanged
    | MemberRemoved
    | KeyIssued
    | KeyRevoked
    | NameClaimed
    | NameReleased
)
