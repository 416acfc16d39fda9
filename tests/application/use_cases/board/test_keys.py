from datetime import timedelta

import pytest

from application.access import Caller
from application.request_bodies.board import AgentKeyDraft, BoardKeyDraft
from application.use_cases import read_access
from application.use_cases.board import agents, keys
from domain.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from domain.events import KeyIssued, MemberJoined
from tests.application.use_cases.installation import DAY


def test_the_first_user_is_made_once(app):
    assert app.carry_out(keys.mint_first) is None


def test_a_token_is_shown_once_and_kept_nowhere(app):
    minted = app.ask(keys.create_for_board, BoardKeyDraft())

    assert minted.token not in repr(minted) + str(list(app.store.history()))
    assert app.ask(read_access.anyone, caller=Caller(token=minted.token))


def test_a_board_key_is_good_for_thirty_days_unless_told_otherwise_and_never_outlives_the_one_that_asks(app):
    short = app.ask(keys.create_for_board, BoardKeyDraft(expires_at=app.now + DAY))
    assert app.now + timedelta(days=30) == app.ask(keys.create_for_board, BoardKeyDraft()).expires_at

    with pytest.raises(InvalidField) as outlives:
        app.ask(keys.create_for_board, BoardKeyDraft(expires_at=None), caller=Caller(token=short.token))

    assert "expiresAt" == outlives.value.field
    app.passes(DAY)
    with pytest.raises(Unauthenticated):
        app.ask(read_access.anyone, caller=Caller(token=short.token))


def test_a_revoked_key_is_unknown_and_nobody_revokes_somebody_elses(app):
    minted = app.ask(keys.create_for_board, BoardKeyDraft())

    with pytest.raises(NotFound, match="Board API key not found"):
        app.ask(keys.revoke_board_key, minted.key_id, caller=app.member("owner"))
    app.ask(keys.revoke_board_key, minted.key_id)

    with pytest.raises(Unauthenticated):
        app.ask(read_access.anyone, caller=Caller(token=minted.token))


def test_an_agents_key_is_the_agents_until_it_is_revoked_or_the_agent_is_terminated(app):
    first, second = (app.ask(keys.create_for_agent, app.agent, AgentKeyDraft()) for _ in range(2))
    app.ask(keys.revoke_agent_key, app.agent, first.key_id)
    with pytest.raises(NotFound):
        app.ask(keys.revoke_agent_key, app.another_agent(), second.key_id)
    app.ask(read_access.anyone, caller=Caller(token=second.token))

    app.ask(agents.terminate, app.agent)

    for minted in (first, second):
        with pytest.raises(Unauthenticated):
            app.ask(read_access.anyone, caller=Caller(token=minted.token))


def test_agents_issue_no_keys_and_members_without_the_right_to_assign_none_for_agents(app):
    with pytest.raises(Unauthenticated, match="Board authentication required"):
        app.ask(keys.create_for_board, BoardKeyDraft(), caller=app.as_agent())
    with pytest.raises(Forbidden, match="tasks:assign"):
        app.ask(keys.create_for_agent, app.agent, AgentKeyDraft(), caller=app.member(permissions=()))


def test_owners_and_admins_revoke_any_key_of_their_company_but_no_persons(app):
    minted = app.ask(keys.create_for_agent, app.agent, AgentKeyDraft())
    persons = app.ask(keys.create_for_board, BoardKeyDraft())

    with pytest.raises(Forbidden):
        app.ask(keys.revoke_of_company, app.company, minted.key_id, caller=app.member())
    app.ask(keys.revoke_of_company, app.company, minted.key_id, caller=app.member("admin"))
    with pytest.raises(NotFound, match="Key not found"):
        app.ask(keys.revoke_of_company, app.company, persons.key_id)


def test_an_instance_admin_gives_a_member_another_key_and_an_operator_any_user_one(app):
    app.member()
    user = app.events(MemberJoined)[-1].user_id

    with pytest.raises(Forbidden, match="Instance admin required"):
        app.ask(keys.create_for_member, app.company, user, BoardKeyDraft(), caller=app.member("owner"))
    app.ask(keys.create_for_member, app.company, user, BoardKeyDraft())
    app.carry_out(keys.mint_board_key, "lost", user)
    with pytest.raises(NotFound):
        app.carry_out(keys.mint_board_key, "nobody", app.agent)

    assert 3 == sum(event.user_id == user for event in app.events(KeyIssued))
