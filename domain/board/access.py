"""Users, the members of a company and who may manage them, and keys. All other rights: application/access.py."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from domain.errors import Conflict, Forbidden, ImpossibleHistory, InvalidField, RuleViolation
from domain.events import (
    KeyIssued,
    KeyRevoked,
    MemberChanged,
    MemberJoined,
    MemberRemoved,
    NameClaimed,
    NameReleased,
    UserErased,
    UserRegistered,
    UserSignedOut,
)
from domain.identity import membership_of
from domain.recorded import Recorded
from domain.values import MemberRole, Session, Value

KEY_LIFETIME = timedelta(days=30)  # how long a board key lasts, unless the request says otherwise
SESSION_LIFETIME = timedelta(hours=12)  # how long a session of the board lasts, if the key that it rests on does
LINK_LIFETIME = timedelta(minutes=10)  # how long a link that opens a session can be followed
USUAL = ("tasks:assign",)  # the permissions of every role but viewer, unless the request says otherwise


class User(Value, frozen=True):
    """A person on the board."""

    instance_admin: bool
    instance_auditor: bool = False
    erased: bool = False


class Membership(Value, frozen=True):
    """What a user may do in one company; it is None for everybody who is no member."""

    role: MemberRole
    permissions: tuple[str, ...]
    keys_revoked: bool = False  # whether the keys that they issued were revoked when they lost the right to issue keys


OWNER = Membership(role="owner", permissions=USUAL)
AUDITOR = Membership(role="auditor", permissions=())
READ_ONLY: tuple[MemberRole, ...] = ("auditor", "viewer")  # the roles that change nothing


class Key(Value, frozen=True):
    """A bearer token that was handed out."""

    user_id: UUID | None
    agent_id: UUID | None
    expires_at: datetime | None
    collection_id: UUID | None = None
    revoked: bool = False
    issuer_version: int = 0
    session: Session | None = None


def evolve_user(user: User | None, event: UserRegistered | UserErased | UserSignedOut) -> User:
    """Fold an event into a user. Raise ImpossibleHistory if the event cannot follow."""
    match user, event:
        case None, UserRegistered(instance_admin=instance_admin, instance_auditor=instance_auditor):
            return User(instance_admin=instance_admin, instance_auditor=instance_auditor)
        case User(), UserErased():
            return replace(user, erased=True)
        case User(), UserSignedOut():
            return user
        case _:
            raise ImpossibleHistory(user, event)


def evolve_membership(
    membership: Membership | None, event: MemberJoined | MemberChanged | MemberRemoved
) -> Membership | None:
    """
    Fold an event into a membership; None when the user is no member.

    Raise ImpossibleHistory if the event cannot follow.
    """
    match membership, event:
        case None, MemberJoined(role=role, permissions=permissions):
            return Membership(role=role, permissions=permissions)
        case Membership(), MemberChanged(role=role, permissions=permissions, revokes_keys=revokes_keys):
            return Membership(role=role, permissions=permissions, keys_revoked=revokes_keys)
        case Membership(), MemberRemoved():
            return None
        case _:
            raise ImpossibleHistory(membership, event)


def evolve_key(key: Key | None, event: KeyIssued | KeyRevoked) -> Key:
    """Fold an event into a key. Raise ImpossibleHistory if the event cannot follow."""
    match key, event:
        case None, KeyIssued():
            return Key(
                user_id=event.user_id,
                agent_id=event.agent_id,
                expires_at=event.expires_at,
                collection_id=event.collection_id,
                issuer_version=event.issuer_version,
                session=event.session,
            )
        case Key(), KeyRevoked():
            return replace(key, revoked=True)
        case _:
            raise ImpossibleHistory(key, event)


def evolve_claim(claim: UUID | None, event: NameClaimed | NameReleased) -> UUID | None:
    """
    Fold an event into the id of whoever holds a name; None if nobody does.

    Raise ImpossibleHistory if the event cannot follow.
    """
    match claim, event:
        case None, NameClaimed(holder_id=holder_id):
            return holder_id
        case UUID(), NameReleased():
            return None
        case _:
            raise ImpossibleHistory(claim, event)


def erase(user: User, reason: str) -> list[UserErased]:
    """Record that the user's name and address are erased; nothing if they are."""
    return [] if user.erased else [UserErased(reason=reason)]


def must_not_be_erased(user: User) -> None:
    """Raise Conflict if the user was erased: nobody can act as them any more."""
    if user.erased:
        raise Conflict("The user was erased")


def is_good(key: Key, now: datetime) -> bool:
    """Return whether a key is accepted: it is neither revoked nor expired."""
    return not key.revoked and (key.expires_at is None or now < key.expires_at)


def user_of(actor: str) -> UUID | None:
    """Return the user whom an event names as its actor; None if the actor is no user."""
    try:
        return UUID(actor.removeprefix("user:")) if actor.startswith("user:") else None
    except ValueError:
        return None


def membership_of_issuer(issuing: Recorded) -> UUID | None:
    """Return the id of the membership by which a user issued a key; None if no user did, or in no company."""
    issuer = user_of(issuing.actor)
    return None if issuer is None or issuing.company_id is None else membership_of(issuer, issuing.company_id)


def rests_on(key: Key, membership: Sequence[Recorded]) -> bool:
    """
    Return whether the key is still covered by its issuer's membership: no later event revoked the keys that they
    issued.
    """
    return not any(
        isinstance(recorded.event, MemberChanged | MemberRemoved) and recorded.event.revokes_keys
        for recorded in membership
        if recorded.version > key.issuer_version
    )


def is_signed_in(session: Session, base: Key | None, user: Sequence[Recorded], now: datetime) -> bool:
    """
    Return whether a session has not ended with something else: the key that it rests on is still good, and its user has not
    signed out everywhere since it was issued. `user` is the history of the user's stream.
    """
    if base is None or not is_good(base, now):
        return False
    return not any(
        isinstance(recorded.event, UserSignedOut) for recorded in user if recorded.version > session.user_version
    )


def session_expiry(base: Key, lifetime: timedelta, now: datetime) -> datetime:
    """Return when a session ends: after its lifetime, and no later than the key that it rests on."""
    return now + lifetime if base.expires_at is None else min(now + lifetime, base.expires_at)


def revoke(key: Key) -> list[KeyRevoked]:
    """Record that the key is revoked; nothing if it is already."""
    return [] if key.revoked else [KeyRevoked()]


def usual_expiry(key: Key, now: datetime) -> datetime:
    """Return when a new key ends if the request does not say: no later than the key that asks for it."""
    usual = now + KEY_LIFETIME
    return usual if key.expires_at is None else min(usual, key.expires_at)


def check_expiry(moment: datetime | None, key: Key, field: str) -> None:
    """Raise InvalidField for a moment (None: never) after the end of `key`, since nobody may outlive a key by another one."""
    if key.expires_at is None or (moment is not None and moment <= key.expires_at):
        return
    ends = key.expires_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise InvalidField(f"A key gives no key that outlives it: {field} must be a time up to {ends}", field)


def may_assign(member: Membership) -> bool:
    """Return whether the member may make somebody work, and so may issue keys that can."""
    return member.role not in READ_ONLY and "tasks:assign" in member.permissions


def may_manage(member: Membership) -> bool:
    """Return whether the member may manage the members and keys of the company."""
    return member.role in ("owner", "admin")


def may_audit(member: Membership) -> bool:
    """Return whether the member may read the events of the company."""
    return member.role == "auditor" or may_manage(member)


def must_manage_keys(membership: Membership) -> None:
    """Raise Forbidden unless the member may manage the keys of the company."""
    if not may_manage(membership):
        raise Forbidden("Only owners and admins may manage the company's keys")


def grant_membership(role: MemberRole, permissions: Iterable[str] | None) -> Membership:
    """
    Return a membership with this role and these permissions; None: the usual ones of the role.

    Raise RuleViolation for a viewer or an auditor with permissions.
    """
    if role in READ_ONLY and permissions:
        raise RuleViolation(f"{'An auditor' if role == 'auditor' else 'A viewer'} has no permissions")
    usual = () if role in READ_ONLY else USUAL
    return Membership(role=role, permissions=usual if permissions is None else tuple(sorted(set(permissions))))


def change_role(member: Membership, role: MemberRole, permissions: Iterable[str] | None) -> Membership:
    """
    Return the membership with another role.

    If `permissions` is None they stay as they are, unless one of the roles changes nothing: then they are the usual ones
    of the role. Raise RuleViolation for a viewer or an auditor with permissions.
    """
    if permissions is None and (role == member.role or not {role, member.role} & {*READ_ONLY}):
        return replace(member, role=role)
    return grant_membership(role, permissions)


def join(membership: Membership, user_id: UUID, member: Membership | None, current: Membership) -> list[MemberJoined]:
    """
    Let a user join with what `current` says.

    `membership` is that of whoever asks for it, `member` the user's own if there is one. Raise Forbidden if the former
    may not do this, Conflict if the user is a member already.
    """
    _must_manage(membership, current)
    if member is not None:
        raise Conflict("Already a member")
    return [MemberJoined(user_id=user_id, role=current.role, permissions=current.permissions)]


def change(
    membership: Membership,
    member: Membership,
    target: Membership,
    other_members: Iterable[Membership],
    *,
    revokes_keys: bool = False,
) -> list[MemberChanged]:
    """
    Change a member's role and permissions; nothing is recorded when they are the same.

    `membership` is that of whoever asks for it; `other_members` has the other owners among them. `revokes_keys` says
    whether a member who may not issue keys any more loses those that they issued. Raise Forbidden, or Conflict if the
    company would have no owner.
    """
    _must_manage(membership, member, target)
    target = replace(target, keys_revoked=not may_assign(target) and (revokes_keys or member.keys_revoked))
    if target == member:
        return []
    if target.role != "owner":
        _must_leave_an_owner(member, other_members)
    return [MemberChanged(role=target.role, permissions=target.permissions, revokes_keys=target.keys_revoked)]


def remove(
    membership: Membership, member: Membership, other_members: Iterable[Membership], *, revokes_keys: bool = False
) -> list[MemberRemoved]:
    """
    Remove a member.

    `membership` and `other_members` are as in `change`; `revokes_keys` says whether the keys that the member issued are
    revoked as well. Raise Forbidden, or Conflict if the company would have no owner.
    """
    _must_manage(membership, member)
    _must_leave_an_owner(member, other_members)
    return [MemberRemoved(revokes_keys=revokes_keys)]


def _must_manage(membership: Membership, *members: Membership) -> None:
    if not may_manage(membership):
        raise Forbidden("Only owners and admins may manage members")
    if membership.role != "owner" and any(member.role == "owner" for member in members):
        raise Forbidden("Only an owner may add, change or remove an owner")


def _must_leave_an_owner(member: Membership, other_members: Iterable[Membership]) -> None:
    if member.role == "owner" and not any(other.role == "owner" for other in other_members):
        raise Conflict("A company needs an owner: make another member an owner first")
