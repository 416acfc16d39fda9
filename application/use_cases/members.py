"""Members of a company: users with a role in it (an addition to contract 1.2)."""

from collections.abc import Iterator
from uuid import UUID

from msgspec import UNSET

from application.access import Principal, authorize, require_board, standing
from application.commands import MemberDraft, MemberPatch
from application.streams import CLAIM, MEMBERSHIP, USER
from application.use_cases import companies, keys
from application.use_cases.keys import Minted
from application.work import Work
from domain import access
from domain.access import Membership
from domain.errors import Conflict, NotFound
from domain.events import NameClaimed, UserRegistered
from domain.identity import claim_of, membership_of
from domain.values import Value

EMAIL_SCOPE = "email"


class Added(Value, frozen=True):
    """A member; `key` is a board key for a user who is new."""

    user_id: UUID
    key: Minted | None


class Seat(Value, frozen=True):
    """A user in a company; `owners` are the company's owners by the read model: where to look for another one."""

    company_id: UUID
    user_id: UUID
    owners: tuple[UUID, ...]

    @property
    def member_id(self) -> UUID:
        return membership_of(self.user_id, self.company_id)


def add(work: Work, principal: Principal, company_id: UUID, draft: MemberDraft) -> Added:
    """A user who is known by id, or else a new one, who gets a board key."""
    by = _manager(work, principal, company_id)
    known = draft.user_id or _user_of_email(work, principal, draft.email)
    if known is not None and work.get(USER, known) is None:
        raise NotFound("User not found")
    user_id = known or _register(work, draft)
    member_id = membership_of(user_id, company_id)
    wanted = access.granted(draft.membership_role, None if draft.permissions is UNSET else draft.permissions)
    work.record(member_id, access.join(by, user_id, work.get(MEMBERSHIP, member_id), wanted), company_id)
    key = None if known else keys.mint_for_user(work, user_id, "first board key", work.now + keys.LIFETIME)
    return Added(user_id=user_id, key=key)


def change(work: Work, principal: Principal, seat: Seat, patch: MemberPatch) -> UUID:
    by, member = _manager(work, principal, seat.company_id), _member(work, seat)
    role = member.role if patch.membership_role is UNSET else patch.membership_role
    wanted = access.regraded(member, role, None if patch.permissions is UNSET else patch.permissions)
    work.record(seat.member_id, access.change(by, member, wanted, _other_owners(work, seat)))
    return seat.user_id


def remove(work: Work, principal: Principal, seat: Seat) -> UUID:
    """The user may do nothing here from the next request on."""
    by, member = _manager(work, principal, seat.company_id), _member(work, seat)
    work.record(seat.member_id, access.remove(by, member, _other_owners(work, seat)))
    return seat.user_id


def _manager(work: Work, principal: Principal, company_id: UUID) -> Membership:
    """The standing of a caller who may write; whether they may manage members is for the domain to say."""
    authorize(work, principal, "administer", companies.enter(work, company_id))
    if (found := standing(work, require_board(principal), company_id)) is None:
        raise NotFound("Company not found")
    return found


def _member(work: Work, seat: Seat) -> Membership:
    if (found := work.get(MEMBERSHIP, seat.member_id)) is None:
        raise NotFound("Member not found")
    return found


def _other_owners(work: Work, seat: Seat) -> Iterator[Membership]:
    """
    Read one by one, until the domain has seen an owner: that one's stream is guarded by the commit.

    So of two owners who unmake each other at once, the second finds none who is left, however old `seat.owners` is.
    """
    for owner_id in seat.owners:
        owner = work.get(MEMBERSHIP, membership_of(owner_id, seat.company_id))
        if owner is not None and owner_id != seat.user_id:
            yield owner


def _register(work: Work, draft: MemberDraft) -> UUID:
    user_id = work.new_id()
    work.record(user_id, [UserRegistered(name=draft.name or "", email=draft.email)])
    if draft.email is not None:
        claimed = NameClaimed(scope=EMAIL_SCOPE, name=draft.email.lower(), holder_id=user_id)
        work.record(claim_of(EMAIL_SCOPE, claimed.name), [claimed])
    return user_id


def _user_of_email(work: Work, principal: Principal, email: str | None) -> UUID | None:
    """Nobody proves that an address is theirs: whoever gave it first must not be let in elsewhere by it."""
    known = None if email is None else work.get(CLAIM, claim_of(EMAIL_SCOPE, email.lower()))
    if known is not None and not require_board(principal).instance_admin:
        raise Conflict("A user with this email is known already: add them by userId, or ask an instance admin")
    return known
