"""
Quotas: how much of the log one company and one holder of keys may fill, and how many of each thing there may be.

The executor asks when a decision is taken and before it is recorded. Whoever asked for it is refused, unless it only
stops or ends something (domain/endings.py); what nobody asked for (the scheduler, the delivery process) is recorded and
counts all the same, so that every occurrence has its outcome.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from uuid import UUID

import msgspec

from domain.bounds.limits import Limits
from domain.errors import DomainError, RuleViolation
from domain.events import (
    AgentCreated,
    AnyEvent,
    CommentAdded,
    EndpointCreated,
    GoalCreated,
    IssueOpened,
    KeyIssued,
    MemberJoined,
    ProjectCreated,
    RoutineCreated,
    TaskCreated,
    TrajectoryOpened,
    TriggerCreated,
)
from domain.recorded import Recorded, Unreadable

Count = Callable[[str, UUID, int], int]  # how many there are of what a quota limits, for whom, looking no further than
CountAll = Callable[[str, int], Mapping[UUID, int]]  # the same of all companies that have at least so many

MINUTE_S = 60.0
NEAR = 0.8  # of a quota is used: what monitoring should see
HALF = 0.5  # of a quota: a backfill leaves the rest to what is due
MOST_KNOWN = 100_000  # buckets and counts that a process remembers; those that were used first are forgotten first
COUNT_AGAIN_S = 10.0  # how long a count is believed
COUNT_FULL_AGAIN_S = 1.0  # the same, once it has reached the quota
PROJECTED_S = 2.0  # after which what was added is in the read models, most likely, and so is counted
ADDED = 0.01  # of a quota: after so many more they are counted, where nobody waits for a refusal
OVER_QUOTA = "over_quota"
STANDING: dict[type, tuple[str, str]] = {  # the quotas of how many there may be: which, and of what in words
    RoutineCreated: ("max_company_routines", "routines that are not archived"),
    TriggerCreated: ("max_company_triggers", "triggers"),
    IssueOpened: ("max_company_open_issues", "open issues"),
    TrajectoryOpened: ("max_company_live_trajectories", "trajectories that wait or run"),
    AgentCreated: ("max_company_agents", "agents that are not terminated"),
    ProjectCreated: ("max_company_projects", "projects"),
    GoalCreated: ("max_company_goals", "goals"),
    MemberJoined: ("max_company_members", "members"),
    EndpointCreated: ("max_company_endpoints", "webhook endpoints"),
    TaskCreated: ("max_company_tasks", "tasks"),
    KeyIssued: ("max_holder_keys", "keys that are neither revoked nor expired"),
    CommentAdded: ("max_issue_comments", "comments"),
}
LOG_BYTES = "max_company_log_bytes"  # what a company keeps on disk: it is counted as the others are, in bytes
OWNERS = {"max_holder_keys": "holder of keys", "max_issue_comments": "issue"}  # of the others: the company
RATES: dict[str, str] = {  # what is recorded in a minute: which quota, and who has recorded what in words
    "max_company_events_per_minute": "The company has recorded more than {most} events in a minute",
    "max_company_bytes_per_minute": "The company has recorded more than {most} bytes in a minute",
    "max_key_events_per_minute": "The key's holder has recorded more than {most} events in a minute",
    "max_key_bytes_per_minute": "The key's holder has recorded more than {most} bytes in a minute",
}
OF_SCHEDULES = ("max_company_open_issues", "max_company_live_trajectories", LOG_BYTES)  # what firing adds to


class OverQuota(DomainError):
    """Too much in too short a time: try again after `retry_after_s` seconds."""

    def __init__(self, quota: str, most: int, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        text = f"{RATES[quota].format(most=most)}: try again in {retry_after_s} s"
        super().__init__(text, {"code": OVER_QUOTA, "quota": quota, "limit": most})


class Charge(msgspec.Struct, frozen=True):
    """What a unit of work wants to record."""

    batch: Sequence[Recorded]
    sizes: Sequence[int]  # in bytes of stored JSON, one for each event
    holder: UUID | None  # of the key that asks for it, or the webhook; None: nobody does
    only_ends: bool = False  # whether all of it stops or ends something

    @property
    def may_be_refused(self) -> bool:
        return self.holder is not None and not self.only_ends


class Known(msgspec.Struct):
    """How many there were when they were counted, and how many this process has added that were not counted yet."""

    many: int = 0
    counted_at: float = -math.inf
    added: int = 0
    latest: deque[tuple[float, int]] = msgspec.field(default_factory=deque)  # of what was added: when, and how many

    @property
    def now(self) -> int:
        return self.many + self.added

    def add(self, more: int, now: float) -> None:
        self.added += more
        self.latest.append((now, more))
        self._forget(now)

    def count(self, many: int, now: float) -> None:
        """What was added just now is not in the read models yet."""
        self._forget(now)
        self.many, self.counted_at, self.added = many, now, sum(more for _, more in self.latest)

    def _forget(self, now: float) -> None:
        while self.latest and self.latest[0][0] <= now - PROJECTED_S:
            self.latest.popleft()


class Rate:
    """A bucket for each of those it counts: a minute's worth in one go, refilled by as much in a minute."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self._levels: dict[UUID, tuple[float, float]] = {}  # what was left, and when

    def left(self, who: UUID, now: float) -> float:
        """What may still be recorded; less than 1: nothing for now."""
        level, at = self._levels.get(who, (self.most, now))
        return min(level + (now - at) * self.most / MINUTE_S, self.most)

    def spend(self, who: UUID, amount: int, now: float) -> None:
        """A last unit of work may be larger than what is left: the next one waits for that as well, a minute at most."""
        left = min(max(self.left(who, now) - amount, -self.most), self.most)
        self._levels.pop(who, None)
        self._levels[who] = (left, now)
        if len(self._levels) > MOST_KNOWN:
            del self._levels[next(iter(self._levels))]

    def wait_s(self, who: UUID, now: float) -> int:
        """Whole seconds until something is left; 0 when something is."""
        left = self.left(who, now)
        return 0 if left >= 1 else math.ceil((1 - left) * MINUTE_S / self.most)

    def used(self, now: float) -> dict[UUID, float]:
        """The share that each has used up, as far as it is known."""
        return {who: 1 - self.left(who, now) / self.most for who in list(self._levels)}


class Quotas:
    """
    Of one process, which counts for itself: n processes let through up to n times as much a minute.

    How many there are of a thing is counted in the read models, at most every COUNT_AGAIN_S, and with what this process
    has added since: several processes together may overshoot a quota by what they add in that time. What a process adds
    is reserved before it is recorded, so that its own threads do not overshoot.
    """

    def __init__(
        self,
        limits: Limits,
        count: Count | None = None,
        clock: Callable[[], float] = time.monotonic,
        count_all: CountAll | None = None,
    ) -> None:
        self.limits = limits
        self.refusals: Counter[str] = Counter()
        self._count = count
        self._count_all = count_all
        self._clock = clock
        self._lock = Lock()
        self._by_company = (
            Rate("max_company_events_per_minute", limits.max_company_events_per_minute),
            Rate("max_company_bytes_per_minute", limits.max_company_bytes_per_minute),
        )
        self._by_holder = (
            Rate("max_key_events_per_minute", limits.max_key_events_per_minute),
            Rate("max_key_bytes_per_minute", limits.max_key_bytes_per_minute),
        )
        self._known: dict[tuple[str, UUID], Known] = {}  # by quota and whose
        self._met: set[str] = set()  # the quotas of which every company near the end is known

    def take(self, charge: Charge) -> None:
        """Reserves it. Raises OverQuota for too much in a minute, Unacceptable for one too many."""
        added = self._added(charge)
        if charge.may_be_refused:
            for (quota, who), more in added.items():
                self._look(quota, who, more)
        spent = self._spent(charge)
        with self._lock:
            now = self._clock()
            if charge.may_be_refused:
                for (quota, who), more in added.items():
                    self._check_standing(quota, who, more)
                for rate, who, _ in spent:
                    if wait_s := rate.wait_s(who, now):
                        raise self._refusal(rate.name, OverQuota(rate.name, rate.most, wait_s))
            for rate, who, amount in spent:
                rate.spend(who, amount, now)
            for key, more in added.items():
                self._of(*key).add(more, now)

    def give_back(self, charge: Charge) -> None:
        """It was not recorded after all."""
        with self._lock:
            now = self._clock()
            for rate, who, amount in self._spent(charge):
                rate.spend(who, -amount, now)
            for key, more in self._added(charge).items():
                self._of(*key).add(-more, now)

    def is_over(self, company_id: UUID) -> bool:
        """Whether its schedules may not fire now: it has used up a minute's quota, or its work piles up undone."""
        now = self._clock()
        if any(rate.wait_s(company_id, now) for rate in self._by_company):
            return True
        return any(self._is_full(quota, company_id) for quota in OF_SCHEDULES)

    def is_half_used(self, company_id: UUID) -> bool:
        """Whether work that can wait should: it leaves the other half of a minute's quota to what cannot."""
        now = self._clock()
        return self.is_over(company_id) or any(
            rate.left(company_id, now) < rate.most * HALF for rate in self._by_company
        )

    def refused(self) -> dict[str, int]:
        """How many requests this process has refused by each quota."""
        rates = [rate.name for rate in (*self._by_company, *self._by_holder)]
        names = (*rates, *(name for name, _ in STANDING.values()), LOG_BYTES)
        return {name: self.refusals[name] for name in names}

    def near(self) -> dict[str, int]:
        """How many companies and keys are near each quota of a minute."""
        now = self._clock()
        with self._lock:
            return {
                rate.name: sum(share >= NEAR for share in rate.used(now).values())
                for rate in (*self._by_company, *self._by_holder)
            }

    def _spent(self, charge: Charge) -> list[tuple[Rate, UUID, int]]:
        by_company: dict[UUID, tuple[int, int]] = {}
        for recorded, size in zip(charge.batch, charge.sizes, strict=True):
            if recorded.company_id is not None:
                events, total = by_company.get(recorded.company_id, (0, 0))
                by_company[recorded.company_id] = (events + 1, total + size)
        spent = [(self._by_company, who, amounts) for who, amounts in by_company.items()]
        if charge.holder is not None:
            spent.append((self._by_holder, charge.holder, (len(charge.batch), sum(charge.sizes))))
        return [
            (rate, who, amount) for rates, who, amounts in spent for rate, amount in zip(rates, amounts, strict=True)
        ]

    def _added(self, charge: Charge) -> Mapping[tuple[str, UUID], int]:
        """How many more there would be of what the quotas count, and whose."""
        added: Counter[tuple[str, UUID]] = Counter()
        for recorded, size in zip(charge.batch, charge.sizes, strict=True):
            found = STANDING.get(type(recorded.event))
            if found is not None and (who := _owner(recorded.event, recorded.company_id)) is not None:
                added[found[0], who] += 1
            if recorded.company_id is not None and self.limits.max_company_log_bytes:
                added[LOG_BYTES, recorded.company_id] += size
        return added

    def _look(self, quota: str, who: UUID, more: int) -> None:
        """Counts, where what is known is too old to rest a decision on."""
        with self._lock:
            known = self._of(quota, who)
            is_full = known.now + more > self._most(quota)
        if self._clock() - known.counted_at >= (COUNT_FULL_AGAIN_S if is_full else COUNT_AGAIN_S):
            self._count_again(quota, who, known)

    def _check_standing(self, quota: str, who: UUID, more: int) -> None:
        most = self._most(quota)
        if self._of(quota, who).now + more > most:
            if quota == LOG_BYTES:
                text = (
                    f"What the company has recorded may take up at most {most} bytes, and nothing of it can be removed"
                )
                raise self._refusal(quota, _unacceptable(quota, most, f"{text}: ask the operator for more"))
            whose = OWNERS.get(quota, "company")
            what = next(what for name, what in STANDING.values() if name == quota)
            text = f"The {whose} may have at most {most} {what}: end some, or ask the operator for more"
            raise self._refusal(quota, _unacceptable(quota, most, text))

    def _is_full(self, quota: str, who: UUID) -> bool:
        """
        To count for every company that fires would take too long: so it is, for those that this process has added to.

        Those that had nearly as many as they may before it began are counted all at once, when it asks for the first time.
        """
        if (most := self._most(quota)) == 0:
            return False
        if quota not in self._met:
            self._meet(quota)
        with self._lock:
            known = self._of(quota, who)
            is_full = known.now >= most
        if (is_full and self._clock() - known.counted_at >= COUNT_FULL_AGAIN_S) or known.added > most * ADDED:
            self._count_again(quota, who, known)
        return known.now >= most

    def _meet(self, quota: str) -> None:
        most = self._most(quota)
        found = {} if self._count_all is None else self._count_all(quota, math.floor(most * (1 - ADDED)))
        with self._lock:
            for who, many in found.items():
                self._of(quota, who).count(many, self._clock())
            self._met.add(quota)

    def _count_again(self, quota: str, who: UUID, known: Known) -> None:
        many = 0 if self._count is None else self._count(quota, who, self._most(quota))
        with self._lock:
            known.count(many, self._clock())

    def _most(self, quota: str) -> int:
        most: int = getattr(self.limits, quota)
        return most

    def _of(self, quota: str, who: UUID) -> Known:
        """To be called with the lock."""
        known = self._known.setdefault((quota, who), Known())
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return known

    def _refusal(self, quota: str, refusal: DomainError) -> DomainError:
        self.refusals[quota] += 1
        return refusal


def _unacceptable(quota: str, most: int, text: str) -> RuleViolation:
    return RuleViolation(text, {"code": OVER_QUOTA, "quota": quota, "limit": most})


def _owner(event: AnyEvent | Unreadable, company_id: UUID | None) -> UUID | None:
    match event:
        case KeyIssued():
            return event.user_id or event.agent_id or event.collection_id
        case CommentAdded(issue_id=issue_id):
            return issue_id
        case _:
            return company_id
