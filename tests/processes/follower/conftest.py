"""A company whose routines are recorded at the time of the database."""

import pytest

from tests.processes.due import CompanyFixture


@pytest.fixture
def company_fixture(system):
    return CompanyFixture(system.executor)
