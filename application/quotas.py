"""
Quotas: how much of the log one company and one holder of keys may fill, and how many of each thing there may be.

The executor checks them after a decision is taken and before it is recorded. A caller is refused, unless the change
only stops or ends something (domain/endings.py). What the service decides itself (the scheduler, the delivery process)
is recorded in any case and counts as well, so that every occurrence has its outcome.
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

Count = Callable[[str, UUID, int], int]  # how many things of a quota an owner has; it counts no further than the number
CountAll = Callable[[str, int], Mapping[UUID, int]]  # the same for all companies that have at least so many

MINUTE_S = 60.0
NEAR = 0.8  # the share of a quota from which monitoring shows a company or key as near it
HALF = 0.5  # the share of a quota that a backfill leaves to what is due
MOST_KNOWN = 100_000  # buckets and counts that a process remembers; the oldest are forgotten first
COUNT_AGAIN_S = 10.0  # a count is used for so long
COUNT_FULL_AGAIN_S = 1.0  # a count that has reached the quota is used for so long
PROJECTED_S = 2.0  # after so long an addition is most likely in the read models, so a count includes it
ADDED = 0.01  # the share of a quota after which additions without a caller are counted again
OVER_QUOTA = "over_quota"
STANDING: dict[
    type, tuple[str, str]
] = {  # quotas of how many there may be: by event, the quota and the things in words
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
LOG_BYTES = "max_company_log_bytes"  # what a company keeps on disk, in bytes; it is counted as the others are
OWNERS = {"max_holder_keys": "holder of keys", "max_issue_comments": "issue"}  # the others belong to the company
RATES: dict[str, str] = {  # quotas of what is recorded in a minute, each with its refusal in words
    "max_company_events_per_minute": "The company has recorded more than {most} events in a minute",
    "max_company_bytes_per_minute": "The company has recorded more than {most} bytes in a minute",
    "max_key_events_per_minute": "The key's holder has recorded more than {most} events in a minute",
    "max_key_bytes_per_minute": "The key's holder has recorded more than {most} bytes in a minute",
}
OF_SCHEDULES = (
    "max_company_open_issues",
    "max_company_live_trajectories",
    LOG_BYTES,
)  # the quotas that a firing adds to


class OverQuota(DomainError):
    """Refuses a request because too much was recorded within a minute; it may succeed after `retry_after_s` seconds."""

    def __init__(self, quota: str, most: int, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        text = f"{RATES[quota].format(most=most)}: try again in {retry_after_s} s"
        super().__init__(text, {"code": OVER_QUOTA, "quota": quota, "limit": most})


class Charge(msgspec.Struct, frozen=True):
    """What a unit of work is about to record, and for whom."""

    batch: Sequence[Recorded]
    sizes: Sequence[int]  # in bytes of stored JSON, one for each event
    holder: UUID | None  # the holder of the key in the request, or the webhook; None: the service itself
    only_ends: bool = False  # every event stops or ends something

    @property
    def may_be_refused(self) -> bool:
        """Whether a caller wants it recorded and it is more than an ending."""
        return self.holder is not None and not self.only_ends


class Known(msgspec.Struct):
    """The last count of the things of one owner, and the things that this process has added since."""

    many: int = 0
    counted_at: float = -math.inf
    added: int = 0
    latest: deque[tuple[float, int]] = msgspec.field(default_factory=deque)  # the recent additions: when, and how many

    @property
    def now(self) -> int:
        """How many things there are, by the last count and the additions."""
        return self.many + self.added

    def add(self, more: int, now: float) -> None:
        """Note that this process adds so many things, or takes so many back when the number is negative."""
        self.added += more
        self.latest.append((now, more))
        self._forget(now)

    def count(self, many: int, now: float) -> None:
        """Replace the count by a new one. Additions of the last PROJECTED_S may not be in it, so they stay on top."""
        self._forget(now)
        self.many, self.counted_at, self.added = many, now, sum(more for _, more in self.latest)

    def _forget(self, now: float) -> None:
        while self.latest and self.latest[0][0] <= now - PROJECTED_S:
            self.latest.popleft()


class Rate:
    """A token bucket for each company or holder: it holds the quota of one minute and is refilled within a minute."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self._levels: dict[UUID, tuple[float, float]] = {}  # by owner: the level of the bucket, and when that was

    def left(self, who: UUID, now: float) -> float:
        """Return how much may still be recorded now. Less than 1 means that nothing may be."""
        level, moment = self._levels.get(who, (self.most, now))
        return min(level + (now - moment) * self.most / MINUTE_S, self.most)

    def spend(self, who: UUID, amount: int, now: float) -> None:
        """
        Take an amount out of the bucket, or put it back when it is negative.

        One unit of work may take more than the bucket holds. Its level is then negative, so that the next unit waits
        longer, but never longer than about a minute.
        """
        level = min(max(self.left(who, now) - amount, -self.most), self.most)
        self._levels.pop(who, None)
        self._levels[who] = (level, now)
        if len(self._levels) > MOST_KNOWN:
            del self._levels[next(iter(self._levels))]

    def wait_s(self, who: UUID, now: float) -> int:
        """Return the whole seconds until something may be recorded again; 0 when it may be now."""
        level = self.left(who, now)
        return 0 if level >= 1 else math.ceil((1 - level) * MINUTE_S / self.most)

    def used(self, now: float) -> dict[UUID, float]:
        """Return the share of the quota that each company or holder has used up, for those that are remembered."""
        return {who: 1 - self.left(who, now) / self.most for who in list(self._levels)}


class Quotas:
    """
    Checks the quotas within one process. Each process counts for itself, so n processes let through up to n times as
    much in a minute.

    How many things there are is counted in the read models, at most every COUNT_AGAIN_S; what this process has added
    since is put on top. Several processes together may overshoot a quota by what they add in that time. What a process
    adds is reserved before it is recorded, so that its own threads do not overshoot.
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
        self._known: dict[tuple[str, UUID], Known] = {}  # by quota and owner
        self._met: set[str] = set()  # the quotas for which the nearly full companies have been counted

    def take(self, charge: Charge) -> None:
        """Reserve a charge. Raises OverQuota for too much in a minute, and RuleViolation for too many things."""
        additions = self._added(charge)
        if charge.may_be_refused:
            for (quota, who), more in additions.items():
                self._look(quota, who, more)
        costs = self._spent(charge)
        with self._lock:
            now = self._clock()
            if charge.may_be_refused:
                for (quota, who), more in additions.items():
                    self._check_standing(quota, who, more)
                for rate, who, _ in costs:
                    if wait_s := rate.wait_s(who, now):
                        raise self._refusal(rate.name, OverQuota(rate.name, rate.most, wait_s))
            for rate, who, amount in costs:
                rate.spend(who, amount, now)
            for key, more in additions.items():
                self._of(*key).add(more, now)

    def give_back(self, charge: Charge) -> None:
        """Release the reservation of a charge that was not recorded after all."""
        with self._lock:
            now = self._clock()
            for rate, who, amount in self._spent(charge):
                rate.spend(who, -amount, now)
            for key, more in self._added(charge).items():
                self._of(*key).add(-more, now)

    def is_over(self, company_id: UUID) -> bool:
        """
        Return whether the schedules of a company may not fire now.

        They may not when the company has used up the quota of a minute, or has as much open work or log as it may have.
        """
        now = self._clock()
        if any(rate.wait_s(company_id, now) for rate in self._by_company):
            return True
        return any(self._is_full(quota, company_id) for quota in OF_SCHEDULES)

    def is_half_used(self, company_id: UUID) -> bool:
        """Return whether work that can wait should wait, so that half of a minute's quota stays for what is due."""
        now = self._clock()
        return self.is_over(company_id) or any(
            rate.left(company_id, now) < rate.most * HALF for rate in self._by_company
        )

    def refused(self) -> dict[str, int]:
        """Return how many requests this process has refused, by quota."""
        rates = [rate.name for rate in (*self._by_company, *self._by_holder)]
        names = (*rates, *(name for name, _ in STANDING.values()), LOG_BYTES)
        return {name: self.refusals[name] for name in names}

    def near(self) -> dict[str, int]:
        """Return how many companies or holders of keys are near the quota of a minute, by quota."""
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
        costs = [(self._by_company, who, amounts) for who, amounts in by_company.items()]
        if charge.holder is not None:
            costs.append((self._by_holder, charge.holder, (len(charge.batch), sum(charge.sizes))))
        return [
            (rate, who, amount) for rates, who, amounts in costs for rate, amount in zip(rates, amounts, strict=True)
        ]

    def _added(self, charge: Charge) -> Mapping[tuple[str, UUID], int]:
        """Return how many things a charge adds, by quota and owner."""
        additions: Counter[tuple[str, UUID]] = Counter()
        for recorded, size in zip(charge.batch, charge.sizes, strict=True):
            quota = STANDING.get(type(recorded.event))
            if quota is not None and (who := _owner(recorded.event, recorded.company_id)) is not None:
                additions[quota[0], who] += 1
            if recorded.company_id is not None and self.limits.max_company_log_bytes:
                additions[LOG_BYTES, recorded.company_id] += size
        return additions

    def _look(self, quota: str, who: UUID, more: int) -> None:
        """Count again when the last count is too old to decide on."""
        with self._lock:
            tally = self._of(quota, who)
            is_full = tally.now + more > self._most(quota)
        if self._clock() - tally.counted_at >= (COUNT_FULL_AGAIN_S if is_full else COUNT_AGAIN_S):
            self._count_again(quota, who, tally)

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
        Return whether a company has as many things as it may have, without a count for each firing.

        The first call counts all nearly full companies in one query. After that a company is counted again only when
        this process has added more than the share ADDED of the quota, or, every COUNT_FULL_AGAIN_S, while it is full.
        """
        if (most := self._most(quota)) == 0:
            return False
        if quota not in self._met:
            self._meet(quota)
        with self._lock:
            tally = self._of(quota, who)
            is_full = tally.now >= most
        if (is_full and self._clock() - tally.counted_at >= COUNT_FULL_AGAIN_S) or tally.added > most * ADDED:
            self._count_again(quota, who, tally)
        return tally.now >= most

    def _meet(self, quota: str) -> None:
        most = self._most(quota)
        counts = {} if self._count_all is None else self._count_all(quota, math.floor(most * (1 - ADDED)))
        with self._lock:
            for who, many in counts.items():
                self._of(quota, who).count(many, self._clock())
            self._met.add(quota)

    def _count_again(self, quota: str, who: UUID, tally: Known) -> None:
        many = 0 if self._count is None else self._count(quota, who, self._most(quota))
        with self._lock:
            tally.count(many, self._clock())

    def _most(self, quota: str) -> int:
        most: int = getattr(self.limits, quota)
        return most

    def _of(self, quota: str, who: UUID) -> Known:
        """Return what is known of a quota of an owner. The caller must hold the lock."""
        tally = self._known.setdefault((quota, who), Known())
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return tally

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
