"""The order in which several processes run the tests."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.order import BEGINNINGS, choose_modules, sort

LONG = [path for paths in BEGINNINGS for path in paths]


def make_items(paths):
    return [SimpleNamespace(nodeid=f"{path}::test_{number}") for path in paths for number in range(2)]


def files_of(items):
    return list(dict.fromkeys(item.nodeid.partition("::")[0] for item in items))


def test_every_long_file_is_there_and_begins_one_process(root: Path):
    assert [] == [path for path in LONG if not (root / path).is_file()]
    assert len(LONG) == len(set(LONG))


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_each_process_begins_with_its_long_files_and_no_test_is_lost(processes):
    items = make_items([f"tests/test_{number}.py" for number in range(60)] + sorted(LONG))

    ordered = sort(items, processes)

    assert sorted(id(item) for item in items) == sorted(id(item) for item in ordered)
    share, ends = len(items), 0
    for number in range(processes):
        begin = [path for paths in BEGINNINGS[number::processes] for path in paths]
        assert begin == files_of(ordered[ends:])[: len(begin)]
        ends += (share - ends) // (processes - number)


def test_a_few_tests_are_all_there_however_many_processes_there_are():
    items = make_items(LONG[:3])

    assert items == sort(items, 8)


def test_each_module_of_tests_is_compiled_by_one_process(root: Path):
    modules = [module for number in range(4) for module in choose_modules(root, number, 4)]

    assert __name__ in modules
    assert len(set(modules)) == len(modules) == len(list((root / "tests").rglob("test_*.py")))
