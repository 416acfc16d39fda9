"""docs/limits.md names every limit that an operator may change, with its default."""

import re

import msgspec

from domain.bounds.limits import GIB, KIB, MIB, Limits

ROW = re.compile(r"^\| `ROUTINES_(\w+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
UNITS = {"": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}


def value(text):
    if text.strip() == "false":
        return False
    amount, _, unit = text.strip().partition(" ")
    return float(amount.replace(",", "")) * UNITS[unit]


def test_every_limit_has_a_row_with_its_default(root):
    rows = {name.lower(): value(default) for name, default, _ in ROW.findall((root / "docs/limits.md").read_text())}

    assert {field.name: field.default for field in msgspec.structs.fields(Limits)} == rows


def test_every_row_says_what_it_bounds(root):
    assert all(what.strip() for _, _, what in ROW.findall((root / "docs/limits.md").read_text()))
