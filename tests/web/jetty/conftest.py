"""A collection with a key, and a client that speaks the Jetty API with it."""

from itertools import count

import httpx
import pytest

from application.access import Caller
from application.request_bodies.jetty import ApiKeyCreate, CollectionCreate, RoutineCreate, TaskCreate
from application.use_cases.jetty import collections, task_routines, tasks
from application.use_cases.names import TaskPath
from web.http.validation import parse

NUMBERS = count(1)
WORKFLOW = {
    "init_params": {"model": "gpt-4o", "tenant_filter": None, "sample_size": 10},
    "step_configs": {"query": {"activity": "sql"}},
    "steps": ["query"],
}
ECHO = {
    "init_params": {"text": "hello"},
    "step_configs": {"say": {"activity": "text_echo", "text_path": "init_params.text"}},
    "steps": ["say"],
}
DAILY = {"type": "daily", "hour_utc": 9}


class Jetty:
    """
    Requests with a key, to /api/v1; `collection` is the key's own.

    The task and the routine that most tests begin with are made by the use cases, for the same caller as over HTTP.
    """

    def __init__(self, api, collection, key):
        self.api = api
        self.collection = collection
        self.key = key
        self._http = httpx.Client(base_url=f"{api.url}/api/v1", timeout=20)

    def request(self, method, path, body=..., *, key="", **kwargs):
        token = self.key if key == "" else key
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not ...:
            kwargs["json"] = body
        return self._http.request(method, path, headers=headers | kwargs.pop("headers", {}), **kwargs)

    def get(self, path, **kwargs):
        return assert_success(self.request("GET", path, **kwargs))

    def post(self, path, body=..., **kwargs):
        return assert_success(self.request("POST", path, body, **kwargs))

    def patch(self, path, body, **kwargs):
        return assert_success(self.request("PATCH", path, body, **kwargs))

    def put(self, path, body, **kwargs):
        return assert_success(self.request("PUT", path, body, **kwargs))

    def task(self, name=None, workflow=None):
        """The name of a new task."""
        name = name or f"task-{next(NUMBERS)}"
        draft = parse(TaskCreate, {"name": name, "workflow": workflow or WORKFLOW})
        self._ask(tasks.create, self.collection, draft)
        return name

    def routine(self, task=None, **fields):
        """The address of a new routine."""
        task = task or self.task()
        body = {"name": f"routine-{next(NUMBERS)}", "cadence": DAILY, **fields}
        self._ask(task_routines.create, TaskPath(collection=self.collection, task=task), parse(RoutineCreate, body))
        return f"/routines/{self.collection}/{task}/{body['name']}"

    def _ask(self, use_case, *args):
        return self.api.system.executor.execute(Caller(token=self.key, by_jetty=True), use_case, *args).result

    def close(self):
        self._http.close()


def assert_success(response):
    assert response.is_success, f"{response.request.method} {response.request.url}: {response.text}"
    return response.json() if response.content else None


@pytest.fixture(scope="module")
def collection_of(api):
    """Makes a collection and a client with its key."""
    clients = []

    def make():
        name = f"my-org-{next(NUMBERS)}"
        api.ask(collections.create, CollectionCreate(name=name))
        key = api.ask(collections.create_key, ApiKeyCreate(name="tests", collection_name=name))
        clients.append(Jetty(api, name, key.token))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def jetty(collection_of):
    return collection_of()


@pytest.fixture(scope="module")
def untouched(collection_of):
    """A collection that nothing changes: for requests that are refused."""
    return collection_of()


@pytest.fixture(scope="module")
def untouched_task(untouched):
    """The name of the one task in it."""
    return untouched.task()


@pytest.fixture
def other_collection(collection_of):
    """Somebody else's collection."""
    return collection_of()
