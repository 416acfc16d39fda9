"""A routine that a webhook fires, however many of its issues are open."""

import pytest

from tests.api import Api


@pytest.fixture
def agent(api: Api, company: str) -> str:
    return api.agent(company)[0]


@pytest.fixture
def routine(api: Api, company: str, agent: str) -> str:
    return api.routine(company, agent, concurrencyPolicy="always_enqueue")
