"""Board keys, and who is calling (contract 7.1)."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody
from msgspec import UnsetType

from application.access import BoardUser, Caller
from application.request_bodies import BoardKeyDraft
from application.use_cases import read_access
from application.use_cases.board import keys
from application.use_cases.board.keys import NewKey
from domain.errors import NotFound, Unauthenticated
from projections import responses
from projections.board import directory
from projections.responses import ResponseBody, time, time_or_none
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.requests import identified
from web.http.routing import delete, get, post
from web.http.validation import Invalid


class MintedBoardKey(ResponseBody, frozen=True, kw_only=True):
    """A new key with its token, which is shown this once."""

    id: UUID
    name: str
    token: str
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None
    expires_at: str | None

    @classmethod
    def of(cls, minted: NewKey) -> "MintedBoardKey":
        return cls(
            id=minted.key_id,
            name=minted.name,
            token=minted.token,
            created_at=time(minted.created_at),
            expires_at=time_or_none(minted.expires_at),
        )


class MintedAgentKey(ResponseBody, frozen=True, kw_only=True):
    """A new key with its token, which is shown this once."""

    id: UUID
    name: str
    scope: responses.KeyScope = responses.KeyScope()
    responsible_user_id: str | None = None
    token: str
    created_at: str
    expires_at: str | None = None  # ours

    @classmethod
    def of(cls, minted: NewKey) -> "MintedAgentKey":
        return cls(
            id=minted.key_id,
            name=minted.name,
            token=minted.token,
            created_at=time(minted.created_at),
            expires_at=time_or_none(minted.expires_at),
        )


class Revoked(ResponseBody, frozen=True, kw_only=True):
    ok: bool = True


class UserSummary(ResponseBody, frozen=True, kw_only=True):
    id: UUID
    name: str
    email: str | None


class Identity(ResponseBody, frozen=True, kw_only=True):
    """Who a board key belongs to."""

    user: UserSummary
    user_id: UUID
    is_instance_admin: bool
    company_ids: list[UUID]
    memberships: list[responses.Membership]
    source: str = "board_key"
    key_id: UUID


class Keys(Controller):
    tags = ("keys",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/board-api-keys", operation_id="listBoardKeys", response_headers=NEXT)
    def list_(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], paging: NamedDependency[Paging]
    ) -> Response[list[responses.BoardKey]]:
        """One's own, newest first, without their tokens."""
        user = _board(backend, caller)
        read = partial(directory.board_keys, user_id=user.user_id)
        return read_page(backend, paging, f"keys of {user.user_id}", ("directory",), read)

    @post("/board-api-keys", operation_id="createBoardKey", refuses=(422,))
    def create(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[BoardKeyDraft]
    ) -> MintedBoardKey:
        """
        The token is shown here and never again. It is good for as long as the key that asks for it, and no longer:
        without `expiresAt` for 30 days at most. A key that never expires may ask for one that does not (null).
        """
        check_expiry(data.expires_at, "expiresAt", backend.executor.clock())
        return MintedBoardKey.of(backend.executor.execute(caller, keys.create_for_board, data).result)

    @delete("/board-api-keys/{key_id:str}", operation_id="revokeBoardKey", status_code=200)
    def revoke(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], key_id: FromPath[str]
    ) -> Revoked:
        """The token is unknown from the next request on."""
        backend.executor.execute(caller, keys.revoke_board_key, identified(key_id, "Board API key"))
        return Revoked()

    @get("/cli-auth/me", operation_id="getIdentity")
    def identity(self, backend: NamedDependency[Backend], caller: NamedDependency[Caller]) -> Identity:
        user = _board(backend, caller)
        with backend.consistent_read("directory") as conn:
            person: Any = directory.person(conn, user.user_id)
            memberships = directory.memberships(conn, user.user_id)
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


def _board(backend: Backend, caller: Caller) -> BoardUser:
    principal = backend.authorize(caller, read_access.anyone)
    if not isinstance(principal, BoardUser):
        raise Unauthenticated("Board authentication required")
    return principal


def check_expiry(given: datetime | None | UnsetType, field: str, now: datetime) -> None:
    """A key that nobody could use is a mistake. Raises Invalid."""
    if isinstance(given, datetime) and given <= now:
        raise Invalid([{"code": "custom", "message": f"{field} must be in the future", "path": [field]}])
