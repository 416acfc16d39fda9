"""
The served description against the running API: examples, the edges of every schema, random and chained requests.

`make fuzz` is the same with more requests and another seed each time: tests/findings.py.
"""

import csv
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from domain.identity import key_of
from tests.api import Api
from tests.examples import IS_CAMPAIGN
from tests.findings import EXAMPLES, METHODS, REFUSALS, SEED, Findings, run_schema
from tests.web import people
from web.openapi import examples

EXAMPLES_OF_PATHS = examples.read("web.paperclip").paths
LIMIT_S = 600 + 60 * EXAMPLES
REFUSED_BY_RULES = [
    "2xx",
    "304",
    "401",
    "403",
    "404",
    "409",
    "412",
    "422",
]  # well-formed, but not now, not here, not you

# What a schema cannot say: the one character that no text may hold (contract 1), a cursor that was never given, a
# moment that is past by now or out of all reason, two keys for one request, the end of a period before its begin, and defaults that must fit the
# type and the options beside them (contract 2.1).
BEYOND_SCHEMAS = re.compile(
    r"The character U\+0000 is not allowed"
    r"|must be one that this list returned"
    r"|xpiresAt must be in the future|A user who is known gets no key"
    r"|resumeAt must be in the future|Idempotency-Key and idempotencyKey differ|Invalid base64"
    r"|must lie between the years|to must not be before from|to must be later than from"
    r"|Variable .* must (match one of|be a date)"
    r"|lies in the future|must be a time, such as|from must not be later than to"  # as of a moment
    r"|As of a moment, limit must be|q cannot be asked as of a moment"
)
ACCESS = csv.DictReader((Path(__file__).parents[2] / "docs" / "access.csv").read_text().splitlines())
LENIENT = {"listRuns"}  # takes any `limit` (contract 5.5); clients are told of those that have a meaning
OPEN_TO_AGENTS = sum(row["agent own"].startswith("2") for row in ACCESS)  # operations
LEAST = {"board": 2_300, "agent": 300}  # requests; fewer, and the description has lost something
NO_ROUTE = "API route not found"  # what a method is answered that a path does not have: 404, not 405 (contract 1)


def make_examples_real(api: Api) -> tuple[dict[str, str], str, str]:
    """The things of the examples, made real: their ids by the names of the parameters, a board token, an agent's token."""
    user_id, board = people.user(api, admin=True)
    company = str(api.post("/companies", {"name": "Acme"}, token=board)["id"])
    agent, token = api.agent(company)
    project = api.post(f"/companies/{company}/projects", {"name": "Launch"})["id"]
    goal = api.post(f"/companies/{company}/goals", {"title": "Be known"})["id"]
    folder = api.post(f"/companies/{company}/folders", {"name": "Nightly"})["id"]
    routine = api.routine(company, agent)
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    webhook = api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "none"})["trigger"]
    revision = api.get(f"/routines/{routine}/revisions")[-1]["id"]
    issue = api.post(f"/companies/{company}/issues", {"title": "Order more paper", "assigneeAgentId": agent})["id"]
    comment = api.post(f"/issues/{issue}/comments", {"body": "A4"})["id"]
    ids = {
        "user_id": user_id,
        "company_id": company,
        "agent_id": agent,
        "project_id": project,
        "goal_id": goal,
        "folder_id": folder,
        "routine_id": routine,
        "trigger_id": trigger,
        "public_id": webhook["publicId"],
        "revision_id": revision,
        "issue_id": issue,
        "comment_id": comment,
    }
    return {name: str(real) for name, real in ids.items()}, board, token


def attack(api: Api, ids: dict[str, str], token: str, *, edges: bool) -> Findings:
    """
    All that schemathesis can think of, with or without the edges of every schema. Only a campaign goes on from there to
    random requests without the edges.
    """
    document = api.request("GET", "/openapi.json", token=None).text
    agent, routine = ids["agent_id"], ids["routine_id"]
    company = ids["company_id"]
    chosen = {  # so that there is something that can fire until the end
        "terminateAgent": ("agent_id", api.agent(company)[0]),
        "updateRoutine": ("routine_id", api.routine(company, agent)),
        "runRoutine": ("routine_id", routine),
    }
    for name, real in ids.items():
        document = document.replace(EXAMPLES_OF_PATHS[name], real)
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": api.url,
            "headers": {"Authorization": f"Bearer {token}"},
            "continue-on-failure": True,
            "request-timeout": 60,  # nothing here is about time
            "suppress-health-check": ["too_slow"],
            "operations": [
                {"include-operation-id": operation, "parameters": {f"path.{name}": id_}}
                for operation, (name, id_) in chosen.items()
            ],
            "phases": {
                "examples": {"enabled": IS_CAMPAIGN or not edges},  # the edges have them among them
                "coverage": {"enabled": edges, **METHODS},
                "fuzzing": {"enabled": edges or IS_CAMPAIGN},
            },
            "generation": {"max-examples": EXAMPLES, "no-shrink": True, "database": "none"},
            "cache": {"enabled": False},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": REFUSED_BY_RULES},
                "negative_data_rejection": {"expected-statuses": REFUSALS},
            },
        }
    )
    schema = schemathesis.openapi.from_dict(msgspec.json.decode(document), config=config)

    @schema.hook
    def filter_path_parameters(context: Any, path_parameters: dict[str, Any]) -> bool:
        """The run keeps the key that it works with."""
        return (path_parameters or {}).get("key_id") != str(key_of(token))

    @schema.hook
    def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
        kind = type(failure).__name__
        if kind in ("RejectedPositiveData", "MissingHeaderNotRejected"):  # a body is judged before its sender is known
            return not BEYOND_SCHEMAS.search(response.text)
        if kind == "AcceptedNegativeData" and case.operation.definition.raw["operationId"] in LENIENT:
            return False
        return kind != "UnsupportedMethodResponse" or NO_ROUTE not in response.text

    return run_schema(schema, is_refused_body)


def is_refused_body(response: Any) -> bool:
    """A body is judged before all else, and by all of its schema before anything beyond."""
    return response.status_code in (400, 401) and not BEYOND_SCHEMAS.search(response.text)


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("who", ["board", "agent"])
def test_the_api_does_what_its_description_says(api: Api, who: str):
    """Bodies are read before anybody asks who sends them: so one caller is enough for the edges of their schemas, and beyond."""
    ids, board, agent = make_examples_real(api)

    findings = attack(api, ids, {"board": board, "agent": agent}[who], edges=who == "board")

    requests = findings.statuses.total()
    print(f"\n{who}: {requests} requests with seed {SEED}, answered {dict(sorted(findings.statuses.items()))}")
    assert not findings.wrong, "\n".join(map(repr, findings.wrong))
    assert findings.statuses.keys() <= set(range(200, 500))
    assert requests > LEAST[who]
    open_to = {"board": len(api.description.operations), "agent": OPEN_TO_AGENTS}
    assert len(findings.succeeded) > open_to[who] // 2
