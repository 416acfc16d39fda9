"""Everything that a client can read of an installation, by path. HTTP alone, so it asks any version the same."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

JETTY = "/api/v1"
Get = Callable[[str], Any]  # the JSON of a path, as the first board user; None for 404


def answers(get: Get) -> Mapping[str, Any]:
    """What every path answers that can be found from the list of companies and of collections on."""
    given: dict[str, Any] = {}

    def ask(path: str) -> Any:
        if path not in given:
            given[path] = get(path)
        return given[path]

    for company in ask("/api/companies"):
        _ask_company(ask, company["id"])
    ask("/api/board-api-keys")
    for collection in _rows_of_page(ask(f"{JETTY}/collections/")):
        _ask_collection(ask, collection["name"])
    return given


def _ask_company(ask: Get, company_id: str) -> None:
    within = f"/api/companies/{company_id}"
    for path in (within, *(f"{within}/{name}" for name in ("members", "goals", "deliveries"))):
        ask(path)
    for kind in ("agents", "goals", "projects"):
        for one in _rows_of_page(ask(f"{within}/{kind}")):
            ask(f"/api/{kind}/{one['id']}")
    for agent in _rows_of_page(ask(f"{within}/agents")):
        ask(f"/api/agents/{agent['id']}/keys")
    for issue in _rows_of_page(ask(f"{within}/issues?limit=200")):
        for path in ("", "/comments", "/heartbeat-context"):
            ask(f"/api/issues/{issue['id']}{path}")
    for endpoint in _rows_of_page(ask(f"{within}/webhook-endpoints")):
        ask(f"{within}/webhook-endpoints/{endpoint['id']}")
        ask(f"{within}/webhook-endpoints/{endpoint['id']}/deliveries")
    for routine in _rows_of_page(ask(f"{within}/routines")):
        _ask_routine(ask, routine["id"])


def _ask_routine(ask: Get, routine_id: str) -> None:
    period = "from=2026-11-22T00:00:00Z&to=2026-11-27T00:00:00Z"
    ask(f"/api/routines/{routine_id}/runs?limit=200")
    ask(f"/api/routines/{routine_id}/revisions")
    for trigger in ask(f"/api/routines/{routine_id}")["triggers"]:
        if trigger["kind"] == "schedule":
            ask(f"/api/routine-triggers/{trigger['id']}/occurrences?{period}&limit=500")
            for backfill in _rows_of_page(ask(f"/api/routine-triggers/{trigger['id']}/backfills")):
                ask(f"/api/routine-backfills/{backfill['id']}")
    for hour in (13, 14, 15):
        ask(f"/api/routines/{routine_id}/explain?at=2026-11-22T{hour}:00:00Z")


def _ask_collection(ask: Get, name: str) -> None:
    ask(f"{JETTY}/collections/{name}")
    ask(f"{JETTY}/collections/{name}/environment")
    ask(f"{JETTY}/api-keys/collection/{name}")
    ask(f"{JETTY}/routines/{name}")
    for task in _rows_of_page(ask(f"{JETTY}/tasks/{name}")):
        path = f"{name}/{task['name']}"
        for start in ("tasks", "db/trajectories", "db/stats"):
            ask(f"{JETTY}/{start}/{path}")
        for routine in _rows_of_page(ask(f"{JETTY}/routines/{path}")):
            ask(f"{JETTY}/routines/{path}/{routine['name']}")
            ask(f"{JETTY}/routines/{path}/{routine['name']}/runs")
        for trajectory in _rows_of_page(ask(f"{JETTY}/db/trajectories/{path}")):
            ask(f"{JETTY}/db/trajectory/{path}/{trajectory['trajectory_id']}")


def _rows_of_page(page: Any) -> Iterator[Any]:
    """The things of a list, which may stand in a field of their own."""
    if isinstance(page, dict):
        page = next((part for part in page.values() if isinstance(part, list)), [])
    yield from page or []
