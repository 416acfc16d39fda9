"""
Who is calling, and what they may do: the one place of the access rules (contract 1.2 and 3; table: docs/access.csv).

Both questions are asked within the unit of work, so a key that is revoked or an agent that is terminated
between the check and the commit takes the effect with it.
"""

from collections.abc import Iterable
from typing import Any, Literal
from uuid import UUID

from application import tokens
from application.event_store.stream_kinds import AGENT, KEY, MEMBERSHIP, USER
from application.event_store.unit_of_work import UnitOfWork
from domain.board import access, agent
from domain.board.access import Key, Membership
from domain.errors import Forbidden, NotFound, Unauthenticated
from domain.identity import key_of, membership_of
from domain.values import Value

Action = Literal[
    "read",  # any member, any agent of the company
    "administer",  # members who may write
    "own",  # members who may write; the agent it belongs to
    "assign",  # the same, and members need tasks:assign
    "entrust",  # members with tasks:assign: what hands power to fire or to work to whoever holds a credential
    "work",  # members who may write; any agent of the company
]

OWN_ONLY = "Agents can only manage routines assigned to themselves"


class Caller(Value, frozen=True):
    """What a request says of its sender."""

    token: str | None = None
    run_id: UUID | None = None  # the agent's work session
    by_jetty: bool = False  # through the Jetty API: there collections have keys, and agents have none

    @property
    def key_id(self) -> UUID | None:
        """Under which the token would be known; None for none and for one that cannot be any."""
        return key_of(self.token) if self.token is not None and tokens.is_well_formed(self.token) else None

    def __repr__(self) -> str:
        return "Caller(***)"  # a token is for nobody to see

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class BoardUser(Value, frozen=True):
    user_id: UUID
    key_id: UUID
    instance_admin: bool

    @property
    def actor(self) -> str:
        return f"user:{self.user_id}"


class AgentCaller(Value, frozen=True):
    agent_id: UUID
    company_id: UUID

    @property
    def actor(self) -> str:
        return f"agent:{self.agent_id}"


class CollectionCaller(Value, frozen=True):
    """Whoever has a key that is bound to one collection."""

    company_id: UUID
    key_id: UUID

    @property
    def actor(self) -> str:
        return f"key:{self.key_id}"


Principal = BoardUser | AgentCaller | CollectionCaller


class Resource(Value, frozen=True):
    """What an action is about. Reached by its company's path, a stranger is told 403; by its id, 404."""

    company_id: UUID | None  # None: there is no such thing
    kind: str  # for the text of a 404
    by_company: bool = False
    owner: UUID | None = None  # the agent it belongs to
    own_only: str = OWN_ONLY  # what an agent that does not own it is told


def identify(work: UnitOfWork, caller: Caller, wanted: Iterable[UUID] = ()) -> Principal:
    """
    The holder of the token. Raises Unknown for none, a malformed, revoked or expired one, or a gone holder.

    `wanted` are streams that will be read next, and are fetched on the way.
    """
    if (key_id := caller.key_id) is None:
        raise Unauthenticated
    work.load([key_id, *wanted])
    key = work.get(KEY, key_id)
    if key is None or not access.is_good(key, work.now) or not _is_backed(work, key_id, key):
        raise Unauthenticated
    principal = _holder(work, key_id, key)
    if isinstance(principal, AgentCaller if caller.by_jetty else CollectionCaller):
        raise Unauthenticated
    work.actor = principal.actor
    work.holder = key.user_id or key.agent_id or key.collection_id
    work.cause = str(caller.run_id) if caller.run_id else None
    return principal


def authorize(work: UnitOfWork, principal: Principal, action: Action, resource: Resource) -> None:
    """Raises NotFound or Forbidden unless the rules let this caller do this to that."""
    match principal:
        case AgentCaller():
            _authorize_agent(principal, action, resource)
        case BoardUser():
            _authorize_user(work, principal, action, resource)
        case CollectionCaller(company_id=company_id):
            if resource.company_id != company_id:
                raise NotFound(f"{resource.kind} not found")


def may(work: UnitOfWork, principal: Principal, action: Action, resource: Resource) -> bool:
    """Whether the rules let this caller do this to that."""
    try:
        authorize(work, principal, action, resource)
    except (Forbidden, NotFound):
        return False
    return True


def require_board(principal: Principal) -> BoardUser:
    if not isinstance(principal, BoardUser):
        raise Forbidden("Board access required")
    return principal


def find_membership(work: UnitOfWork, user: BoardUser, company_id: UUID) -> Membership | None:
    """What a user is in a company: an instance admin an owner of every one, None whoever is no member (any more)."""
    if user.instance_admin:
        return access.OWNER
    member_id = membership_of(user.user_id, company_id)
    membership = work.get(MEMBERSHIP, member_id)
    # The log lets nobody join who was not let in by an owner or admin of the company that the event names.
    if membership is None or work.company_of(member_id) != company_id:
        return None
    work.tenant = company_id
    return membership


def _authorize_agent(principal: AgentCaller, action: Action, resource: Resource) -> None:
    if resource.company_id is None:
        raise NotFound(f"{resource.kind} not found")
    if principal.company_id != resource.company_id:
        _turn_away(resource, "Agent key cannot access another company")
    if action in ("administer", "entrust"):
        raise Forbidden("Board access required")
    if action in ("own", "assign") and resource.owner != principal.agent_id:
        raise Forbidden(resource.own_only)


def _authorize_user(work: UnitOfWork, principal: BoardUser, action: Action, resource: Resource) -> None:
    if resource.company_id is None:
        raise NotFound(f"{resource.kind} not found")
    membership = find_membership(work, principal, resource.company_id)
    if membership is None:
        _turn_away(resource, "User does not have access to this company")
    elif membership.role == "viewer" and action != "read":
        raise Forbidden("Viewer access is read-only")
    elif action in ("assign", "entrust") and not access.may_assign(membership):
        raise Forbidden("Missing permission: tasks:assign")


def _turn_away(resource: Resource, text: str) -> None:
    raise Forbidden(text) if resource.by_company else NotFound(f"{resource.kind} not found")


def _is_backed(work: UnitOfWork, key_id: UUID, key: Key) -> bool:
    """Whether a key of an agent or a collection was not revoked with the membership of whoever issued it."""
    member_id = access.membership_of_issuer(work.history(key_id)[0])
    if key.user_id is not None or member_id is None:
        return True
    work.load([member_id, key.agent_id])
    return access.rests_on(key, work.history(member_id))


def _holder(work: UnitOfWork, key_id: UUID, key: Key) -> Principal:
    if key.collection_id is not None:
        return CollectionCaller(company_id=key.collection_id, key_id=key_id)
    return _agent(work, key.agent_id) if key.agent_id else _user(work, key_id, key.user_id)


def _agent(work: UnitOfWork, agent_id: UUID) -> AgentCaller:
    holder = work.get(AGENT, agent_id)
    if holder is None or not agent.may_hold_keys(holder):
        raise Unauthenticated
    return AgentCaller(agent_id=agent_id, company_id=work.company_of(agent_id))


def _user(work: UnitOfWork, key_id: UUID, user_id: UUID | None) -> BoardUser:
    user = work.get(USER, user_id)
    if user is None or user_id is None:
        raise Unauthenticated
    return BoardUser(user_id=user_id, key_id=key_id, instance_admin=user.instance_admin)
