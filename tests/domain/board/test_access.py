"""Users, memberships, keys and claims: contract 1.2."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.board import access
from domain.board.access import Membership
from domain.errors import Conflict, Forbidden, ImpossibleHistory, InvalidField, RuleViolation
from domain.events import (
    KeyIssued,
    KeyRevoked,
    MemberChanged,
    MemberJoined,
    MemberRemoved,
    NameClaimed,
    UserRegistered,
)
from domain.values import MemberRole
from tests.given import given

USER = UUID(int=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ASSIGN = ("tasks:assign",)
JOINED = MemberJoined(user_id=USER, role="member")
PROMOTED = MemberChanged(role="admin", permissions=())
OWNER, ADMIN, MEMBER = (Membership(role=role, permissions=ASSIGN) for role in ("owner", "admin", "member"))
VIEWER = Membership(role="viewer", permissions=())
AUDITOR = Membership(role="auditor", permissions=())
NO_OTHERS: list[Membership] = []
ROLES = st.sampled_from(get_args(MemberRole))
FOREVER = KeyIssued(name="cli", user_id=USER)
UNTIL_NOON = KeyIssued(name="cli", user_id=USER, expires_at=NOON)


def test_a_key_without_expiry_is_good_until_it_is_revoked():
    assert access.is_good(given(access.evolve_key, FOREVER), NOON)
    assert not access.is_good(given(access.evolve_key, FOREVER, KeyRevoked()), NOON)


def test_a_key_is_good_before_its_expiry_and_not_at_it():
    key = given(access.evolve_key, UNTIL_NOON)

    assert access.is_good(key, NOON - timedelta(microseconds=1))
    assert not access.is_good(key, NOON)


def test_a_key_gives_none_that_outlives_it():
    short, eternal = (given(access.evolve_key, issued) for issued in (UNTIL_NOON, FOREVER))

    assert NOON == access.usual_expiry(short, NOON - timedelta(hours=1))
    assert NOON + access.KEY_LIFETIME == access.usual_expiry(eternal, NOON)
    access.check_expiry(NOON, short, "expiresAt")
    access.check_expiry(None, eternal, "expiresAt")
    for expiry in (None, NOON + timedelta(microseconds=1)):
        with pytest.raises(InvalidField) as refusal:
            access.check_expiry(expiry, short, "expiresAt")
        assert ("expiresAt", True) == (refusal.value.field, "2026-11-22T12:00:00.000Z" in refusal.value.message)


@for_all(ROLES, st.sampled_from([(), ASSIGN]))
def test_keys_are_for_those_who_may_assign_to_issue_and_for_owners_and_admins_to_manage(
    role: MemberRole, permissions: tuple[str, ...]
):
    member = Membership(role=role, permissions=permissions)

    assert access.may_assign(member) == (role not in access.READ_ONLY and permissions == ASSIGN)
    if role in ("owner", "admin"):
        access.must_manage_keys(member)
    else:
        with pytest.raises(Forbidden):
            access.must_manage_keys(member)


def test_a_key_is_revoked_once():
    assert [KeyRevoked()] == access.revoke(given(access.evolve_key, FOREVER))
    assert [] == access.revoke(given(access.evolve_key, FOREVER, KeyRevoked()))


def test_a_member_has_a_role_and_may_assign_unless_told_otherwise():
    assert given(access.evolve_membership, JOINED) == MEMBER


def test_a_changed_member_has_what_the_change_says():
    assert given(access.evolve_membership, JOINED, PROMOTED) == Membership(role="admin", permissions=())


def test_a_removed_member_is_none_and_may_join_again():
    removed_member = access.evolve_membership(given(access.evolve_membership, JOINED, PROMOTED), MemberRemoved())

    assert removed_member is None
    assert access.evolve_membership(removed_member, JOINED) == MEMBER


@pytest.mark.parametrize(
    ("role", "permissions", "expected"),
    [
        ("owner", None, OWNER),
        ("member", None, MEMBER),
        ("viewer", None, VIEWER),
        ("viewer", (), VIEWER),
        ("auditor", None, AUDITOR),
        ("member", (), Membership(role="member", permissions=())),
        ("member", ASSIGN * 2, MEMBER),
    ],
)
def test_whoever_may_write_may_assign_unless_told_otherwise(role, permissions, expected):
    assert access.grant_membership(role, permissions) == expected


def test_a_viewer_and_an_auditor_get_no_permission():
    with pytest.raises(RuleViolation, match="A viewer has no permissions"):
        access.grant_membership("viewer", ASSIGN)
    with pytest.raises(RuleViolation, match="An auditor has no permissions"):
        access.grant_membership("auditor", ASSIGN)


@pytest.mark.parametrize(
    ("member", "role", "permissions", "expected"),
    [
        (MEMBER, "member", None, MEMBER),
        (MEMBER, "member", (), Membership(role="member", permissions=())),
        (Membership(role="member", permissions=()), "admin", None, Membership(role="admin", permissions=())),
        (MEMBER, "viewer", None, VIEWER),
        (VIEWER, "viewer", None, VIEWER),
        (VIEWER, "auditor", None, AUDITOR),
        (VIEWER, "member", None, MEMBER),
        (VIEWER, "member", (), Membership(role="member", permissions=())),
    ],
)
def test_permissions_stay_with_another_role_unless_one_is_or_was_a_viewer(member, role, permissions, expected):
    assert access.change_role(member, role, permissions) == expected


@pytest.mark.parametrize("by", [OWNER, ADMIN])
@pytest.mark.parametrize("other", [ADMIN, MEMBER, VIEWER])
def test_owners_and_admins_manage_everybody_who_is_no_owner(by, other):
    event = MemberJoined(user_id=USER, role=other.role, permissions=other.permissions)

    assert access.join(by, USER, None, other) == [event]
    assert access.change(by, other, MEMBER, NO_OTHERS) == (
        [] if other == MEMBER else [MemberChanged(role="member", permissions=ASSIGN)]
    )
    assert access.remove(by, other, NO_OTHERS) == [MemberRemoved()]


@pytest.mark.parametrize("by", [MEMBER, VIEWER])
@pytest.mark.parametrize("other", [OWNER, ADMIN, MEMBER, VIEWER])
def test_members_and_viewers_manage_nobody(by, other):
    for decide in every_decision(by, other):
        with pytest.raises(Forbidden, match="Only owners and admins may manage members"):
            decide()


def test_an_admin_neither_makes_nor_unmakes_nor_changes_an_owner():
    for decide in (*every_decision(ADMIN, OWNER), lambda: access.change(ADMIN, MEMBER, OWNER, [OWNER])):
        with pytest.raises(Forbidden, match="Only an owner may add, change or remove an owner"):
            decide()


def test_an_owner_makes_and_unmakes_owners_as_long_as_one_is_left():
    promoted, demoted = MemberChanged(role="owner", permissions=ASSIGN), MemberChanged(role="admin", permissions=ASSIGN)

    assert access.change(OWNER, ADMIN, OWNER, NO_OTHERS) == [promoted]
    assert access.change(OWNER, OWNER, ADMIN, [MEMBER, OWNER]) == [demoted]
    assert access.remove(OWNER, OWNER, [MEMBER, OWNER]) == [MemberRemoved()]


@pytest.mark.parametrize("others", [[], [ADMIN, MEMBER, VIEWER]])
def test_the_last_owner_is_neither_removed_nor_demoted(others):
    for decide in (lambda: access.remove(OWNER, OWNER, others), lambda: access.change(OWNER, OWNER, ADMIN, others)):
        with pytest.raises(Conflict, match="make another member an owner first"):
            decide()


def test_the_last_owner_may_change_but_for_the_role():
    assert access.change(OWNER, OWNER, Membership(role="owner", permissions=()), NO_OTHERS) == [
        MemberChanged(role="owner", permissions=())
    ]


def test_a_member_joins_once():
    with pytest.raises(Conflict, match="Already a member"):
        access.join(OWNER, USER, VIEWER, MEMBER)


@for_all(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.one_of(st.none(), ROLES)), max_size=30))
def test_whatever_members_do_to_each_other_an_owner_is_left_and_only_owners_moved_owners(attempts):
    """Four users, the first an owner; each attempt is (who, whom, the role to give or None to remove)."""
    company = {0: OWNER}
    for actor, whom, role in attempts:
        by, member = company.get(actor), company.get(whom)
        others = [other for user, other in company.items() if user != whom]
        target = None if role is None else access.grant_membership(role, None)
        try:
            if by is not None:
                company = company | {whom: attempt(by, member, target, others)}
                company = {user: one for user, one in company.items() if one is not None}
        except (Conflict, Forbidden):
            continue
        owners = [one for one in (member, target) if one is not None and one.role == "owner"]
        assert "owner" in {one.role for one in company.values()}
        assert by is None or member == target or not owners or by.role == "owner"


def attempt(by, member, target, others):
    """What becomes of a member."""
    if member is None:
        events: list[Any] = [] if target is None else access.join(by, USER, None, target)
    else:
        events = access.remove(by, member, others) if target is None else access.change(by, member, target, others)
    for event in events:
        member = access.evolve_membership(member, event)
    return member


def every_decision(by, member):
    return (
        lambda: access.join(by, USER, None, member),
        lambda: access.change(by, member, Membership(role=member.role, permissions=("other",)), [OWNER]),
        lambda: access.remove(by, member, [OWNER]),
    )


def test_a_user_is_no_admin_unless_told_so():
    assert not given(access.evolve_user, UserRegistered(name="Ann")).instance_admin
    assert given(access.evolve_user, UserRegistered(name="Ann", instance_admin=True)).instance_admin


def test_a_claim_knows_its_holder():
    assert given(access.evolve_claim, NameClaimed(scope="s", name="n", holder_id=USER)) == USER


@pytest.mark.parametrize(
    ("evolve", "facts"),
    [
        (access.evolve_key, [KeyRevoked()]),
        (access.evolve_key, [FOREVER, FOREVER]),
        (access.evolve_user, [UserRegistered(name="a"), UserRegistered(name="a")]),
        (access.evolve_membership, [JOINED] * 2),
        (access.evolve_membership, [PROMOTED]),
        (access.evolve_membership, [MemberRemoved()]),
        (access.evolve_membership, [JOINED, MemberRemoved(), PROMOTED]),
        (access.evolve_claim, [NameClaimed(scope="s", name="n", holder_id=USER)] * 2),
    ],
)
def test_what_happens_once_cannot_happen_twice(evolve, facts):
    with pytest.raises(ImpossibleHistory):
        given(evolve, *facts)
