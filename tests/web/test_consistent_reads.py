"""Whoever reads after a write was acknowledged sees it, on any connection of any process, or is told to come back."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest

from projections import catalogue
from projections.engine import positions
from routines import bootstrap
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests.api import Api
from tests.running import copied_database, projecting, serving
from tests.waiting import wait_for

ROUNDS = 50
PATIENCE_S = 0.3
START_S = 30.0
RECORDED = "The change is recorded, but a read model is behind the log; do not repeat it, read it back later"
BEHIND = "A read model is behind the log; try again"


@pytest.fixture(scope="module")
def other_web_process(api: Api) -> Iterator[httpx.Client]:
    """Another web process on the same database."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "routines", "web", "--port", str(port)]
    url = api.system.settings.database_url
    process = subprocess.Popen(
        command, env=os.environ | {"ROUTINES_DATABASE_URL": url}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    headers = {"Authorization": f"Bearer {api.token}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", headers=headers, timeout=20) as client:
            _wait_for(client)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def _wait_for(client: httpx.Client) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            client.get("/health")
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


class Stopped(msgspec.Struct):
    """An API whose projector can be started and stopped, with a routine that was made while it ran."""

    api: Api
    company: str
    token: str
    routine: str

    def head(self) -> int:
        return self.api.system.store.head()

    def projecting(self) -> Any:
        return projecting(self.api.system)

    def behind(self) -> str:
        """A manual run, which is answered without any read model; they are behind from then on."""
        return str(self.api.post(f"/routines/{self.routine}/run", {})["id"])

    @property
    def reads(self) -> list[str]:
        return [
            f"/companies/{self.company}/routines",
            f"/routines/{self.routine}",
            f"/routines/{self.routine}/runs",
            f"/companies/{self.company}/issues",
        ]


@pytest.fixture(scope="module")
def impatient_api(postgres: LocalPostgres, template: str) -> Iterator[Api]:
    """An API without a projector, on a database of its own."""
    with copied_database(postgres, template) as name:
        settings = Settings(database_url=postgres.url("routines_service", name), patience_s=PATIENCE_S)
        with bootstrap.system(settings) as system, serving(system) as url:
            api = Api(url, bootstrap.first_board_token(settings) or "", system)
            yield api
            api.close()


@pytest.fixture
def stopped_projector(impatient_api: Api) -> Stopped:
    def are_all_at_head() -> bool:
        with impatient_api.system.pool.connection() as conn:
            return positions.gap(conn, [model.name for model in catalogue.ALL])[1] == 0

    with projecting(impatient_api.system):
        company = impatient_api.company()
        agent, token = impatient_api.agent(company)
        routine = impatient_api.routine(company, agent)
        wait_for(are_all_at_head)
    return Stopped(impatient_api, company, token, routine)


def test_another_process_sees_every_write_at_once(api: Api, other_web_process: httpx.Client):
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])

    for number in range(ROUNDS):
        title = f"round {number}"
        api.patch(f"/routines/{routine}", {"title": title})
        assert title == other_web_process.get(f"/routines/{routine}").json()["title"]


def test_another_connection_sees_every_write_at_once(api: Api):
    company = api.company()
    path = f"{api.url}/api/companies/{company}/issues"
    headers = {"Authorization": f"Bearer {api.token}"}

    with httpx.Client(headers=headers) as writer, httpx.Client(headers=headers) as reader:
        for number in range(ROUNDS):
            issue = writer.post(path, json={"title": f"round {number}"}).json()
            assert issue["id"] == reader.get(f"{path}?limit=1").json()[0]["id"]


def test_a_run_is_seen_at_once_though_its_own_answer_waits_for_nothing(api: Api, other_web_process: httpx.Client):
    company = api.company()
    agent, token = api.agent(company)
    routine = api.routine(company, agent, concurrencyPolicy="always_enqueue")

    for number in range(ROUNDS // 2):
        run = api.post(f"/routines/{routine}/run", {})
        shown = other_web_process.get(f"/routines/{routine}/runs?limit=1").json()[0]
        inbox = other_web_process.get("/agents/me/inbox-lite", headers={"Authorization": f"Bearer {token}"}).json()
        assert (run["id"], number + 1) == (shown["id"], len(inbox))


def test_what_one_process_wrote_the_other_may_build_on(api: Api, other_web_process: httpx.Client):
    for number in range(5):
        company = other_web_process.post("/companies", json={"name": f"Firm {number}"}).json()["id"]
        agent = api.post(f"/companies/{company}/agents", {"name": "Scout"})["id"]
        token = other_web_process.post(f"/agents/{agent}/keys", json={}).json()["token"]
        assert agent == api.get("/agents/me", token=token)["id"]
        api.post(f"/agents/{agent}/terminate")
        assert 401 == other_web_process.get("/agents/me", headers={"Authorization": f"Bearer {token}"}).status_code


def test_readers_and_writers_at_once_never_miss_a_write(api: Api, other_web_process: httpx.Client):
    company = api.company()

    def write_and_read(number: int) -> bool:
        issue = api.post(f"/companies/{company}/issues", {"title": f"issue {number}"})
        return bool(other_web_process.get(f"/issues/{issue['identifier']}").json()["id"] == issue["id"])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(write_and_read, range(ROUNDS)))
    assert ROUNDS == len(api.get(f"/companies/{company}/issues"))


def test_an_answer_to_a_write_names_its_position_in_the_log(stopped_projector: Stopped):
    with stopped_projector.projecting():
        answer = stopped_projector.api.request("PATCH", f"/routines/{stopped_projector.routine}", {"title": "New"})

    assert stopped_projector.head() == int(answer.headers["X-Routines-Position"])


def test_without_its_projector_a_read_asks_to_come_back(stopped_projector: Stopped):
    stopped_projector.behind()

    for path in [
        *stopped_projector.reads,
        "/companies",
        f"/companies/{stopped_projector.company}/agents",
        "/cli-auth/me",
    ]:
        answer = stopped_projector.api.request("GET", path)

        assert (503, "1", BEHIND) == (answer.status_code, answer.headers["Retry-After"], answer.json()["error"]), path
        assert answer.json()["details"]["readModels"]


def test_without_its_projector_a_write_is_refused_before_anything_is_recorded(stopped_projector: Stopped):
    stopped_projector.behind()
    head = stopped_projector.head()

    for method, path, body in (
        ("POST", "/companies", {"name": "x"}),
        ("POST", f"/companies/{stopped_projector.company}/agents", {"name": "x"}),
        ("POST", f"/companies/{stopped_projector.company}/routines", {"title": "x"}),
        ("PATCH", f"/routines/{stopped_projector.routine}", {"title": "x"}),
        ("POST", f"/routines/{stopped_projector.routine}/triggers", {"kind": "api"}),
        ("POST", f"/companies/{stopped_projector.company}/issues", {"title": "x"}),
    ):
        answer = stopped_projector.api.request(method, path, body)
        assert (503, "1", BEHIND) == (answer.status_code, answer.headers["Retry-After"], answer.json()["error"]), path

    assert head == stopped_projector.head()


def test_a_write_that_was_recorded_before_its_projector_stopped_says_so(stopped_projector: Stopped):
    """Nobody could know beforehand: the read models were at the head when it came."""
    head = stopped_projector.head()

    answer = stopped_projector.api.request("PATCH", f"/routines/{stopped_projector.routine}", {"title": "New"})

    assert (503, RECORDED) == (answer.status_code, answer.json()["error"])
    assert head < answer.json()["details"]["position"] == stopped_projector.head()
    with stopped_projector.projecting():
        assert "New" == stopped_projector.api.get(f"/routines/{stopped_projector.routine}")["title"]


def test_without_its_projector_a_run_is_fired_all_the_same(stopped_projector: Stopped):
    answers = [
        stopped_projector.api.request("POST", f"/routines/{stopped_projector.routine}/run", {}) for _ in range(3)
    ]

    assert [202] * 3 == [answer.status_code for answer in answers]
    assert ["issue_created", "coalesced", "coalesced"] == [answer.json()["status"] for answer in answers]


def test_who_does_not_mind_reads_what_is_there(stopped_projector: Stopped):
    stopped_projector.behind()

    for path in stopped_projector.reads:
        answer = stopped_projector.api.request("GET", path, headers={"X-Routines-Consistency": "eventual"})
        assert 200 == answer.status_code, path
    eventual = {"X-Routines-Consistency": "eventual"}
    assert [] == stopped_projector.api.get(f"/routines/{stopped_projector.routine}/runs", headers=eventual)
    assert 503 == stopped_projector.api.request("GET", stopped_projector.reads[0]).status_code


def test_what_is_wrong_with_a_request_is_said_without_waiting(stopped_projector: Stopped):
    stopped_projector.behind()  # whoever waits is answered 503

    answers = {
        400: stopped_projector.api.request("POST", "/companies", {}),
        401: stopped_projector.api.request("GET", "/companies", token=None),
        404: stopped_projector.api.request("GET", "/routines/nonsense"),
    }

    assert list(answers) == [answer.status_code for answer in answers.values()]


def test_health_says_how_far_each_read_model_is_behind(stopped_projector: Stopped):
    before = stopped_projector.api.get("/health", token=None)["readModels"]
    head = stopped_projector.head()
    stopped_projector.behind()

    after = stopped_projector.api.get("/health", token=None)["readModels"]

    assert sorted(model.name for model in catalogue.ALL) == [model["name"] for model in after]
    assert {(head, 0)} == {(model["position"], model["behind"]) for model in before}
    assert {(head, stopped_projector.head() - head)} == {(model["position"], model["behind"]) for model in after}


def test_after_its_projector_started_everything_answers(stopped_projector: Stopped):
    run = stopped_projector.behind()
    assert 503 == stopped_projector.api.request("GET", stopped_projector.reads[0]).status_code

    with stopped_projector.projecting():
        answers = [stopped_projector.api.request("GET", path).status_code for path in stopped_projector.reads]
        answer = stopped_projector.api.request("POST", f"/companies/{stopped_projector.company}/issues", {"title": "x"})

        assert [200] * 4 == answers
        assert 201 == answer.status_code
        assert [run] == [
            found["id"] for found in stopped_projector.api.get(f"/routines/{stopped_projector.routine}/runs")
        ]
        wait_for(lambda: {0} == {model["behind"] for model in stopped_projector.api.get("/health")["readModels"]})
