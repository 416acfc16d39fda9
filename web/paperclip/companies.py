"""The routes of companies (contract 7.2)."""

from functools import partial
from typing import Any
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody
from msgspec.structs import replace

from application.access import BoardUser, Caller, Principal
from application.request_bodies.board import CompanyDraft, CompanyPatch
from application.use_cases import read_access
from application.use_cases.board import companies as use_cases
from domain.errors import NotFound
from projections import responses
from projections.board import companies, issues
from projections.engine.documents import Part
from projections.engine.table import Connection
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, paging, read_page
from web.http.path_ids import CompanyId
from web.http.requests import parse_whole_number
from web.http.routing import get, patch, post

MODELS = ("directory", "issues")
MOST = 1_000  # the companies of a page of the list that has a limit


class Companies(Controller):
    """Companies, to which everything else belongs."""

    path = "/companies"
    tags = ("companies",)
    dependencies = {"paging": Provide(paging)}

    @get(operation_id="listCompanies", refuses=(403,), response_headers=NEXT)
    def list_(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], paging: NamedDependency[Paging]
    ) -> Response[list[responses.Company]]:
        """Returns the companies that the board user may enter, oldest first; at most `limit` (1 to 1,000) if it is given."""
        limit = None if paging.limit is None else parse_whole_number(paging.limit, "limit", MOST, 1, MOST)
        user = backend.authorize(caller, read_access.board)
        return read_page(backend, paging, "companies", MODELS, partial(_visible_companies, user=user, limit=limit))

    @post(operation_id="createCompany", refuses=(403,))
    def create(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[CompanyDraft]
    ) -> Response[responses.Company]:
        """Creates a company."""
        changed = backend.change(caller, MODELS, use_cases.create, data)
        return changed.answer(lambda conn: _read_company(conn, changed.result), 201)

    @get("/{company_id:str}", operation_id="getCompany", refuses=(403,))
    def detail(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], company_id: FromPath[CompanyId]
    ) -> responses.Company:
        """Returns the company."""
        backend.authorize(caller, read_access.company, company_id)
        with backend.consistent_read(*MODELS) as conn:
            if (company := _read_company(conn, company_id)) is None:
                raise NotFound("Company not found")
            return company

    @patch("/{company_id:str}", operation_id="updateCompany", refuses=(403,))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[CompanyPatch],
    ) -> Response[responses.Company]:
        """Changes the fields that are given. An archived company stays as it is, and archived."""
        changed = backend.change(caller, MODELS, use_cases.update, company_id, data)
        return changed.answer(lambda conn: _read_company(conn, changed.result))

    @post("/{company_id:str}/archive", operation_id="archiveCompany", refuses=(403,), status_code=200)
    def archive(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], company_id: FromPath[CompanyId]
    ) -> Response[responses.Company]:
        """
        Archives the company, for good. Nothing fires or begins in it any more; work that is under way can be finished,
        things can be ended, and everything stays readable. Any other change is refused.
        """
        changed = backend.change(caller, MODELS, use_cases.archive, company_id)
        return changed.answer(lambda conn: _read_company(conn, changed.result))


def _visible_companies(conn: Connection, user: Principal, **page: Any) -> Part[responses.Company]:
    if not isinstance(user, BoardUser):
        return Part()
    everywhere = user.instance_admin or user.instance_auditor
    part = companies.all_companies(conn, **page) if everywhere else companies.of_user(conn, user.user_id, **page)
    return part.of(_count_issues(conn, part))


def _read_company(conn: Connection, company_id: UUID) -> responses.Company | None:
    company = companies.one(conn, company_id)
    return None if company is None else _count_issues(conn, [company])[0]


def _count_issues(conn: Connection, companies: list[responses.Company]) -> list[responses.Company]:
    last = issues.last_numbers(conn, [company.id for company in companies])
    return [replace(company, issue_counter=last[company.id]) for company in companies]
