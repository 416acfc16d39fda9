"""
One unit of work: the streams a decision read, and the events it wants recorded.

Everything that was read and not written is guarded: if any of it changed before the commit, nothing is recorded
and the decision is taken again on fresh state. So a check and its effect are one transaction.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
from eventsourcing.persistence import IntegrityError, StoredEvent
from msgspec.structs import replace

from application.event_store import stream_cache
from application.event_store.store import EventStore, ReadBudget, to_stored
from application.event_store.stream_cache import CachedStream, StreamCache
from application.event_store.stream_kinds import CACHED_PREFIXES, Kind
from application.quotas import Charge, Quotas
from application.secrets.key_ring import VaultClosed
from application.secrets.vault import Kept, Vault
from domain import endings
from domain.bounds.limits import Limits
from domain.errors import RuleViolation
from domain.events import AnyEvent
from domain.recorded import Recorded
from domain.webhooks.secret import Secret

CALLERS = ("user:", "agent:", "key:")  # the actors that are none of the service's own
FULL = "Its history is full: it has been changed too often, or by too much. It can only be ended: make a new one."
SMALL_BYTES = 4_096  # of memory: a change of a status, no text
State = TypeVar("State")


class _Stream(msgspec.Struct):
    recorded: Sequence[Recorded]
    pending: list[Recorded]
    state: Any = None
    folded: int = 0  # how many of recorded + pending are in `state`
    kind: Kind[Any] | None = None  # what it was looked for as, or last folded as
    assumed_new: bool = False  # to be new
    size: int = 0  # the memory that `recorded` takes
    cached: CachedStream | None = None  # what it was taken from

    @property
    def version(self) -> int:
        return self.recorded[-1].version if self.recorded else 0


class UnitOfWork:
    """
    Reads streams, gathers events, commits once.

    With a cache it takes from there what is there. Then it must be done again without one when it is refused, or
    has nothing to commit: see Executor.attempt.
    """

    def __init__(  # noqa: PLR0913, PLR0917 the parts of a process
        self,
        store: EventStore,
        now: datetime,
        actor: str = "system",
        vault: Vault | None = None,
        cache: StreamCache | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.store = store
        self.limits: Limits = store.limits  # how much of everything there may be
        self.now = now
        self.actor = actor
        self._vault = vault
        self._cache = cache
        self._quotas = quotas
        self.holder: UUID | None = None  # of the key that asks, or the webhook
        self.tenant: UUID | None = None  # for whose company a board user acts
        self.cause: str | None = None  # the work session of the agent that asks
        self._streams: dict[UUID, _Stream] = {}
        self._budget = ReadBudget(store.limits.max_read_bytes)  # of all loads together
        self._batch: list[Recorded] = []  # what is to be recorded, in the order of the decisions
        self._stored: list[StoredEvent] = []  # the same as it is stored: each event is encoded once
        self._over_quota: dict[UUID, bool] = {}  # by company, as it was first asked
        self._only_ends = True  # whether all of it stops or ends something
        self._kept: list[Kept] = []
        self._dropped: list[UUID] = []

    def load(self, stream_ids: Iterable[UUID | None], kind: Kind[Any] | None = None) -> None:
        """
        Fetches streams in one round trip; those at hand and None are left out.

        Those of one `kind` are read from where it says; without it they are read whole. Raises Oversized when that is
        more than a unit of work may read.
        """
        missing = {id_ for id_ in stream_ids if id_ is not None and id_ not in self._streams}
        if wanted := [id_ for id_ in missing if not self._take_cached(id_)]:
            read_from = None if kind is None else kind.read_from
            for id_, recorded in self.store.load(wanted, read_from, self._budget).items():
                self._streams[id_] = _Stream(recorded, pending=[], kind=kind, size=stream_cache.size_of(recorded))

    def assume_new(self, stream_ids: Iterable[UUID]) -> None:
        """
        Streams that are new, most likely: with a cache they are not looked for, since the commit proves it.

        What is recorded in them is not cached: nobody asks for it again soon.
        """
        if self._cache is None:
            self.load(stream_ids)
            return
        for id_ in stream_ids:
            if id_ not in self._streams and not self._take_cached(id_):
                self._streams[id_] = _Stream(recorded=[], pending=[], assumed_new=True)

    def _stream(self, stream_id: UUID, kind: Kind[Any] | None = None) -> _Stream:
        if (stream := self._streams.get(stream_id)) is not None:
            return stream
        self.load([stream_id], kind)
        return self._streams[stream_id]

    def _take_cached(self, stream_id: UUID) -> bool:
        cached = self._cache.get(stream_id) if self._cache else None
        if cached is not None:
            self._streams[stream_id] = _Stream(
                cached.recorded, [], cached.state, cached.folded, cached.kind, size=cached.size, cached=cached
            )
        return cached is not None

    def new_id(self) -> UUID:
        """The id of a new stream, which need not be looked for; the store would refuse one that is there after all."""
        id_ = uuid4()
        self.begin(id_)
        return id_

    def begin(self, stream_id: UUID) -> None:
        """A stream that is new because its id follows from a new one."""
        self._streams[stream_id] = _Stream(recorded=[], pending=[])

    def history(self, stream_id: UUID) -> list[Recorded]:
        """The events of a stream, those that are to be recorded included."""
        stream = self._stream(stream_id)
        return [*stream.recorded, *stream.pending]

    def get(self, kind: Kind[State], stream_id: UUID | None) -> State | None:
        """The state of a stream, what is to be recorded included; None when no stream of this kind has the id."""
        if stream_id is None:
            return None
        stream = self._stream(stream_id, kind)
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
        """The company that a thing of this kind belongs to; None when there is no such thing."""
        return None if self.get(kind, stream_id) is None else self.company_of(stream_id)

    def company_of(self, stream_id: UUID) -> UUID:
        """The company that a stream which is there belongs to."""
        if (company_id := self._company_of(stream_id)) is None:
            raise LookupError(stream_id)
        return company_id

    def _company_of(self, stream_id: UUID) -> UUID | None:
        return next((recorded.company_id for recorded in self.history(stream_id)), None)

    def version_of(self, stream_id: UUID) -> int:
        """The version of a stream, what is to be recorded included; 0 for an unknown one."""
        stream = self._stream(stream_id)
        return stream.version + len(stream.pending)

    def changed_at(self, stream_id: UUID) -> datetime:
        """When the stream's newest event was decided."""
        return self.history(stream_id)[-1].at

    def record(self, stream_id: UUID, events: Sequence[AnyEvent], company_id: UUID | None = None) -> None:
        """
        Adds events to a stream; a new stream belongs to `company_id`.

        Raises Unacceptable for a full history, and Oversized for an event that is more than may be recorded.
        """
        stream = self._stream(stream_id)
        company_id = company_id or self._company_of(stream_id)
        is_asked = self.actor.startswith(CALLERS)
        may_end = is_asked or self.holder is not None
        for event in events:
            ends = may_end and self._ends(stream_id, stream, event)
            self._only_ends &= ends
            recorded = Recorded(
                stream_id=stream_id,
                version=stream.version + len(stream.pending) + 1,
                at=self.now,
                actor=self.actor,
                company_id=company_id,
                event=event,
                cause=self.cause,
            )
            stored = to_stored(recorded, self.limits)
            if not stream.assumed_new:
                memory = stream_cache.memory_of(event, stored.state)
                recorded = replace(recorded, size=len(stored.state), memory=memory)
            if is_asked and not ends and stream.recorded:
                self._must_have_room(stream, recorded)
            stream.pending.append(recorded)
            self._batch.append(recorded)
            self._stored.append(stored)

    def _ends(self, stream_id: UUID, stream: _Stream, event: AnyEvent) -> bool:
        """Whether the event only stops or ends something."""
        return endings.ends(event, self.get(stream.kind, stream_id) if stream.kind is not None else None)

    def _must_have_room(self, stream: _Stream, added: Recorded) -> None:
        """
        Nobody may make a history so long that whoever reads it pays for it. Raises Unacceptable.

        What only stops or ends something is never asked for room. What the service itself has recorded takes none from
        callers, and the slot of a routine, which is never read whole, has no such bound. Large changes may fill half.
        """
        if stream.kind is not None and stream.kind.read_from is not None:
            return
        pending = stream_cache.size_of(stream.pending) + added.memory
        most_bytes = self.limits.max_stream_bytes // (2 if added.memory > SMALL_BYTES else 1)
        most_events = self.limits.max_stream_events
        if stream.size + pending <= most_bytes and stream.version + len(stream.pending) < most_events:
            return
        asked = [recorded for recorded in stream.recorded if recorded.actor.startswith(CALLERS)]
        if stream_cache.size_of(asked) + pending > most_bytes or len(asked) + len(stream.pending) >= most_events:
            raise RuleViolation(FULL)

    def keep(self, owner_id: UUID, purpose: str, secret: Secret, company_id: UUID) -> UUID:
        """Puts a secret of the owner into the vault with the commit; returns the id under which events name it."""
        kept = Kept(id=uuid4(), company_id=company_id, owner_id=owner_id, purpose=purpose, secret=secret)
        self._kept.append(kept)
        return kept.id

    def reveal(self, secret_ids: Sequence[UUID]) -> dict[UUID, Secret]:
        """The secrets of these ids, unknown ones left out. Raises VaultClosed."""
        return self._open_vault.open(secret_ids)

    def drop(self, secret_ids: Iterable[UUID]) -> None:
        """Takes secrets out of the vault once the commit has made them useless."""
        self._dropped.extend(secret_ids)

    def commit(self) -> int:
        """
        Records everything or nothing; returns the log position reached. Raises IntegrityError.

        Secrets go into the vault before, and out of it after: an event never names one that is not there. What a
        crash in between leaves behind is a record that nothing names.
        """
        if not self._batch:
            return self.store.head()
        guards = [(id_, stream.version) for id_, stream in self._streams.items() if not stream.pending]
        if self._kept:
            self._open_vault.keep(self._kept)
        try:
            position = self.store.append(self._batch, guards, self._stored)
        except IntegrityError:
            if self._kept:
                self._open_vault.drop([kept.id for kept in self._kept])
            raise
        if self._dropped:
            self._open_vault.drop(self._dropped)
        return position

    def charge(self) -> Charge:
        """What the commit costs of the quotas."""
        sizes = [len(event.state) for event in self._stored]
        return Charge(batch=self._batch, sizes=sizes, holder=self.holder, only_ends=self._only_ends)

    def is_over_quota(self, company_id: UUID) -> bool:
        """Whether the schedules of a company may not fire now; the same for all of a unit of work."""
        if self._quotas is None:
            return False
        if (is_over := self._over_quota.get(company_id)) is None:
            is_over = self._over_quota[company_id] = self._quotas.is_over(company_id)
        return is_over

    def must_wait(self, company_id: UUID) -> bool:
        """Whether a company has recorded so much that what can wait does."""
        return self._quotas is not None and self._quotas.is_half_used(company_id)

    @property
    def batch(self) -> Sequence[Recorded]:
        """What the commit records, in the order of the decisions."""
        return self._batch

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to commit."""
        return not self._batch

    @property
    def versions(self) -> dict[UUID, int]:
        """The streams that the decision rests on, each with the version that was read."""
        return {id_: stream.version for id_, stream in self._streams.items()}

    @property
    def written(self) -> Iterator[UUID]:
        """The streams that the commit adds to."""
        return (id_ for id_, stream in self._streams.items() if stream.pending)

    def seen(self, *, committed: bool) -> Iterator[tuple[UUID, CachedStream]]:
        """The streams that are worth caching as they are now, as far as that is known."""
        for id_, stream in self._streams.items():
            if not stream.assumed_new and (committed or not stream.pending) and _is_cached(stream):
                yield id_, _cached(stream)

    @property
    def _open_vault(self) -> Vault:
        if self._vault is None:
            raise VaultClosed
        return self._vault


def _is_cached(stream: _Stream) -> bool:
    """By the name of the first event; a stream that is not there is what it was looked for as."""
    if stream.cached is not None and stream.recorded:
        return True
    first = next(iter(stream.recorded or stream.pending), None)
    if first is None:
        return stream.kind is not None and stream.kind.prefix in CACHED_PREFIXES
    return first.name.startswith(CACHED_PREFIXES)


def _cached(stream: _Stream) -> CachedStream:
    """With what is recorded now; what the next reader of its kind would not read is left out."""
    if not stream.pending:
        if stream.cached is not None and stream.cached.folded == stream.folded:
            return stream.cached
        return CachedStream(stream.recorded, stream.state, stream.folded, stream.size, stream.kind)
    recorded, size = [*stream.recorded, *stream.pending], stream.size + stream_cache.size_of(stream.pending)
    read_from = stream.kind.read_from if stream.kind else None
    if read_from is not None:
        start = next((one.version for one in reversed(stream.pending) if one.name == read_from), 0)
        left_out = start - recorded[0].version
        if 0 < left_out <= stream.folded:
            size -= stream_cache.size_of(recorded[:left_out])
            return CachedStream(recorded[left_out:], stream.state, stream.folded - left_out, size, stream.kind)
    return CachedStream(recorded, stream.state, stream.folded, size, stream.kind)
