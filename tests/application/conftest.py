"""What the tests of the application share."""

import pytest

from routines import bootstrap
from routines.settings import Settings
from tests.running import copied_database


@pytest.fixture(scope="module")
def shared_system(postgres, template):
    """For all tests of a module whose streams are their own."""
    with (
        copied_database(postgres, template) as name,
        bootstrap.system(Settings(database_url=postgres.url("routines_service", name))) as system,
    ):
        yield system
