"""Users, memberships, keys and claims: contract 1.2."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain import access
from domain.errors import ImpossibleHistory
from domain.events import KeyIssued, KeyRevoked, MemberJoined, NameClaimed, UserRegistered
from tests.given import given

USER = UUID(int=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FOREVER = KeyIssued(name="cli", user_id=USER)
UNTIL_NOON = KeyIssued(name="cli", user_id=USER, expires_at=NOON)


def test_a_key_without_expiry_is_good_until_it_is_revoked():
    assert access.is_good(given(access.evolve_key, FOREVER), NOON)
    assert not access.is_good(given(access.evolve_key, FOREVER, KeyRevoked()), NOON)


def test_a_key_is_good_before_its_expiry_and_not_at_it():
    key = given(access.evolve_key, UNTIL_NOON)

    assert access.is_good(key, NOON - timedelta(microseconds=1))
    assert not access.is_good(key, NOON)


def test_a_key_is_revoked_once():
    assert [KeyRevoked()] == access.revoke(given(access.evolve_key, FOREVER))
    assert [] == access.revoke(given(access.evolve_key, FOREVER, KeyRevoked()))


def test_a_member_has_a_role_and_may_assign_unless_told_otherwise():
    joined = MemberJoined(user_id=USER, role="member")

    assert given(access.evolve_membership, joined) == access.Membership(role="member", permissions=("tasks:assign",))


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
        (access.evolve_membership, [MemberJoined(user_id=USER, role="member")] * 2),
        (access.evolve_claim, [NameClaimed(scope="s", name="n", holder_id=USER)] * 2),
    ],
)
def test_what_happens_once_cannot_happen_twice(evolve, facts):
    with pytest.raises(ImpossibleHistory):
        given(evolve, *facts)
