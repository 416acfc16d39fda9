"""`routines init` on a Postgres that is not ours."""

from collections.abc import Iterator

import psycopg
import pytest

from routines import bootstrap
from routines.migrations import CannotMigrate
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """A Postgres with a database whose owner may create roles, and is no superuser."""
    roles = ("postgres", "landlord", "nobody_special", "routines_service")
    local = LocalPostgres(tmp_path_factory.mktemp("foreign"), durable=False, roles=roles)
    with psycopg.connect(local.start(), autocommit=True) as conn:
        conn.execute("CREATE ROLE landlord LOGIN CREATEROLE")
        conn.execute("CREATE ROLE nobody_special LOGIN")
        conn.execute("CREATE DATABASE house OWNER landlord")
    yield local
    local.stop()


def test_somebody_without_rights_is_told_what_to_do(foreign: LocalPostgres):
    with pytest.raises(CannotMigrate, match="owner first"):
        bootstrap.prepare(Settings(database_url=foreign.url("nobody_special", "house")))


def test_the_owner_of_a_database_prepares_it_and_everyone_works_as_the_service(foreign: LocalPostgres):
    owner = Settings(database_url=foreign.url("landlord", "house"))
    service = Settings(database_url=foreign.url("routines_service", "house"))

    bootstrap.prepare(owner)
    token = bootstrap.first_board_token(owner)
    bootstrap.prepare(owner)
    bootstrap.prepare(service)

    assert token is not None
    assert bootstrap.first_board_token(service) is None
    with bootstrap.connect(owner) as conn:
        assert [("routines_service",)] == conn.execute("SELECT current_user").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("UPDATE log.events SET name = 'x'")
