"""Members of a company: users with a role in it (an addition to contract 1.2)."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from msgspec import UNSET

from application.access import Principal, find_membership, require_board
from application.event_store.stream_kinds import CLAIM, MEMBERSHIP, USER
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import MemberDraft, MemberPatch
from application.use_cases.board import companies, keys
from application.use_cases.board.keys import NewKey
from domain.board import access
from domain.board.access import Membership
from domain.errors import Conflict, NotFound
from domain.events import NameClaimed, NameReleased, UserRegistered
from domain.identity import claim_of, membership_of
from domain.values import Value


class AddedMembership(Value, frozen=True):
    """A user who has become a member; `key` is a board key for a user who is new."""

    user_id: UUID
    key: NewKey | None


class MembershipRef(Value, frozen=True):
    """A user in a company; `owners` are its owners by the read model, among whom another owner is looked for."""

    company_id: UUID
    user_id: UUID
    owners: tuple[UUID, ...]

    @property
    def member_id(self) -> UUID:
        """The stream of the membership."""
        return membership_of(self.user_id, self.company_id)


def emails_of(company_id: UUID) -> str:
    """Return the scope of the email addresses of a company's members."""
    return f"email|{company_id}"


def add(
    work: UnitOfWork, principal: Principal, company_id: UUID, draft: MemberDraft, shared_companies: Sequence[UUID] = ()
) -> AddedMembership:
    """
    Add a user as a member: an existing one by id, or else a new one, who gets a board key.

    Nobody proves that an address is theirs, so an email identifies nobody. `shared_companies` are the companies of the user by
    the read model, among which one is looked for that the caller knows them from. Raises InvalidField for a key that
    would outlive the caller's, Conflict for somebody who is a member.
    """
    manager = companies.enter_to_manage(work, principal, company_id)
    existing_id = (
        None
        if draft.user_id is None
        else _find_known_user(work, principal, company_id, draft.user_id, shared_companies)
    )
    user_id = existing_id or work.new_id()
    member_id = membership_of(user_id, company_id)
    rights = access.grant_membership(draft.membership_role, None if draft.permissions is UNSET else draft.permissions)
    work.record(member_id, access.join(manager, user_id, work.get(MEMBERSHIP, member_id), rights), company_id)
    if existing_id is not None:
        return AddedMembership(user_id=user_id, key=None)
    _register(work, user_id, company_id, draft)
    expires_at = keys.expiry(work, principal, draft.key_expires_at, "keyExpiresAt")
    return AddedMembership(user_id=user_id, key=keys.mint_for_user(work, user_id, "first board key", expires_at))


def change(
    work: UnitOfWork, principal: Principal, membership: MembershipRef, patch: MemberPatch, *, revokes_keys: bool = True
) -> UUID:
    """
    Change role and permissions of a member.

    Who may not assign any more loses the keys that they issued in the company, unless `revokes_keys` is false.
    """
    manager, member = companies.enter_to_manage(work, principal, membership.company_id), _find_member(work, membership)
    role = member.role if patch.membership_role is UNSET else patch.membership_role
    rights = access.change_role(member, role, None if patch.permissions is UNSET else patch.permissions)
    others = _other_owners(work, membership)
    work.record(membership.member_id, access.change(manager, member, rights, others, revokes_keys=revokes_keys))
    return membership.user_id


def remove(work: UnitOfWork, principal: Principal, membership: MembershipRef, *, revokes_keys: bool = True) -> UUID:
    """
    Remove a member, who may do nothing here from the next request on.

    The same holds for the keys that they issued in the company, unless `revokes_keys` is false.
    """
    manager, member = companies.enter_to_manage(work, principal, membership.company_id), _find_member(work, membership)
    others = _other_owners(work, membership)
    work.record(membership.member_id, access.remove(manager, member, others, revokes_keys=revokes_keys))
    return membership.user_id


def _find_member(work: UnitOfWork, membership: MembershipRef) -> Membership:
    if (current := work.get(MEMBERSHIP, membership.member_id)) is None:
        raise NotFound("Member not found")
    return current


def _other_owners(work: UnitOfWork, membership: MembershipRef) -> Iterator[Membership]:
    """
    Yield other owners one by one until the domain has seen one, whose stream the commit then guards.

    So of two owners who unmake each other at once, the second finds no other owner, however old `membership.owners` is.
    """
    for owner_id in membership.owners:
        owner = work.get(MEMBERSHIP, membership_of(owner_id, membership.company_id))
        if owner is not None and owner_id != membership.user_id:
            yield owner


def _find_known_user(
    work: UnitOfWork, principal: Principal, company_id: UUID, user_id: UUID, shared_companies: Sequence[UUID]
) -> UUID:
    """
    Return a user whom the caller may know: from a company of both, or as a former member of this one.

    Raises the same NotFound for anybody else as for an unknown id, since adding somebody shows their name and email.
    """
    user = require_board(principal)
    if (known_user := work.get(USER, user_id)) is None:
        raise NotFound("User not found")
    access.must_not_be_erased(known_user)
    if user.instance_admin or work.version_of(membership_of(user_id, company_id)):
        return user_id
    for other in shared_companies:
        if (
            find_membership(work, user, other) is not None
            and work.get(MEMBERSHIP, membership_of(user_id, other)) is not None
        ):
            return user_id
    raise NotFound("User not found")


def _register(work: UnitOfWork, user_id: UUID, company_id: UUID, draft: MemberDraft) -> None:
    """Record a new user; raise Conflict when a member of this company, no matter of others, has the email already."""
    work.record(user_id, [UserRegistered(name=draft.name or "", email=draft.email)])
    if draft.email is None:
        return
    scope, name = emails_of(company_id), draft.email.lower()
    if (holder := work.get(CLAIM, claim_of(scope, name))) is not None:
        if work.get(MEMBERSHIP, membership_of(holder, company_id)) is not None:
            raise Conflict("Already a member")
        work.record(claim_of(scope, name), [NameReleased()])
    work.record(claim_of(scope, name), [NameClaimed(scope=scope, name=name, holder_id=user_id)], company_id)
