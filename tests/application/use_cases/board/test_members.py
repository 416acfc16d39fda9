import pytest

from application.access import Caller
from application.event_store.stream_kinds import MEMBERSHIP
from application.request_bodies.board import AgentKeyDraft, MemberDraft, MemberPatch
from application.use_cases import read_access
from application.use_cases.board import keys, members
from application.use_cases.board.members import MembershipRef
from domain.errors import Conflict, Forbidden, NotFound, Unauthenticated
from domain.events import MemberJoined, UserRegistered
from domain.identity import FIRST_USER, membership_of


def seat(here, user, owners=()):
    return MembershipRef(company_id=here.company, user_id=user, owners=owners)


def newest(here):
    return here.events(MemberJoined)[-1].user_id


def test_a_new_member_gets_a_key_and_a_known_user_gets_none(here):
    added = here.ask(members.add, here.company, MemberDraft(name="Robin"))
    again = here.ask(members.add, here.other_company(), MemberDraft(user_id=added.user_id))

    assert added.key is not None
    assert again.key is None
    assert added.user_id == again.user_id


def test_an_email_is_one_members_at_a_time_within_a_company(here):
    draft = MemberDraft(name="Robin", email="Robin@example.org")
    robin = here.ask(members.add, here.company, draft).user_id

    with pytest.raises(Conflict, match="Already a member"):
        here.ask(members.add, here.company, MemberDraft(name="Rob", email="robin@EXAMPLE.org"))
    here.ask(members.add, here.other_company(), draft)
    here.ask(members.remove, seat(here, robin))
    here.ask(members.add, here.company, draft)

    assert 3 == sum(event.email == draft.email for event in here.events(UserRegistered))


def test_a_user_whom_one_does_not_know_does_not_exist_unless_a_company_of_both_is_named(here):
    other = here.other_company()
    here.member("owner", other)
    stranger = newest(here)
    owner = here.member("owner")
    me = newest(here)

    with pytest.raises(NotFound, match="User not found"):
        here.ask(members.add, here.company, MemberDraft(user_id=stranger), [other], caller=owner)
    here.ask(members.add, other, MemberDraft(user_id=me))
    here.ask(members.add, here.company, MemberDraft(user_id=stranger), [other], caller=owner)

    assert here.state(MEMBERSHIP, membership_of(stranger, here.company)).role == "member"


def test_the_last_owner_stays_one_however_old_the_list_of_owners_is(here):
    owner = here.member("owner")
    other = newest(here)
    stale = (FIRST_USER, other)
    here.ask(members.remove, seat(here, FIRST_USER, stale), caller=owner)

    with pytest.raises(Conflict, match="needs an owner"):
        here.ask(members.remove, seat(here, other, stale), caller=owner)
    with pytest.raises(Conflict, match="needs an owner"):
        here.ask(members.change, seat(here, other, stale), MemberPatch(membership_role="admin"), caller=owner)


def test_admins_manage_members_and_no_owners_and_members_manage_nobody(here):
    admin, member = here.member("admin"), here.member()

    here.ask(members.change, seat(here, newest(here)), MemberPatch(membership_role="viewer"), caller=admin)
    with pytest.raises(Forbidden, match="Only an owner"):
        here.ask(members.remove, seat(here, FIRST_USER), caller=admin)
    with pytest.raises(Forbidden):
        here.ask(members.add, here.company, MemberDraft(name="Friend"), caller=member)


def test_who_is_removed_may_do_nothing_from_then_on_and_their_agents_keys_are_dead(here):
    admin = here.member("admin")
    user = newest(here)
    key = Caller(token=here.ask(keys.create_for_agent, here.agent, AgentKeyDraft(), caller=admin).token)
    here.ask(read_access.anyone, caller=key)

    here.ask(members.remove, seat(here, user))

    with pytest.raises(Unauthenticated):
        here.ask(read_access.anyone, caller=key)
    with pytest.raises(Forbidden):
        here.ask(read_access.company, here.company, caller=admin)


def test_nobody_who_is_no_member_is_changed(here):
    with pytest.raises(NotFound, match="Member not found"):
        here.ask(members.change, seat(here, here.agent), MemberPatch(membership_role="viewer"))
