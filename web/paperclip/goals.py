"""The routes of goals (contract 7.4)."""

from functools import partial

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from application.access import Caller
from application.request_bodies.board import GoalDraft, GoalPatch
from application.use_cases import read_access
from application.use_cases.board import goals as use_cases
from domain.errors import NotFound
from projections import responses
from projections.board import goals
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.path_ids import CompanyId, GoalId
from web.http.routing import delete, get, patch, post

MODELS = ("directory",)


class Goals(Controller):
    """Goals of a company."""

    tags = ("goals",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/companies/{company_id:str}/goals", operation_id="listGoals", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[CompanyId],
    ) -> Response[list[responses.Goal]]:
        """Returns the goals of the company, oldest first."""
        backend.authorize(caller, read_access.company, company_id)
        return read_page(
            backend, paging, f"goals of {company_id}", MODELS, partial(goals.of_company, company_id=company_id)
        )

    @post("/companies/{company_id:str}/goals", operation_id="createGoal", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[GoalDraft],
    ) -> Response[responses.Goal]:
        """Creates a goal."""
        changed = backend.change(caller, ("directory",), use_cases.create, company_id, data)
        return changed.answer(lambda conn: goals.one(conn, changed.result), 201)

    @get("/goals/{goal_id:str}", operation_id="getGoal")
    def detail(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], goal_id: FromPath[GoalId]
    ) -> responses.Goal:
        """Returns the goal."""
        return backend.find_authorized(caller, ("directory",), "Goal", lambda conn: goals.one(conn, goal_id))

    @patch("/goals/{goal_id:str}", operation_id="updateGoal", refuses=(403, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        goal_id: FromPath[GoalId],
        data: JSONBody[GoalPatch],
    ) -> Response[responses.Goal]:
        """Changes the fields that are given."""
        changed = backend.change(caller, ("directory",), use_cases.update, goal_id, data)
        return changed.answer(lambda conn: goals.one(conn, changed.result))

    @delete("/goals/{goal_id:str}", operation_id="deleteGoal", refuses=(403,), status_code=200)
    def delete(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], goal_id: FromPath[GoalId]
    ) -> responses.Goal:
        """Deletes the goal. Everything that refers to it keeps its id."""
        with backend.consistent_read("directory") as conn:
            goal = goals.one(conn, goal_id)
        backend.executor.execute(caller, use_cases.delete, goal_id)
        if goal is None:
            raise NotFound("Goal not found")
        return goal
