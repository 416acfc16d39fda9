"""What goes wrong at the store, and the ways to break it on purpose."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal
from unittest.mock import patch
from uuid import UUID

from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from msgspec.structs import replace

from application.event_store.codec import from_stored
from application.event_store.in_memory import MemoryRecorder
from application.event_store.postgres_errors import OutcomeUnknown
from application.event_store.recorder import Guards
from application.event_store.store import EventStore
from domain.recorded import Recorded
from domain.routines import activity_gate, probe, retry, settlement
from domain.routines.settlement import Due
from domain.values import FailureCause, RetryPolicy

Kind = Literal[
    "refused",  # a rival's append came first, says the store
    "unreachable",  # the store cannot be reached: nothing is recorded
    "unheard",  # recorded, and the answer is lost
    "killed before",  # the process dies with its decision in hand
    "killed after",  # the process dies once it is recorded
    "killed reading",  # the process dies while it reads
    "overtaken",  # somebody else records something between decision and append
    "stale",  # somebody else records something between the reading of due rows and their use
]
AT_APPEND: tuple[Kind, ...] = ("refused", "unreachable", "unheard", "killed before", "killed after", "overtaken")
AT_READING: tuple[Kind, ...] = ("killed reading", "unreachable")
ODDS = {
    "refused": 0.004,
    "unreachable": 0.002,
    "unheard": 0.003,
    "killed before": 0.003,
    "killed after": 0.003,
    "overtaken": 0.02,
    "killed reading": 0.001,
    "stale": 0.02,
}
Mutation = Literal["unique", "guards", "transaction", "grace", "missed", "early", "attempts", "gate", "probe"]


class ProcessDied(BaseException):
    """The process is gone, with all it remembers."""


class Faults:
    """Which fault strikes next, by the seed; `counts` counts them."""

    def __init__(self, seed: str, kinds: frozenset[Kind]) -> None:
        self._random = Random(seed)
        self._kinds = kinds
        self.counts: Counter[str] = Counter()
        self.off = False

    def draw(self, kinds: Sequence[Kind]) -> Kind | None:
        for kind in kinds:
            number = self._random.random()  # also for a kind that is left out, so that the others stay where they were
            if number < ODDS[kind] and kind in self._kinds and not self.off:
                return kind
        return None


class Log(MemoryRecorder):
    """The log that all processes share."""

    def __init__(self, mutation: Mutation | None = None) -> None:
        super().__init__()
        self._mutation = mutation
        self._events: list[Recorded] = []
        self._streams: dict[UUID, list[Recorded]] = defaultdict(list)

    def _assert_uniqueness(self, stored_events: Sequence[StoredEvent], guards: Guards = (), **_: Any) -> None:
        if self._mutation != "unique":
            super()._assert_uniqueness(stored_events, () if self._mutation == "guards" else guards)

    def follow(self) -> list[Recorded]:
        """Return everything that is recorded; each event is decoded once, for all its readers."""
        for stored in self._stored_events[len(self._events) :]:
            recorded = replace(from_stored(stored), position=len(self._events) + 1)
            self._events.append(recorded)
            self._streams[recorded.stream_id].append(recorded)
        return self._events

    def stream(self, stream_id: UUID, read_from: str | None) -> list[Recorded]:
        events = self._streams.get(stream_id, [])
        places = (place for place, recorded in enumerate(events) if recorded.name == read_from)
        return events[max(places, default=0) :] if read_from else events[:]


class LogConnection(EventStore):
    """One process's connection to the log, which may break at any call."""

    def __init__(
        self, log: Log, faults: Faults, overtake: Callable[[], None], mutation: Mutation | None = None
    ) -> None:
        super().__init__(log)
        self._log = log
        self._faults = faults
        self._overtake = overtake
        self._mutation = mutation

    def load(
        self, stream_ids: Sequence[UUID], read_from: str | None = None, _budget: object = None
    ) -> dict[UUID, list[Recorded]]:
        match self._draw_fault(AT_READING):
            case "killed reading":
                raise ProcessDied
            case "unreachable":
                raise OperationalError
        self._log.follow()
        return {id_: self._log.stream(id_, read_from) for id_ in stream_ids}

    def after(
        self, position: int, limit: int, *, until: int | None = None, without: Sequence[str] = ()
    ) -> Sequence[Recorded]:
        return [one for one in self._log.follow()[position:until] if one.name not in without][:limit]

    def append(
        self, batch: Sequence[Recorded], guards: Guards = (), stored: Sequence[StoredEvent] | None = None
    ) -> int:
        fault = self._draw_fault(AT_APPEND)
        match fault:
            case "refused":
                raise IntegrityError
            case "unreachable":
                self._append_torn(batch, guards)
                raise OperationalError
            case "killed before":
                self._append_torn(batch, guards)
                raise ProcessDied
            case "overtaken":
                self._overtake()
        position = super().append(batch, guards, stored)
        match fault:
            case "unheard":
                raise OutcomeUnknown
            case "killed after":
                raise ProcessDied
        return position

    def _append_torn(self, batch: Sequence[Recorded], guards: Guards) -> None:
        """Append without a transaction: the first of the events is there all the same."""
        if self._mutation == "transaction":
            super().append(batch[:1], guards)

    def _draw_fault(self, kinds: Sequence[Kind]) -> Kind | None:
        fault = self._faults.draw(kinds)
        if fault is not None:
            self._faults.counts[fault] += 1
        return fault


@contextmanager
def apply_mutation(mutation: Mutation | None) -> Iterator[None]:
    """Break a rule of the domain; `unique`, `guards` and `transaction` are the store's (Log, LogConnection)."""
    settle = settlement.due
    if mutation == "grace":
        with patch.object(settlement, "GRACE", timedelta(minutes=10)):
            yield
    elif mutation == "missed":  # what is dropped is not recorded

        def forget(*args: Any) -> Due | None:
            due = settle(*args)
            return due and replace(due, missed=None)

        with patch.object(settlement, "due", forget):
            yield
    elif mutation == "early":  # the next occurrence is taken for due, too

        def hurry(*args: Any) -> Due | None:
            due = settle(*args)
            return due and replace(due, fire=tuple(filter(None, (*due.fire, due.next_at))))

        with patch.object(settlement, "due", hurry):
            yield
    elif mutation == "attempts":  # a run is tried once more than its policy allows

        def persist(policy: RetryPolicy, attempt: int, cause: FailureCause, now: datetime) -> datetime | None:
            return once_more(policy, attempt - 1, cause, now)

        once_more = retry.next_at
        with patch.object(retry, "next_at", persist):
            yield
    elif mutation == "gate":  # an occurrence is let through though nothing has happened
        with patch.object(activity_gate, "holds", lambda _window: False):
            yield
    elif mutation == "probe":  # an occurrence fires whatever its probe has found
        with patch.object(probe, "skip_by_probe", lambda *_: None):
            yield
    else:
        yield
