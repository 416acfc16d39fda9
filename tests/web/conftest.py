"""A company with an agent and a routine of its own, made over HTTP."""

import pytest

from tests.api import Api


@pytest.fixture
def company(api: Api) -> str:
    return api.company()


@pytest.fixture
def agent(api: Api, company: str) -> tuple[str, str]:
    return api.agent(company)


@pytest.fixture
def routine(api: Api, company: str, agent: tuple[str, str]) -> str:
    return api.routine(company, agent[0])
