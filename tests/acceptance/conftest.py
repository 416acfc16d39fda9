"""One `routines up` for whoever only uses it; chance that is the same each time, unless SEED says otherwise, as campaigns do."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


@pytest.fixture
def chance():
    print(f"seed {SEED}")
    return random.Random(SEED)
