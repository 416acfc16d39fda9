"""Each module of use cases has a module of tests here, which has tests in it."""

import re
from pathlib import Path

HERE = Path(__file__).parent
MODULES = Path(__file__).parents[3] / "application" / "use_cases"


def test_each_module_of_use_cases_has_its_tests():
    modules = {path.stem for path in MODULES.rglob("*.py")} - {"__init__"}
    tests = {
        path.stem.removeprefix("test_")
        for path in HERE.rglob("test_*.py")
        if re.search(r"^def test_", path.read_text(), re.MULTILINE) and path.stem != Path(__file__).stem
    }

    assert modules == tests
