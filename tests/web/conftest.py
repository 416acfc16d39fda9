"""A company with an agent and a routine of its own, made over HTTP."""

from collections.abc import Callable, Iterator

import pytest
from litestar.types import ASGIApp
from msgspec.structs import replace

from tests.api import Api
from tests.web.described_apis import DescribedApis, describe_apis
from tests.web.served import serve_further


@pytest.fixture(scope="session")
def other_process(api: Api) -> Iterator[Api]:
    """A further application on the same database, which knows of a test's company only what it is asked by the test."""
    with serve_further(api) as other:
        yield other


@pytest.fixture(scope="session")
def described_apis(api: Api) -> DescribedApis:
    return describe_apis(api)


@pytest.fixture(scope="session")
def unserved_app(described_apis: DescribedApis) -> ASGIApp:
    """An application over the database of the API, for servers of tests (`serve_app`), one after the other."""
    return described_apis["paperclip"].asgi


@pytest.fixture
def set_limits(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets limits that requests ask for, not those that a process begins with: quotas, connections, what bodies hold."""

    def set_for_test(**limits: float) -> None:
        monkeypatch.setattr(api.system.store, "limits", replace(api.system.store.limits, **limits))

    return set_for_test


@pytest.fixture(scope="module")
def untouched_routine(api: Api) -> str:
    """A routine for tests that change nothing of it."""
    company = api.company()
    return api.routine(company, api.agent(company)[0])


@pytest.fixture
def company(api: Api) -> str:
    return api.company()


@pytest.fixture
def agent(api: Api, company: str) -> tuple[str, str]:
    return api.agent(company)


@pytest.fixture
def routine(api: Api, company: str, agent: tuple[str, str]) -> str:
    return api.routine(company, agent[0])
