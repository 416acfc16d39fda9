"""Members of a company: users with a role in it (an addition to contract 1.2)."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from msgspec import UNSET

from application.access import Principal, find_membership, require_board
from application.event_store.stream_kinds import CLAIM, MEMBERSHIP, USER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies import MemberDraft, MemberPatch
from application.use_cases.board import companies, keys
from application.use_cases.board.keys import NewKey
from domain.board import access
from domain.board.access import Membership
from domain.errors import Conflict, NotFound
from domain.events import NameClaimed, NameReleased, UserRegistered
from domain.identity import claim_of, membership_of
from domain.values import Value


class AddedMembership(Value, frozen=True):
    """A member; `key` is a board key for a user who is new."""

    user_id: UUID
    key: NewKey | None


class MembershipRef(Value, frozen=True):
    """A user in a company; `owners` are the company's owners by the read model: where to look for another one."""

    company_id: UUID
    user_id: UUID
    owners: tuple[UUID, ...]

    @property
    def member_id(self) -> UUID:
        return membership_of(self.user_id, self.company_id)


def emails_of(company_id: UUID) -> str:
    """The scope of the emails of its members."""
    return f"email|{company_id}"


def add(
    work: UnitOfWork, principal: Principal, company_id: UUID, draft: MemberDraft, shared: Sequence[UUID] = ()
) -> AddedMembership:
    """
    A user who is known, by id only, or else a new one, who gets a board key.

    Nobody proves that an address is theirs, so an email identifies nobody. Raises Misfit for a key that would outlive
    the caller's. `shared` are the companies of the user by the read model: where to look for one that the caller
    knows them from.
    """
    manager = companies.enter_to_manage(work, principal, company_id)
    existing_id = None if draft.user_id is None else _known(work, principal, company_id, draft.user_id, shared)
    user_id = existing_id or work.new_id()
    member_id = membership_of(user_id, company_id)
    rights = access.granted(draft.membership_role, None if draft.permissions is UNSET else draft.permissions)
    work.record(member_id, access.join(manager, user_id, work.get(MEMBERSHIP, member_id), rights), company_id)
    if existing_id is not None:
        return AddedMembership(user_id=user_id, key=None)
    _register(work, user_id, company_id, draft)
    expires_at = keys.expiry(work, principal, draft.key_expires_at, "keyExpiresAt")
    return AddedMembership(user_id=user_id, key=keys.mint_for_user(work, user_id, "first board key", expires_at))


def change(
    work: UnitOfWork, principal: Principal, membership: MembershipRef, patch: MemberPatch, *, revokes_keys: bool = True
) -> UUID:
    """If the member may not assign any more, the keys that they issued in the company are unknown, unless told otherwise."""
    manager, member = companies.enter_to_manage(work, principal, membership.company_id), _member(work, membership)
    role = member.role if patch.membership_role is UNSET else patch.membership_role
    rights = access.regraded(member, role, None if patch.permissions is UNSET else patch.permissions)
    others = _other_owners(work, membership)
    work.record(membership.member_id, access.change(manager, member, rights, others, revokes_keys=revokes_keys))
    return membership.user_id


def remove(work: UnitOfWork, principal: Principal, membership: MembershipRef, *, revokes_keys: bool = True) -> UUID:
    """The user may do nothing here from the next request on, nor may anybody by the keys that they issued."""
    manager, member = companies.enter_to_manage(work, principal, membership.company_id), _member(work, membership)
    others = _other_owners(work, membership)
    work.record(membership.member_id, access.remove(manager, member, others, revokes_keys=revokes_keys))
    return membership.user_id


def _member(work: UnitOfWork, membership: MembershipRef) -> Membership:
    if (current := work.get(MEMBERSHIP, membership.member_id)) is None:
        raise NotFound("Member not found")
    return current


def _other_owners(work: UnitOfWork, membership: MembershipRef) -> Iterator[Membership]:
    """
    Read one by one, until the domain has seen an owner: that one's stream is guarded by the commit.

    So of two owners who unmake each other at once, the second finds none who is left, however old `seat.owners` is.
    """
    for owner_id in membership.owners:
        owner = work.get(MEMBERSHIP, membership_of(owner_id, membership.company_id))
        if owner is not None and owner_id != membership.user_id:
            yield owner


def _known(work: UnitOfWork, principal: Principal, company_id: UUID, user_id: UUID, shared: Sequence[UUID]) -> UUID:
    """
    A user whom the caller may know of: from a company of both, or as a former member of this one.

    Raises NotFound for anybody else as for nobody: to add somebody shows their name and email.
    """
    user = require_board(principal)
    if work.get(USER, user_id) is None:
        raise NotFound("User not found")
    if user.instance_admin or work.version_of(membership_of(user_id, company_id)):
        return user_id
    for other in shared:
        if (
            find_membership(work, user, other) is not None
            and work.get(MEMBERSHIP, membership_of(user_id, other)) is not None
        ):
            return user_id
    raise NotFound("User not found")


def _register(work: UnitOfWork, user_id: UUID, company_id: UUID, draft: MemberDraft) -> None:
    """A new user. Raises Conflict when a member of this company goes by the email already; others do not matter."""
    work.record(user_id, [UserRegistered(name=draft.name or "", email=draft.email)])
    if draft.email is None:
        return
    scope, name = emails_of(company_id), draft.email.lower()
    if (holder := work.get(CLAIM, claim_of(scope, name))) is not None:
        if work.get(MEMBERSHIP, membership_of(holder, company_id)) is not None:
            raise Conflict("Already a member")
        work.record(claim_of(scope, name), [NameReleased()])
    work.record(claim_of(scope, name), [NameClaimed(scope=scope, name=name, holder_id=user_id)], company_id)
