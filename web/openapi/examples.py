"""Examples of requests and answers, from one file for each API."""

from importlib.resources import files
from typing import Any

import msgspec


class Examples(msgspec.Struct, frozen=True):
    """The examples of an API."""

    paths: dict[str, str]  # by the name of a parameter
    requests: dict[str, dict[str, Any]]  # bodies by operation and by name of the example
    answers: dict[str, Any]  # by operation, or by operation and another status than its usual one (`getHealth.503`)
    problems: dict[int, Any]  # by the status of the refusals that operations share

    def answer(self, name: str) -> Any:
        """Return the example of an answer. Raise LookupError for an operation that has none, and say where it belongs."""
        if name not in self.answers:
            raise LookupError(f"examples.yaml has no answer of {name}: add one under `answers`")
        return self.answers[name]


def read(package: str) -> Examples:
    """Return the examples in the file `examples.yaml` of a package."""
    return msgspec.yaml.decode(files(package).joinpath("examples.yaml").read_bytes(), type=Examples)
