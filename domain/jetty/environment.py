"""The environment variables of a collection or a routine: what a variable may be, and how many there may be."""

import re
from collections.abc import Mapping

from domain.bounds.limits import Limits
from domain.errors import InvalidField

FIELD = "environment_variables"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
SHOWN = 64  # characters of a name that an error repeats


def is_variable(name: str, value: str) -> bool:
    """Return whether a process can get the variable: a POSIX name of up to 128 characters, and a value without NUL."""
    return NAME.fullmatch(name) is not None and "\0" not in value


def check_new(variables: Mapping[str, str], field: str = FIELD) -> None:
    """Raise InvalidField for a variable that a process cannot get."""
    for name, value in variables.items():
        if not NAME.fullmatch(name):
            raise InvalidField(
                f"{field} has a name that is not 1 to 128 letters, digits and underscores, beginning with no digit: "
                f"{name[:SHOWN]!a}",
                field,
            )
        if not is_variable(name, value):
            raise InvalidField(f"{field} has a NUL character in the value of {name[:SHOWN]}", field)


def check_total(variables: Mapping[str, object], limits: Limits, field: str = FIELD) -> None:
    """Raise InvalidField if there are more variables than one environment may have, or larger ones."""
    if len(variables) > limits.max_environment_variables:
        raise InvalidField(f"{field} would be more than {limits.max_environment_variables} variables", field)
    size = sum(len(f"{name}={value}".encode()) for name, value in variables.items())
    if size > limits.max_environment_bytes:
        raise InvalidField(
            f"{field} would have {size} bytes, of which {limits.max_environment_bytes} are allowed", field
        )
