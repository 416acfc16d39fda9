"""A company with an agent and a routine of its own, made over HTTP."""

from collections.abc import Iterator

import pytest

from tests.api import Api
from tests.web.served import serve_further


@pytest.fixture(scope="session")
def other_process(api: Api) -> Iterator[Api]:
    """A further application on the same database, which knows of a test's company only what it is asked by the test."""
    with serve_further(api) as other:
        yield other


@pytest.fixture
def company(api: Api) -> str:
    return api.company()


@pytest.fixture
def agent(api: Api, company: str) -> tuple[str, str]:
    return api.agent(company)


@pytest.fixture
def routine(api: Api, company: str, agent: tuple[str, str]) -> str:
    return api.routine(company, agent[0])
