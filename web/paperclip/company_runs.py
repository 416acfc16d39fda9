"""The route that lists the runs of all routines of a company (our addition)."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, QueryParameter

from application.access import Caller
from application.use_cases import read_access
from projections import responses
from projections.firing import run_history
from web.http.backend import PAST_POSITION, Backend
from web.http.moments import EARLIEST, LATEST, check_order, moment_of
from web.http.paging import NEXT, Paging, make_page, paging, place_of, row_of
from web.http.path_ids import CompanyId
from web.http.requests import parse_whole_number
from web.http.routing import get
from web.http.validation import parse
from web.paperclip import past_answers
from web.paperclip.past_answers import Moment
from web.paperclip.routines import LIST_MODELS, MOST_RUNS, RUNS, words


async def filters(
    status: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    routine_id: Annotated[str | None, QueryParameter(name="routineId")] = None,
    assignee_agent_id: Annotated[str | None, QueryParameter(name="assigneeAgentId")] = None,
) -> run_history.CompanyFilters:
    """Return the filters of a company's list of runs. It is a dependency. Raise Invalid."""
    return parse(
        run_history.CompanyFilters,
        {
            "status": words(status),
            "source": words(source),
            "routineId": routine_id or None,
            "assigneeAgentId": assignee_agent_id or None,
        },
    )


async def period(
    since: Annotated[str | None, QueryParameter(name="from")] = None, to: FromQuery[str | None] = None
) -> tuple[datetime, datetime]:
    """Return the period that a request names, by default all of time. It is a dependency. Raise Invalid."""
    begin, end = moment_of(since, "from"), moment_of(to, "to")
    check_order(begin, end)
    return begin or EARLIEST, end or LATEST


class CompanyRuns(Controller):
    """Runs of all routines of a company."""

    tags = ("routines",)
    dependencies = {
        "filters": Provide(filters),
        "period": Provide(period),
        "paging": Provide(paging),
        "as_of": Provide(past_answers.moment_of_request),
    }

    @get(
        "/companies/{company_id:str}/runs",
        operation_id="listCompanyRuns",
        refuses=(403, 422),
        response_headers=(*NEXT, *PAST_POSITION),
    )
    def list_(  # noqa: PLR0913, PLR0917 who asks, for what, and which part of it
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        filters: NamedDependency[run_history.CompanyFilters],
        period: NamedDependency[tuple[datetime, datetime]],
        paging: NamedDependency[Paging],
        as_of: NamedDependency[Moment | None],
        company_id: FromPath[CompanyId],
    ) -> Response[list[responses.RunSummary]]:
        """
        Returns the runs of all routines of the company, newest first: 50 of them, or `limit` from 1 to 200. `status` and
        `source` take several values, joined by commas. `from` and `to` are moments between which a run was fired.
        `assigneeAgentId` is the agent of the run's issue, or of its routine if it has none. With `asOf` it is the list as
        it was then.
        """
        list_name, limit = f"all runs of {company_id}", parse_whole_number(paging.limit, "limit", RUNS, 1, MOST_RUNS)
        after = place_of(paging.cursor, list_name, UUID)
        if as_of is not None:
            page = (paging, list_name, after, limit)
            return past_answers.company_run_page(backend, caller, as_of, company_id, filters, period, page)
        backend.authorize(caller, read_access.company, company_id)
        with backend.consistent_read(*LIST_MODELS, eventual=eventual) as conn:
            place = row_of(after, lambda run_id: run_history.place(conn, company_id, run_id))
            part = run_history.of_company(
                conn, company_id, filters, period, limit, after=place, max_bytes=backend.limits.max_page_bytes
            )
        return make_page(paging, list_name, part, lambda run: run.id)
