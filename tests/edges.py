"""
The edges of the described schemas, each of which the suite reaches by one request of schemathesis.

A campaign reaches them in all the ways that there are.
"""

import re
from typing import Any

import msgspec
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import CoveragePhaseData, CoverageScenario

# What the descriptions of schemathesis say of an edge that lies within an object of the body, how many optional
# properties stand beside it, and what one place judges for all operations, as it reads some headers.
NESTED = re.compile(r" -> |: (Object|Single-item array|Valid object)\b")
NUMBER = re.compile(r"\d+ optional")
OF_ALL_OPERATIONS = re.compile(r"Unspecified HTTP method: QUERY|Malformed Content-Type: ")
SHARED_HEADERS = {None, "X-Paperclip-Run-Id", "If-Match", "If-None-Match"}  # None: which of them are there together


def reach_each_once(schema: Any) -> None:
    """Let schemathesis send only the first of the requests that reach the same edge."""
    reached = set[tuple[object, ...]]()

    @schema.hook
    def filter_case(_context: Any, case: Any) -> bool:
        if not isinstance(case.meta and case.meta.phase.data, CoveragePhaseData):
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
