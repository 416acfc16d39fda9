"""What a run of schemathesis does and finds, in the suite and in campaigns."""

import os
from collections import Counter
from typing import Any

import msgspec
from schemathesis.engine import events, from_schema
from schemathesis.generation.meta import CoveragePhaseData, CoverageScenario

# SEED and EXAMPLES (random requests for each operation) come from the environment: `make fuzz` sets them.
SEED = int(os.environ.get("SEED", "1"))
IS_CAMPAIGN = "EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("EXAMPLES", "2"))
# Of the methods that a path does not have, the suite sends one that others have, and one that nobody knows.
METHODS = {} if IS_CAMPAIGN else {"unexpected-methods": ["put", "query"]}

# The statuses of malformed requests, and of those that are refused before anybody looks whether they are well-formed.
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429"]


def run_schema(schema: Any) -> "Findings":
    """Send all that schemathesis can think of."""
    _thin_out(schema)
    findings = Findings()
    for event in from_schema(schema).execute():
        findings.add(event)
    return findings


def _thin_out(schema: Any) -> None:
    """Let the suite send a value of one wrong type to each place of a request; a campaign sends values of all wrong types."""
    places = set[tuple[str, str | None, str | None, str]]()

    @schema.hook
    def filter_case(_context: Any, case: Any) -> bool:
        data = case.meta and case.meta.phase.data
        if (
            IS_CAMPAIGN
            or not isinstance(data, CoveragePhaseData)
            or data.scenario is not CoverageScenario.INCORRECT_TYPE
        ):
            return True
        place = (case.operation.label, data.parameter, data.location, data.description)
        is_new = place not in places
        places.add(place)
        return is_new


class Findings(msgspec.Struct):
    """Requests and what was wrong with their answers."""

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
            if status in range(200, 300) and case_id in recorder.cases:
                self.succeeded.add(recorder.cases[case_id].value.operation.label)
            failures = [check for check in recorder.checks.get(case_id, []) if check.failure_info is not None]
            for check in failures:
                message = check.failure_info.failure.message
                self.wrong.append(
                    (check.name, message, request.method, request.uri, request.body, response and response.content)
                )
