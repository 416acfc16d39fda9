from datetime import timedelta

import pytest

from application.access import Caller
from application.event_store.stream_kinds import KEY
from application.request_bodies.board import AgentKeyDraft, BoardKeyDraft
from application.use_cases import read_access
from application.use_cases.board import keys, sessions
from domain.board.access import LINK_LIFETIME, SESSION_LIFETIME
from domain.errors import Forbidden, Unauthenticated
from domain.identity import key_of
from tests.application.use_cases.installation import DAY


@pytest.fixture
def session(here):
    return Caller(token=here.ask(sessions.open_session).token)


def is_known(here, caller):
    try:
        return here.ask(read_access.anyone, caller=caller) is not None
    except Unauthenticated:
        return False


def test_a_session_acts_as_its_user_for_twelve_hours(here, session):
    assert here.ask(read_access.anyone).user_id == here.ask(read_access.anyone, caller=session).user_id

    here.passes(SESSION_LIFETIME - timedelta(seconds=1))
    assert is_known(here, session)
    here.passes(timedelta(seconds=1))
    assert not is_known(here, session)


def test_a_session_ends_no_later_than_the_key_that_it_rests_on(here):
    short = here.ask(keys.create_for_board, BoardKeyDraft(expires_at=here.now + timedelta(hours=1)))

    assert short.expires_at == here.ask(sessions.open_session, caller=Caller(token=short.token)).expires_at


def test_a_session_ends_when_its_key_is_revoked(here):
    minted = here.ask(keys.create_for_board, BoardKeyDraft())
    session = Caller(token=here.ask(sessions.open_session, caller=Caller(token=minted.token)).token)

    here.ask(keys.revoke_board_key, minted.key_id)

    assert not is_known(here, session)
    assert is_known(here, here.admin)


def test_signing_out_ends_one_session_and_leaves_the_key(here, session):
    other = Caller(token=here.ask(sessions.open_session).token)

    here.ask(sessions.close_session, caller=session)

    assert [False, True, True] == [is_known(here, caller) for caller in (session, other, here.admin)]
    here.ask(sessions.close_session)
    assert is_known(here, here.admin)


def test_signing_out_everywhere_ends_all_sessions_and_links_that_there_are_and_no_key(here, session):
    link, other = here.ask(sessions.make_link), Caller(token=here.ask(sessions.open_session).token)

    here.ask(sessions.close_all, caller=session)

    assert [False, False, True] == [is_known(here, caller) for caller in (session, other, here.admin)]
    with pytest.raises(Unauthenticated):
        here.carry_out(sessions.follow_link, link.token)
    assert is_known(here, Caller(token=here.ask(sessions.open_session).token))


def test_sessions_that_are_known_are_revoked_by_that_and_no_other_key(here, session):
    other = here.ask(keys.create_for_board, BoardKeyDraft())

    here.ask(sessions.close_all, [key_of(session.token), other.key_id, here.admin.key_id])

    assert here.state(KEY, key_of(session.token)).revoked
    assert is_known(here, Caller(token=other.token))
    assert is_known(here, here.admin)


def test_a_link_opens_one_session_and_is_no_key_itself(here):
    link = here.ask(sessions.make_link)
    assert not is_known(here, Caller(token=link.token))

    opened = here.carry_out(sessions.follow_link, link.token)

    assert is_known(here, Caller(token=opened.token))
    with pytest.raises(Unauthenticated):
        here.carry_out(sessions.follow_link, link.token)


def test_a_link_is_good_for_ten_minutes_and_with_its_key_only(here):
    late, orphan_key = here.ask(sessions.make_link), here.ask(keys.create_for_board, BoardKeyDraft())
    orphan = here.ask(sessions.make_link, caller=Caller(token=orphan_key.token))
    here.ask(keys.revoke_board_key, orphan_key.key_id)
    with pytest.raises(Unauthenticated):
        here.carry_out(sessions.follow_link, orphan.token)

    here.passes(LINK_LIFETIME)

    with pytest.raises(Unauthenticated):
        here.carry_out(sessions.follow_link, late.token)


@pytest.mark.parametrize("token", ["", "pcp_board_nonsense"])
def test_what_is_no_link_opens_nothing(here, token):
    for other in (token, here.admin.token):
        with pytest.raises(Unauthenticated):
            here.carry_out(sessions.follow_link, other)


def test_a_session_opens_no_session_and_agents_have_none(here, session):
    agent = Caller(token=here.ask(keys.create_for_agent, here.agent, AgentKeyDraft()).token)
    for caller in (session, agent):
        for use_case in (sessions.open_session, sessions.make_link):
            with pytest.raises(Forbidden):
                here.ask(use_case, caller=caller)
    with pytest.raises(Unauthenticated):
        here.ask(sessions.close_all, caller=agent)
    here.ask(sessions.close_session, caller=agent)
    assert is_known(here, agent)


def test_keys_that_are_made_in_a_session_may_last_as_long_as_those_made_with_its_key(here, session):
    assert here.ask(keys.create_for_board, BoardKeyDraft(expires_at=None), caller=session).expires_at is None
    assert here.now + timedelta(days=30) == here.ask(keys.create_for_board, BoardKeyDraft(), caller=session).expires_at


def test_no_token_of_a_session_is_recorded(here, session):
    here.passes(DAY)
    assert session.token not in str(list(here.store.history()))
    assert key_of(session.token) in {recorded.stream_id for recorded in here.store.history()}
