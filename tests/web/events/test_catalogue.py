"""The catalogue of events: its schemas are sound by their standards, and what is stored and shown is as they say."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from domain.events import STORED_NAMES
from tests.api import Api

ROOT = Path(__file__).parents[3]
STORED = ROOT / "tests" / "stored"
FILES = sorted(path.name for path in STORED.iterdir())
OF_ASYNCAPI = ROOT / "development/clients/node_modules/@asyncapi/specs/schemas/3.0.0.json"


@pytest.fixture(scope="module")
def schema(api: Api) -> Any:
    answer = httpx.get(f"{api.url}/api/events/schema", timeout=60)
    assert "application/schema+json" == answer.headers["content-type"]
    return answer.json()


@pytest.fixture(scope="module")
def asyncapi(api: Api) -> Any:
    answer = httpx.get(f"{api.url}/api/events/asyncapi", timeout=60)
    assert "application/vnd.aai.asyncapi+json" == answer.headers["content-type"]
    return answer.json()


@pytest.fixture(scope="module")
def event_validator(schema: Any) -> Any:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def test_the_schema_is_one_by_its_own_standard_and_has_every_kind(schema: Any):
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert jsonschema_rs.meta.is_valid(schema)
    assert set(STORED_NAMES) <= set(schema["$defs"])
    assert all(schema["$defs"][name]["description"] for name in STORED_NAMES)


@pytest.mark.parametrize("file", FILES)
def test_what_was_stored_is_as_the_schema_says(event_validator: Any, file: str):
    assert [] == [str(error) for error in event_validator.iter_errors(json.loads((STORED / file).read_bytes()))]


def test_the_schema_refuses_what_is_no_event(event_validator: Any):
    paused = json.loads((STORED / "agent.paused.json").read_bytes())

    assert event_validator.is_valid(paused)
    assert not event_validator.is_valid({**paused, "event": {"type": "agent.flown"}})
    assert not event_validator.is_valid({**paused, "event": {**paused["event"], "reason": 7}})
    assert not event_validator.is_valid({name: value for name, value in paused.items() if name != "actor"})


def test_what_the_feed_shows_is_as_the_schema_of_its_kind_says(api: Api, schema: Any):
    company = api.company()
    agent, _ = api.agent(company)
    routine = api.routine(company, agent)
    api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "none"})
    api.post(f"/routines/{routine}/run", {})
    headers = {"Accept": "application/cloudevents-batch+json"}

    batch = api.request("GET", f"/companies/{company}/events?limit=1000", headers=headers).json()

    assert len(batch) > 5
    for event in batch:
        path, _, place = event["dataschema"].partition("#/$defs/")
        assert (path, place) == (schema["$id"], event["type"])
        kind = {"$schema": schema["$schema"], "$defs": schema["$defs"], "$ref": f"#/$defs/{place}"}
        assert [] == [str(error) for error in jsonschema_rs.Draft202012Validator(kind).iter_errors(event["data"])]


def test_the_asyncapi_document_describes_every_kind_in_both_feeds(asyncapi: Any):
    messages = asyncapi["components"]["messages"]
    places = {channel["address"] for channel in asyncapi["channels"].values()}
    references = set(re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(asyncapi)))

    assert set(STORED_NAMES) == set(messages)
    assert {"/api/events", "/api/companies/{companyId}/events"} == places
    assert [] == [reference for reference in references if not _leads_somewhere(asyncapi, reference)]


def _leads_somewhere(document: Any, reference: str) -> bool:
    for step in reference.split("/"):
        if step not in document:
            return False
        document = document[step]
    return True


@pytest.mark.skipif(not OF_ASYNCAPI.exists(), reason="the schema of AsyncAPI comes with `make install-clients`")
def test_the_asyncapi_document_is_one_by_its_own_standard(asyncapi: Any):
    validator = jsonschema_rs.validator_for(json.loads(OF_ASYNCAPI.read_bytes()))

    assert [] == [f"{error.instance_path}: {error.message[:300]}" for error in validator.iter_errors(asyncapi)]
