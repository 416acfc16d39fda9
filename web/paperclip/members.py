"""The routes of members of a company, viewers included (our addition to contract 1.2)."""

from functools import partial
from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec.structs import asdict

from application.access import Caller
from application.request_bodies.board import BoardKeyDraft, MemberDraft, MemberPatch
from application.use_cases import read_access
from application.use_cases.board import keys
from application.use_cases.board import members as use_cases
from application.use_cases.board.members import AddedMembership, MembershipRef
from projections import responses
from projections.board import members
from projections.engine.table import Connection
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.path_ids import CompanyId, MemberId
from web.http.routing import delete, get, patch, post
from web.http.validation import invalid, must_be_future
from web.paperclip.keys import MintedBoardKey


async def revokes_keys(
    text: Annotated[str | None, QueryParameter(name="revokeKeys")] = None,
) -> bool:
    """Return whether a member's keys are to be revoked, which is the default. It is a dependency. Raise Invalid."""
    if text in (None, "", "true"):
        return True
    if text == "false":
        return False
    raise invalid("revokeKeys must be true or false", "revokeKeys")


class AddedMember(responses.Member, frozen=True, kw_only=True):
    """A member. For a new user, `token` is a board key, which is shown only here; it is null for an existing user."""

    token: str | None


class Members(Controller):
    """Members of a company."""

    path = "/companies/{company_id:str}/members"
    tags = ("members",)
    dependencies = {"revokes_keys": Provide(revokes_keys), "paging": Provide(cursor_only)}

    @get(operation_id="listMembers", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[CompanyId],
    ) -> Response[list[responses.Member]]:
        """
        Returns the members of the company, in the order in which they joined. Whoever may not manage members sees
        `***` as their `email`.
        """
        addresses = backend.authorize(caller, read_access.members, company_id)
        read = partial(members.of_company, company_id=company_id)
        return read_page(backend, paging, f"members of {company_id}", ("directory",), read, addresses=addresses)

    @post(operation_id="addMember", refuses=(403, 409, 422))
    def add(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[MemberDraft],
    ) -> Response[AddedMember]:
        """
        Adds an existing user by `userId`, or a new user with a `name` and an `email`.

        An email identifies nobody, since nobody proves that it is theirs: a user with the same email elsewhere is
        another user. Only somebody who is also in another company of an existing user can add that user. A new user's
        board key is shown in this answer and never again. It is valid for 30 days, or until `keyExpiresAt` (null: for
        ever), and for no longer than the key that requests it.
        """
        must_be_future(data.key_expires_at, "keyExpiresAt", backend.executor.clock())
        shared = _companies_of(backend, data.user_id)
        changed = backend.change(caller, ("directory",), use_cases.add, company_id, data, shared)
        return changed.answer(lambda conn: _read_added_member(conn, company_id, changed.result), 201)

    @patch("/{user_id:str}", operation_id="updateMember", refuses=(403, 409, 422))
    def update(  # noqa: PLR0913, PLR0917 the path, the query and the body
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        revokes_keys: NamedDependency[bool],
        company_id: FromPath[CompanyId],
        user_id: FromPath[MemberId],
        data: JSONBody[MemberPatch],
    ) -> Response[responses.Member]:
        """
        Changes the fields that are given. Only owners may make somebody an owner or change an owner's role, and the
        last owner stays.

        If the member may no longer assign tasks, the keys of agents and of the collection that they issued in the
        company are revoked, unless `revokeKeys` is false.
        """
        membership = _membership_ref(backend, company_id, user_id)
        changed = backend.change(caller, ("directory",), use_cases.change, membership, data, revokes_keys=revokes_keys)
        return changed.answer(lambda conn: members.one(conn, membership.company_id, membership.user_id))

    @delete("/{user_id:str}", operation_id="removeMember", refuses=(403, 409))
    def remove(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        revokes_keys: NamedDependency[bool],
        company_id: FromPath[CompanyId],
        user_id: FromPath[MemberId],
    ) -> None:
        """
        Removes the member, who may do nothing in the company from the next request on, and may be added again. The
        last owner stays.

        The keys of agents and of the collection that they issued in the company are revoked with it (`listCompanyKeys`
        says which), unless `revokeKeys` is false.
        """
        membership = _membership_ref(backend, company_id, user_id)
        backend.change(caller, ("directory",), use_cases.remove, membership, revokes_keys=revokes_keys)

    @post("/{user_id:str}/keys", operation_id="createMemberKey", refuses=(403, 422))
    def create_key(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        user_id: FromPath[str],
        data: JSONBody[BoardKeyDraft],
    ) -> MintedBoardKey:
        """
        Issues a further board key for a user whose own keys have expired or are lost. It is shown in this answer and
        never again. Only instance admins may do this, since whoever has the key acts as that user.
        """
        must_be_future(data.expires_at, "expiresAt", backend.executor.clock())
        commit_result = backend.executor.execute(
            caller, keys.create_for_member, CompanyId(company_id), MemberId(user_id), data
        )
        return MintedBoardKey.of(commit_result.result)


def _membership_ref(backend: Backend, company_id: UUID, user_id: UUID) -> MembershipRef:
    with backend.consistent_read("directory") as conn:
        return MembershipRef(company_id=company_id, user_id=user_id, owners=tuple(members.owners(conn, company_id)))


def _companies_of(backend: Backend, user_id: UUID | None) -> list[UUID]:
    if user_id is None:
        return []
    with backend.consistent_read("directory") as conn:
        return [membership.company_id for membership in members.of_user(conn, user_id)]


def _read_added_member(conn: Connection, company_id: UUID, added: AddedMembership) -> AddedMember | None:
    if (member := members.one(conn, company_id, added.user_id)) is None:
        return None
    return AddedMember(**asdict(member), token=added.key.token if added.key else None)
