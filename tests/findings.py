"""What a run of schemathesis does and finds, in the suite and in campaigns."""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import CoveragePhaseData

from tests import edges
from tests.examples import IS_CAMPAIGN

# SEED and EXAMPLES (random requests for each operation) come from the environment: `make fuzz` sets them.
SEED = int(os.environ.get("SEED", "1"))
EXAMPLES = int(os.environ.get("EXAMPLES", "1"))
# Of the methods that a path does not have, the suite sends one that others have, and one that nobody knows.
METHODS = {} if IS_CAMPAIGN else {"unexpected-methods": ["put", "query"]}

# The statuses of malformed requests, and of those that are refused before anybody looks whether they are well-formed.
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429"]


def run_schema(schema: Any, is_refused_body: Callable[[Any], bool]) -> "Findings":
    """Send all that schemathesis can think of. `is_refused_body` tells the answer to a body that is wrong in itself."""
    if not IS_CAMPAIGN:
        edges.reach_each_once(schema)
    findings = Findings(is_refused_body)
    with pytest.MonkeyPatch.context() as patch:  # Otherwise each request reads all of the environment to find a proxy.
        patch.setattr("requests.sessions.get_environ_proxies", lambda *_, **_more: {})
        for event in from_schema(schema).execute():
            findings.add(event)
    return findings


def _has_wrong_body(case: Any) -> bool:
    """Whether the edge that a request of the coverage phase is about lies beyond the schema of the body."""
    data = case.meta and case.meta.phase.data
    is_of_body = isinstance(data, CoveragePhaseData) and data.parameter_location is ParameterLocation.BODY
    return is_of_body and case.meta.generation.mode is GenerationMode.NEGATIVE


class Findings(msgspec.Struct):
    """Requests and what was wrong with their answers."""

    is_refused_body: Callable[[Any], bool]
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    succeeded: set[str] = msgspec.field(default_factory=set)
    wrong: list[Any] = msgspec.field(default_factory=list)

    def add(self, event: Any) -> None:
        if isinstance(event, events.NonFatalError):
            self.wrong.append((event.label, str(event.value)))
        if isinstance(event, events.FatalError):
            self.wrong.append(("the run broke off", repr(event.exception)))
        if isinstance(event, events.ScenarioFinished):
            self._add_recorded(event.recorder)

    def _add_recorded(self, recorder: Any) -> None:
        for case_id, interaction in recorder.interactions.items():
            request, response = interaction.request, interaction.response
            status = response.status_code if response else 0  # no answer at all
            self.statuses[status] += 1
            case = recorder.cases[case_id].value if case_id in recorder.cases else None
            if case is not None and status in range(200, 300):
                self.succeeded.add(case.operation.label)
            if case is not None and response and _has_wrong_body(case) and not self.is_refused_body(response):
                self.wrong.append(
                    ("not refused for its body", case.meta.phase.data, request.method, request.uri, response)
                )
            failures = [check for check in recorder.checks.get(case_id, []) if check.failure_info is not None]
            for check in failures:
                message = check.failure_info.failure.message
                self.wrong.append(
                    (check.name, message, request.method, request.uri, request.body, response and response.content)
                )
