"""
In which order processes that share the tests run them: what takes longest first, so that nobody is left alone with it.

`--dist worksteal` of pytest-xdist gives each process the same number of tests, one after the other of the order, and takes
away from the end of what a process has when another has nothing left. So each process begins with long tests, and what
is left over for the end are short ones.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

# Files that are kept together, since their tests share what takes long to start; each line takes one process some minutes.
BEGINNINGS = (
    (
        "tests/acceptance/test_faults.py",
        "tests/acceptance/test_up.py",
        "tests/acceptance/test_exactly_once.py",
        "tests/domain/laws/test_any_order.py",
    ),
    (
        # What changes its account is forked: that is cheap as long as the process of the tests is small.
        "tests/routines/postgres/test_cluster.py",
        "tests/routines/test_restore.py",
        "tests/acceptance/test_schemathesis.py",
        "tests/web/jetty/test_schemathesis.py",
        "tests/acceptance/test_load.py",
        "tests/web/openapi/test_node_tools.py",
    ),
    (
        "tests/acceptance/test_audit_proof.py",
        "tests/acceptance/test_clients.py",
        "tests/acceptance/test_canaries.py",  # beside what waits for the next full minute
        "tests/acceptance/test_readme.py",
        "tests/acceptance/test_demo.py",
        "tests/acceptance/test_operate.py",
        "tests/web/board/in_a_browser/test_barriers.py",
        "tests/web/board/in_a_browser/test_journeys.py",
        "tests/web/board/in_a_browser/test_live_pages.py",
    ),
)


def sort(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """The same tests, so that each process begins with long ones."""
    files = dict[str, list[pytest.Item]]()
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    first: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for number, paths in enumerate(BEGINNINGS):
        first[number % processes] += [item for path in paths for item in files.pop(path, [])]
    others = [item for of_file in files.values() for item in of_file]
    result: list[pytest.Item] = []
    for number, begin in enumerate(first):
        share = (len(items) - len(result)) // (processes - number)
        many = max(0, share - len(begin))
        result += begin + others[:many]
        del others[:many]
    return result + others


def choose_modules(root: Path, number: int, processes: int) -> list[str]:
    """The names of the modules of tests that the process of this number compiles."""
    paths = sorted((root / "tests").rglob("test_*.py"))[number::processes]
    return [".".join(path.relative_to(root).with_suffix("").parts) for path in paths]
