"""
How many of each thing there may be, and how many bytes a company may have in the log.

How many there are is counted in the read models, at most every COUNT_AGAIN_S; what this process has added since is put
on top. Several processes together may overshoot a quota by what they add in that time. What a process adds is reserved
before it is recorded, so that its own threads do not overshoot.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from uuid import UUID

import msgspec

from application.quotas.charge import Charge, TooMany
from domain.bounds.limits import Limits
from domain.events import (
    AgentCreated,
    AnyEvent,
    CommentAdded,
    EndpointCreated,
    FolderCreated,
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
from domain.recorded import Unreadable

Count = Callable[[str, UUID, int], int]  # how many things of a quota an owner has; it counts no further than the number
CountAll = Callable[[str, int], Mapping[UUID, int]]  # counts all companies that have at least so many
Additions = Mapping[tuple[str, UUID], int]  # how many things are added, by quota and owner

MOST_COUNTS = 100_000  # counts that a process remembers; the oldest are forgotten first
COUNT_AGAIN_S = 10.0  # how long a count is used before it is counted again
COUNT_FULL_AGAIN_S = 1.0  # the same for a count that has reached its quota, so that deletions soon make room
PROJECTED_S = 2.0  # read models show an addition by then, so a new count includes it
ADDED = 0.01  # the share of a quota after which additions without a caller are counted again
THINGS: dict[type, tuple[str, str]] = {  # by event, the quota and the things in words
    RoutineCreated: ("max_company_routines", "routines that are not archived"),
    TriggerCreated: ("max_company_triggers", "triggers"),
    IssueOpened: ("max_company_open_issues", "open issues"),
    TrajectoryOpened: ("max_company_live_trajectories", "trajectories that wait or run"),
    AgentCreated: ("max_company_agents", "agents that are not terminated"),
    ProjectCreated: ("max_company_projects", "projects"),
    GoalCreated: ("max_company_goals", "goals"),
    FolderCreated: ("max_company_folders", "folders"),
    MemberJoined: ("max_company_members", "members"),
    EndpointCreated: ("max_company_endpoints", "webhook endpoints"),
    TaskCreated: ("max_company_tasks", "tasks"),
    KeyIssued: ("max_holder_keys", "keys that are neither revoked nor expired"),
    CommentAdded: ("max_issue_comments", "comments"),
}
LOG_BYTES = "max_company_log_bytes"  # what a company keeps on disk, in bytes; it is counted as the others are
OWNERS = {"max_holder_keys": "holder of keys", "max_issue_comments": "issue"}  # the others belong to the company
OF_SCHEDULES = ("max_company_open_issues", "max_company_live_trajectories", LOG_BYTES)  # what a firing adds to
NAMES = (*(name for name, _ in THINGS.values()), LOG_BYTES)


class StandingCount(msgspec.Struct):
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


class StandingCounts:
    """What is known, in one process, of how many things there are."""

    def __init__(
        self, limits: Limits, clock: Callable[[], float], count: Count | None, count_all: CountAll | None
    ) -> None:
        self._most: Mapping[str, int] = {name: getattr(limits, name) for name in NAMES}  # by quota
        self._count = count
        self._count_all = count_all
        self._clock = clock
        self._lock = Lock()
        # By quota and the owner's id as an integer, which Python hashes faster than a UUID.
        self._known: dict[tuple[str, int], StandingCount] = {}
        self._counted_quotas: set[str] = set()  # the quotas for which the nearly full companies have been counted

    def additions(self, charge: Charge) -> Additions:
        """Return how many things a charge adds."""
        additions: defaultdict[tuple[str, UUID], int] = defaultdict(int)
        for recorded, size in zip(charge.batch, charge.sizes, strict=True):
            quota = THINGS.get(type(recorded.event))
            if quota is not None and (owner_id := _owner_of(recorded.event, recorded.company_id)) is not None:
                additions[quota[0], owner_id] += 1
            if recorded.company_id is not None and self._most[LOG_BYTES]:
                additions[LOG_BYTES, recorded.company_id] += size
        return additions

    def count_outdated(self, additions: Additions) -> None:
        """Count again what a decision on these additions rests on, where the last count is too old for it."""
        for quota, owner_id, standing_count in self._find_outdated(additions):
            self._count_again(quota, owner_id, standing_count)

    def is_outdated(self, additions: Additions) -> bool:
        """Return whether `count_outdated` would count anything."""
        return any(True for _ in self._find_outdated(additions))

    def _find_outdated(self, additions: Additions) -> Iterator[tuple[str, UUID, StandingCount]]:
        for (quota, owner_id), more in additions.items():
            with self._lock:
                standing_count = self._known_of(quota, owner_id)
                is_full = standing_count.now + more > self._most[quota]
            if self._clock() - standing_count.counted_at >= (COUNT_FULL_AGAIN_S if is_full else COUNT_AGAIN_S):
                yield quota, owner_id, standing_count

    def check(self, additions: Additions) -> None:
        """Raise TooMany if there may not be so many more."""
        for (quota, owner_id), more in additions.items():
            with self._lock:
                many = self._known_of(quota, owner_id).now
            if many + more > (most := self._most[quota]):
                raise TooMany(quota, most, _refusal_text(quota, most))

    def add(self, additions: Additions, sign: int = 1) -> None:
        """Note that these things are added, or, with a `sign` of -1, that they were not added after all."""
        with self._lock:
            now = self._clock()
            for (quota, owner_id), more in additions.items():
                self._known_of(quota, owner_id).add(sign * more, now)

    def stops_schedules(self, company_id: UUID) -> bool:
        """Return whether a company has as much of anything as it may have that a firing adds to."""
        return any(self._is_full(quota, company_id) for quota in OF_SCHEDULES)

    def _is_full(self, quota: str, owner_id: UUID) -> bool:
        """
        Return whether a company has as many things as it may have, without a count for each firing.

        The first call counts all nearly full companies in one query. After that a company is counted again only when
        this process has added more than the share ADDED of the quota, or, every COUNT_FULL_AGAIN_S, while it is full.
        """
        if (most := self._most[quota]) == 0:
            return False
        if quota not in self._counted_quotas:
            self._count_all_holders(quota)
        with self._lock:
            standing_count = self._known_of(quota, owner_id)
            is_full = standing_count.now >= most
        if (
            is_full and self._clock() - standing_count.counted_at >= COUNT_FULL_AGAIN_S
        ) or standing_count.added > most * ADDED:
            self._count_again(quota, owner_id, standing_count)
        return standing_count.now >= most

    def _count_all_holders(self, quota: str) -> None:
        most = self._most[quota]
        counts = {} if self._count_all is None else self._count_all(quota, math.floor(most * (1 - ADDED)))
        with self._lock:
            for owner_id, many in counts.items():
                self._known_of(quota, owner_id).count(many, self._clock())
            self._counted_quotas.add(quota)

    def _count_again(self, quota: str, owner_id: UUID, standing_count: StandingCount) -> None:
        many = 0 if self._count is None else self._count(quota, owner_id, self._most[quota])
        with self._lock:
            standing_count.count(many, self._clock())

    def _known_of(self, quota: str, owner_id: UUID) -> StandingCount:
        """Return what is known of a quota of an owner. The caller must hold the lock."""
        if (standing_count := self._known.get((quota, owner_id.int))) is None:
            standing_count = self._known[quota, owner_id.int] = StandingCount()
            if len(self._known) > MOST_COUNTS:
                del self._known[next(iter(self._known))]
        return standing_count


def _refusal_text(quota: str, most: int) -> str:
    if quota == LOG_BYTES:
        return (
            f"What the company has recorded may take up at most {most} bytes, and nothing of it can be removed: "
            "ask the operator for more"
        )
    nouns = next(noun for name, noun in THINGS.values() if name == quota)
    return f"The {OWNERS.get(quota, 'company')} may have at most {most} {nouns}: end some, or ask the operator for more"


def _owner_of(event: AnyEvent | Unreadable, company_id: UUID | None) -> UUID | None:
    match event:
        case KeyIssued():
            return event.user_id or event.agent_id or event.collection_id
        case CommentAdded(issue_id=issue_id):
            return issue_id
        case _:
            return company_id
