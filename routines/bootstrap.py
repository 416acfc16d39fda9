"""Builds the system from the settings. Nothing else in the code constructs the parts that processes share."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from uuid import UUID

import msgspec

from application.event_store.data_keys import DataKeys
from application.event_store.recorder import PostgresRecorder
from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from application.outage import Outage
from application.proof import log_key, signed_heads
from application.quotas.delivery_costs import DeliveryCosts
from application.quotas.quotas import Quotas
from application.secrets.key_ring import KeyRing, VaultClosed
from application.secrets.vault import Vault
from application.use_cases.board import keys
from domain.identity import FIRST_USER
from domain.routines.budget import Owner, WindowSpending
from domain.values import Budget, EndpointSettings
from processes.notary import Notary
from projections import catalogue, log_views, usage
from projections.engine import installed
from projections.engine.table import SCHEMA
from routines import migrations, roles
from routines.clock import DatabaseClock
from routines.connections import COMPRESS_FAST, PLANNED_ONCE, Pool, Profile, Session
from routines.migrations import LIMITS, TRANSACTION_LIMIT
from routines.prerequisites import CannotMigrate
from routines.roles import OWNER, SERVICE
from routines.settings import Settings

AS_SERVICE = {"role": SERVICE, "search_path": SCHEMA, **LIMITS}  # whatever the login
# How long a thread waits for an answer: longer than TRANSACTION_LIMIT and than the limit of an export, which Postgres (since
# version 17) keeps unless it hangs.
ANSWER_S, SPARE_S = 30.0, 10.0
DECIDING = Profile(settings=AS_SERVICE, transaction_timeout=TRANSACTION_LIMIT)
FOLDING = Profile(
    settings={**AS_SERVICE, "synchronous_commit": "off"}, transaction_timeout=TRANSACTION_LIMIT, durable=False
)
# What the projector asks finds its rows by their keys, batch after batch.
PROJECTING = msgspec.structs.replace(FOLDING, settings={**FOLDING.settings, **PLANNED_ONCE})
# The rights are the login's own, and whoever reads the whole log takes as long as that takes.
READING = Profile(settings={"search_path": SCHEMA}, application_name="routines audit", writes=False, durable=False)
DESTROYING = Profile(settings={"role": OWNER, **LIMITS})  # the keys of what is erased
# A projection of somebody's own also has the login's own rights, so that it may be given less than the service has.
OWN_PROJECTION = Profile(application_name="routines own projection", durable=False)


class System(msgspec.Struct, frozen=True):
    """The parts that every process needs, built from one set of settings."""

    settings: Settings
    pool: Pool
    store: EventStore
    executor: Executor
    clock: DatabaseClock
    vault: Vault
    outage: Outage


@contextmanager
def system(settings: Settings, *, tells_outages: bool = False, opens: bool = True) -> Iterator[System]:
    """
    Yield a system over the database of the settings, and close its connections at the end.

    What works on through outages of the database tells them in its log. Unless the system `opens`, it takes the database
    for one that is away until its pool is opened.
    """
    outage = Outage(is_told=tells_outages)
    answer_s = max(ANSWER_S, settings.limits.export_limit_s + SPARE_S)
    deciding = msgspec.structs.replace(DECIDING, answer_s=answer_s)
    with closing(Pool(settings.database_url, deciding, settings.connections, outage)) as pool:
        if opens:
            pool.open()
        keys, cache = DataKeys(pool), StreamCache(settings.limits)
        keys.on_erasure(cache.clear)
        store = EventStore(PostgresRecorder(pool, settings.limits.read_batch_bytes), settings.limits, keys)
        clock = DatabaseClock(pool)
        vault = Vault(pool, KeyRing(settings.key_file))
        keys.on_erasure(vault.close_opened)
        quotas = Quotas(
            settings.limits,
            partial(_count, pool, clock),
            count_all=partial(_count_all, pool),
            delivery_bytes=DeliveryCosts(partial(_read_subscriptions, pool)),
        )
        executor = Executor(store, clock, vault, cache, quotas, partial(_read_spent, pool))
        yield System(
            settings=settings, pool=pool, store=store, executor=executor, clock=clock, vault=vault, outage=outage
        )


def _count(pool: Pool, clock: DatabaseClock, quota: str, owner_id: UUID, most: int) -> int:
    now = clock()
    with pool.connection() as conn:
        return usage.count(conn, quota, owner_id, most, now)


def _read_spent(pool: Pool, owner: Owner, owner_id: UUID, budget: Budget, now: datetime) -> WindowSpending:
    with pool.connection() as conn:
        return usage.read_spending(conn, owner, owner_id, budget, now)


def _count_all(pool: Pool, quota: str, least: int) -> Mapping[UUID, int]:
    with pool.connection() as conn:
        return usage.counts(conn, quota, least)


def _read_subscriptions(pool: Pool, companies: Collection[UUID]) -> Mapping[UUID, Sequence[EndpointSettings]]:
    with pool.connection() as conn:
        return usage.subscriptions(conn, companies)


def prepare(settings: Settings) -> list[str]:
    """
    Prepare the roles, the log, the vault and the read models of the database. Raises CannotMigrate.

    Returns the names of the outdated read models, which the projector rebuilds while the other processes work.
    """
    migrations.migrate(settings.database_url)
    with system(settings) as ready, ready.pool.connection() as conn:
        outdated_models = installed.create(conn, catalogue.ALL, ready.store.after)
        installed.define_views(conn, catalogue.ALL, log_views.OF_LOG)
        return outdated_models


def check_prepared(settings: Settings) -> None:
    """
    Raise CannotMigrate unless the database is as `prepare` leaves it, and psycopg.OperationalError if it is away.

    Asks with the rights of the login first: the role of the service may be missing.
    """
    with READING.connect(settings.database_url) as conn:
        migrations.check_migrated(conn)
    with connect(settings) as conn:
        if not installed.are_recorded(conn, catalogue.ALL):
            raise CannotMigrate(migrations.IN_PART.format(conn.info.dbname))


def is_owner(settings: Settings) -> bool:
    """Return whether the login may act as the owner of the log, whose grants the log does not check."""
    with READING.connect(settings.database_url) as conn:
        return roles.is_owner(conn)


def make_keys(path: str) -> bool:
    """Make the vault's key file unless there is one; return whether it was made. Raises VaultClosed if unusable."""
    ring = KeyRing(path)
    is_new = ring.create()
    ring.ids()
    return is_new


def make_log_key(path: str) -> bool:
    """Make the key that signs the log's checkpoints unless there is one; return whether it was made. Raises OSError."""
    is_new = log_key.create(Path(path), log_key.new_name())
    if is_new:
        signed_heads.create(Path(path))
    return is_new


def replace_log_key(path: Path, name: str | None) -> Path | None:
    """Make a new key that signs checkpoints; return where the one before is kept, if there was one. Raises OSError."""
    old_key_path = None
    if path.exists():
        number = next(number for number in count(1) if not path.with_name(f"{path.name}.{number}").exists())
        old_key_path = path.with_name(f"{path.name}.{number}")
        path.rename(old_key_path)
        with suppress(FileNotFoundError):
            signed_heads.path_beside(path).rename(signed_heads.path_beside(old_key_path))
    log_key.create(path, name or log_key.new_name())
    signed_heads.create(path)
    if old_key_path is not None and os.geteuid() == 0:
        # Root makes the key for the account that owns the present key file.
        for file in (path, signed_heads.path_beside(path)):
            os.chown(file, old_key_path.stat().st_uid, old_key_path.stat().st_gid)
    return old_key_path


def notary(settings: Settings) -> Notary:
    """Return the notary of these settings; without a key file it signs nothing."""
    key_file, directory = (path and Path(path) for path in (settings.log_key_file, settings.checkpoint_dir))
    return Notary(key_file or None, settings.checkpoint_s, directory or None)


def check_keys(settings: Settings) -> list[str]:
    """
    Return the ids of keys that encrypt secrets and are missing from the key file.

    Raises VaultClosed when the file is not there although secrets need it: a new one would not open them.
    """
    with system(settings) as ready:
        path, in_use = ready.vault.ring.path, ready.vault.key_ids()
        if path is None or not in_use:
            return []
        if not path.exists():
            raise VaultClosed(
                f"{path} is not there, and secrets in the database are encrypted under {', '.join(in_use)}. Put the file "
                "back. If it is lost for good, make another (ROUTINES_KEY_FILE or --data-dir names it): `routines secrets new-file`"
            )
        return ready.vault.missing_key_ids()


def first_board_token(settings: Settings) -> str | None:
    """Return the token of the first user at the first call for a database; None at later ones."""
    with system(settings) as ready:
        key = ready.executor.attempt(keys.mint_first).result
    return key.token if key else None


def another_board_token(ready: System, name: str, user_id: UUID = FIRST_USER) -> str:
    """Mint a further key for a user and return its token. Raises NotFound when there is no such user."""
    return ready.executor.attempt(lambda work: keys.mint_board_key(work, name, user_id)).result.token


def auditor_key(ready: System, name: str) -> str:
    """Register an auditor of the installation and return the token of their first key."""
    return ready.executor.attempt(lambda work: keys.mint_for_auditor(work, name)).result.token


def connect(settings: Settings) -> Session:
    """
    Open a connection outside the pool, with the rights and limits of the service, for work on read models.

    A commit on it does not wait for the disk (synchronous_commit is off): what a crash loses is folded again.
    """
    return FOLDING.connect(settings.database_url)


def connect_follower(ready: System, profile: Profile = FOLDING) -> Session:
    """
    Open a connection as `connect` does, for events that are read over those of the pool.

    These are made anew as well: they may lead to a server from which another has taken over, and which still answers.
    """
    session = profile.connect(ready.settings.database_url)
    session.execute(COMPRESS_FAST)
    ready.pool.drain()
    return session


def connect_projector(ready: System) -> Session:
    """
    Open a connection as `connect_follower` does, for the statements of the projector, which Postgres plans once.

    Many of them are large: the projector folds on while Postgres is still at work on those before.
    """
    session = connect_follower(ready, PROJECTING)
    session.send_ahead()
    return session


def connect_as_login(settings: Settings) -> Session:
    """Open a connection with the rights of the login itself, which may be an auditor's; it may be of a standby."""
    return READING.connect(settings.database_url)


def connect_as_owner(settings: Settings) -> Session:
    """Open a connection with the rights of the log's owner, who alone destroys keys of the vault."""
    return DESTROYING.connect(settings.database_url)


def connect_own_projection(settings: Settings) -> Session:
    """Open a connection with the rights of the login itself, to read the log and to write a schema of its own."""
    return OWN_PROJECTION.connect(settings.database_url)
