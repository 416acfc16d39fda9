"""
The judge: reads the log as an auditor and says what became of each occurrence. It imports nothing of the service.

* lost        an occurrence without an outcome, or a request that was answered with success and has no run
* doubled     an occurrence or a key with more than one outcome, a second live issue where the policy allows one, a
              version that a stream has twice
* invented    an outcome for an occurrence that the schedule does not have
* early       a run that was recorded before its moment
* half-made   a run without its issue or its place in the slot, an issue without its run, an end without the other end
* gaps        positions of the log or versions of a stream that are not there
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, LiteralString, cast

import psycopg

from verification.faults.cron_oracle import expected_occurrences

EVENTS = """
    SELECT position, stream_id::text, version, name, recorded_at, CASE
        WHEN position(convert_to(%s, 'UTF8') IN body) > 0 THEN convert_from(body, 'UTF8') END
    FROM log.events WHERE position > %s ORDER BY position"""
FOREIGN = "of another company"
ENDED = ("run.completed", "run.failed")
OVER = ("done", "cancelled")
Key = tuple[str, str]  # routine and idempotency key
Occurrence = tuple[str, datetime]  # trigger and moment


@dataclass(kw_only=True)
class Verdict:
    """Counts, and the worst lateness of an occurrence that came due while we watched."""

    occurrences: int = 0
    requests: int = 0
    lost: int = 0
    doubled: int = 0
    invented: int = 0
    early: int = 0
    half_made: int = 0
    gaps: int = 0
    worst_s: float = 0.0
    missed: int = 0  # occurrences that were dropped by policy, which is an outcome
    failed: int = 0

    @property
    def faults(self) -> int:
        return self.lost + self.doubled + self.invented + self.early + self.half_made + self.gaps

    def __add__(self, other: "Verdict") -> "Verdict":
        sums = {name: getattr(self, name) + number for name, number in asdict(other).items()}
        return Verdict(**sums | {"worst_s": max(self.worst_s, other.worst_s)})

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, one.name):g} {one.name}" for one in fields(self))


@dataclass
class Event:
    position: int
    stream: str
    version: int
    name: str
    at: datetime  # when it was decided
    data: dict[str, Any]
    recorded_at: datetime


@dataclass
class Log:
    """What was recorded after a position, sorted by name."""

    events: list[Event] = field(default_factory=list)
    by_name: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))


def head(conn: psycopg.Connection[Any]) -> int:
    return int(_fetch_value(conn, "SELECT coalesce(max(position), 0) FROM log.events"))


def clock(conn: psycopg.Connection[Any]) -> datetime:
    return cast("datetime", _fetch_value(conn, "SELECT clock_timestamp()"))


def runs(conn: psycopg.Connection[Any]) -> int:
    return int(_fetch_value(conn, "SELECT count(*) FROM log.events WHERE name = 'run.fired'"))


def _fetch_value(conn: psycopg.Connection[Any], query: LiteralString) -> Any:
    """Return the one value of the one row."""
    row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


def judge(
    conn: psycopg.Connection[Any],
    *,
    after: int = 0,
    until: datetime | None = None,
    began: datetime | None = None,
    answered: Iterable[Key] = (),
    passed_over: Collection[str] = (),
    company: str = "",
) -> Verdict:
    """
    Judge what is in the log after a position. All routines must have been made after it.

    `company`: only what belongs to it is judged, and of the others that the log has no gap (empty: all are judged).

    `until`: occurrences up to then must be settled (None: now); `began`: lateness counts from here on; `answered`: the
    keys of requests that were told they succeeded; `passed_over`: triggers whose schedule cannot be read.
    """
    now = clock(conn)
    log = _read(conn, after, company)
    verdict = Verdict(gaps=_count_gaps(log, after))
    _judge_occurrences(verdict, log, until or now, now, began, passed_over)
    _judge_requests(verdict, log, set(answered))
    _judge_wholeness(verdict, log)
    verdict.doubled += _count_overlaps(log)
    verdict.doubled += sum(n - 1 for n in Counter((e.stream, e.version) for e in log.events).values())
    return verdict


def _read(conn: psycopg.Connection[Any], after: int, company: str) -> Log:
    log = Log()
    for position, stream, version, name, recorded_at, body in conn.execute(EVENTS, (company, after)):
        if body is None:
            log.events.append(Event(position, stream, version, FOREIGN, recorded_at, {}, recorded_at))
            continue
        try:
            envelope = json.loads(body)
            decided_at, data = datetime.fromisoformat(envelope["at"]), envelope["event"]
        except (ValueError, KeyError, TypeError):
            decided_at, data = recorded_at, {}  # nobody can read it
        event = Event(position, stream, version, name, decided_at, data, recorded_at)
        log.events.append(event)
        log.by_name[name].append(event)
    return log


def _judge_occurrences(
    verdict: Verdict, log: Log, until: datetime, now: datetime, began: datetime | None, passed_over: Collection[str]
) -> None:
    expected = {
        (one.stream, moment)
        for one in log.by_name["trigger.created"]
        if one.data["kind"] == "schedule" and one.stream not in passed_over
        for moment in _moments_due(one, now)
    }
    outcomes: Counter[Occurrence] = Counter()
    for run in log.by_name["run.fired"]:
        if run.data.get("occurrence") is None or run.data["trigger_id"] in passed_over:
            continue
        moment = datetime.fromisoformat(run.data["occurrence"])
        outcomes[run.data["trigger_id"], moment] += 1
        verdict.early += run.recorded_at < moment
        verdict.failed += run.data["outcome"]["type"] == "failed"
        if began is not None and moment >= began:
            verdict.worst_s = max(verdict.worst_s, (run.recorded_at - moment).total_seconds())
    by_trigger: dict[str, list[datetime]] = defaultdict(list)
    for trigger, moment in expected:
        by_trigger[trigger].append(moment)
    for missed_event in log.by_name["trigger.missed"]:
        first, last = (datetime.fromisoformat(missed_event.data[name]) for name in ("first", "last"))
        covered_moments = [
            (missed_event.stream, moment) for moment in by_trigger[missed_event.stream] if first <= moment <= last
        ]
        outcomes.update(covered_moments)
        verdict.missed += len(covered_moments)
        verdict.invented += abs(missed_event.data["count"] - len(covered_moments))
    later = {key for key in outcomes if key[1] > now}
    verdict.occurrences = sum(outcomes[key] > 0 or key[1] <= until for key in expected)
    verdict.lost += sum(not outcomes[key] and key[1] <= until for key in expected)
    verdict.doubled += sum(many - 1 for many in outcomes.values() if many > 1)
    verdict.invented += len(outcomes.keys() - expected - later)


def _moments_due(creation: Event, until: datetime) -> Iterable[datetime]:
    settings = creation.data["settings"]
    if settings.get("run_at") is not None:
        once = datetime.fromisoformat(settings["run_at"])
        return [once] if creation.at < once <= until else []
    ends = datetime.fromisoformat(settings["ends_at"]) if settings.get("ends_at") else until
    # Walked to the end of the minute, so that schedules which share an expression share the walk.
    return [
        moment
        for moment in expected_occurrences(
            settings["cron_expression"], settings["timezone"], _floor_to_minute(creation.at), _floor_to_minute(until)
        )
        if creation.at < moment <= ends
    ]


def _floor_to_minute(moment: datetime) -> datetime:
    return moment - timedelta(seconds=moment.second, microseconds=moment.microsecond)


def _judge_requests(verdict: Verdict, log: Log, answered_keys: set[Key]) -> None:
    by_key = Counter(
        (run.data["routine_id"], run.data["idempotency_key"])
        for run in log.by_name["run.fired"]
        if run.data.get("idempotency_key") is not None
    )
    verdict.requests = len(by_key.keys() | answered_keys)
    verdict.lost += len(answered_keys - by_key.keys())
    verdict.doubled += sum(many - 1 for many in by_key.values() if many > 1)


def _judge_wholeness(verdict: Verdict, log: Log) -> None:
    issues = {one.stream: one.data for one in log.by_name["issue.opened"] if one.data.get("run_id")}
    takings = Counter(one.data["live"]["issue_id"] for one in log.by_name["slot.taken"])
    freeings = Counter(one.data["issue_id"] for one in log.by_name["slot.freed"])
    endings = Counter(one.stream for name in ENDED for one in log.by_name[name])
    status = {one.stream: one.data["status"] for one in log.by_name["issue.moved"]}
    opened_issues = set()
    for run in log.by_name["run.fired"]:
        if run.data["outcome"]["type"] != "issue_created":
            continue
        issue = run.data["outcome"]["issue_id"]
        opened_issues.add(issue)
        is_whole = issues.get(issue, {}).get("run_id") == run.stream and takings[issue] == 1
        ends = endings[run.stream], freeings[issue], int(status.get(issue) in OVER)
        verdict.half_made += not is_whole or ends not in ((0, 0, 0), (1, 1, 1))
    verdict.half_made += len(issues.keys() ^ opened_issues)


def _count_overlaps(log: Log) -> int:
    """Count the issues that were opened while another of the routine was live, though the policy allows one."""
    policies = {
        one.stream: one.data["settings"].get("concurrency_policy", "coalesce_if_active")
        for one in log.by_name["routine.created"]
    }
    live: dict[str, set[str]] = defaultdict(set)
    overlaps = 0
    for event in log.events:
        if event.name == "slot.taken":
            routine = event.data["routine_id"]
            overlaps += bool(live[routine]) and policies.get(routine) != "always_enqueue"
            live[routine].add(event.data["live"]["issue_id"])
        elif event.name == "slot.freed":
            live[event.data["routine_id"]].discard(event.data["issue_id"])
    return overlaps


def _count_gaps(log: Log, after: int) -> int:
    holes = sum(event.position != after + n for n, event in enumerate(log.events, 1)) and 1
    last_versions: dict[str, int] = {}
    for event in log.events:
        before = last_versions.get(event.stream, event.version - 1 if after else 0)
        holes += event.version > before + 1
        last_versions[event.stream] = max(before, event.version)
    return holes
