"""docs/worker-environment.md shows every name that a worker distrusts, with the reason: the table of the code."""

import re

from routines.worker.environment import ORDERS, PATTERNS, is_dangerous

ROW = re.compile(r"^\| (.+) \| (`.+`) \|$", re.MULTILINE)


def test_the_page_has_the_table_of_the_code(root):
    rows = ROW.findall((root / "docs/worker-environment.md").read_text())

    assert [(order.reason, order.names.split()) for order in ORDERS] == [
        (reason, re.findall(r"`([^`]+)`", names)) for reason, names in rows
    ]


def test_each_name_has_one_reason_and_is_distrusted():
    assert len(PATTERNS) == len(set(PATTERNS))
    for pattern in PATTERNS:
        assert is_dangerous(pattern.replace("*", "x"))
        assert is_dangerous(pattern.replace("*", "").lower())
