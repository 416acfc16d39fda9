"""A real Postgres for the whole run, a database of its own for each test that asks, one running API; all files in memory."""

import atexit
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import structlog
from hypothesis import settings as hypothesis_settings
from litestar._signature import SignatureModel
from litestar.utils.signature import ParsedSignature

from application.event_store.in_memory import MemoryRecorder
from application.event_store.store import EventStore
from domain.bounds.limits import MIB, Limits
from processes import wakeup
from processes.scheduler.scheduler import Scheduler
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres import cluster
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests import order
from tests.api import Api
from tests.clusters import copying
from tests.running import (
    allow_several_systems,
    connect_superuser,
    copied_database,
    execute_as_superuser,
    projecting,
    serving,
)

TEMPLATE = "routines_template"
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 * 2**30  # free ones, before the files of the tests are kept in memory

# The suite tries the same examples each time; `make fuzz`, which sets SEED, tries others.
for name, is_fixed in (("suite", True), ("campaign", False)):
    hypothesis_settings.register_profile(name, derandomize=is_fixed, database=None, deadline=None, print_blob=True)
hypothesis_settings.load_profile("campaign" if "SEED" in os.environ else "suite")

# A thousand databases and a hundred clusters are half a million files: on a disk they take half of the processor's time.
if (
    MEMORY.is_dir()
    and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC  # copies of Postgres's programs are among them
):
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# All that is collected and imported stays until the end, so nothing is gained by looking for cycles among it.
gc.set_threshold(100_000, 50, 100)

# Lines are written as plain text: structlog's own way for terminals, with frames and colours, takes longer than many a test.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
    ]
)

# Every client reads all certificates of the world, which takes longer than a request: read them once.
httpx._transports.default.create_ssl_context = cache(httpx.create_ssl_context)  # type: ignore[attr-defined]

# Further applications have the same functions as the first, whose signatures are half of what it takes to make one.
_read_signature, _make_signature_model = ParsedSignature.from_fn, SignatureModel.create
_signatures: dict[Any, ParsedSignature] = {}
_signature_models: dict[Any, tuple[type[SignatureModel], ParsedSignature]] = {}


def _read_signature_once(function: Any, names: dict[str, Any]) -> ParsedSignature:
    key = getattr(function, "__code__", function), tuple(map(id, function.__annotations__.values()))
    if key not in _signatures:
        _signatures[key] = _read_signature(function, names)
    return _signatures[key]


def _make_signature_model_once(*, parsed_signature: ParsedSignature, **of: Any) -> type[SignatureModel]:
    key = id(parsed_signature), frozenset(of["dependency_name_set"]), of.get("data_dto")
    if key not in _signature_models:  # with the signature, so that no other one gets its id
        _signature_models[key] = _make_signature_model(parsed_signature=parsed_signature, **of), parsed_signature
    return _signature_models[key][0]


ParsedSignature.from_fn = _read_signature_once  # type: ignore[assignment,method-assign]
SignatureModel.create = _make_signature_model_once  # type: ignore[assignment,method-assign]

# To give back all memory, object by object, takes a process of the tests seconds at its end.
if "PYTEST_XDIST_WORKER" in os.environ:
    atexit.register(os._exit, 0)

# Every loop that a test starts is stopped at its end.
wakeup.LOOK_S = 0.05

# A line for each request would be formatted by pytest four times, for nobody, once some library has turned such lines on.
for chatty in ("httpx", "uvicorn.access"):
    logging.getLogger(chatty).setLevel(logging.WARNING)


def pytest_collection(session: pytest.Session) -> None:
    """All processes need all modules of tests: in a fresh clone each compiles a part of them, by importing it first."""
    worker = getattr(session.config, "workerinput", None)
    if worker and session.config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        number = int(worker["workerid"].removeprefix("gw"))
        for module in order.choose_modules(session.config.rootpath, number, worker["workercount"]):
            with suppress(Exception):  # one that fails is reported when it is collected
                import_module(module)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, each begins with long ones."""
    if processes := getattr(config, "workerinput", {}).get("workercount"):
        items[:] = order.sort(items, processes)


def pytest_collection_finish() -> None:
    """Look for no cycles any more among the tests themselves."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _clusters_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """initdb runs once, and clusters that their account cannot reach, since pytest's directory is closed, are kept beside it."""
    template = tmp_path_factory.mktemp("cluster") / "data"
    with _reachable_directory() as reachable, pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "REACHABLE", str(reachable))
        patch.setattr(LocalPostgres, "_run_initdb", copying(LocalPostgres._run_initdb, template))
        yield
    _remove(_clusters_outside(tmp_path_factory.getbasetemp()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A test's directory goes with its end, and so do the clusters that it links to."""
    directory = item.funcargs.get("tmp_path") if isinstance(item, pytest.Function) else None
    clusters = _clusters_outside(directory) if isinstance(directory, Path) else []
    yield
    _remove(clusters)


def _clusters_outside(directory: Path) -> list[Path]:
    return [link.resolve() for link in directory.rglob("postgres") if link.is_symlink()]


def _remove(clusters: list[Path]) -> None:
    for directory in clusters:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """A Postgres that forgets on a crash, and is quick."""
    roles = ("postgres", "routines_service", "routines_auditor", "routines_owner", "web_of_acme")
    with _reachable_directory() as directory:
        local = LocalPostgres(directory, durable=False, roles=roles)
        local.start()
        allow_several_systems(local)
        yield local
        connect_superuser(local).close()
        local.stop()


@contextmanager
def _reachable_directory() -> Iterator[Path]:
    """Where the account of Postgres may write."""
    with tempfile.TemporaryDirectory(prefix="routines-tests-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture(scope="session")
def template(postgres: LocalPostgres) -> str:
    """A prepared database, to be copied."""
    execute_as_superuser(postgres, "CREATE DATABASE {}", TEMPLATE)
    bootstrap.prepare(Settings(database_url=postgres.url("postgres", TEMPLATE)))
    with psycopg.connect(postgres.url("postgres", TEMPLATE), autocommit=True) as conn:
        conn.execute("UPDATE log.rules SET max_clock_difference = NULL")  # tests have clocks of their own
    return TEMPLATE


@pytest.fixture
def copied(template: str) -> str:
    """What the database of a test is a copy of."""
    return template


@pytest.fixture
def admin_url(postgres: LocalPostgres, copied: str) -> Iterator[str]:
    """The superuser's URL of a fresh database."""
    with copied_database(postgres, copied) as name:
        yield postgres.url("postgres", name)


@pytest.fixture
def settings(admin_url: str) -> Settings:
    """The service's settings over the fresh database."""
    return Settings(database_url=admin_url.replace("postgres@", "routines_service@"))


@pytest.fixture
def system(request: pytest.FixtureRequest, settings: Settings) -> Iterator[System]:
    with bootstrap.system(settings) as ready:
        if "conn" in request.fixturenames:
            ready.pool.resize(2, settings.connections)  # the test has one, and what it tests the other
        ready.pool.wait()  # it uses `random` meanwhile, which Hypothesis takes for a fault of a strategy
        yield ready


@pytest.fixture
def owner(admin_url: str) -> Iterator[System]:
    """The same over the login of the database's owner, whose grants the log does not check."""
    with bootstrap.system(Settings(database_url=admin_url)) as ready:
        ready.pool.wait()
        yield ready


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> EventStore:
    """The same tests over both."""
    if request.param == "memory":
        return EventStore(MemoryRecorder())
    system: System = request.getfixturevalue("system")
    return system.store


@pytest.fixture(scope="session")
def api(postgres: LocalPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A running API with its projector, for the whole run: each test makes a company of its own."""
    key_file = str(tmp_path_factory.mktemp("keys") / "secret.keys")
    bootstrap.make_keys(key_file)
    with copied_database(postgres, template) as name:
        limits = Limits(
            max_company_endpoints=100,  # the tests of access make one for each caller
            max_company_bytes_per_minute=1024 * MIB,  # many tests write within a minute with the same key
            max_key_bytes_per_minute=1024 * MIB,
        )
        settings = Settings(database_url=postgres.url("routines_service", name), key_file=key_file, limits=limits)
        owner = msgspec.structs.replace(settings, database_url=postgres.url("postgres", name))
        with (
            bootstrap.system(settings) as system,
            bootstrap.system(owner) as operator,
            projecting(system),
            serving(system) as url,
        ):
            system.pool.resize(2, settings.connections)  # the server's threads use them beside the test
            system.pool.wait()
            token = bootstrap.first_board_token(settings)
            client = Api(url=url, token=token or "", system=system, operator=operator)
            yield client
            client.close()


@pytest.fixture
def nothing_overdue(api: Api) -> None:
    """Schedules that other tests left, and that have come due meanwhile, are fired: nothing else fires them there."""
    scheduler = Scheduler(api.system.executor, api.system.store.after, batch=50)
    with bootstrap.connect(api.system.settings) as conn:
        while scheduler.tick(conn):
            pass


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent
