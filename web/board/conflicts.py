"""
Forms that several people may have open at once: nobody's change is replaced by somebody who has not seen it.

A form that changes something carries a digest of its fields as they were shown. Whoever sends it when the fields have become
others is shown both versions, and nothing is saved. What happens between that comparison and the change itself makes the
API refuse the change (`Api.unchanged_since`); then the form is shown once more with what was typed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from web.board.forms import Form

CONFLICT = 409
BASE = "base"  # the field with the digest


class Difference(NamedTuple):
    """A field of a form that differs from what is saved now."""

    name: str
    mine: str
    saved: str


def base_of(values: Mapping[str, str]) -> str:
    """Return the digest of the fields of a form as they are shown."""
    return hashlib.sha256(msgspec.json.encode(sorted(values.items()))).hexdigest()[:32]


def differences(form: Form, mine: Mapping[str, str], saved_values: Mapping[str, str]) -> list[Difference]:
    """Return the fields in which what was typed differs from what is saved, if the form showed something else; else none."""
    return [] if form.text(BASE) == base_of(saved_values) else changed_fields(mine, saved_values)


def base_after(form: Form, theirs: Sequence[Difference], saved_values: Mapping[str, str]) -> str:
    """Return the digest that a form carries: of what is saved, which it shows or has just shown; until then what it carried."""
    return base_of(saved_values) if theirs or not form.has(BASE) else form.text(BASE)


def changed_fields(mine: Mapping[str, str], saved_values: Mapping[str, str]) -> list[Difference]:
    """Return the fields of what is saved in which what was typed differs."""
    return [
        Difference(name, mine.get(name, ""), saved_values[name])
        for name in saved_values
        if mine.get(name, "") != saved_values[name]
    ]


def in_words(theirs: Sequence[Difference], options: Mapping[str, Iterable[tuple[str, str]]]) -> list[Difference]:
    """Return differences with the words of what one chooses from, by field, in place of the ids that a form sends."""
    words = {name: dict(choices) for name, choices in options.items()}
    return [
        one._replace(mine=own_words.get(one.mine, one.mine), saved=own_words.get(one.saved, one.saved))
        for one in theirs
        for own_words in [words.get(one.name, {})]
    ]
