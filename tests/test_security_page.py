"""The threat model names the tests that try what it claims: they are there."""

import re

import pytest

TESTS = re.compile(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`")
PAGES = ("SECURITY.md", "docs/security.md")


def test_every_test_that_the_threat_model_names_is_there(root):
    file, missing, many = None, [], 0
    for named, test in TESTS.findall(root.joinpath("docs/security.md").read_text()):
        file = named or file
        source = root.joinpath(file)
        many += 1
        if not source.exists() or (test and f"def {test}(" not in source.read_text()):
            missing.append(f"{file}::{test}")

    assert missing == []
    assert many > 20


@pytest.mark.parametrize("page", PAGES)
def test_the_links_to_a_part_of_these_pages_lead_there(root, page):
    here = root.joinpath(page)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([\w-]+)\)", here.read_text()):
        linked = here.parent.joinpath(target) if target else here
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
