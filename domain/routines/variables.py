"""
The variables of a routine's title and description: how they are declared, get a value at a firing, and fill the text.

See contract 2.1 to 2.3; paths into the payload are our addition. A template has placeholders and nothing else: the text of a value is never read as a template.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec

from domain.errors import RuleViolation
from domain.values import Json, Variable

Resolved = str | int | float | bool

BUILT_IN = ("date", "timestamp")
LONGEST_NUMBER = 400  # characters; parsing digits takes time that grows with the square of their number
# Possessive quantifiers never backtrack, so a text is searched in linear time; a name has at most 200 characters.
NAME = r"[A-Za-z](?:[A-Za-z0-9]|\\?_){0,199}+"
PATH = r"payload(?:\.(?:[A-Za-z0-9-]|\\?_){1,200}+){1,20}+"  # into the payload of a run; not in the contract
PLACEHOLDER = re.compile(rf"\{{\{{ *+({NAME}) *+\}}\}}")
PATH_PLACEHOLDER = re.compile(rf"\{{\{{ *+({PATH}) *+\}}\}}")
ANY_PLACEHOLDER = re.compile(rf"\{{\{{ *+({NAME}|{PATH}) *+\}}\}}")
MOST_PATHS = 100  # into the payload, in one template
LONGEST_INDEX = 9  # digits
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
BOOLEANS = dict.fromkeys(("true", "1", "yes", "y", "on"), True) | dict.fromkeys(("false", "0", "no", "n", "off"), False)
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def names_in(*texts: str | None) -> tuple[str, ...]:
    """Return the names in the placeholders of the texts, built-in ones too, in order of first appearance."""
    return tuple(
        dict.fromkeys(_unescape_name(name) for text in texts for name in dict.fromkeys(PLACEHOLDER.findall(text or "")))
    )


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
    if isinstance(default, int | float) and not _is_finite(default):
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


def paths_in(*texts: str | None) -> tuple[str, ...]:
    """Return the paths into the payload in the placeholders of the texts, in order of first appearance."""
    return tuple(dict.fromkeys(_unescape_name(path) for text in texts for path in PATH_PLACEHOLDER.findall(text or "")))


def payload_values(payload: Json | None, paths: Iterable[str], most: int = sys.maxsize) -> dict[str, object]:
    """
    Return the values at these paths into the payload, such as `payload.repository.full_name`.

    A number is the index in an array, from 0. A path that leads nowhere, and one that leads to null, give empty text;
    an object or an array its JSON. Raise RuleViolation once those would take more than `most` characters.
    """
    values: dict[str, object] = {}
    for path in paths:
        value = value_at(payload, path.split(".")[1:], "")
        value = "" if value is None else value
        if isinstance(value, dict | list):
            value = text_of(value)
            most -= len(value)
        if most < 0:
            raise RuleViolation(f"What {path} and the paths before it name in the payload is too large for one run")
        values[path] = value
    return values


def value_at(value: object, steps: Sequence[str], nowhere: object) -> object:
    """Return what the steps lead to, by the names of objects and the numbers of arrays; `nowhere` if they do not."""
    for step in steps:
        match value:
            case dict() if step in value:
                value = value[step]
            case list() if (
                step.isdecimal() and step.isascii() and len(step) <= LONGEST_INDEX and int(step) < len(value)
            ):
                value = value[int(step)]
            case _:
                return nowhere
    return value


def has_placeholder(text: str) -> bool:
    """Return whether a text may have a placeholder; without one there is nothing to fill in."""
    return "{{" in text


def interpolate(text: str, values: Mapping[str, object]) -> str:
    """Return the text with its placeholders replaced; those without a value stay as they are (contract 2.2)."""
    if not has_placeholder(text):
        return text
    texts = _placeholder_texts(text, values)
    return ANY_PLACEHOLDER.sub(lambda match: texts.get(_unescape_name(match[1]), match[0]), text)


def added_size(text: str, values: Mapping[str, object]) -> int:
    """Return by how many bytes of JSON `interpolate` would make the text longer (negative: shorter), without building it."""
    if not has_placeholder(text):
        return 0
    texts = _placeholder_texts(text, values)
    placeholders = Counter(match.group(0, 1) for match in ANY_PLACEHOLDER.finditer(text))
    return sum(
        many * (stored_size(texts[name]) - stored_size(placeholder))
        for (placeholder, escaped), many in placeholders.items()
        if (name := _unescape_name(escaped)) in texts
    )


def stored_size(text: str) -> int:
    """Return how many bytes a text takes in JSON, without its quotes."""
    return len(msgspec.json.encode(text)) - 2


def _placeholder_texts(text: str, values: Mapping[str, object]) -> dict[str, str]:
    names = dict.fromkeys(map(_unescape_name, dict.fromkeys(ANY_PLACEHOLDER.findall(text))))
    return {name: text_of(value) for name in names if (value := values.get(name)) is not None}


def text_of(value: object) -> str:
    """
    Return a JSON value as JavaScript writes it, objects and arrays as compact JSON.

    Raise RuleViolation for a number that is not finite.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _text_of_number(value)
        case _:
            return msgspec.json.encode(value).decode()


def _unescape_name(name: str) -> str:
    return name.replace("\\_", "_")


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
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
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


def _is_finite(number: float) -> bool:
    """Return whether a float can hold the number; the integers of JSON have no bounds."""
    return abs(number) <= sys.float_info.max


def _text_of_number(number: float) -> str:
    """Return its shortest digits, with an exponent from 1e21 on and below 1e-6 (ECMA-262, Number::toString)."""
    if not _is_finite(number):
        raise RuleViolation("Number must be finite")
    if not number:
        return "0"
    if 1e-6 <= abs(number) < 1e21:  # noqa: PLR2004 as the docstring says
        return f"{Decimal(repr(number)).normalize():f}"
    return repr(float(number)).replace("e-0", "e-")
