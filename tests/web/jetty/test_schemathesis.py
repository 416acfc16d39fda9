"""
The served description of the Jetty API against the running one: the edges of every schema, random and chained requests.

`make fuzz` does the same with more of them: tests/findings.py.
"""

import httpx
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from tests.examples import IS_CAMPAIGN
from tests.findings import EXAMPLES, METHODS, REFUSALS, SEED, run_schema

LIMIT_S = 300 + 30 * EXAMPLES
LEAST = 600  # requests; fewer, and the description has lost something
UNFIT = {  # what cannot hold where all requests share one task, and rules refuse with the statuses of malformed bodies
    "positive_data_acceptance": {"enabled": False},
    "negative_data_rejection": {"expected-statuses": REFUSALS},
    "ensure_resource_availability": {"enabled": False},
}


@pytest.fixture
def places(jetty):
    """What the paths name, for all operations; and for those that take it away or rename it, something of their own."""
    task = jetty.task()
    called = jetty.post(f"/run/{jetty.collection}/{task}", {})

    def routine():
        return jetty.routine(task).rpartition("/")[2]

    shared = {
        "path.collection": jetty.collection,
        "path.task": task,
        "path.name": routine(),
        "path.trajectory": str(called["trajectory_id"]),
        "path.workflow_id": called["workflow_id"],
    }
    own = {
        "deleteTask": {"path.task": jetty.task()},
        "updateTask": {"path.task": jetty.task()},
        "deleteRoutine": {"path.name": routine()},
        "updateRoutine": {"path.name": routine()},
    }
    return shared, own


def attack(api, jetty, places):
    shared, own = places
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": api.url,
            "headers": {"Authorization": f"Bearer {jetty.key}"},
            "continue-on-failure": True,
            "request-timeout": 60,  # nothing here is about time
            "suppress-health-check": ["too_slow"],
            "parameters": shared,
            "operations": [
                *({"include-operation-id": id_, "parameters": parameters} for id_, parameters in own.items()),
                {"include-operation-id": "runTaskSync", "enabled": False},  # waits for a worker; there is none
            ],
            "phases": {"examples": {"enabled": IS_CAMPAIGN}, "coverage": METHODS},
            "generation": {"max-examples": EXAMPLES, "no-shrink": True, "database": "none"},
            "cache": {"enabled": False},
            "checks": UNFIT,
        }
    )
    document = httpx.get(f"{api.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document, config=config)
    return run_schema(schema, lambda response: response.status_code in (400, 401, 422))


@pytest.mark.timeout(LIMIT_S)
def test_the_jetty_api_does_what_its_description_says(api, jetty, places):
    findings = attack(api, jetty, places)

    requests = findings.statuses.total()
    print(f"\n{requests} requests with seed {SEED}, answered {dict(sorted(findings.statuses.items()))}")
    assert not findings.wrong, "\n".join(map(repr, findings.wrong))
    assert findings.statuses.keys() <= set(range(200, 500))
    assert requests > LEAST
    assert len(findings.succeeded) > 30
