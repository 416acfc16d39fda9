"""What a run of schemathesis does and finds, in the suite and in campaigns."""

import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import CoveragePhaseData, CoverageScenario

# SEED and EXAMPLES (random requests for each operation) come from the environment: `make fuzz` sets them.
SEED = int(os.environ.get("SEED", "1"))
IS_CAMPAIGN = "EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("EXAMPLES", "1"))
# Of the methods that a path does not have, the suite sends one that others have, and one that nobody knows.
METHODS = {} if IS_CAMPAIGN else {"unexpected-methods": ["put", "query"]}

# The statuses of malformed requests, and of those that are refused before anybody looks whether they are well-formed.
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429"]


# What the descriptions of schemathesis say of an edge that lies within an object of the body, how many optional
# properties stand beside it, and what one place judges for all operations, as it reads some headers.
NESTED = re.compile(r" -> |: (Object|Single-item array|Valid object)\b")
NUMBER = re.compile(r"\d+ optional")
OF_ALL_OPERATIONS = re.compile(r"Unspecified HTTP method: QUERY|Malformed Content-Type: ")
SHARED_HEADERS = {None, "X-Paperclip-Run-Id", "If-Match", "If-None-Match"}  # None: which of them are there together


def run_schema(schema: Any, is_refused_body: Callable[[Any], bool]) -> "Findings":
    """Send all that schemathesis can think of. `is_refused_body` tells the answer to a body that is wrong in itself."""
    _thin_out(schema)
    findings = Findings(is_refused_body)
    with pytest.MonkeyPatch.context() as patch:  # Otherwise each request reads all of the environment to find a proxy.
        patch.setattr("requests.sessions.get_environ_proxies", lambda *_, **_more: {})
        for event in from_schema(schema).execute():
            findings.add(event)
    return findings


def _thin_out(schema: Any) -> None:
    """Let the suite reach each edge of the schemas once; a campaign reaches it in all the ways that there are."""
    reached = set[tuple[object, ...]]()

    @schema.hook
    def filter_case(_context: Any, case: Any) -> bool:
        if IS_CAMPAIGN or not isinstance(case.meta and case.meta.phase.data, CoveragePhaseData):
            return True
        edge = _edge_of(case)
        is_new = edge not in reached
        reached.add(edge)
        return is_new


def _edge_of(case: Any) -> tuple[object, ...]:
    """
    What a request of the coverage phase is about.

    The same edge is reached with other parameters around it and alone, with more and fewer optional properties, in each
    media type of a body, and by several values of one wrong type; and each operation reaches those of the objects,
    headers and properties that it has in common with others. (A body is read by the type that its schema is made of.)
    """
    data = case.meta.phase.data
    is_in_body = data.parameter_location is ParameterLocation.BODY
    about = NUMBER.sub("some optional", data.description.removeprefix(f"{data.parameter}: "))
    is_in_header = data.parameter_location is ParameterLocation.HEADER
    is_shared = (
        (is_in_header and data.parameter in SHARED_HEADERS)
        or (is_in_body and NESTED.search(about))
        or OF_ALL_OPERATIONS.search(about)
    )
    is_example_body = is_in_body and data.scenario is CoverageScenario.EXAMPLE_VALUE
    is_negative = case.meta.generation.mode is GenerationMode.NEGATIVE
    property_ = _property_of(case, about.partition(": ")[0]) if is_in_body and is_negative else None
    return (
        None if is_shared or property_ else case.operation.label,
        property_,
        data.parameter_location,
        None if is_in_body and not is_example_body else data.parameter,
        msgspec.json.encode(case.body) if is_example_body else None,
        data.location if is_in_body else None,
        case.meta.generation.mode,
        about,
    )


def _property_of(case: Any, name: str) -> bytes | None:
    """The schema of a property of the body of this name, if there is one."""
    document = case.operation.schema.raw_schema
    schema = case.operation.definition.raw["requestBody"]["content"].get(case.media_type, {}).get("schema", {})
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    property_ = schema.get("properties", {}).get(name)
    return property_ and msgspec.json.encode(property_)


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
