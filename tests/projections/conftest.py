"""A connection with the service's rights to a database of one's own, and a story to tell in it."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from application.secrets.key_ring import KeyRing
from application.secrets.vault import Vault
from projections.engine.read_model import Connection
from routines import bootstrap
from routines.bootstrap import System
from tests.projections.story import Story


@pytest.fixture
def conn(system: System, admin_url: str) -> Iterator[Connection]:
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f'GRANT CREATE ON DATABASE "{admin.info.dbname}" TO routines_service')  # as migrated
    with bootstrap.connect(system.settings) as conn:
        yield conn


@pytest.fixture
def story(system: System, conn: Connection, tmp_path: Path) -> Story:
    ring = KeyRing(str(tmp_path / "secret.keys"))
    ring.create()
    return Story(system.store, conn, Vault(system.pool, ring))
