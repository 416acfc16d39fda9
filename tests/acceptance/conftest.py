"""One `routines up` for whoever only uses it; chance that is the same each time, unless SEED says otherwise, as campaigns do."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.acceptance.running_system import running_system

SEED = int(os.environ.get("SEED", "1"))


class RunningUp(NamedTuple):
    """A system that runs in the directory `.routines` of a place."""

    place: Path
    directory: Path
    url: str

    @property
    def token(self) -> str:
        """The one of its first board user."""
        return (self.directory / "board.token").read_text().strip()


@pytest.fixture(scope="package")
def running_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """To start one takes longer than most tests of it: each test makes a company of its own."""
    place = tmp_path_factory.mktemp("up")
    directory = place / ".routines"
    with running_system(directory) as state:
        yield RunningUp(place, directory, state["url"])
    shutil.rmtree((directory / "postgres").resolve())


class BegunMinute(NamedTuple):
    """What waits for the next full minute of a real system: the demo, and a schedule beside it."""

    demo: subprocess.Popen[str]
    client: httpx.Client
    routine: str
    planned: datetime


@pytest.fixture(scope="package")
def begun_minute(running_up: RunningUp) -> Iterator[BegunMinute]:
    """Begun by the first test that asks for it, so that others that take a while run meanwhile."""
    headers = {"Authorization": f"Bearer {running_up.token}"}
    argv = [sys.executable, "-m", "routines", "demo", "--data-dir", str(running_up.directory), "--timeout-s", "110"]
    with httpx.Client(base_url=f"{running_up.url}/api", headers=headers, timeout=20, trust_env=False) as client:
        routine = schedule_routine(client)
        planned = client.get(f"/routines/{routine}").json()["triggers"][0]["nextRunAt"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
            yield BegunMinute(demo, client, routine, datetime.fromisoformat(planned))
            demo.terminate()


def schedule_routine(client: httpx.Client) -> str:
    """The id of a routine of every minute."""

    def create(path: str, body: dict[str, str]) -> str:
        answer = client.post(path, json=body).raise_for_status().json()
        return str(answer.get("id"))

    company = create("/companies", {"name": "Acme"})
    agent = create(f"/companies/{company}/agents", {"name": "Scout"})
    routine = create(f"/companies/{company}/routines", {"title": "Check the inbox", "assigneeAgentId": agent})
    create(f"/routines/{routine}/triggers", {"kind": "schedule", "cronExpression": "* * * * *"})
    return routine


@pytest.fixture
def chance():
    print(f"seed {SEED}")
    return random.Random(SEED)
