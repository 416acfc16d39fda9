"""What a run of schemathesis did and found."""

from collections import Counter
from typing import Any

import msgspec
from schemathesis.engine import events

# The statuses of malformed requests, and of those that are refused before anybody looks whether they are well-formed.
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429"]


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
