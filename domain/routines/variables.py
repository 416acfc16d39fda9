"""The variables of a routine's template: how they are declared, and get a value at a firing (contract 2.1 and 2.3)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime

from domain.errors import RuleViolation
from domain.routines.template import is_finite, names_in, text_of
from domain.schedule.time_words import MONTHS
from domain.values import Json, Variable

Resolved = str | int | float | bool

BUILT_IN = ("date", "timestamp")
LONGEST_NUMBER = 400  # characters; parsing digits takes time that grows with the square of their number
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
BOOLEANS = dict.fromkeys(("true", "1", "yes", "y", "on"), True) | dict.fromkeys(("false", "0", "no", "n", "off"), False)


def sync_declarations(declarations: Iterable[Variable], title: str, description: str | None) -> tuple[Variable, ...]:
    """Return the declared variables, and one for each other name that the template refers to (contract 2.1, 9 D14)."""
    by_name = {variable.name: variable for variable in declarations}
    names = dict.fromkeys((*names_in(title, description), *by_name))
    return tuple(by_name.get(name, declare_variable(name)) for name in names if name not in BUILT_IN)


def declare_variable(name: str) -> Variable:
    """Return the declaration for a name that a text uses and that nobody declared."""
    return Variable(name=name, type="date" if name.endswith("Date") and name != "Date" else "text")


def faults(variable: Variable) -> list[tuple[str, str]]:
    """Return what is malformed about a declaration, each as JSON field and message (the 400s of contract 2.1)."""
    problems, default = [], variable.default_value
    if isinstance(default, int | float) and not is_finite(default):
        problems.append(("defaultValue", "Number must be finite"))
    elif default is not None and _is_judged_at_once(variable) and _fit_value(variable, default) is None:
        problems.append(("defaultValue", _misfit_message(variable)))
    if variable.type == "select" and not variable.options:
        problems.append(("options", "Select variables require at least one option"))
    if variable.type != "select" and variable.options:
        problems.append(("options", "Only select variables can define options"))
    return problems


def check_defaults(declarations: Iterable[Variable]) -> None:
    """Raise RuleViolation for a default that is not of its variable's type (the 422s of contract 2.1)."""
    for variable in declarations:
        if variable.default_value is not None:
            _require_fit(variable, variable.default_value)


def without_value(declarations: Iterable[Variable]) -> list[str]:
    """Return the names of required variables that have no default, so that each firing must give a value."""
    return [variable.name for variable in declarations if variable.required and _is_missing(variable.default_value)]


def resolve(declarations: Iterable[Variable], candidates: Sequence[Mapping[str, object]]) -> dict[str, Resolved]:
    """
    Return the values of a firing by name, optional variables without a value left out (contract 2.3).

    The first candidate that has a value gives it, then the default; null and blank text do not count as values. Raise
    RuleViolation if a value is not of its variable's type, or a required one is missing.
    """
    values: dict[str, Resolved] = {}
    missing = []
    for variable in declarations:
        candidate_values = (*(candidate.get(variable.name) for candidate in candidates), variable.default_value)
        value = next((value for value in candidate_values if not _is_missing(value)), None)
        if value is not None:
            values[variable.name] = _require_fit(variable, value)
        elif variable.required:
            missing.append(variable.name)
    if missing:
        raise RuleViolation(f"Missing routine variables: {', '.join(missing)}")
    return values


def merged_payload(payload: Json | None, resolved: Mapping[str, Resolved]) -> Json | None:
    """Return the payload that a run stores: the request's own, with the resolved values in its `variables` (contract 2.3)."""
    if not resolved:
        return payload
    own_values = (payload or {}).get("variables")
    return {**(payload or {}), "variables": {**(own_values if isinstance(own_values, dict) else {}), **resolved}}


def built_in_values(now: datetime) -> dict[str, str]:
    """Return the values that need no declaration (contract 2.2), in UTC: `2026-11-22`, `November 22, 2026 at 1:05 AM UTC`."""
    moment = now.astimezone(UTC)
    hour, half = moment.hour % 12 or 12, "AM" if moment.hour < 12 else "PM"  # noqa: PLR2004 a clock has twelve hours
    timestamp = f"{MONTHS[moment.month - 1]} {moment.day}, {moment.year} at {hour}:{moment.minute:02} {half} UTC"
    return {"date": moment.date().isoformat(), "timestamp": timestamp}


def unset_values(declared: Iterable[Variable]) -> dict[str, object]:
    """Return empty text for each variable: what its placeholder becomes if the firing has no value for it."""
    return dict.fromkeys((variable.name for variable in declared), "")


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _is_judged_at_once(variable: Variable) -> bool:
    """
    Return whether a default that does not fit makes the declaration malformed.

    A selection without options cannot be judged: there is nothing to fit.
    """
    return variable.type == "date" or (variable.type == "select" and bool(variable.options))


def _require_fit(variable: Variable, value: object) -> Resolved:
    fitted = _fit_value(variable, value)
    if fitted is None:
        raise RuleViolation(_misfit_message(variable))
    return fitted


def _fit_value(variable: Variable, value: object) -> Resolved | None:
    """Return the value in the variable's type; None if it does not fit."""
    match variable.type:
        case "number":
            return _read_number(value)
        case "boolean":
            return BOOLEANS.get(text_of(value).strip().lower())
        case "date":
            return text if _is_date(text := text_of(value)) else None
        case "select":
            return text if (text := text_of(value)) in variable.options else None
        case "text" | "textarea":
            return text_of(value)


def _misfit_message(variable: Variable) -> str:
    """Return the message for a value that does not fit."""
    rules = {
        "number": "be a number",
        "boolean": "be a boolean",
        "date": "be a date (YYYY-MM-DD)",
        "select": f"match one of: {', '.join(variable.options)}",
    }
    return f'Variable "{variable.name}" must {rules[variable.type]}'


def _read_number(value: object) -> int | float | None:
    """
    Return a finite number, or the one that a text spells in decimal, as an int when it is whole; None for anything
    else.
    """
    if isinstance(value, str):
        value = _spelled_number(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        return None
    return int(value) if value == int(value) else value


def _spelled_number(text: str) -> int | float | None:
    if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
        return None
    return int(text) if WHOLE_NUMBER.fullmatch(text) else float(text)


def _is_date(text: str) -> bool:
    """Return whether it is a day of the calendar; `fromisoformat` alone accepts weeks and bare digits too."""
    if not DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
