"""docs/access-jetty.csv, cell by cell, against the running API."""

import csv
from pathlib import Path

import httpx
import pytest

from application import tokens
from tests.web import people
from tests.web.jetty.conftest import DAILY, ECHO, NUMBERS

ROWS = csv.DictReader((Path(__file__).parents[3] / "docs" / "access-jetty.csv").read_text().splitlines())
TABLE = {row.pop("operation"): {who: int(status) for who, status in row.items()} for row in ROWS}
PRINCIPALS = next(iter(TABLE.values())).keys()


def fresh_name():
    return f"fresh-{next(NUMBERS)}"


def trajectory(jetty, task=None):
    return jetty.post(f"/run/{jetty.collection}/{task or jetty.task()}", {})


def claim_path(jetty):
    jetty.post(f"/run/{jetty.collection}/{jetty.task()}", {})
    claim = jetty.post(f"/workers/{jetty.collection}/claim", {})
    return f"/workers/{jetty.collection}/{claim['trajectory']['trajectory_id']}/{claim['claim_id']}"


def routine(rest="", body=...):
    return lambda jetty: (jetty.routine() + rest, body)


def task(path, rest="", body=..., workflow=None):
    return lambda jetty: (f"{path}/{jetty.collection}/{jetty.task(workflow=workflow)}{rest}", body)


def collection(path, rest="", body=...):
    return lambda jetty: (f"{path}/{jetty.collection}{rest}", body)


def plain(path, body=...):
    return lambda _jetty: (path, body)


def of_trajectory(path, rest="", body=...):
    def make_request(jetty):
        name = jetty.task()
        number = trajectory(jetty, name)["trajectory_id"]
        return f"{path}/{jetty.collection}/{name}/{number}{rest}", body

    return make_request


def statuses(jetty):
    name = jetty.task()
    number = trajectory(jetty, name)["trajectory_id"]
    return f"/trajectory/{jetty.collection}/{name}/statuses", {str(number): "completed"}


def claimable(jetty):
    trajectory(jetty)
    return f"/workers/{jetty.collection}/claim", {}


def worker(rest, body=...):
    return lambda jetty: (claim_path(jetty) + rest, body)


def key(jetty):
    headers = {"Authorization": f"Bearer {jetty.api.token}"}
    body = {"name": "spare", "collection_name": jetty.collection}
    new_key = httpx.post(f"{jetty.api.url}/api/v1/api-keys/", json=body, headers=headers).json()
    return f"/api-keys/collection/{jetty.collection}/{new_key['id']}", ...


def newest_position(jetty):
    return jetty.get(f"/collections/{jetty.collection}/events?limit=1")[0]["position"]


OPERATIONS = {
    "listRoutinesOfCollection": ("GET", collection("/routines")),
    "listRoutinesOfTask": ("GET", task("/routines")),
    "createRoutine": ("POST", task("/routines", body={"name": "a", "cadence": DAILY})),
    "getRoutine": ("GET", routine()),
    "updateRoutine": ("PATCH", routine(body={"init_params_overrides": {}})),
    "deleteRoutine": ("DELETE", routine()),
    "pauseRoutine": ("POST", routine("/pause")),
    "resumeRoutine": ("POST", routine("/resume")),
    "runRoutineNow": ("POST", routine("/run-now")),
    "listRunsOfRoutine": ("GET", routine("/runs")),
    "getInitParamsSchema": ("GET", task("/tasks", "/init-params-schema")),
    "listCollections": ("GET", plain("/collections")),
    "createCollection": ("POST", lambda _jetty: ("/collections", {"name": fresh_name()})),
    "getCollection": ("GET", collection("/collections")),
    "getEnvironment": ("GET", collection("/collections", "/environment")),
    "updateEnvironment": ("PATCH", collection("/collections", "/environment", {"environment_variables": {"A": "b"}})),
    "createApiKey": ("POST", lambda jetty: ("/api-keys", {"name": "x", "collection_name": jetty.collection})),
    "listApiKeys": ("GET", collection("/api-keys/collection")),
    "revokeApiKey": ("DELETE", key),
    "listTasks": ("GET", collection("/tasks")),
    "createTask": ("POST", lambda jetty: (f"/tasks/{jetty.collection}", {"name": fresh_name()})),
    "searchTasks": ("GET", collection("/tasks", "/search?q=a")),
    "getTask": ("GET", task("/tasks")),
    "updateTask": ("PUT", task("/tasks", body={"description": "x"})),
    "deleteTask": ("DELETE", task("/tasks")),
    "runTask": ("POST", task("/run", body={})),
    "runTaskSync": ("POST", task("/run-sync", body={}, workflow=ECHO)),
    "listTrajectories": ("GET", task("/db/trajectories")),
    "getTrajectory": ("GET", of_trajectory("/db/trajectory")),
    "getTrajectoryLog": ("GET", of_trajectory("/db/trajectory", "/log")),
    "getStats": ("GET", task("/db/stats")),
    "setStatuses": ("POST", statuses),
    "labelTrajectory": ("POST", of_trajectory("/trajectory", "/labels", {"key": "a", "value": "b", "author": "c"})),
    "ingestTrajectory": ("POST", task("/trajectories", "/ingest", {})),
    "getWorkflowLogs": ("GET", lambda jetty: (f"/workflows-logs/{trajectory(jetty)['workflow_id']}", ...)),
    "claimTrajectory": ("POST", claimable),
    "extendClaim": ("POST", worker("/extend")),
    "reportStep": ("POST", worker("/steps", {"step": "query"})),
    "finishTrajectory": ("POST", worker("/finish", {})),
    "reportTrajectoryUsage": ("POST", worker("/usage", {"cost_micros": 1})),
    "appendTrajectoryLog": (
        "POST",
        worker("/log", {"part": 0, "output": [{"stream": "stdout", "text": "begun"}]}),
    ),
    "listStepTemplates": ("GET", plain("/step-templates")),
    "getStepTemplate": ("GET", plain("/step-templates/text_echo")),
    "getTrial": ("GET", collection("/trial")),
    "activateTrial": ("POST", collection("/trial", "/activate")),
    "listEventsOfCollection": ("GET", collection("/collections", "/events")),
    "getEventOfCollection": (
        "GET",
        lambda jetty: (f"/collections/{jetty.collection}/events/{newest_position(jetty)}", ...),
    ),
    "getJettyHealth": ("GET", plain("/../../health")),
}


@pytest.fixture(scope="module")
def home_collection(collection_of):
    """The collection in which all is asked for, by callers of all kinds."""
    return collection_of()


@pytest.fixture(scope="module")
def callers(api, home_collection, collection_of):
    jetty, other_collection = home_collection, collection_of()
    company, abroad = (one.get("/collections/")[0]["company_id"] for one in (jetty, other_collection))
    gone = collection_of()
    board = {"Authorization": f"Bearer {api.token}"}
    [revoked] = httpx.get(f"{api.url}/api/v1/api-keys/collection/{gone.collection}", headers=board).json()
    httpx.delete(f"{api.url}/api/v1/api-keys/collection/{gone.collection}/{revoked['id']}", headers=board)
    return {
        "nobody": None,
        "unknown key": tokens.mint_for_collection(),
        "revoked key": gone.key,
        "agent": api.agent(company)[1],
        "key of the collection": jetty.key,
        "key of another": other_collection.key,
        "board owner": people.member(api, company, "owner"),
        "member without tasks:assign": people.member(api, company, "member", ()),
        "viewer": people.member(api, company, "viewer"),
        "auditor": people.member(api, company, "auditor"),
        "user of another company": people.member(api, abroad, "owner"),
        "instance admin": api.token,
        "instance auditor": people.auditor(api),
    }


def test_every_operation_that_is_served_has_its_row(api):
    served = httpx.get(f"{api.url}/openapi.json").json()["paths"].values()

    assert {one["operationId"] for path in served for one in path.values()} == TABLE.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("operation", TABLE)
def test_each_caller_is_answered_as_the_table_says(home_collection, callers, operation):
    """A thing is there for the next caller as long as nobody was let in who did something to it."""
    method, arrange = OPERATIONS[operation]
    path, body = arrange(home_collection)

    answers = {}
    for who in PRINCIPALS:
        answer = home_collection.request(method, path, body, key=callers[who])
        answers[who] = answer.status_code
        if answer.is_success and method != "GET":
            path, body = arrange(home_collection)

    assert answers == TABLE[operation]
