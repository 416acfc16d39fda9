"""The routes of projects (contract 7.4)."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from application.access import Caller
from application.request_bodies.board import ProjectDraft, ProjectPatch
from application.use_cases import read_access
from application.use_cases.board import projects as use_cases
from domain.board.agent import slug
from domain.errors import NotFound, RuleViolation
from projections import responses
from projections.board import projects
from projections.engine.table import Connection
from projections.routines import routines
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.path_ids import CompanyId, ProjectId
from web.http.routing import delete, get, patch, post
from web.http.validation import UUID_TEXT

MODELS = ("directory",)


class Projects(Controller):
    """Projects of a company."""

    tags = ("projects",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/companies/{company_id:str}/projects", operation_id="listProjects", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[CompanyId],
    ) -> Response[list[responses.Project]]:
        """Returns the projects of the company, oldest first."""
        backend.authorize(caller, read_access.company, company_id)
        return read_page(
            backend, paging, f"projects of {company_id}", MODELS, partial(projects.of_company, company_id=company_id)
        )

    @post("/companies/{company_id:str}/projects", operation_id="createProject", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[ProjectDraft],
    ) -> Response[responses.Project]:
        """Creates a project."""
        changed = backend.change(caller, ("directory",), use_cases.create, company_id, data)
        return changed.answer(lambda conn: projects.one(conn, changed.result), 201)

    @get("/projects/{project_id:str}", operation_id="getProject", refuses=(422,))
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        project_id: FromPath[str],
        company_id: Annotated[str | None, QueryParameter(name="companyId")] = None,
    ) -> responses.Project:
        """Returns the project with this id, or with this short name within `companyId`."""
        return backend.find_authorized(
            caller, ("directory",), "Project", lambda conn: _find_project(conn, project_id, company_id)
        )

    @patch("/projects/{project_id:str}", operation_id="updateProject", refuses=(403, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        project_id: FromPath[str],
        data: JSONBody[ProjectPatch],
        company_id: Annotated[str | None, QueryParameter(name="companyId")] = None,
    ) -> Response[responses.Project]:
        """Changes the fields that are given. The project is named by its id, or its short name within `companyId`."""
        return _change_project(backend, caller, use_cases.update, _project_id_of(backend, project_id, company_id), data)

    @post("/projects/{project_id:str}/pause", operation_id="pauseProject", refuses=(403,), status_code=200)
    def pause(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], project_id: FromPath[ProjectId]
    ) -> Response[responses.Project]:
        """Pauses the project. Until it is resumed, occurrences of its routines are recorded as suppressed."""
        return _change_project(backend, caller, use_cases.pause, project_id)

    @post("/projects/{project_id:str}/resume", operation_id="resumeProject", refuses=(403,), status_code=200)
    def resume(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], project_id: FromPath[ProjectId]
    ) -> Response[responses.Project]:
        """Resumes the project. The schedules of its routines fire again."""
        return _change_project(backend, caller, use_cases.resume, project_id)

    @delete("/projects/{project_id:str}", operation_id="deleteProject", refuses=(403, 409, 422), status_code=200)
    def delete(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        project_id: FromPath[str],
        company_id: Annotated[str | None, QueryParameter(name="companyId")] = None,
    ) -> responses.Project:
        """Deletes the project. This is refused while a routine is in it. Its issues stay, with their history."""
        id_ = _project_id_of(backend, project_id, company_id)
        with backend.consistent_read("directory", "routines") as conn:
            project, in_use = projects.one(conn, id_), routines.has_project(conn, id_)
        backend.executor.execute(caller, use_cases.delete, id_, in_use=in_use)
        if project is None:
            raise NotFound("Project not found")
        return project


def _change_project(
    backend: Backend, caller: Caller, use_case: Callable[..., UUID], project_id: UUID, *args: Any
) -> Response[responses.Project]:
    changed = backend.change(caller, ("directory",), use_case, project_id, *args)
    return changed.answer(lambda conn: projects.one(conn, changed.result))


def _project_id_of(backend: Backend, project_id: str, company_id: str | None) -> UUID:
    """Return the id of a project by id or short name. The use case checks access to it. Raise NotFound."""
    if UUID_TEXT.fullmatch(project_id) or company_id is None:
        return ProjectId(project_id)
    with backend.consistent_read("directory") as conn:
        project = _find_project(conn, project_id, company_id)
    if project is None:
        raise NotFound("Project not found")
    return project.id


def _find_project(conn: Connection, project_id: str, company_id: str | None) -> responses.Project | None:
    if UUID_TEXT.fullmatch(project_id):
        return projects.one(conn, UUID(project_id))
    if company_id is None:
        raise RuleViolation("Project shortname lookup requires companyId query parameter")
    return projects.find_by_url_key(conn, CompanyId(company_id), slug(project_id))
