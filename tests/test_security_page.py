"""The threat model names the tests that try what it claims: they are there."""

import re

TESTS = re.compile(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`")


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
