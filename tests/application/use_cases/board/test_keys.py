from datetime import timedelta

import pytest

from application.access import Caller
from application.request_bodies.board import AgentKeyDraft, BoardKeyDraft
from application.use_cases import read_access
from application.use_cases.board import agents, keys
from domain.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from domain.events import KeyIssued, MemberJoined
from tests.application.use_cases.installation import DAY


def test_the_first_user_is_made_once(here):
    assert here.carry_out(keys.mint_first) is None


def test_a_token_is_shown_once_and_kept_nowhere(here):
    minted = here.ask(keys.create_for_board, BoardKeyDraft())

    assert minted.token not in repr(minted) + str(list(here.store.history()))
    assert here.ask(read_access.anyone, caller=Caller(token=minted.token))


def test_a_board_key_is_good_for_thirty_days_unless_told_otherwise_and_never_outlives_the_one_that_asks(here):
    short = here.ask(keys.create_for_board, BoardKeyDraft(expires_at=here.now + DAY))
    assert here.now + timedelta(days=30) == here.ask(keys.create_for_board, BoardKeyDraft()).expires_at

    with pytest.raises(InvalidField) as outlives:
        here.ask(keys.create_for_board, BoardKeyDraft(expires_at=None), caller=Caller(token=short.token))

    assert "expiresAt" == outlives.value.field
    here.passes(DAY)
    with pytest.raises(Unauthenticated):
        here.ask(read_access.anyone, caller=Caller(token=short.token))


def test_a_revoked_key_is_unknown_and_nobody_revokes_somebody_elses(here):
    minted = here.ask(keys.create_for_board, BoardKeyDraft())

    with pytest.raises(NotFound, match="Board API key not found"):
        here.ask(keys.revoke_board_key, minted.key_id, caller=here.member("owner"))
    here.ask(keys.revoke_board_key, minted.key_id)

    with pytest.raises(Unauthenticated):
        here.ask(read_access.anyone, caller=Caller(token=minted.token))


def test_an_agents_key_is_the_agents_until_it_is_revoked_or_the_agent_is_terminated(here):
    first, second = (here.ask(keys.create_for_agent, here.agent, AgentKeyDraft()) for _ in range(2))
    here.ask(keys.revoke_agent_key, here.agent, first.key_id)
    with pytest.raises(NotFound):
        here.ask(keys.revoke_agent_key, here.another_agent(), second.key_id)
    here.ask(read_access.anyone, caller=Caller(token=second.token))

    here.ask(agents.terminate, here.agent)

    for minted in (first, second):
        with pytest.raises(Unauthenticated):
            here.ask(read_access.anyone, caller=Caller(token=minted.token))


def test_agents_issue_no_keys_and_members_without_the_right_to_assign_none_for_agents(here):
    with pytest.raises(Unauthenticated, match="Board authentication required"):
        here.ask(keys.create_for_board, BoardKeyDraft(), caller=here.as_agent())
    with pytest.raises(Forbidden, match="tasks:assign"):
        here.ask(keys.create_for_agent, here.agent, AgentKeyDraft(), caller=here.member(permissions=()))


def test_owners_and_admins_revoke_any_key_of_their_company_but_no_persons(here):
    minted = here.ask(keys.create_for_agent, here.agent, AgentKeyDraft())
    persons = here.ask(keys.create_for_board, BoardKeyDraft())

    with pytest.raises(Forbidden):
        here.ask(keys.revoke_of_company, here.company, minted.key_id, caller=here.member())
    here.ask(keys.revoke_of_company, here.company, minted.key_id, caller=here.member("admin"))
    with pytest.raises(NotFound, match="Key not found"):
        here.ask(keys.revoke_of_company, here.company, persons.key_id)


def test_an_instance_admin_gives_a_member_another_key_and_an_operator_any_user_one(here):
    here.member()
    user = here.events(MemberJoined)[-1].user_id

    with pytest.raises(Forbidden, match="Instance admin required"):
        here.ask(keys.create_for_member, here.company, user, BoardKeyDraft(), caller=here.member("owner"))
    here.ask(keys.create_for_member, here.company, user, BoardKeyDraft())
    here.carry_out(keys.mint_board_key, "lost", user)
    with pytest.raises(NotFound):
        here.carry_out(keys.mint_board_key, "nobody", here.agent)

    assert 3 == sum(event.user_id == user for event in here.events(KeyIssued))
