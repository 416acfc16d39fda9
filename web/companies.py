"""Companies (contract 7.2)."""

from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec.structs import replace

from application.access import BoardUser, Caller, Principal
from application.commands import CompanyDraft, CompanyPatch
from application.use_cases import companies, viewing
from domain.errors import NotFound
from projections import directory, issues, shapes
from projections.read_model import Connection
from web.backend import Backend
from web.requests import identified
from web.routing import get, patch, post

MODELS = ("directory", "issues")


class Companies(Controller):
    path = "/companies"
    tags = ("companies",)

    @get(operation_id="listCompanies", refuses=(403,))
    def list_(self, backend: NamedDependency[Backend], caller: NamedDependency[Caller]) -> list[shapes.Company]:
        """Those that the board user may enter, oldest first."""
        user = backend.ask(caller, viewing.board)
        with backend.shown(*MODELS) as conn:
            return _counted(conn, _visible(conn, user))

    @post(operation_id="createCompany", refuses=(403,))
    def create(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[CompanyDraft]
    ) -> Response[shapes.Company]:
        made = backend.change(caller, MODELS, companies.create, data)
        return made.answer(lambda conn: _shown(conn, made.result), 201)

    @get("/{company_id:str}", operation_id="getCompany", refuses=(403,))
    def detail(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], company_id: FromPath[str]
    ) -> shapes.Company:
        id_ = identified(company_id, "Company")
        backend.ask(caller, viewing.company, id_)
        with backend.shown(*MODELS) as conn:
            if (found := _shown(conn, id_)) is None:
                raise NotFound("Company not found")
            return found

    @patch("/{company_id:str}", operation_id="updateCompany", refuses=(403,))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        data: JSONBody[CompanyPatch],
    ) -> Response[shapes.Company]:
        changed = backend.change(caller, MODELS, companies.update, identified(company_id, "Company"), data)
        return changed.answer(lambda conn: _shown(conn, changed.result))

    @post("/{company_id:str}/archive", operation_id="archiveCompany", refuses=(403,), status_code=200)
    def archive(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], company_id: FromPath[str]
    ) -> Response[shapes.Company]:
        changed = backend.change(caller, MODELS, companies.archive, identified(company_id, "Company"))
        return changed.answer(lambda conn: _shown(conn, changed.result))


def _visible(conn: Connection, user: Principal) -> list[shapes.Company]:
    if isinstance(user, BoardUser) and user.instance_admin:
        return directory.companies(conn)
    return directory.companies_of(conn, user.user_id) if isinstance(user, BoardUser) else []


def _shown(conn: Connection, company_id: UUID) -> shapes.Company | None:
    found = directory.company(conn, company_id)
    return None if found is None else _counted(conn, [found])[0]


def _counted(conn: Connection, companies: list[shapes.Company]) -> list[shapes.Company]:
    last = issues.last_numbers(conn, [company.id for company in companies])
    return [replace(company, issue_counter=last[company.id]) for company in companies]
