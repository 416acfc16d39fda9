"""A routine that the bodies of these tests are sent to."""

import pytest

from tests.api import Api


@pytest.fixture(scope="module")
def routine(api: Api) -> str:
    company = api.company()
    return api.routine(company, api.agent(company)[0])
