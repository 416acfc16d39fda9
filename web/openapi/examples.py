"""Examples of requests and answers, which are data: one file for each API, by operation id."""

from importlib.resources import files
from typing import Any

import msgspec


class Examples(msgspec.Struct, frozen=True):
    """What the operations of an API take and give."""

    paths: dict[str, str]  # by the name of a parameter
    requests: dict[str, dict[str, Any]]  # bodies by operation, and by a name
    answers: dict[str, Any]  # by operation; by operation and status for a refusal of its own, `getHealth.503`
    problems: dict[int, Any]  # by the status of the refusals that operations share


def read(package: str) -> Examples:
    """The examples that lie in a package."""
    return msgspec.yaml.decode(files(package).joinpath("examples.yaml").read_bytes(), type=Examples)
