"""The Jetty API as a separate application: routes, dependencies, errors, its description at /openapi.json."""

from litestar import Controller, Litestar
from litestar import get as plain_get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ServiceUnavailableException
from litestar.params import FromPath

from application.access import Caller
from application.use_cases.jetty import collections
from domain.errors import NotFound
from domain.jetty import built_in
from web.events.feeds import Feeds
from web.http.answers import Answer
from web.http.arguments import provide_always
from web.http.backend import Backend
from web.http.known_queries import must_know_query
from web.http.public_path import state_with
from web.http.routing import Application, RoutesOfApi
from web.jetty.collections import ApiKeys, Collections
from web.jetty.description import DIALECT
from web.jetty.errors import to_response
from web.jetty.events import CollectionEvents
from web.jetty.requests import JettyRequest, caller, routine_path, task_path
from web.jetty.responses import Healthy, Templates, Trial
from web.jetty.routines import Parameters, Routines
from web.jetty.routing import get, post
from web.jetty.runs import Runs
from web.jetty.sync_waits import SyncWaits
from web.jetty.tasks import Tasks
from web.jetty.trajectories import TrajectoryChanges, TrajectoryLists
from web.jetty.workers import Workers
from web.monitoring.checkup import Checkup
from web.openapi.docs import description_of, docs_page

ABOUT = """Saved, recurring calls of tasks, over the same log and scheduler as the Paperclip API.

A key `mlc_...` is bound to one collection. What it may not see is answered as if it did not exist. Errors have the form
`{"detail": ...}`."""


class Extras(Controller):
    """Templates of built-in steps, and the trial of a collection, which is never active."""

    path = "/"
    tags = ("more",)

    @plain_get("/step-templates", operation_id="listStepTemplates", sync_to_thread=False)
    def templates(self) -> Templates:
        """Returns the steps that need no worker."""
        return Templates(templates=list(built_in.TEMPLATES))

    @plain_get("/step-templates/{activity:str}", operation_id="getStepTemplate", sync_to_thread=False)
    def template(self, activity: FromPath[str]) -> dict[str, object]:
        """Returns the step with this activity."""
        step = next((step for step in built_in.TEMPLATES if step["activity_name"] == activity), None)
        if step is None:
            raise NotFound
        return step

    @get("/trial/{collection:str}", operation_id="getTrial")
    def trial(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], collection: FromPath[str]
    ) -> Trial:
        """Says that no trial is active: there are no trials, since nothing is metered."""
        backend.authorize(caller, collections.enter, collection)
        return Trial()

    @post("/trial/{collection:str}/activate", operation_id="activateTrial", status_code=200)
    def activate(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], collection: FromPath[str]
    ) -> Trial:
        """Does nothing, since there are no trials."""
        backend.authorize(caller, collections.enter, collection)
        return Trial()


@plain_get("/health", operation_id="getJettyHealth", tags=("more",))
async def health(checkup: NamedDependency[Checkup]) -> Healthy:
    """Says whether the service works. `/api/health` says why it does not."""
    if (findings := await checkup.together()) is None:
        raise ServiceUnavailableException("The database cannot be reached")
    return Healthy(status="degraded" if findings.reasons() else "healthy")


def jetty(backend: Backend, public_url: str, checkup: Checkup, feeds: Feeds, *, with_routines: bool) -> Litestar:
    """Return the application. Without routines, their addresses do not exist (ENABLE_ROUTINES)."""
    routines = [Routines, Parameters] if with_routines else []
    api = RoutesOfApi(
        "/api/v1",
        route_handlers=[
            *routines,
            Collections,
            ApiKeys,
            CollectionEvents,
            Tasks,
            Runs,
            TrajectoryLists,
            TrajectoryChanges,
            Workers,
            Extras,
        ],
        dependencies={
            **provide_always(backend=backend, feeds=feeds, sync_waits=SyncWaits(backend.limits)),
            "caller": Provide(caller),
            "task_path": Provide(task_path),
            "routine_path": Provide(routine_path),
        },
    )
    return Application(
        [api, health, docs_page],
        state=state_with(public_url, backend=backend),
        dependencies=provide_always(checkup=checkup),
        guards=[must_know_query],
        request_class=JettyRequest,
        response_class=Answer,
        request_max_body_size=None,
        exception_handlers={Exception: to_response},
        openapi_config=description_of("Routines, the Jetty API", ABOUT, "/openapi.json", DIALECT),
        logging_config=None,
    )
