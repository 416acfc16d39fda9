"""
The template of a routine's title and description: its placeholders, and how values are put into them (contract 2.2).

A template has placeholders and nothing else: the text of a value is never read as a template. Paths into the payload are
our addition to the contract.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from domain.errors import RuleViolation
from domain.values import Json

# Possessive quantifiers never backtrack, so a text is searched in linear time; a name has at most 200 characters.
NAME = r"[A-Za-z](?:[A-Za-z0-9]|\\?_){0,199}+"
PATH = r"payload(?:\.(?:[A-Za-z0-9-]|\\?_){1,200}+){1,20}+"  # into the payload of a run; not in the contract
PLACEHOLDER = re.compile(rf"\{{\{{ *+({NAME}) *+\}}\}}")
PATH_PLACEHOLDER = re.compile(rf"\{{\{{ *+({PATH}) *+\}}\}}")
ANY_PLACEHOLDER = re.compile(rf"\{{\{{ *+({NAME}|{PATH}) *+\}}\}}")
MOST_PATHS = 100  # into the payload, in one template
LONGEST_INDEX = 9  # digits


def names_in(*texts: str | None) -> tuple[str, ...]:
    """Return the names in the placeholders of the texts, built-in ones too, in order of first appearance."""
    return tuple(
        dict.fromkeys(_unescape_name(name) for text in texts for name in dict.fromkeys(PLACEHOLDER.findall(text or "")))
    )


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
        count * (stored_size(texts[name]) - stored_size(placeholder))
        for (placeholder, escaped), count in placeholders.items()
        if (name := _unescape_name(escaped)) in texts
    )


def stored_size(text: str) -> int:
    """Return how many bytes a text takes in JSON, without its quotes."""
    return len(msgspec.json.encode(text)) - 2


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


def is_finite(number: float) -> bool:
    """Return whether a float can hold the number; the integers of JSON have no bounds."""
    return abs(number) <= sys.float_info.max


def _placeholder_texts(text: str, values: Mapping[str, object]) -> dict[str, str]:
    names = dict.fromkeys(map(_unescape_name, dict.fromkeys(ANY_PLACEHOLDER.findall(text))))
    return {name: text_of(value) for name in names if (value := values.get(name)) is not None}


def _unescape_name(name: str) -> str:
    return name.replace("\\_", "_")


def _text_of_number(number: float) -> str:
    """Return its shortest digits, with an exponent from 1e21 on and below 1e-6 (ECMA-262, Number::toString)."""
    if not is_finite(number):
        raise RuleViolation("Number must be finite")
    if not number:
        return "0"
    if 1e-6 <= abs(number) < 1e21:  # noqa: PLR2004 as the docstring says
        return f"{Decimal(repr(number)).normalize():f}"
    return repr(float(number)).replace("e-0", "e-")
