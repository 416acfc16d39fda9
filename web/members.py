"""Members of a company, viewers among them (an addition to contract 1.2)."""

from functools import partial
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody
from msgspec.structs import asdict

from application.access import Caller
from application.commands import MemberDraft, MemberPatch
from application.use_cases import members, viewing
from application.use_cases.members import Added, Seat
from projections import directory, shapes
from projections.read_model import Connection
from web.backend import Backend
from web.paging import NEXT, Paging, cursor_only, read_page
from web.requests import identified
from web.routing import delete, get, patch, post


class AddedMember(shapes.Member, frozen=True, kw_only=True):
    """A member; `token` is a board key of a user who is new, shown this once, and null for one who was known."""

    token: str | None


class Members(Controller):
    path = "/companies/{company_id:str}/members"
    tags = ("members",)
    dependencies = {"paging": Provide(cursor_only)}

    @get(operation_id="listMembers", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[str],
    ) -> Response[list[shapes.Member]]:
        """Who joined first stands first."""
        id_ = identified(company_id, "Company")
        backend.ask(caller, viewing.company, id_)
        read = partial(directory.members, company_id=id_)
        return read_page(backend, paging, f"members of {id_}", ("directory",), read, key="user_id")

    @post(operation_id="addMember", refuses=(403, 409, 422))
    def add(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        data: JSONBody[MemberDraft],
    ) -> Response[AddedMember]:
        """
        By `userId`, or by `name` and `email`: an email that is known adds its user, any other makes a user.

        A new user's board key is shown here and never again; it is good for 30 days.
        """
        id_ = identified(company_id, "Company")
        made = backend.change(caller, ("directory",), members.add, id_, data)
        return made.answer(lambda conn: _added(conn, id_, made.result), 201)

    @patch("/{user_id:str}", operation_id="updateMember", refuses=(403, 409, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        user_id: FromPath[str],
        data: JSONBody[MemberPatch],
    ) -> Response[shapes.Member]:
        """Absent fields stay as they are; only owners make and unmake owners, and the last one stays."""
        seat = _seat(backend, company_id, user_id)
        changed = backend.change(caller, ("directory",), members.change, seat, data)
        return changed.answer(lambda conn: directory.member(conn, seat.company_id, seat.user_id))

    @delete("/{user_id:str}", operation_id="removeMember", refuses=(403, 409))
    def remove(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        user_id: FromPath[str],
    ) -> None:
        """The user may do nothing here from the next request on, and may be added again; the last owner stays."""
        backend.executor.execute(caller, members.remove, _seat(backend, company_id, user_id))


def _seat(backend: Backend, company_id: str, user_id: str) -> Seat:
    company, user = identified(company_id, "Company"), identified(user_id, "Member")
    with backend.shown("directory") as conn:
        return Seat(company_id=company, user_id=user, owners=tuple(directory.owners(conn, company)))


def _added(conn: Connection, company_id: UUID, added: Added) -> AddedMember | None:
    if (found := directory.member(conn, company_id, added.user_id)) is None:
        return None
    return AddedMember(**asdict(found), token=added.key.token if added.key else None)
