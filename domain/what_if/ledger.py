"""What became of a routine in a range of time, in reality or in a replay."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from domain.errors import InvalidField
from domain.events import RunFired, TriggerMissed
from domain.explain.verdicts import reason_of
from domain.recorded import Recorded
from domain.values import Coalesced, Failed, Opened, Outcome, RunSource, Skipped, Started, Value

NOTHING = timedelta()
DifferenceKind = Literal["added", "removed", "moved", "changed"]


class Firing(Value, frozen=True):
    """A firing. `due_at` is None for what no schedule has fired."""

    run_id: UUID
    source: RunSource
    at: datetime
    outcome: Outcome
    trigger_id: UUID | None = None
    occurrence: datetime | None = None
    due_at: datetime | None = None

    @property
    def tag(self) -> str:
        """The name of the outcome, as it is stored."""
        return str(self.outcome.__struct_config__.tag)

    @property
    def reason(self) -> str | None:
        """Why it began no work; None if it did."""
        return reason_of(self.outcome)

    @property
    def begins_work(self) -> bool:
        """Whether it opened an issue or started a task."""
        return isinstance(self.outcome, Opened | Started)

    @property
    def waited(self) -> timedelta:
        """How long after it was due it was fired."""
        return max(self.at - self.due_at, NOTHING) if self.due_at is not None else NOTHING


class Missed(Value, frozen=True):
    """A range of occurrences that did not run."""

    trigger_id: UUID
    at: datetime
    first: datetime
    last: datetime
    count: int
    reason: str


class Ledger(msgspec.Struct):
    """All of it, in order, and how many runs were given an assumed duration."""

    firings: list[Firing] = []
    missed: list[Missed] = []
    assumed_durations: int = 0

    def fire(self, recorded: Recorded, event: RunFired, due_at: datetime | None) -> None:
        """Add a firing as it was recorded."""
        is_scheduled = event.is_scheduled
        self.firings.append(
            Firing(
                run_id=recorded.stream_id,
                source=event.source,
                at=recorded.at,
                outcome=event.outcome,
                trigger_id=event.trigger_id if is_scheduled else None,
                occurrence=event.occurrence if is_scheduled else None,
                due_at=due_at if is_scheduled else None,
            )
        )

    def miss(self, trigger_id: UUID, moment: datetime, event: TriggerMissed) -> None:
        """Add a missed range."""
        self.missed.append(
            Missed(
                trigger_id=trigger_id,
                at=moment,
                first=event.first,
                last=event.last,
                count=event.count,
                reason=event.reason,
            )
        )


class BoundedLedger(Ledger):
    """The ledger of a replay, which settles at most `most` firings and missed ranges."""

    most: int = 0
    settled: int = 0

    def count(self) -> None:
        """Count a firing or a missed range that the replay settles. Raises InvalidField when there are too many."""
        self.settled += 1
        if self.settled > self.most:
            message = f"More than {self.most:,} firings and missed ranges would be replayed: take a shorter range"
            raise InvalidField(message, "from")


class Minute(Value, frozen=True):
    """A minute, and how many runs began work in it."""

    at: datetime
    runs: int


class Totals(Value, frozen=True):
    """A ledger in numbers; waiting is from due to fired, of what schedules fired."""

    fired: int
    ran: int
    coalesced: int
    skipped: int
    failed: int
    missed: int
    longest_wait: timedelta
    total_wait: timedelta
    busiest: Minute | None


def totals(ledgers: Sequence[Ledger]) -> Totals:
    """Return the numbers of one ledger or of several together; the busiest minute is the earliest of equals."""
    firings = [firing for ledger in ledgers for firing in ledger.firings]
    minutes = Counter(firing.at.replace(second=0, microsecond=0) for firing in firings if firing.begins_work)
    busiest = min(minutes.items(), key=lambda item: (-item[1], item[0]), default=None)
    waits = [firing.waited for firing in firings]

    def count(*kinds: type) -> int:
        return sum(isinstance(firing.outcome, kinds) for firing in firings)

    return Totals(
        fired=len(firings),
        ran=count(Opened, Started),
        coalesced=count(Coalesced),
        skipped=count(Skipped),
        failed=count(Failed),
        missed=sum(missed.count for ledger in ledgers for missed in ledger.missed),
        longest_wait=max(waits, default=NOTHING),
        total_wait=sum(waits, NOTHING),
        busiest=None if busiest is None else Minute(at=busiest[0], runs=busiest[1]),
    )


class Difference(Value, frozen=True):
    """
    A firing that the two ledgers do not have in common.

    One that is `added` or `removed` is in one of them alone; one that has `moved` began at another time, and one that is
    `changed` came to another outcome.
    """

    kind: DifferenceKind
    was: Firing | None
    would_be: Firing | None

    @property
    def firing(self) -> Firing:
        """The firing in either ledger."""
        firing = self.would_be or self.was
        if firing is None:
            raise LookupError(self)
        return firing


def differences(actual: Ledger, replayed: Ledger) -> list[Difference]:
    """Return what the ledgers do not have in common, by the time of the firings."""
    before = {firing.run_id: firing for firing in actual.firings}
    after = {firing.run_id: firing for firing in replayed.firings}
    pairs = [
        Difference(kind=kind, was=was, would_be=would_be)
        for run_id in before.keys() | after.keys()
        if (kind := _kind_of_difference(was := before.get(run_id), would_be := after.get(run_id))) is not None
    ]
    return sorted(pairs, key=place_of)


def place_of(difference: Difference) -> tuple[datetime, datetime, UUID]:
    """Return that by which differences are sorted: when it is fired, for which moment, and its run."""
    firing = difference.firing
    return firing.at, firing.occurrence or firing.at, firing.run_id


def _kind_of_difference(was: Firing | None, would_be: Firing | None) -> DifferenceKind | None:
    if was is None:
        return "added"
    if would_be is None:
        return "removed"
    if (was.tag, was.reason) != (would_be.tag, would_be.reason):
        return "changed"
    return "moved" if was.at != would_be.at else None
