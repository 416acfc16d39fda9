"""
Who is calling, and what they may do: the one place of the access rules (contract 1.2 and 3; table: docs/access.csv).

Both are checked within the unit of work. When a key is revoked, or an agent is terminated, between the check and the
commit, the commit is refused and the decision is taken again on fresh state.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

from application import tokens
from application.event_store.stream_kinds import AGENT, KEY, MEMBERSHIP, USER
from application.event_store.unit_of_work import UnitOfWork
from domain.board import access, agent
from domain.board.access import Key, Membership
from domain.errors import Forbidden, NotFound, Unauthenticated
from domain.events import KeyIssued
from domain.identity import key_of, membership_of
from domain.recorded import Recorded
from domain.values import Value

Action = Literal[
    "read",  # any member, any agent of the company
    "audit",  # members who are owners, admins or auditors
    "administer",  # members who may write
    "own",  # members who may write; the agent that the resource belongs to
    "assign",  # the same, but members also need tasks:assign
    "entrust",  # members with tasks:assign; the action gives whoever holds a credential the power to fire or to work
    "work",  # members who may write; any agent of the company
]

LONGEST_TOKEN = 100  # characters; a longer one is malformed
OWN_ONLY = "Agents can only manage routines assigned to themselves"


@lru_cache(maxsize=4_096)
def _key_id(token: str) -> UUID | None:
    """Return the id of the stream in which a token's key would be. It is asked for several times for each request."""
    return key_of(token) if tokens.is_well_formed(token) else None


class Caller(Value, frozen=True):
    """What a request says of its sender, before the token is looked up."""

    token: str | None = None
    run_id: UUID | None = None  # the agent's work session
    by_jetty: bool = False  # the request came through the Jetty API, where collections have keys and agents have none

    @property
    def key_id(self) -> UUID | None:
        """The id of the stream in which this token's key would be; None without a token and for a malformed one."""
        return None if self.token is None or len(self.token) > LONGEST_TOKEN else _key_id(self.token)

    def __repr__(self) -> str:
        return "Caller(***)"  # never shows the token

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class BoardUser(Value, frozen=True):
    """A user, identified by a board key."""

    user_id: UUID
    key_id: UUID
    instance_admin: bool
    instance_auditor: bool = False

    @property
    def actor(self) -> str:
        """The name under which events record this caller."""
        return f"user:{self.user_id}"


class AgentCaller(Value, frozen=True):
    """An agent of one company, identified by one of its keys."""

    agent_id: UUID
    company_id: UUID

    @property
    def actor(self) -> str:
        """The name under which events record this caller."""
        return f"agent:{self.agent_id}"


class CollectionCaller(Value, frozen=True):
    """Anyone who holds a key that is bound to one collection."""

    company_id: UUID
    key_id: UUID

    @property
    def actor(self) -> str:
        """The name under which events record this caller."""
        return f"key:{self.key_id}"


Principal = BoardUser | AgentCaller | CollectionCaller


class Resource(Value, frozen=True):
    """
    What an action is about.

    A caller from outside the company gets 403 when the request names the company in its path (`by_company`), and 404
    when it names the resource by id.
    """

    company_id: UUID | None  # None: the resource does not exist
    kind: str  # named in the text of a 404
    by_company: bool = False
    owner: UUID | None = None  # the agent that the resource belongs to
    own_only: str = OWN_ONLY  # the error for an agent that does not own it


def identify(work: UnitOfWork, caller: Caller, prefetch: Iterable[UUID | None] = ()) -> Principal:
    """
    Return the holder of the caller's token, and note in the unit of work for whom it acts.

    The streams of `prefetch` are about to be read, so they are fetched together with the key. Raises Unauthenticated
    without a token, for a malformed, revoked or expired one, and for a holder that no longer exists.
    """
    if (key_id := caller.key_id) is None:
        raise Unauthenticated
    work.load([key_id, *prefetch])
    key = work.get(KEY, key_id)
    if key is None or not access.is_good(key, work.now) or not _is_backed(work, key_id, key):
        raise Unauthenticated
    principal = _find_holder(work, key_id, key)
    if isinstance(principal, AgentCaller if caller.by_jetty else CollectionCaller):
        raise Unauthenticated
    work.actor = principal.actor
    work.holder = key.user_id or key.agent_id or key.collection_id
    work.cause = str(caller.run_id) if caller.run_id else None
    return principal


def streams_behind(issuing: Recorded) -> Sequence[UUID | None]:
    """Return the ids of the streams on which an issued key rests: `identify` reads them whenever the key is used."""
    match issuing.event:
        case KeyIssued(user_id=UUID() as user_id, session=session):
            return [user_id, session.rests_on if session else None]
        case KeyIssued(agent_id=agent_id):
            return [agent_id, access.membership_of_issuer(issuing)]
        case _:
            return []


def authorize(work: UnitOfWork, principal: Principal, action: Action, resource: Resource) -> None:
    """Raise NotFound or Forbidden unless the rules allow the caller this action on the resource."""
    match principal:
        case AgentCaller():
            _authorize_agent(principal, action, resource)
        case BoardUser():
            _authorize_user(work, principal, action, resource)
        case CollectionCaller(company_id=company_id):
            if resource.company_id != company_id:
                raise NotFound(f"{resource.kind} not found")


def may(work: UnitOfWork, principal: Principal, action: Action, resource: Resource) -> bool:
    """Return whether the rules allow the caller this action on the resource."""
    try:
        authorize(work, principal, action, resource)
    except (Forbidden, NotFound):
        return False
    return True


def require_board(principal: Principal) -> BoardUser:
    """Return the caller as a board user. Raises Forbidden for an agent or the holder of a collection's key."""
    if not isinstance(principal, BoardUser):
        raise Forbidden("Board access required")
    return principal


def require_instance_reader(principal: Principal) -> BoardUser:
    """Return the caller as an admin or an auditor of the instance. Raises Forbidden for anybody else."""
    user = require_board(principal)
    if not (user.instance_admin or user.instance_auditor):
        raise Forbidden("Instance admin or auditor required")
    return user


def find_membership(work: UnitOfWork, user: BoardUser, company_id: UUID) -> Membership | None:
    """
    Return the membership of a user in a company, or None for somebody who is not, or no longer, a member.

    An instance admin counts as an owner of every company, and an instance auditor as an auditor.
    """
    if user.instance_auditor:
        return access.AUDITOR
    if user.instance_admin:
        return access.OWNER
    member_id = membership_of(user.user_id, company_id)
    membership = work.get(MEMBERSHIP, member_id)
    # `log.append` accepts a membership only from an owner or admin of the company that the event names, so the company
    # of the stream can be trusted.
    if membership is None or work.company_of(member_id) != company_id:
        return None
    work.tenant = company_id
    return membership


def _authorize_agent(principal: AgentCaller, action: Action, resource: Resource) -> None:
    if resource.company_id is None:
        raise NotFound(f"{resource.kind} not found")
    if principal.company_id != resource.company_id:
        _turn_away(resource, "Agent key cannot access another company")
    if action in ("audit", "administer", "entrust"):
        raise Forbidden("Board access required")
    if action in ("own", "assign") and resource.owner != principal.agent_id:
        raise Forbidden(resource.own_only)


def _authorize_user(work: UnitOfWork, principal: BoardUser, action: Action, resource: Resource) -> None:
    if resource.company_id is None:
        raise NotFound(f"{resource.kind} not found")
    membership = find_membership(work, principal, resource.company_id)
    if membership is None:
        _turn_away(resource, "User does not have access to this company")
    elif action == "audit" and not access.may_audit(membership):
        raise Forbidden("Only owners, admins and auditors may read the events")
    elif membership.role in access.READ_ONLY and action not in ("read", "audit"):
        raise Forbidden(f"{membership.role.capitalize()} access is read-only")
    elif action in ("assign", "entrust") and not access.may_assign(membership):
        raise Forbidden("Missing permission: tasks:assign")


def _turn_away(resource: Resource, text: str) -> None:
    raise Forbidden(text) if resource.by_company else NotFound(f"{resource.kind} not found")


def _is_backed(work: UnitOfWork, key_id: UUID, key: Key) -> bool:
    """
    Return whether a key still has behind it what it rests on: the membership of its issuer, or for a session the key by
    which it was opened. A user's own key needs nothing. A link is no key at all, see `use_cases.board.sessions`.
    """
    if key.session is not None:
        return not key.session.is_link and is_signed_in(work, key)
    member_id = access.membership_of_issuer(work.history(key_id)[0])
    if key.user_id is not None or member_id is None:
        return True
    work.load([member_id, key.agent_id])
    return access.rests_on(key, work.history(member_id))


def is_signed_in(work: UnitOfWork, key: Key) -> bool:
    """Return whether a session, or a link to one, has neither lost its key nor been ended with all others of its user."""
    if key.session is None or key.user_id is None:
        return False
    work.load([key.session.rests_on, key.user_id])
    base = work.get(KEY, key.session.rests_on)
    is_own = base is not None and base.session is None and base.user_id == key.user_id
    return is_own and access.is_signed_in(key.session, base, work.history(key.user_id), work.now)


def _find_holder(work: UnitOfWork, key_id: UUID, key: Key) -> Principal:
    if key.collection_id is not None:
        return CollectionCaller(company_id=key.collection_id, key_id=key_id)
    return _agent_caller(work, key.agent_id) if key.agent_id else _board_user(work, key_id, key.user_id)


def _agent_caller(work: UnitOfWork, agent_id: UUID) -> AgentCaller:
    holder = work.get(AGENT, agent_id)
    if holder is None or not agent.may_hold_keys(holder):
        raise Unauthenticated
    return AgentCaller(agent_id=agent_id, company_id=work.company_of(agent_id))


def _board_user(work: UnitOfWork, key_id: UUID, user_id: UUID | None) -> BoardUser:
    user = work.get(USER, user_id)
    if user is None or user_id is None or user.erased:  # a key that was made beside the erasure was not revoked by it
        raise Unauthenticated
    return BoardUser(
        user_id=user_id,
        key_id=key_id,
        instance_admin=user.instance_admin,
        instance_auditor=user.instance_auditor,
    )
