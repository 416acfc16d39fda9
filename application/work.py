"""
One unit of work: the streams a decision read, and the events it wants recorded.

Everything that was read and not written is guarded: if any of it changed before the commit, nothing is recorded
and the decision is taken again on fresh state. So a check and its effect are one transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec

from application.store import EventStore
from application.streams import Kind
from domain.events import AnyEvent, stored_name
from domain.recorded import Recorded

State = TypeVar("State")


class _Stream(msgspec.Struct):
    recorded: list[Recorded]
    pending: list[Recorded]
    state: Any = None
    folded: int = 0  # how many of recorded + pending are in `state`

    @property
    def version(self) -> int:
        return self.recorded[-1].version if self.recorded else 0


class Work:
    """Reads streams, gathers events, commits once."""

    def __init__(self, store: EventStore, now: datetime, actor: str = "system") -> None:
        self.store = store
        self.now = now
        self.actor = actor
        self.cause: str | None = None  # the work session of the agent that asks
        self._streams: dict[UUID, _Stream] = {}
        self._batch: list[Recorded] = []  # what is to be recorded, in the order of the decisions

    def load(self, stream_ids: Iterable[UUID | None], tail: int | None = None) -> None:
        """Fetches streams in one round trip; those at hand and None are left out."""
        wanted = list({id_ for id_ in stream_ids if id_ is not None and id_ not in self._streams})
        if wanted:
            for id_, recorded in self.store.load(wanted, tail).items():
                self._streams[id_] = _Stream(recorded=recorded, pending=[])

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
        self.load([stream_id])
        stream = self._streams[stream_id]
        return [*stream.recorded, *stream.pending]

    def get(self, kind: Kind[State], stream_id: UUID | None) -> State | None:
        """The state of a stream, what is to be recorded included; None when no stream of this kind has the id."""
        if stream_id is None:
            return None
        self.load([stream_id], kind.tail)
        stream = self._streams[stream_id]
        events = [*stream.recorded, *stream.pending]
        if events and not stored_name(events[0].event).startswith(kind.prefix):
            return None
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
        self.load([stream_id])
        stream = self._streams[stream_id]
        return stream.version + len(stream.pending)

    def changed_at(self, stream_id: UUID) -> datetime:
        """When the stream's newest event was decided."""
        return self.history(stream_id)[-1].at

    def record(self, stream_id: UUID, events: Sequence[AnyEvent], company_id: UUID | None = None) -> None:
        """Adds events to a stream; a new stream belongs to `company_id`."""
        self.load([stream_id])
        stream = self._streams[stream_id]
        company_id = company_id or self._company_of(stream_id)
        for event in events:
            recorded = Recorded(
                stream_id=stream_id,
                version=stream.version + len(stream.pending) + 1,
                at=self.now,
                actor=self.actor,
                company_id=company_id,
                event=event,
                cause=self.cause,
            )
            stream.pending.append(recorded)
            self._batch.append(recorded)

    def commit(self) -> int:
        """Records everything or nothing; returns the log position reached. Raises IntegrityError."""
        if not self._batch:
            return self.store.head()
        guards = [(id_, stream.version) for id_, stream in self._streams.items() if not stream.pending]
        return self.store.append(self._batch, guards)
