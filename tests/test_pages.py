"""What the pages for those who change the code name is there."""

import re

import pytest

NAMED = re.compile(r"`((?:\w+/)+(?:\w+\.\w+)?)`|\]\(([^)#:]+)(?:#[\w-]+)?\)")
TARGETS = re.compile(r"`make ([a-z-]+)")


@pytest.fixture(params=["CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/decisions/README.md"])
def page(root, request):
    return root / request.param


def test_a_file_that_a_page_names_is_there(root, page):
    named = [(root / path) if path else (page.parent / link) for path, link in NAMED.findall(page.read_text())]

    assert [] == [path.relative_to(root).as_posix() for path in named if not path.exists()]


def test_a_target_of_make_that_a_page_names_is_there(root, page):
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))

    assert set() == set(TARGETS.findall(page.read_text())) - targets
