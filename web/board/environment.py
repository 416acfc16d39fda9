"""
The environment of a routine as rows of its form: variables with values of their own, or bound to variables of the company.

A page never has a value: a row whose value stays empty keeps the one that there is.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from domain.disclosure import MASK
from web.board.forms import Form

MOST_ROWS = 200
SPARE_ROWS = 1  # empty ones, for further variables
PLAIN, BOUND = "plain", "secret_ref"
TYPES = [(PLAIN, "a value of its own"), (BOUND, "a company variable")]
# Fields of a row that are shown again after an error; a typed value is not.
SHOWN = ("name", "type", "variable", "kept")
Json = Mapping[str, Any]


def as_values(env: Mapping[str, Json] | None) -> dict[str, str]:
    """Return the environment of a routine as the fields of its form have it."""
    values: dict[str, str] = {}
    for index, (name, binding) in enumerate(sorted((env or {}).items())):
        row = f"env.{index}."
        reference = {"variable": binding["name"]} if binding["type"] == BOUND else {}
        fields = {"name": name, "kept": name, "type": binding["type"], **reference}
        values |= {f"{row}{field}": text for field, text in fields.items()}
    return values


def in_words(env: Mapping[str, Json] | None) -> list[tuple[str, str]]:
    """Return each variable of an environment with what it holds; values are sealed, so nobody is shown one."""
    return [
        (name, f"the company variable {binding['name']}" if binding["type"] == BOUND else "a value of its own, sealed")
        for name, binding in sorted((env or {}).items())
    ]


def bindings_of(recorded: Json | None) -> dict[str, Json] | None:
    """Return an environment as the log has it in the form of the API."""
    if recorded is None:
        return None
    own = (recorded["sealed"] or {"names": []})["names"]
    bindings: dict[str, Json] = {name: {"type": PLAIN} for name in own}
    return bindings | {name: {"type": BOUND, "name": variable} for name, variable in recorded["references"].items()}


def typed_values(form: Form) -> dict[str, str]:
    """Return what was typed, but for the values, of which only that there was one."""
    values: dict[str, str] = {}
    for row in _filled_rows(form):
        values |= {f"{row}{field}": form.text(f"{row}{field}") for field in SHOWN}
        values |= {f"{row}again": "yes"} if form.text(f"{row}value") else {}
    return values


def rows_of(values: Mapping[str, str]) -> range:
    """Return the numbers of the rows that a form shows."""
    count = sum(1 for name in values if name.startswith("env.") and name.endswith(".name"))
    return range(min(count + SPARE_ROWS, MOST_ROWS))


def body(form: Form, errors: dict[str, str]) -> dict[str, Any]:
    """Return the field of the API, if the form has rows, and note what is missing in one."""
    if not form.has("env.0.name"):
        return {}
    bindings: dict[str, Json] = {}
    for row in _filled_rows(form):
        name, value, variable = form.text(f"{row}name").strip(), form.text(f"{row}value"), form.given(f"{row}variable")
        if not name or name in bindings:
            errors[f"{row}name"] = "Another row has this name." if name else "This has to be filled in."
        elif "\0" in name:
            errors[f"{row}name"] = "A character in it, U+0000, cannot be stored."
        if form.text(f"{row}type") not in dict(TYPES):
            errors[f"{row}type"] = f"Choose one of these: {', '.join(words for _, words in TYPES)}."
        if form.text(f"{row}type") == BOUND:
            bindings[name] = {"type": BOUND, "name": variable}
            if variable is None:
                errors[f"{row}variable"] = "Choose a variable."
            continue
        if not value and form.given(f"{row}kept") == name:
            value = MASK
        if not value:
            errors[f"{row}value"] = "Write its value. It is sealed and never shown again."
        bindings[name] = {"type": PLAIN, "value": value}
    return {"env": bindings or None}


def beside_rows(form: Form, errors: Mapping[str, str]) -> dict[str, str]:
    """Return errors of the API with those of variables by the fields of their rows."""
    fields = {}
    for row in _filled_rows(form):
        name = form.text(f"{row}name").strip()
        fields[f"env.{name}"] = f"{row}{'variable' if form.text(f'{row}type') == BOUND else 'name'}"
        if name and repr(name) in errors.get("env", ""):
            fields["env"] = f"{row}name"
    return {fields.get(name) or fields.get(".".join(name.split(".")[:2]), name): text for name, text in errors.items()}


def _filled_rows(form: Form) -> Iterator[str]:
    """Yield the beginnings of the fields of each row that is filled in; one that was there is removed by clearing its name."""
    for index in range(MOST_ROWS):
        row = f"env.{index}."
        if not form.has(f"{row}name"):
            return
        is_new = form.given(f"{row}kept") is None
        if form.given(f"{row}name") or (is_new and (form.text(f"{row}value") or form.given(f"{row}variable"))):
            yield row
