"""
A unit of work: the streams that one decision has read, and the events that it wants recorded.

Every stream that was read and not written is guarded: if one of them changed before the commit, nothing is recorded
and the decision is taken again on fresh state. So a check and its effect are one transaction.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
from eventsourcing.persistence import IntegrityError, StoredEvent
from msgspec.structs import replace

from application.event_store import stream_cache
from application.event_store.postgres_errors import NotRecorded
from application.event_store.recorder import Guards
from application.event_store.store import EventStore, ReadBudget
from application.event_store.stream_cache import CachedStream, StreamCache
from application.event_store.stream_kinds import CACHED_PREFIXES, COMPANY, Kind
from application.quotas.charge import Charge
from application.quotas.quotas import Quotas
from application.secrets.key_ring import VaultClosed
from application.secrets.vault import Vault, VaultRecord
from domain import endings
from domain.board import company as companies
from domain.bounds.limits import Limits
from domain.errors import PreconditionFailed, RuleViolation
from domain.events import AnyEvent
from domain.recorded import Recorded
from domain.routines.budget import Owner, WindowSpending
from domain.values import Budget
from domain.webhooks.secret import Secret

CALLERS = ("user:", "agent:", "key:")  # actors with these prefixes are callers; others are parts of the service
FULL = "Its history is full: it has been changed too often, or by too much. It can only be ended: make a new one."
# Bytes of memory: a change of up to so many may fill a stream to its bound, a larger one only to half of it.
SMALL_BYTES = 4_096
State = TypeVar("State")
# What was spent within the window that ends at a moment.
Spending = Callable[[Owner, UUID, Budget, datetime], WindowSpending]

# The log position at which the caller read what it changes (If-Match); None if the request has no precondition.
UNCHANGED_SINCE: ContextVar[int | None] = ContextVar("unchanged since", default=None)

# The streams that several questions read once, so that all of them rest on the same rights, such as those for one page of the
# board; None if each question reads its own.
SHARED_STREAMS: ContextVar[StreamCache | None] = ContextVar("shared streams", default=None)


class _Stream(msgspec.Struct):
    id: UUID
    recorded: Sequence[Recorded]
    pending: list[Recorded]
    state: Any = None
    folded: int = 0  # how many of recorded + pending are in `state`
    kind: Kind[Any] | None = None  # the kind as which it was read or last folded
    assumed_new: bool = False  # it is taken as empty without being read
    size: int = 0  # the memory that `recorded` takes
    cached: CachedStream | None = None  # the entry of the cache that it comes from

    @property
    def version(self) -> int:
        return self.recorded[-1].version if self.recorded else 0


class UnitOfWork:
    """
    Reads streams, gathers events, and commits them once.

    With a cache it takes streams from there where it can. As those may be old, a decision that fails, or has nothing to
    commit, must then be taken again without a cache (Executor.attempt). A question may rest on the streams that it shares
    with others (SHARED_STREAMS).
    """

    def __init__(  # noqa: PLR0913, PLR0917 the parts that a process has
        self,
        store: EventStore,
        now: datetime,
        actor: str = "system",
        vault: Vault | None = None,
        cache: StreamCache | None = None,
        quotas: Quotas | None = None,
        spending: Spending | None = None,
    ) -> None:
        self.store = store
        self.limits: Limits = store.limits  # the bounds that use cases enforce
        self.now = now
        self.actor = actor
        self._vault = vault
        self._cache = cache
        self._quotas = quotas
        self._spending = spending
        self._spent: dict[tuple[UUID, Budget], WindowSpending] = {}
        self.holder: UUID | None = None  # the holder of the caller's key, or the webhook
        self.tenant: UUID | None = None  # the company for which a board user acts
        self.cause: str | None = None  # the work session of the calling agent
        self._streams: dict[int, _Stream] = {}  # by the id as an integer, which Python hashes faster than a UUID
        self._budget = ReadBudget(store.limits.max_read_bytes)  # for all loads together
        self._batch: list[Recorded] = []  # what is to be recorded, in the order of the decisions
        self._stored: list[StoredEvent] = []  # the same in its stored form, so that each event is encoded once
        self._over_quota: dict[UUID, bool] = {}  # by company; the first answer is kept
        self._only_ends = True  # every event so far stops or ends something
        self._kept: list[VaultRecord] = []
        self._dropped: list[UUID] = []

    def load(self, stream_ids: Iterable[UUID | None], kind: Kind[Any] | None = None) -> None:
        """
        Fetch streams in one round trip; None and streams that were fetched before are left out.

        With a `kind` they are read from its `read_from` on, otherwise whole. Raises Oversized when that is more than a
        unit of work may read.
        """
        missing: dict[UUID, None] = {}
        for id_ in stream_ids:
            if id_ is not None and id_.int not in self._streams and self._cached_stream(id_) is None:
                missing[id_] = None
        if missing:
            read_from = None if kind is None else kind.read_from
            for id_, recorded in self.store.load(list(missing), read_from, self._budget).items():
                size = stream_cache.size_of(recorded)
                self._streams[id_.int] = _Stream(id_, recorded, pending=[], kind=kind, size=size)

    def assume_new(self, stream_ids: Iterable[UUID]) -> None:
        """
        Take streams as empty without reading them, when there is a cache. If one exists, the commit is refused.

        That saves a query for streams that are most likely new. Their events are not cached, because they are not
        needed again soon.
        """
        if self._cache is None:
            self.load(stream_ids)
            return
        for id_ in stream_ids:
            if id_.int not in self._streams and self._cached_stream(id_) is None:
                self._streams[id_.int] = _Stream(id_, recorded=[], pending=[], assumed_new=True)

    def _load_stream(self, stream_id: UUID, kind: Kind[Any] | None = None) -> _Stream:
        stream = self._streams.get(stream_id.int) or self._cached_stream(stream_id)
        if stream is None:
            self.load([stream_id], kind)
            return self._streams[stream_id.int]
        return stream

    def _cached_stream(self, stream_id: UUID) -> _Stream | None:
        """Take a stream from the cache, if it is there, and return it."""
        cached = self._cache.get(stream_id) if self._cache else None
        if cached is None:
            return None
        stream = self._streams[stream_id.int] = _Stream(
            stream_id, cached.recorded, [], cached.state, cached.folded, cached.kind, size=cached.size, cached=cached
        )
        return stream

    def new_id(self) -> UUID:
        """Return the id of a new stream and take it as empty. If it exists after all, the commit is refused."""
        id_ = uuid4()
        self.begin(id_)
        return id_

    def begin(self, stream_id: UUID) -> None:
        """Take a stream as empty because its id follows from a new id."""
        self._streams[stream_id.int] = _Stream(stream_id, recorded=[], pending=[])

    def history(self, stream_id: UUID) -> list[Recorded]:
        """Return the events of a stream, including those that are to be recorded."""
        stream = self._load_stream(stream_id)
        return [*stream.recorded, *stream.pending]

    def get(self, kind: Kind[State], stream_id: UUID | None) -> State | None:
        """Return the state of a stream, including events to be recorded; None without a stream of this kind."""
        if stream_id is None:
            return None
        stream = self._streams.get(stream_id.int) or self._load_stream(stream_id, kind)
        if stream.folded == len(stream.recorded) + len(stream.pending) and stream.kind is kind:
            return stream.state  # type: ignore[no-any-return]
        events = [*stream.recorded, *stream.pending]
        if events and not events[0].name.startswith(kind.prefix):
            return None
        stream.kind = kind
        for recorded in events[stream.folded :]:
            stream.state = kind.evolve(stream.state, recorded.event)
            stream.folded += 1
        return stream.state  # type: ignore[no-any-return]

    def owner_of(self, kind: Kind[Any], stream_id: UUID) -> UUID | None:
        """Return the company to which a stream of this kind belongs; None when there is no such stream."""
        return None if self.get(kind, stream_id) is None else self.company_of(stream_id)

    def company_of(self, stream_id: UUID) -> UUID:
        """Return the company to which a stream belongs. Raises LookupError when it has none or does not exist."""
        if (company_id := self._company_of(stream_id)) is None:
            raise LookupError(stream_id)
        return company_id

    def _company_of(self, stream_id: UUID) -> UUID | None:
        stream = self._load_stream(stream_id)
        first = stream.recorded or stream.pending
        return first[0].company_id if first else None

    def version_of(self, stream_id: UUID) -> int:
        """Return the version of a stream, including events to be recorded; 0 for an unknown one."""
        stream = self._load_stream(stream_id)
        return stream.version + len(stream.pending)

    def record(self, stream_id: UUID, events: Sequence[AnyEvent], company_id: UUID | None = None) -> None:
        """
        Add events to a stream; a new stream belongs to `company_id`.

        Raises Conflict for what a caller would begin in an archived company, RuleViolation for a full history, Oversized
        for an event that is more than may be recorded, PreconditionFailed for a stream that has changed since the caller
        compared its copy.
        """
        stream = self._load_stream(stream_id)
        since = UNCHANGED_SINCE.get()
        if since is not None and stream.recorded and stream.recorded[-1].position > since:
            raise PreconditionFailed
        company_id = company_id or self._company_of(stream_id)
        by_caller = self.actor.startswith(CALLERS)
        may_end = by_caller or self.holder is not None
        for event in events:
            ends = may_end and self._is_ending(stream_id, stream, event)
            self._only_ends &= ends
            if by_caller and not ends and not endings.finishes(event):
                companies.must_not_be_archived(self.get(COMPANY, company_id))
            recorded = Recorded(
                stream_id=stream_id,
                version=stream.version + len(stream.pending) + 1,
                at=self.now,
                actor=self.actor,
                company_id=company_id,
                event=event,
                cause=self.cause,
            )
            stored, plain = self.store.encode(recorded)
            if not stream.assumed_new:  # else nobody keeps it
                memory = stream_cache.memory_of(event, plain)
                recorded = replace(recorded, size=len(stored.state), memory=memory)
            if by_caller and not ends and stream.recorded:
                self._must_have_room(stream, recorded)
            stream.pending.append(recorded)
            self._batch.append(recorded)
            self._stored.append(stored)

    def _is_ending(self, stream_id: UUID, stream: _Stream, event: AnyEvent) -> bool:
        """Return whether the event only stops or ends something."""
        return endings.ends(event, self.get(stream.kind, stream_id) if stream.kind is not None else None)

    def _must_have_room(self, stream: _Stream, addition: Recorded) -> None:
        """
        Raise RuleViolation when a caller's event would make a history too long to be read at a fair cost.

        It is not called for endings. The size of what the thing began with does not count, nor do events that the service
        itself has recorded. The slot of a routine, which is never read whole, has no such bound. Events of more than SMALL_BYTES may
        fill half of the bytes only.
        """
        if stream.kind is not None and stream.kind.read_from is not None:
            return
        pending = stream_cache.size_of(stream.pending) + addition.memory
        most_bytes = self.limits.max_stream_bytes // (2 if addition.memory > SMALL_BYTES else 1)
        most_events = self.limits.max_stream_events
        if stream.size + pending <= most_bytes and stream.version + len(stream.pending) < most_events:
            return
        counted = [recorded for recorded in stream.recorded if recorded.actor.startswith(CALLERS)]
        changes = [recorded for recorded in counted if recorded.version > 1]
        if stream_cache.size_of(changes) + pending > most_bytes or len(counted) + len(stream.pending) >= most_events:
            raise RuleViolation(FULL)

    def keep(self, owner_id: UUID, purpose: str, secret: Secret, company_id: UUID) -> UUID:
        """Put a secret of the owner into the vault with the commit, and return the id by which events name it."""
        secret_record = VaultRecord(
            id=uuid4(), company_id=company_id, owner_id=owner_id, purpose=purpose, secret=secret
        )
        self._kept.append(secret_record)
        return secret_record.id

    def reveal(self, secret_ids: Sequence[UUID]) -> dict[UUID, Secret]:
        """Return the secrets of these ids; unknown ones are left out. Raises VaultClosed."""
        return self._open_vault.open(secret_ids)

    def drop(self, secret_ids: Iterable[UUID]) -> None:
        """Delete secrets from the vault after the commit, when no event needs them any more."""
        self._dropped.extend(secret_ids)

    def commit(self) -> int:
        """
        Record everything or nothing, and return the position of the log that is reached. Raises IntegrityError, and
        OperationalError when Postgres is away or has refused.

        New secrets go into the vault before the events are recorded, and old ones out of it after, so that an event
        never names a secret that is not there. A crash in between, or a database that fails then, leaves a secret in the
        vault that no event names; what is recorded is not answered as if it had failed.
        """
        if not self._batch:
            return self.store.head()
        if self._kept:
            self._open_vault.keep(self._kept)
        try:
            position = self.store.append(self._batch, self.guards, self._stored)
        except (IntegrityError, NotRecorded):
            if self._kept:
                self._open_vault.discard([secret_record.id for secret_record in self._kept])
            raise
        if self._dropped:
            self._open_vault.discard(self._dropped)
        return position

    @property
    def guards(self) -> Guards:
        """The streams that were read and not written, each with the version that was read."""
        return [(stream.id, stream.version) for stream in self._streams.values() if not stream.pending]

    @property
    def to_append(self) -> tuple[Sequence[StoredEvent], Guards]:
        """What the commit appends: the events as they are stored, and the guards."""
        return self._stored, self.guards

    @property
    def has_secrets(self) -> bool:
        """Whether the commit changes the vault."""
        return bool(self._kept or self._dropped)

    def charge(self) -> Charge:
        """Return what the commit costs of the quotas."""
        sizes = [len(event.state) for event in self._stored]
        return Charge(batch=self._batch, sizes=sizes, holder=self.holder, only_ends=self._only_ends)

    def is_over_quota(self, company_id: UUID) -> bool:
        """Return whether the schedules of a company may not fire now; the answer stays the same in a unit of work."""
        if self._quotas is None:
            return False
        if (is_over := self._over_quota.get(company_id)) is None:
            is_over = self._over_quota[company_id] = self._quotas.is_over(company_id)
        return is_over

    def read_spending(self, owner: Owner, owner_id: UUID, budget: Budget) -> WindowSpending:
        """Return what runs have cost within the window of a budget; the answer stays the same in a unit of work."""
        if (spent := self._spent.get((owner_id, budget))) is None:
            spent = WindowSpending() if self._spending is None else self._spending(owner, owner_id, budget, self.now)
            self._spent[owner_id, budget] = spent
        return spent

    def must_wait(self, company_id: UUID) -> bool:
        """Return whether a company has recorded so much that work which can wait must wait."""
        return self._quotas is not None and self._quotas.is_half_used(company_id)

    @property
    def batch(self) -> Sequence[Recorded]:
        """The events that the commit records, in the order of the decisions."""
        return self._batch

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to commit."""
        return not self._batch

    @property
    def has_assumed(self) -> bool:
        """Whether it has taken streams as empty without reading them."""
        return any(stream.assumed_new for stream in self._streams.values())

    @property
    def versions(self) -> dict[UUID, int]:
        """The streams that the decision rests on, each with the version that was read."""
        return {stream.id: stream.version for stream in self._streams.values()}

    @property
    def streams_written(self) -> Iterator[UUID]:
        """The streams that the commit adds to."""
        return iter({recorded.stream_id.int: recorded.stream_id for recorded in self._batch}.values())

    def cacheable_streams(self, *, committed: bool, anew: bool = False) -> Iterator[tuple[UUID, CachedStream]]:
        """
        Return the streams that are worth caching, as they are now, with `anew` only those that are not cached so already.

        After a commit (`committed`) they include the new events; before it, streams with new events are left out.
        """
        for stream in self._streams.values():
            if stream.assumed_new or (stream.pending and not committed):
                continue
            if anew and stream.cached is not None and not stream.pending and stream.cached.folded == stream.folded:
                continue
            if _is_cached(stream):
                yield stream.id, _cache_entry(stream)

    @property
    def _open_vault(self) -> Vault:
        if self._vault is None:
            raise VaultClosed
        return self._vault


def _is_cached(stream: _Stream) -> bool:
    """Return whether streams of this kind are cached. An empty stream has no name to tell, so `kind` decides."""
    if stream.cached is not None and stream.recorded:
        return True
    first = next(iter(stream.recorded or stream.pending), None)
    if first is None:
        return stream.kind is not None and stream.kind.prefix in CACHED_PREFIXES
    return first.name.startswith(CACHED_PREFIXES)


def _cache_entry(stream: _Stream) -> CachedStream:
    """Return the entry for the cache: the stream with the batch, without events before the `read_from` of its kind."""
    if not stream.pending:
        if stream.cached is not None and stream.cached.folded == stream.folded:
            return stream.cached
        return CachedStream(stream.recorded, stream.state, stream.folded, stream.size, stream.kind)
    recorded, size = [*stream.recorded, *stream.pending], stream.size + stream_cache.size_of(stream.pending)
    read_from = stream.kind.read_from if stream.kind else None
    if read_from is not None:
        start = next((event.version for event in reversed(stream.pending) if event.name == read_from), 0)
        skip = start - recorded[0].version
        if 0 < skip <= stream.folded:
            size -= stream_cache.size_of(recorded[:skip])
            return CachedStream(recorded[skip:], stream.state, stream.folded - skip, size, stream.kind)
    return CachedStream(recorded, stream.state, stream.folded, size, stream.kind)
