"""
What is known of the service's health: the database, the read models, schedules, the vault's keys, work nobody takes.

Health and metrics are built from this, in both APIs. Anybody may ask for them, so what costs more than a look is kept for
KEPT_S.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Generic, Literal, TypeVar

import msgspec
import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from application.event_store.at_hand import NeedsThread
from application.outage import CONNECTIONS
from application.secrets.key_ring import VaultClosed
from application.secrets.vault import Vault
from application.use_cases import zone_data
from domain.routines.settlement import GRACE
from domain.schedule import zones
from domain.schedule.zones import ZoneData
from projections import health, open_work
from projections.engine import database_state
from projections.engine.database_state import CannotWrite
from projections.engine.positions import ReadModelStatus
from projections.proof.witnessing import WitnessStatus
from web.http.backend import Backend

WITNESS_BOUND = timedelta(minutes=5)  # a witness that has failed for longer makes the service `degraded`
STUCK_S = 10.0  # a read model that is behind for longer makes the service `degraded`
MOST_COUNTED = 1_000
KEPT_S = 10.0
CLOCK_BOUND_S = 5.0  # by which the clock may be behind the log: it is set by small steps all the time
# Tables that a new version has not made yet, or those of an older one.
NOT_MADE_YET = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)

Reason = (
    CannotWrite
    | Literal[
        "read_model_stopped",
        "read_model_behind",
        "read_model_outdated",
        "schedules_overdue",
        "clock_behind_log",
        "key_file_unusable",
        "secret_keys_missing",
        "zone_data_outdated",
        "checkpoints_refused",
        "witness_behind",
    ]
)
UNREACHABLE = (psycopg.Error, PersistenceError)  # what reading raises then: directly, or through the event store
T = TypeVar("T")

log = structlog.get_logger(process="web")


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What one look has found. Ages are in seconds; None where there is nothing that could be old."""

    now: datetime  # by the database's clock
    read_models: Sequence[ReadModelStatus]
    overdue_schedules: int  # counted up to MOST_COUNTED
    cannot_write: CannotWrite | None
    clock_behind_log_s: float
    missing_secret_keys: Sequence[str]
    is_key_file_usable: bool
    oldest_open_issue_s: float | None
    agents_with_untaken_work: int
    collections_with_untaken_work: int
    zone_data: ZoneData  # by which this process reads the clocks of time zones
    adopted_zone_data: str | None  # the version by which the scheduler plans
    are_checkpoints_refused: bool  # whether the log is not the one that was signed, or cannot be signed
    witnesses: Sequence[WitnessStatus]

    def reasons(self) -> list[Reason]:
        """Return why the service does not work as it should; none when it does."""
        return list(self._find_reasons())

    def _find_reasons(self) -> Iterator[Reason]:
        if self.cannot_write is not None:
            yield self.cannot_write
        if any(status.stopped is not None for status in self.read_models):
            yield "read_model_stopped"
        if any(status.behind_s >= STUCK_S for status in self.read_models):
            yield "read_model_behind"
        if any(status.is_outdated for status in self.read_models):
            yield "read_model_outdated"
        if self.overdue_schedules:
            yield "schedules_overdue"
        if self.clock_behind_log_s > CLOCK_BOUND_S:
            yield "clock_behind_log"
        if not self.is_key_file_usable:
            yield "key_file_unusable"
        if self.missing_secret_keys:
            yield "secret_keys_missing"
        if self.adopted_zone_data is not None and self.zone_data.version < self.adopted_zone_data:
            yield "zone_data_outdated"
        if self.are_checkpoints_refused:
            yield "checkpoints_refused"
        if any(one.behind_since and self.now - one.behind_since >= WITNESS_BOUND for one in self.witnesses):
            yield "witness_behind"


class KeptFinding(Generic[T]):
    """
    A value that is found out again when it is older than KEPT_S. One thread does so while the others wait.

    No thread may hold a connection while it waits, since that one needs a connection.
    """

    def __init__(self, find: Callable[[], T]) -> None:
        self._find = find
        self._lock = Lock()
        self._cached_answer: tuple[T, float] | None = None  # with the time until which it is kept

    @property
    def is_outdated(self) -> bool:
        """Whether it is to be found out again."""
        return self._cached_answer is None or time.monotonic() >= self._cached_answer[1]

    @property
    def value(self) -> T:
        """The value that was found last. It must have been found once."""
        if self._cached_answer is None:
            raise AssertionError
        return self._cached_answer[0]

    def refresh(self) -> None:
        """Find the value out again if it is outdated."""
        with self._lock:
            if self.is_outdated:
                self._cached_answer = self._find(), time.monotonic() + KEPT_S


class OpenWork(msgspec.Struct, frozen=True):
    """The open work of all companies."""

    oldest_open_issue: datetime | None = None
    untaken: Sequence[open_work.UntakenWork] = ()


class Writing(msgspec.Struct, frozen=True):
    """Whether the database takes changes."""

    refusal: CannotWrite | None


class Keys(msgspec.Struct, frozen=True):
    """Whether the secrets can be opened: the ids of the keys that are in use and not in the key file."""

    missing: Sequence[str]
    is_file_usable: bool


class Checkup:
    """Looks at the service through the database."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._latest = datetime.min.replace(tzinfo=UTC)  # the latest time that any event of the log was seen to have
        self._last_position = 0  # the position up to which the log was looked at for it
        self._look_under_way: asyncio.Task[Findings | None] | None = None
        self._next_look: asyncio.Task[Findings | None] | None = None  # that waits for the one under way
        self._writing = KeptFinding(self._find_writing)
        self._work = KeptFinding(self._find_work)
        self._keys = KeptFinding(lambda: _check_keys(backend.executor.vault))
        self._adopted_zone_data = KeptFinding(lambda: backend.executor.query(zone_data.adopted_version))
        self._kept_findings: Sequence[KeptFinding[Any]] = (
            self._writing,
            self._work,
            self._keys,
            self._adopted_zone_data,
        )

    def __call__(self) -> Findings:
        """Return what is found. Raises one of UNREACHABLE when the database cannot be reached."""
        for finding in self._kept_findings:
            finding.refresh()
        with self._backend.pool.connection() as conn:
            row = conn.execute(health.STATEMENT, self._values, prepare=True).fetchone()
        return self._findings_of(row or ())

    async def together(self) -> Findings | None:
        """
        Return what is found, None when the database cannot be reached. Requests that wait meanwhile share the next look.

        None gets what was found before it asked.
        """
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look_once_over(self._look_under_way))
        return await asyncio.shield(self._next_look)

    async def _look_once_over(self, before: "asyncio.Task[Findings | None] | None") -> Findings | None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._look_under_way, self._next_look = self._next_look, None
        if not any(finding.is_outdated for finding in self._kept_findings):
            with suppress(NeedsThread):  # whatever is wrong, a thread finds it out
                rows = await self._backend.on_loop.health_queries.query(health.STATEMENT, *self._values)
                findings = self._findings_of(rows[0])
                self._backend.outage.note_success(CONNECTIONS)
                return findings
        return await asyncio.to_thread(self._look)  # not a thread of requests: it must wait behind no tenant

    def _look(self) -> Findings | None:
        try:
            findings = self()
        except UNREACHABLE as error:
            self._backend.outage.note_failure(CONNECTIONS, error)
            return None
        self._backend.outage.note_success(CONNECTIONS)
        return findings

    @property
    def _values(self) -> tuple[Any, ...]:
        return health.values(GRACE, MOST_COUNTED, self._last_position)

    def _findings_of(self, row: Sequence[Any]) -> Findings:
        look = health.look_of(row)
        self._last_position = look.position  # less than before if the log was set back
        self._latest = max(self._latest, look.latest or self._latest)
        keys, work = self._keys.value, self._work.value
        kinds = [row.kind for row in work.untaken]
        return Findings(
            now=look.now,
            read_models=look.read_models,
            overdue_schedules=look.overdue_schedules,
            cannot_write=self._writing.value.refusal,
            clock_behind_log_s=max((self._latest - look.now).total_seconds(), 0.0),
            missing_secret_keys=keys.missing,
            is_key_file_usable=keys.is_file_usable,
            oldest_open_issue_s=_age_s(work.oldest_open_issue, look.now),
            agents_with_untaken_work=kinds.count("agent"),
            collections_with_untaken_work=kinds.count("collection"),
            zone_data=zones.data(),
            adopted_zone_data=self._adopted_zone_data.value,
            are_checkpoints_refused=look.are_checkpoints_refused,
            witnesses=look.witnesses,
        )

    def _find_writing(self) -> Writing:
        with self._backend.pool.connection() as conn:
            return Writing(database_state.why_not_writable(conn))

    def _find_work(self) -> OpenWork:
        with self._backend.pool.connection() as conn:
            now = database_state.times(conn, self._last_position).now
            try:
                return OpenWork(open_work.oldest_open_issue(conn), open_work.list_untaken_work(conn, now))
            except NOT_MADE_YET:
                return OpenWork()


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max((now - moment).total_seconds(), 0.0)


def _check_keys(vault: Vault | None) -> Keys:
    """
    Compare the keys that encrypt secrets with those in the key file.

    A file that is not there, or was made anew, opens none of the old secrets. Without any file, none may be needed.
    """
    if vault is None:
        return Keys(missing=(), is_file_usable=True)
    in_use, ids, is_file_usable = set(vault.key_ids()), set[str](), True
    try:
        ids = set(vault.ring.ids())
    except VaultClosed as error:
        is_file_usable = vault.ring.path is None
        if in_use or not is_file_usable:
            log.error("vault_closed", why=str(error))  # noqa: TRY400 a stack trace adds nothing
    missing = sorted(in_use - ids)
    if ids and missing:
        log.error("secret_keys_missing", keys=missing, key_file=str(vault.ring.path))
    return Keys(missing=missing, is_file_usable=is_file_usable)
