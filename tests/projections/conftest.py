"""A connection with the service's rights to a database of one's own, and a story to tell in it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec
import pytest

from application.access import Caller
from application.secrets.key_ring import KeyRing
from application.secrets.vault import Vault
from domain.recorded import Recorded
from projections.engine.table import Connection
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests.projections.sharing import Shared
from tests.projections.story import Story
from tests.running import copied_database, execute_as_superuser

TOLD, PROJECTED = "told_template", "projected_template"  # databases to be copied


class Telling(msgspec.Struct):
    """The whole story, told once; and what whoever goes on with a copy of it must know."""

    log: list[Recorded]
    key_file: Path
    caller: Caller
    ids: dict[str, object]
    now: datetime


@pytest.fixture(scope="session")
def story_databases(postgres: LocalPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Telling:
    """Leaves two databases: in one the story is told, in the other the read models have it, too."""
    key_file = tmp_path_factory.mktemp("story") / "secret.keys"
    ring = KeyRing(str(key_file))
    ring.create()
    execute_as_superuser(postgres, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", TOLD, template)
    settings = Settings(database_url=postgres.url("routines_service", TOLD))
    with bootstrap.system(settings) as system, bootstrap.connect(settings) as conn:
        story = Story(system.store, conn, Vault(system.pool, ring)).tell()
        log = list(system.store.history())
    execute_as_superuser(postgres, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", PROJECTED, TOLD)
    settings = Settings(database_url=postgres.url("routines_service", PROJECTED))
    with bootstrap.system(settings) as system, bootstrap.connect(settings) as conn:
        Story(system.store, conn, Vault(system.pool, ring), story.caller).project_all()
    return Telling(log=log, key_file=key_file, caller=story.caller, ids=story.ids, now=story.now)


@pytest.fixture
def copied(request: pytest.FixtureRequest, template: str) -> str:
    """A database in which the story is told already, for who asks for that."""
    for fixture, database in (("projected_story", PROJECTED), ("told_story", TOLD)):
        if fixture in request.fixturenames:
            request.getfixturevalue("story_databases")
            return database
    return template


@pytest.fixture(scope="session")
def share_copy(postgres: LocalPostgres) -> Iterator[Callable[[str], Shared]]:
    """Gives the one copy of a database that all tests share which leave it as it was."""
    with ExitStack() as stack:

        @cache
        def open_shared(copied: str) -> Shared:
            name = stack.enter_context(copied_database(postgres, copied))
            system = stack.enter_context(
                bootstrap.system(Settings(database_url=postgres.url("routines_service", name)))
            )
            conn = stack.enter_context(bootstrap.connect(system.settings))
            return Shared(postgres.url("postgres", name), system, conn)

        yield open_shared


@pytest.fixture
def shared(share_copy: Callable[[str], Shared], copied: str) -> Shared:
    """A test that asks for this leaves its database as it was, since others have it, too."""
    return share_copy(copied)


def shared_by(request: pytest.FixtureRequest) -> Shared | None:
    """The database that the test shares with others, if it does."""
    return request.getfixturevalue("shared") if "shared" in request.fixturenames else None


@pytest.fixture
def admin_url(request: pytest.FixtureRequest) -> str:
    database = shared_by(request)
    return database.admin_url if database else request.getfixturevalue("admin_url")


@pytest.fixture
def system(request: pytest.FixtureRequest) -> System:
    database = shared_by(request)
    return database.system if database else request.getfixturevalue("system")


@pytest.fixture
def conn(request: pytest.FixtureRequest, system: System) -> Iterator[Connection]:
    if database := shared_by(request):
        yield database.conn
        return
    with system.pool.connection() as conn:
        yield conn


@pytest.fixture
def story(system: System, conn: Connection, tmp_path: Path) -> Story:
    """One that begins."""
    ring = KeyRing(str(tmp_path / "secret.keys"))
    ring.create()
    return Story(system.store, conn, Vault(system.pool, ring))


@pytest.fixture
def told_story(system: System, conn: Connection, story_databases: Telling) -> Story:
    """The whole story, which may go on."""
    story = Story(
        system.store, conn, Vault(system.pool, KeyRing(str(story_databases.key_file))), story_databases.caller
    )
    story.now, story.ids = story_databases.now, dict(story_databases.ids)
    return story


@pytest.fixture
def projected_story(told_story: Story) -> Story:
    """The same, and every read model is at the head of its log."""
    return told_story
