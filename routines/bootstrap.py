"""Builds the system from the settings. Nothing else in the code constructs the parts that processes share."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from uuid import UUID

import msgspec

from application.event_store.recorder import PostgresRecorder
from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from application.quotas.delivery_costs import DeliveryCosts
from application.quotas.quotas import Quotas
from application.secrets.key_ring import KeyRing
from application.secrets.vault import Vault
from application.use_cases.board import keys
from domain.identity import FIRST_USER
from domain.values import EndpointSettings
from projections import catalogue, usage
from projections.engine import positions
from projections.engine.read_model import SCHEMA
from routines.clock import DatabaseClock
from routines.connections import Pool, Profile, Session
from routines.migrations import LIMITS, SERVICE, TRANSACTION_LIMIT, migrate
from routines.settings import Settings

AS_SERVICE = {"role": SERVICE, "search_path": SCHEMA, **LIMITS}  # whatever the login
DECIDING = Profile(settings=AS_SERVICE, transaction_timeout=TRANSACTION_LIMIT)
FOLDING = Profile(
    settings={**AS_SERVICE, "synchronous_commit": "off"}, transaction_timeout=TRANSACTION_LIMIT, durable=False
)


class System(msgspec.Struct, frozen=True):
    """The parts that every process needs, built from one set of settings."""

    settings: Settings
    pool: Pool
    store: EventStore
    executor: Executor
    clock: DatabaseClock
    vault: Vault


@contextmanager
def system(settings: Settings) -> Iterator[System]:
    """Yield a system over the database of the settings, and close its connections at the end."""
    with Pool(settings.database_url, DECIDING, settings.connections) as pool:
        store = EventStore(PostgresRecorder(pool, settings.limits.read_batch_bytes), settings.limits)
        clock = DatabaseClock(pool)
        vault = Vault(pool, KeyRing(settings.key_file))
        quotas = Quotas(
            settings.limits,
            partial(_count, pool, clock),
            count_all=partial(_count_all, pool),
            delivery_bytes=DeliveryCosts(partial(_subscriptions, pool)),
        )
        executor = Executor(store, clock, vault, StreamCache(settings.limits), quotas)
        yield System(settings=settings, pool=pool, store=store, executor=executor, clock=clock, vault=vault)


def _count(pool: Pool, clock: DatabaseClock, quota: str, who: UUID, most: int) -> int:
    now = clock()
    with pool.connection() as conn:
        return usage.count(conn, quota, who, most, now)


def _count_all(pool: Pool, quota: str, least: int) -> Mapping[UUID, int]:
    with pool.connection() as conn:
        return usage.counts(conn, quota, least)


def _subscriptions(pool: Pool, companies: Collection[UUID]) -> Mapping[UUID, Sequence[EndpointSettings]]:
    with pool.connection() as conn:
        return usage.subscriptions(conn, companies)


def prepare(settings: Settings) -> list[str]:
    """
    Prepare the roles, the log, the vault and the read models of the database. Raises CannotMigrate.

    Returns the names of the outdated read models, which the projector rebuilds while the other processes work.
    """
    migrate(settings.database_url)
    with system(settings) as ready, ready.pool.connection() as conn:
        return positions.create(conn, catalogue.ALL, ready.store.after)


def make_keys(path: str) -> bool:
    """Make the vault's key file unless there is one; return whether it was made. Raises VaultClosed if unusable."""
    ring = KeyRing(path)
    is_new = ring.create()
    ring.ids()
    return is_new


def first_board_token(settings: Settings) -> str | None:
    """Return the token of the first user at the first call for a database; None at later ones."""
    with system(settings) as ready:
        key = ready.executor.attempt(keys.mint_first).result
    return key.token if key else None


def another_board_token(ready: System, name: str, user_id: UUID = FIRST_USER) -> str:
    """Mint a further key for a user and return its token. Raises NotFound when there is no such user."""
    return ready.executor.attempt(lambda work: keys.mint_board_key(work, name, user_id)).result.token


def connect(settings: Settings) -> Session:
    """
    Open a connection outside the pool, with the rights and limits of the service, for work on read models.

    A commit on it does not wait for the disk (synchronous_commit is off): what a crash loses is folded again.
    """
    return FOLDING.connect(settings.database_url)
