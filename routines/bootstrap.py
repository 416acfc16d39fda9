"""The only place that builds things: from settings to a system of parts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg_pool import ConnectionPool

from application.event_store.recorder import PostgresRecorder
from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from application.quotas import Quotas
from application.secrets.key_ring import KeyRing
from application.secrets.vault import Vault
from application.use_cases.board import keys
from domain.identity import FIRST_USER
from projections import catalogue, usage
from projections.engine import positions
from projections.engine.read_model import SCHEMA
from routines.clock import DatabaseClock
from routines.migrations import LIMITS, SERVICE, migrate
from routines.settings import Settings

Pool = ConnectionPool[psycopg.Connection[tuple[Any, ...]]]
CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 5.0
RECONNECT_TIMEOUT_S = 4.0  # the pool waits ever longer between its tries; after so long it begins anew


class System(msgspec.Struct, frozen=True):
    """The built parts that every process shares."""

    settings: Settings
    pool: Pool
    store: EventStore
    executor: Executor
    clock: DatabaseClock
    vault: Vault


@contextmanager
def system(settings: Settings) -> Iterator[System]:
    """A system over the database of the settings, closed at the end."""
    with _pool(settings) as pool:
        store = EventStore(PostgresRecorder(pool, settings.limits.read_batch_bytes), settings.limits)
        clock = DatabaseClock(pool)
        vault = Vault(pool, KeyRing(settings.key_file))
        quotas = Quotas(settings.limits, partial(_count, pool, clock), count_all=partial(_count_all, pool))
        executor = Executor(store, clock, vault, StreamCache(settings.limits), quotas)
        yield System(settings=settings, pool=pool, store=store, executor=executor, clock=clock, vault=vault)


def _count(pool: Pool, clock: DatabaseClock, quota: str, who: UUID, most: int) -> int:
    now = clock()
    with pool.connection() as conn:
        return usage.count(conn, quota, who, most, now)


def _count_all(pool: Pool, quota: str, least: int) -> Mapping[UUID, int]:
    with pool.connection() as conn:
        return usage.counts(conn, quota, least)


def prepare(settings: Settings) -> list[str]:
    """
    Roles, log, vault and read models, ready for every process. Raises CannotMigrate.

    Returns the names of the read models that are left to the projector, which rebuilds them while others work.
    """
    migrate(settings.database_url)
    with system(settings) as ready, ready.pool.connection() as conn:
        return positions.create(conn, catalogue.ALL, ready.store.after)


def make_keys(path: str) -> bool:
    """The key file of the vault where there is none; whether it was made. Raises VaultClosed if it is of no use."""
    ring = KeyRing(path)
    made = ring.create()
    ring.ids()
    return made


def first_board_token(settings: Settings) -> str | None:
    """The token of the first user, the first time; None ever after."""
    with system(settings) as ready:
        minted = ready.executor.attempt(keys.mint_first).result
    return minted.token if minted else None


def another_board_token(ready: System, name: str, user_id: UUID = FIRST_USER) -> str:
    """A further token for a user. Raises NotFound."""
    return ready.executor.attempt(lambda work: keys.mint_board_key(work, name, user_id)).result.token


def connect(settings: Settings) -> psycopg.Connection[tuple[Any, ...]]:
    """
    A connection of one's own, with the service's rights and limits, for work on read models.

    A commit on it does not wait for the disk: what a crash takes with it is folded again.
    """
    return psycopg.connect(settings.database_url, autocommit=True, **_kwargs(synchronous_commit="off"))


def _pool(settings: Settings) -> Pool:
    return ConnectionPool(
        settings.database_url,
        kwargs={"autocommit": True, **_kwargs()},
        min_size=2,
        max_size=settings.connections,
        timeout=POOL_TIMEOUT_S,
        reconnect_timeout=RECONNECT_TIMEOUT_S,
        open=False,
    )


def _kwargs(**more: str) -> dict[str, Any]:
    """A silent or dead peer is noticed within seconds; whoever we log in as, we act as the service."""
    options = {"role": SERVICE, "search_path": SCHEMA, **LIMITS, **more}
    return {
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "application_name": "routines",
    }
