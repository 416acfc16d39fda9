"""An installation in memory, for the tests of use cases: no database, no HTTP, no waiting."""

import pytest

from tests.application.use_cases.installation import Installation


@pytest.fixture
def app():
    return Installation()
