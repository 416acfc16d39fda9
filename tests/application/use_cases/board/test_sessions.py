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
def session(app):
    return Caller(token=app.ask(sessions.open_session).token)


def is_known(app, caller):
    try:
        return app.ask(read_access.anyone, caller=caller) is not None
    except Unauthenticated:
        return False


def test_a_session_acts_as_its_user_for_twelve_hours(app, session):
    assert app.ask(read_access.anyone).user_id == app.ask(read_access.anyone, caller=session).user_id

    app.passes(SESSION_LIFETIME - timedelta(seconds=1))
    assert is_known(app, session)
    app.passes(timedelta(seconds=1))
    assert not is_known(app, session)


def test_a_session_ends_no_later_than_the_key_that_it_rests_on(app):
    short = app.ask(keys.create_for_board, BoardKeyDraft(expires_at=app.now + timedelta(hours=1)))

    assert short.expires_at == app.ask(sessions.open_session, caller=Caller(token=short.token)).expires_at


def test_a_session_ends_when_its_key_is_revoked(app):
    minted = app.ask(keys.create_for_board, BoardKeyDraft())
    session = Caller(token=app.ask(sessions.open_session, caller=Caller(token=minted.token)).token)

    app.ask(keys.revoke_board_key, minted.key_id)

    assert not is_known(app, session)
    assert is_known(app, app.admin)


def test_signing_out_ends_one_session_and_leaves_the_key(app, session):
    other = Caller(token=app.ask(sessions.open_session).token)

    app.ask(sessions.close_session, caller=session)

    assert [False, True, True] == [is_known(app, caller) for caller in (session, other, app.admin)]
    app.ask(sessions.close_session)
    assert is_known(app, app.admin)


def test_signing_out_everywhere_ends_all_sessions_and_links_that_there_are_and_no_key(app, session):
    link, other = app.ask(sessions.make_link), Caller(token=app.ask(sessions.open_session).token)

    app.ask(sessions.close_all, caller=session)

    assert [False, False, True] == [is_known(app, caller) for caller in (session, other, app.admin)]
    with pytest.raises(Unauthenticated):
        app.carry_out(sessions.follow_link, link.token)
    assert is_known(app, Caller(token=app.ask(sessions.open_session).token))


def test_sessions_that_are_known_are_revoked_by_that_and_no_other_key(app, session):
    other = app.ask(keys.create_for_board, BoardKeyDraft())

    app.ask(sessions.close_all, [key_of(session.token), other.key_id, app.admin.key_id])

    assert app.state(KEY, key_of(session.token)).revoked
    assert is_known(app, Caller(token=other.token))
    assert is_known(app, app.admin)


def test_a_link_opens_one_session_and_is_no_key_itself(app):
    link = app.ask(sessions.make_link)
    assert not is_known(app, Caller(token=link.token))

    opened = app.carry_out(sessions.follow_link, link.token)

    assert is_known(app, Caller(token=opened.token))
    with pytest.raises(Unauthenticated):
        app.carry_out(sessions.follow_link, link.token)


def test_a_link_is_good_for_ten_minutes_and_with_its_key_only(app):
    late, orphan_key = app.ask(sessions.make_link), app.ask(keys.create_for_board, BoardKeyDraft())
    orphan = app.ask(sessions.make_link, caller=Caller(token=orphan_key.token))
    app.ask(keys.revoke_board_key, orphan_key.key_id)
    with pytest.raises(Unauthenticated):
        app.carry_out(sessions.follow_link, orphan.token)

    app.passes(LINK_LIFETIME)

    with pytest.raises(Unauthenticated):
        app.carry_out(sessions.follow_link, late.token)


@pytest.mark.parametrize("token", ["", "pcp_board_nonsense"])
def test_what_is_no_link_opens_nothing(app, token):
    for other in (token, app.admin.token):
        with pytest.raises(Unauthenticated):
            app.carry_out(sessions.follow_link, other)


def test_a_session_opens_no_session_and_agents_have_none(app, session):
    agent = Caller(token=app.ask(keys.create_for_agent, app.agent, AgentKeyDraft()).token)
    for caller in (session, agent):
        for use_case in (sessions.open_session, sessions.make_link):
            with pytest.raises(Forbidden):
                app.ask(use_case, caller=caller)
    with pytest.raises(Unauthenticated):
        app.ask(sessions.close_all, caller=agent)
    app.ask(sessions.close_session, caller=agent)
    assert is_known(app, agent)


def test_keys_that_are_made_in_a_session_may_last_as_long_as_those_made_with_its_key(app, session):
    assert app.ask(keys.create_for_board, BoardKeyDraft(expires_at=None), caller=session).expires_at is None
    assert app.now + timedelta(days=30) == app.ask(keys.create_for_board, BoardKeyDraft(), caller=session).expires_at


def test_no_token_of_a_session_is_recorded(app, session):
    app.passes(DAY)
    assert session.token not in str(list(app.store.history()))
    assert key_of(session.token) in {recorded.stream_id for recorded in app.store.history()}
