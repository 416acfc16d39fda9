"""
Clients that openapi-python-client makes of the descriptions: every operation of both APIs can be called by them.

Each operation is called with the request of its example, and answered with the answer of its example; then some are
called at the running API.
"""

import importlib
import re
import sys
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.api import Api
from tests.web.described_apis import PLACES, DescribedApi, DescribedApis, operations, path_of
from web.http.validation import parse
from web.openapi.description import Operation

PAGE = Path(__file__).parents[3] / "docs" / "clients.md"

NEEDED: dict[str, dict[str, Any]] = {  # parameters that an operation does not do without
    "explainRoutine": {"at": datetime(2026, 11, 22, 9, tzinfo=UTC)},
    "compareRoutine": {"from_": "2026-11-22T09:00:00Z"},
}


class Client(msgspec.Struct):
    """A generated package and a connection that it uses."""

    package: str
    described: DescribedApi
    warnings: set[str]
    connection: Any = None
    opened: list[Any] = []

    def connected(self, url: str, token: str, **http: Any) -> "Client":
        client = importlib.import_module(self.package).AuthenticatedClient(
            base_url=url, token=token, raise_on_unexpected_status=True, httpx_args=http
        )
        self.opened.append(client.get_httpx_client())
        return Client(self.package, self.described, self.warnings, client)

    def call(self, operation_id: str, *path: Any, body: Any = None, **more: Any) -> Any:
        """The parsed answer of an operation: ids of its path in order, its body as JSON that becomes a model."""
        answer = self.answer(operation_id, *path, body=body, **more)
        assert answer.status_code < 300, answer.content
        return answer.parsed

    def answer(self, operation_id: str, *path: Any, body: Any = None, **more: Any) -> Any:
        (one,) = (one for one in operations(self.described) if one.id == operation_id)
        tag, name = one.document["tags"][0].replace(" ", "_"), snake(operation_id)
        function = importlib.import_module(f"{self.package}.api.{tag}.{name}").sync_detailed
        if body is not None:
            more["body"] = model_of(typing.get_type_hints(function)["body"], body)
        return function(*path, client=self.connection, **more)


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def model_of(kind: Any, body: Any) -> Any:
    """The body as the first of the generated models that takes it; as it is, where any JSON is taken."""
    models = [model for model in typing.get_args(kind) or [kind] if hasattr(model, "from_dict")]
    for model in models:
        with suppress(ValueError):  # another kind of trigger
            return model.from_dict(body)
    assert not models, body
    return body


@pytest.fixture(scope="module")
def clients(described_apis: DescribedApis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    directory = tmp_path_factory.mktemp("clients")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(directory)
        generated = {name: _generate_client(directory, f"generated_{name}", described_apis[name]) for name in PLACES}
        yield generated
        for connection in (one for client in generated.values() for one in client.opened):
            connection.close()
        for name in [name for name in sys.modules if name.startswith("generated_")]:
            del sys.modules[name]


def _generate_client(directory: Path, package: str, described: DescribedApi) -> Client:
    import openapi_python_client  # noqa: PLC0415 takes half a second
    from openapi_python_client.config import Config, ConfigFile, MetaType  # noqa: PLC0415

    source = directory / f"{package}.json"
    source.write_bytes(msgspec.json.encode(described.document))
    unread = ConfigFile(post_hooks=[])  # the code is run, and read by nobody
    target = directory / package
    problems = openapi_python_client.generate(
        config=Config.from_sources(unread, MetaType.NONE, source, "utf-8", overwrite=False, output_path=target)
    )
    return Client(package, described, {str(one.detail) for one in problems})


@pytest.mark.parametrize("name", PLACES)
def test_a_client_can_be_generated_with_every_operation(clients: dict[str, Client], name: str):
    assert set() == clients[name].warnings


@pytest.mark.parametrize("name", PLACES)
def test_a_generated_client_sends_and_reads_what_each_example_shows(clients: dict[str, Client], name: str):
    client, described = clients[name], clients[name].described
    for one in operations(described):
        bodies = list(described.examples.requests.get(one.id, {}).values()) or [None]
        for status, kind in one.answers.items():
            for body in bodies:
                example = one.document["responses"][str(status)].get("content", {}).get("application/json", {})
                transport = httpx.MockTransport(_answer_only(one, described, body, status, example.get("example")))
                connected = client.connected("http://testserver", "secret", transport=transport)
                path = [described.examples.paths[part] for part in re.findall(r"{(\w+)}", one.path)]
                answer = connected.answer(one.id, *path, body=body, **NEEDED.get(one.id, {}))
                assert answer.status_code == status, one.id
                assert (answer.parsed is None) == (kind is None), one.id
                if hasattr(answer.parsed, "to_dict"):
                    assert answer.parsed.to_dict().keys() == example["example"].keys(), one.id


def _answer_only(
    one: Operation, described: DescribedApi, body: Any, status: int, answer: Any
) -> Callable[[httpx.Request], httpx.Response]:
    """The API, for one request that must be the one of the example."""

    def answered(request: httpx.Request) -> httpx.Response:
        assert (one.method.upper(), path_of(one, described.examples.paths)) == (request.method, request.url.path)
        assert one.document["security"] == [] or request.headers["authorization"] == "Bearer secret"
        if body is not None:
            assert parse(one.body, body) == parse(one.body, msgspec.json.decode(request.content)), one.id
            assert request.headers["content-type"] in one.media_types
        return httpx.Response(status, json=answer) if answer is not None else httpx.Response(status)

    return answered


def test_a_generated_client_works_with_the_running_api(clients: dict[str, Client], api: Api):
    board = clients["paperclip"].connected(api.url, api.token)

    company = board.call("createCompany", body={"name": "Acme"})
    agent = board.call("createAgent", company.id, body={"name": "Scout"})
    draft = {"title": "Look into {{event}}", "assigneeAgentId": str(agent.id), "variables": [{"name": "event"}]}
    routine = board.call("createRoutine", company.id, body=draft)
    assert "high" == board.call("updateRoutine", routine.id, body={"priority": "high"}).priority.value
    created = board.call("createTrigger", routine.id, body={"kind": "webhook", "signingMode": "bearer"})
    sender = clients["paperclip"].connected(api.url, created.secret_material.webhook_secret)
    fired = sender.call(
        "fireWebhook", created.trigger.public_id, body={"event": "a deploy"}, idempotency_key="deploy-1"
    )
    again = sender.call(
        "fireWebhook", created.trigger.public_id, body={"event": "a deploy"}, idempotency_key="deploy-1"
    )
    assert (fired.id, "webhook") == (again.id, fired.source.value)
    assert [fired.id] == [run.id for run in board.call("listRuns", routine.id, status="issue_created,coalesced")]
    issue = board.call("getIssue", str(fired.linked_issue_id))
    assert "Look into a deploy" == issue.title
    assert "done" == board.call("updateIssue", str(issue.id), body={"status": "done"}).status.value
    assert [issue.id] == [one.id for one in board.call("listIssues", company.id)]
    preview = board.call("previewSchedule", body={"cronExpression": "0 9 * * *", "timezone": "UTC", "count": 2})
    assert (True, 2) == (preview.valid, len(preview.times))
    refusal = board.answer("getRoutine", company.id)
    assert (404, "Routine not found") == (refusal.status_code, refusal.parsed.error)


def test_a_schedule_that_a_generated_client_makes_has_all_that_it_was_given(clients: dict[str, Client], api: Api):
    board = clients["paperclip"].connected(api.url, api.token)
    company = board.call("createCompany", body={"name": "Acme"})
    routine = board.call("createRoutine", company.id, body={"title": "Look around"})
    body = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "Europe/Amsterdam", "jitterSec": 60}

    created = board.call("createTrigger", routine.id, body=body).trigger.to_dict()

    assert body == {name: created[name] for name in body}


def test_the_program_on_the_page_for_clients_closes_the_issue_of_its_run(
    clients: dict[str, Client], api: Api, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    (program,) = re.findall(r"python - <<'PYTHON'\n(.*?)^PYTHON$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.setenv("PAPERCLIP_API_URL", api.url)
    monkeypatch.setenv("PAPERCLIP_API_KEY", api.token)

    exec(program.replace("routines_client", clients["paperclip"].package), {})

    said = capfd.readouterr().out
    assert "Europe/Amsterdam" in said
    assert said.endswith("the run is completed\n")


def test_a_generated_client_works_with_the_running_jetty_api(clients: dict[str, Client], api: Api):
    board = clients["jetty"].connected(api.url, api.token)

    board.call("createCollection", body={"name": "generated"})
    key = board.call("createApiKey", body={"name": "ci", "collection_name": "generated"})
    client = clients["jetty"].connected(api.url, key.api_key)
    workflow = {"init_params": {}, "step_configs": {"query": {"activity": "sql"}}, "steps": ["query"]}
    task = client.call("createTask", "generated", body={"name": "nightly", "workflow": workflow})
    assert [task.id] == [one.id for one in client.call("listTasks", "generated")]
    cadence = {"type": "daily", "hour_utc": 2}
    client.call("createRoutine", "generated", "nightly", body={"name": "every-night", "cadence": cadence})
    called = client.call("runRoutineNow", "generated", "nightly", "every-night")
    claimed = client.call("claimTrajectory", "generated", body={"worker": "worker-1"})
    assert called.trajectory_id == claimed.trajectory.trajectory_id
    place = "generated", str(called.trajectory_id), str(claimed.claim_id)
    client.call("reportStep", *place, body={"step": "query", "outputs": {"rows": 3}})
    assert "completed" == client.call("finishTrajectory", *place, body={"status": "completed"}).status.value
    assert client.call("claimTrajectory", "generated", body={}) is None
    assert 1 == client.call("listTrajectories", "generated", "nightly").total
