"""
Sessions of the board: short keys of a user that rest on one of the user's keys, and links that open one (decision 0060).

A session may do what its user may. It ends by itself, with the key that it rests on, when it is closed, and when the user
signs out everywhere.
"""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from application import tokens
from application.access import BoardUser, Caller, Principal, is_signed_in
from application.event_store.stream_kinds import KEY
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases.board.keys import NewKey
from domain.board import access
from domain.board.access import LINK_LIFETIME, SESSION_LIFETIME, Key
from domain.errors import Forbidden, Unauthenticated
from domain.events import KeyIssued, UserSignedOut
from domain.identity import key_of
from domain.values import Session

SESSION_NAME, LINK_NAME = "session on the board", "link to sign in"


def open_session(work: UnitOfWork, principal: Principal) -> NewKey:
    """Open a session of the board for the holder of a board key; raise Forbidden for everybody else."""
    user, base = _holder_of_key(work, principal)
    return _issue_key(work, user, base, Session(rests_on=user.key_id, user_version=work.version_of(user.user_id)))


def make_link(work: UnitOfWork, principal: Principal) -> NewKey:
    """Make a link that opens one session within LINK_LIFETIME; raise Forbidden as `open_session` does."""
    user, base = _holder_of_key(work, principal)
    session = Session(rests_on=user.key_id, user_version=work.version_of(user.user_id), is_link=True)
    return _issue_key(work, user, base, session)


def follow_link(work: UnitOfWork, token: str) -> NewKey:
    """Open the session of a link, which is used up by that; raise Unauthenticated for one that is not, or no longer, good."""
    link_id = Caller(token=token).key_id
    link = work.get(KEY, link_id) if link_id is not None else None
    is_link = link is not None and link.session is not None and link.session.is_link
    if (
        link_id is None
        or link is None
        or not is_link
        or not access.is_good(link, work.now)
        or not is_signed_in(work, link)
    ):
        raise Unauthenticated("This link has been used, or is too old")
    if link.session is None or link.user_id is None or (base := work.get(KEY, link.session.rests_on)) is None:
        raise Unauthenticated
    user = BoardUser(user_id=link.user_id, key_id=link.session.rests_on, instance_admin=False)
    work.actor, work.holder = user.actor, user.user_id
    work.record(link_id, access.revoke(link))
    return _issue_key(work, user, base, Session(rests_on=user.key_id, user_version=work.version_of(user.user_id)))


def close_session(work: UnitOfWork, principal: Principal) -> None:
    """End the session of the caller; nothing happens to another kind of key."""
    key = work.get(KEY, principal.key_id) if isinstance(principal, BoardUser) else None
    if isinstance(principal, BoardUser) and key is not None and key.session is not None:
        work.record(principal.key_id, access.revoke(key))


def close_all(work: UnitOfWork, principal: Principal, known_keys: Collection[UUID] = ()) -> None:
    """
    End all sessions and links of the caller's user; raise Unauthenticated for others than users.

    The `known_keys` are revoked as well, so that lists and quotas count them no more.
    """
    if not isinstance(principal, BoardUser):
        raise Unauthenticated("Board authentication required")
    work.load(known_keys)
    for key_id in known_keys:
        key = work.get(KEY, key_id)
        if key is not None and key.session is not None and key.user_id == principal.user_id:
            work.record(key_id, access.revoke(key))
    work.record(principal.user_id, [UserSignedOut()])


def _holder_of_key(work: UnitOfWork, principal: Principal) -> tuple[BoardUser, Key]:
    """Return the user and their key. Raise Forbidden for a session: else sessions would open one another without end."""
    key = work.get(KEY, principal.key_id) if isinstance(principal, BoardUser) else None
    if not isinstance(principal, BoardUser) or key is None or key.session is not None:
        raise Forbidden("Signing in needs a board key (pcp_board_...)")
    return principal, key


def _issue_key(work: UnitOfWork, user: BoardUser, base: Key, session: Session) -> NewKey:
    lifetime: timedelta = LINK_LIFETIME if session.is_link else SESSION_LIFETIME
    name, token = LINK_NAME if session.is_link else SESSION_NAME, tokens.mint("board")
    expires_at = access.session_expiry(base, lifetime, work.now)
    work.record(key_of(token), [KeyIssued(name=name, user_id=user.user_id, expires_at=expires_at, session=session)])
    return NewKey(key_id=key_of(token), name=name, token=token, created_at=work.now, expires_at=expires_at)
