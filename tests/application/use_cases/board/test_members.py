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


def membership(app, user, owners=()):
    return MembershipRef(company_id=app.company, user_id=user, owners=owners)


def newest_member(app):
    return app.events(MemberJoined)[-1].user_id


def test_a_new_member_gets_a_key_and_a_known_user_gets_none(app):
    added = app.ask(members.add, app.company, MemberDraft(name="Robin"))
    again = app.ask(members.add, app.other_company(), MemberDraft(user_id=added.user_id))

    assert added.key is not None
    assert again.key is None
    assert added.user_id == again.user_id


def test_an_email_is_one_members_at_a_time_within_a_company(app):
    draft = MemberDraft(name="Robin", email="Robin@example.org")
    robin = app.ask(members.add, app.company, draft).user_id

    with pytest.raises(Conflict, match="Already a member"):
        app.ask(members.add, app.company, MemberDraft(name="Rob", email="robin@EXAMPLE.org"))
    app.ask(members.add, app.other_company(), draft)
    app.ask(members.remove, membership(app, robin))
    app.ask(members.add, app.company, draft)

    assert 3 == sum(event.email == draft.email for event in app.events(UserRegistered))


def test_a_user_whom_one_does_not_know_does_not_exist_unless_a_company_of_both_is_named(app):
    other = app.other_company()
    app.member("owner", other)
    stranger = newest_member(app)
    owner = app.member("owner")
    me = newest_member(app)

    with pytest.raises(NotFound, match="User not found"):
        app.ask(members.add, app.company, MemberDraft(user_id=stranger), [other], caller=owner)
    app.ask(members.add, other, MemberDraft(user_id=me))
    app.ask(members.add, app.company, MemberDraft(user_id=stranger), [other], caller=owner)

    assert app.state(MEMBERSHIP, membership_of(stranger, app.company)).role == "member"


def test_the_last_owner_stays_one_however_old_the_list_of_owners_is(app):
    owner = app.member("owner")
    other = newest_member(app)
    stale = (FIRST_USER, other)
    app.ask(members.remove, membership(app, FIRST_USER, stale), caller=owner)

    with pytest.raises(Conflict, match="needs an owner"):
        app.ask(members.remove, membership(app, other, stale), caller=owner)
    with pytest.raises(Conflict, match="needs an owner"):
        app.ask(members.change, membership(app, other, stale), MemberPatch(membership_role="admin"), caller=owner)


def test_admins_manage_members_and_no_owners_and_members_manage_nobody(app):
    admin, member = app.member("admin"), app.member()

    app.ask(members.change, membership(app, newest_member(app)), MemberPatch(membership_role="viewer"), caller=admin)
    with pytest.raises(Forbidden, match="Only an owner"):
        app.ask(members.remove, membership(app, FIRST_USER), caller=admin)
    with pytest.raises(Forbidden):
        app.ask(members.add, app.company, MemberDraft(name="Friend"), caller=member)


def test_who_is_removed_may_do_nothing_from_then_on_and_their_agents_keys_are_dead(app):
    admin = app.member("admin")
    user = newest_member(app)
    key = Caller(token=app.ask(keys.create_for_agent, app.agent, AgentKeyDraft(), caller=admin).token)
    app.ask(read_access.anyone, caller=key)

    app.ask(members.remove, membership(app, user))

    with pytest.raises(Unauthenticated):
        app.ask(read_access.anyone, caller=key)
    with pytest.raises(Forbidden):
        app.ask(read_access.company, app.company, caller=admin)


def test_nobody_who_is_no_member_is_changed(app):
    with pytest.raises(NotFound, match="Member not found"):
        app.ask(members.change, membership(app, app.agent), MemberPatch(membership_role="viewer"))
