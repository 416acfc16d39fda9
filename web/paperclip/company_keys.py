"""All keys that were issued in a company: of its agents, and those that are bound to it as a collection (ours)."""

from typing import Annotated

import msgspec
from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter

from application.access import Caller
from application.use_cases.board import keys
from projections.board import directory
from projections.board.directory import PlacedKey
from projections.responses import CompanyKey
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, page, paging, place_of
from web.http.requests import identified, number, uuid_or_none
from web.http.routing import delete, get
from web.paperclip.keys import Revoked

USUAL, MOST = 50, 200
Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class CompanyKeys(Controller):
    path = "/companies/{company_id:str}/keys"
    tags = ("keys",)
    dependencies = {"paging": Provide(paging)}

    @get(operation_id="listCompanyKeys", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[str],
        issued_by: Annotated[str | None, QueryParameter(name="issuedByUserId")] = None,
    ) -> Response[list[CompanyKey]]:
        """
        Newest first, revoked ones included, without their tokens: 50 of them, or `limit` from 1 to 200. For owners
        and admins. A user's own board keys are not among them: what those may do here follows from the membership.
        """
        id_ = identified(company_id, "Company")
        limit, issuer = number(paging.limit, "limit", USUAL, 1, MOST), uuid_or_none(issued_by, "issuedByUserId")
        listed = f"keys of {id_}"
        before = place_of(paging.cursor, listed, Position)
        backend.authorize(caller, keys.may_manage, id_)
        with backend.consistent_read("directory") as conn:
            found = directory.company_keys(
                conn, id_, limit, issued_by=None if issuer is None else str(issuer), before=before
            )
        return _keys(page(paging, listed, found, lambda placed: placed.position))

    @delete("/{key_id:str}", operation_id="revokeCompanyKey", refuses=(403,), status_code=200)
    def revoke(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        key_id: FromPath[str],
    ) -> Revoked:
        """Whoever issued it: its token is unknown from the next request on. For owners and admins."""
        ids = identified(company_id, "Company"), identified(key_id, "Key")
        backend.executor.execute(caller, keys.revoke_of_company, *ids)
        return Revoked()


def _keys(found: Response[list[PlacedKey]]) -> Response[list[CompanyKey]]:
    return Response([placed.key for placed in found.content], headers=found.headers)
