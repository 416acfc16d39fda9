"""The routes of keys of board users, agents and companies, and of the caller's identity (contract 7.1)."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from application.access import BoardUser, Caller
from application.request_bodies.board import AgentKeyDraft, BoardKeyDraft
from application.use_cases import read_access
from application.use_cases.board import keys as use_cases
from application.use_cases.board.keys import NewKey
from domain.errors import NotFound, Unauthenticated
from projections import responses
from projections.board import keys, members
from projections.responses import ResponseBody, time, time_or_none
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, paging, read_page
from web.http.path_ids import AgentId, BoardKeyId, CompanyId, KeyId
from web.http.requests import parse_whole_number, uuid_or_none
from web.http.routing import delete, get, post
from web.http.validation import must_be_future

MODELS = ("directory",)
USUAL, MOST = 50, 200  # keys of a company on one page


class MintedBoardKey(ResponseBody, frozen=True, kw_only=True):
    """A new key with its token, which is shown only here."""

    id: UUID
    name: str
    token: str
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None
    expires_at: str | None

    @classmethod
    def of(cls, new_key: NewKey) -> "MintedBoardKey":
        """Return the answer for a new key."""
        return cls(**_fields_of_key(new_key))


class MintedAgentKey(ResponseBody, frozen=True, kw_only=True):
    """A new key with its token, which is shown only here."""

    id: UUID
    name: str
    scope: responses.KeyScope = responses.KeyScope()
    responsible_user_id: str | None = None
    token: str
    created_at: str
    expires_at: str | None = None  # our addition

    @classmethod
    def of(cls, new_key: NewKey) -> "MintedAgentKey":
        """Return the answer for a new key."""
        return cls(**_fields_of_key(new_key))


def _fields_of_key(new_key: NewKey) -> dict[str, Any]:
    return {
        "id": new_key.key_id,
        "name": new_key.name,
        "token": new_key.token,
        "created_at": time(new_key.created_at),
        "expires_at": time_or_none(new_key.expires_at),
    }


class Revoked(ResponseBody, frozen=True, kw_only=True):
    """The key is revoked."""

    ok: bool = True


class UserSummary(ResponseBody, frozen=True, kw_only=True):
    """A user, by id, name and email."""

    id: UUID
    name: str
    email: str | None


class Identity(ResponseBody, frozen=True, kw_only=True):
    """The user to whom a board key belongs, with the companies that the user may enter."""

    user: UserSummary
    user_id: UUID
    is_instance_admin: bool
    company_ids: list[UUID]
    memberships: list[responses.Membership]
    source: str = "board_key"
    key_id: UUID


class BoardKeys(Controller):
    """The board keys of the calling user."""

    tags = ("keys",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/board-api-keys", operation_id="listBoardKeys", response_headers=NEXT)
    def list_(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], paging: NamedDependency[Paging]
    ) -> Response[list[responses.BoardKey]]:
        """Returns the board keys of the calling user, newest first, without their tokens."""
        user = _require_board_user(backend, caller)
        read = partial(keys.of_user, user_id=user.user_id)
        return read_page(backend, paging, f"keys of {user.user_id}", MODELS, read, newest_first=True)

    @post("/board-api-keys", operation_id="createBoardKey", refuses=(403, 422))
    def create(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[BoardKeyDraft]
    ) -> MintedBoardKey:
        """
        Issues a board key of the calling user. The token is shown in this answer and never again. It is valid for no
        longer than the key that requests it, and without `expiresAt` for 30 days at most. A key that never expires may
        request another one that never expires (null).
        """
        must_be_future(data.expires_at, "expiresAt", backend.executor.clock())
        return MintedBoardKey.of(backend.executor.execute(caller, use_cases.create_for_board, data).result)

    @delete("/board-api-keys/{key_id:str}", operation_id="revokeBoardKey", status_code=200)
    def revoke(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], key_id: FromPath[BoardKeyId]
    ) -> Revoked:
        """Revokes the key. Its token is unknown from the next request on."""
        return _revoke(backend, caller, use_cases.revoke_board_key, key_id)

    @get("/cli-auth/me", operation_id="getIdentity")
    def identity(self, backend: NamedDependency[Backend], caller: NamedDependency[Caller]) -> Identity:
        """Returns the user to whom the calling board key belongs, and the companies that this user may enter."""
        user = _require_board_user(backend, caller)
        with backend.consistent_read("directory") as conn:
            person: Any = members.person(conn, user.user_id)
            memberships = members.of_user(conn, user.user_id)
        if person is None:
            raise NotFound("User not found")
        return Identity(
            user=UserSummary(id=person.id, name=person.name, email=person.email),
            user_id=person.id,
            is_instance_admin=user.instance_admin,
            company_ids=[membership.company_id for membership in memberships],
            memberships=memberships,
            key_id=user.key_id,
        )


class AgentKeys(Controller):
    """The keys of an agent."""

    path = "/agents/{agent_id:str}/keys"
    tags = ("agents",)
    dependencies = {"paging": Provide(cursor_only)}

    @get(operation_id="listAgentKeys", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        agent_id: FromPath[AgentId],
    ) -> Response[list[responses.AgentKey]]:
        """Returns the keys of the agent, newest first, without their tokens."""
        backend.authorize(caller, use_cases.may_list_agent_keys, agent_id)
        read = partial(keys.of_agent, agent_id=agent_id)
        return read_page(backend, paging, f"keys of {agent_id}", MODELS, read, newest_first=True)

    @post(operation_id="createAgentKey", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[str],
        data: JSONBody[AgentKeyDraft],
    ) -> MintedAgentKey:
        """
        Issues a key of the agent. The token is shown in this answer and never again. It is valid for as long as the
        key that requests it, or until `expiresAt` (null: for ever), and never for longer than the key that requests it.
        """
        must_be_future(data.expires_at, "expiresAt", backend.executor.clock())
        commit_result = backend.executor.execute(caller, use_cases.create_for_agent, AgentId(agent_id), data)
        return MintedAgentKey.of(commit_result.result)

    @delete("/{key_id:str}", operation_id="revokeAgentKey", refuses=(403,), status_code=200)
    def revoke(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[AgentId],
        key_id: FromPath[KeyId],
    ) -> Revoked:
        """Revokes the key. Its token is unknown from the next request on."""
        return _revoke(backend, caller, use_cases.revoke_agent_key, agent_id, key_id)


class CompanyKeys(Controller):
    """All keys that were issued in a company."""

    path = "/companies/{company_id:str}/keys"
    tags = ("keys",)
    dependencies = {"paging": Provide(paging)}

    @get(operation_id="listCompanyKeys", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[CompanyId],
        issued_by: Annotated[str | None, QueryParameter(name="issuedByUserId")] = None,
    ) -> Response[list[responses.CompanyKey]]:
        """
        Returns the keys that were issued in the company, newest first, revoked ones included, without their tokens. A
        page has 50 of them, or `limit` from 1 to 200. Owners and admins may do this. The board keys of users are not
        among them: what those may do in the company follows from the membership.
        """
        limit, issuer = (
            parse_whole_number(paging.limit, "limit", USUAL, 1, MOST),
            uuid_or_none(issued_by, "issuedByUserId"),
        )
        backend.authorize(caller, use_cases.may_manage, company_id)
        read = partial(keys.of_company, company_id=company_id, limit=limit, issued_by=issuer)
        return read_page(backend, paging, f"keys of {company_id}", MODELS, read, newest_first=True)

    @delete("/{key_id:str}", operation_id="revokeCompanyKey", refuses=(403,), status_code=200)
    def revoke(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        key_id: FromPath[KeyId],
    ) -> Revoked:
        """Revokes a key of anybody. Its token is unknown from the next request on. Owners and admins may do this."""
        return _revoke(backend, caller, use_cases.revoke_of_company, company_id, key_id)


def _revoke(backend: Backend, caller: Caller, use_case: Callable[..., UUID], *ids: UUID) -> Revoked:
    backend.executor.execute(caller, use_case, *ids)
    return Revoked()


def _require_board_user(backend: Backend, caller: Caller) -> BoardUser:
    principal = backend.authorize(caller, read_access.anyone)
    if not isinstance(principal, BoardUser):
        raise Unauthenticated("Board authentication required")
    return principal
