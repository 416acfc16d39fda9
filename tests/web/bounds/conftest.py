"""A company with a routine, and a collection of the other API."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api import Api
from tests.web.jetty.conftest import Jetty


@pytest.fixture
def routine(api: Api, company: str) -> str:
    return api.routine(company, api.agent(company)[0], concurrencyPolicy="always_enqueue")


@pytest.fixture
def jetty(api: Api) -> Iterator[Jetty]:
    name = f"bounds-{api.company()[:8]}"
    owner = {"Authorization": f"Bearer {api.token}"}
    with httpx.Client(base_url=f"{api.url}/api/v1", headers=owner, timeout=20, trust_env=False) as http:
        http.post("/collections/", json={"name": name}).raise_for_status()
        key = http.post("/api-keys/", json={"name": "k", "collection_name": name})
        client = Jetty(api, name, key.raise_for_status().json()["api_key"])
        yield client
        client.close()
