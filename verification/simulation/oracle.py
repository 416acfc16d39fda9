"""
What must be true of the log, by plain sets and the walked calendar; knows nothing of the scheduler or of domain's rules.

* lost         an occurrence of a schedule that was enabled, of an active routine, that has no outcome; an attempt, too;
               an end of a run that another routine waits for, and that has fired nothing
* doubled      an occurrence with two outcomes, a run that is fired twice, an attempt that begins or fails twice, a probe
               that is answered twice
* early        a run or an attempt before its moment, or before the one that the log announced for it; a lease that ends
               before its time
* half-made    a run without its issue or slot, an issue or slot without its run, a time-out without its ends
* against rule what the policies, the lifecycle or the calendar do not allow
"""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal, NamedTuple
from uuid import UUID

from domain.events import (
    AgentApproved,
    AgentPaused,
    AgentResumed,
    AgentTerminated,
    AlertClosed,
    AlertFailing,
    AlertMissed,
    AlertOverdue,
    AlertRecovered,
    AlertStuck,
    AlertUntaken,
    BackfillRequested,
    IssueCheckedOut,
    IssueEdited,
    IssueFreed,
    IssueLeaseRenewed,
    IssueMoved,
    IssueOpened,
    ProbeAnswered,
    ProbeRequested,
    ProjectPaused,
    ProjectResumed,
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunFired,
    SlotCounted,
    SlotFreed,
    SlotTaken,
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerMissed,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.values import Coalesced, Failed, Opened, ProbeFinding, RoutineSettings, Skipped, Started, TriggerSettings
from verification.simulation.calendar_walk import Terms

Kind = Literal["lost", "doubled", "early", "half-made", "against rule"]
KINDS: tuple[Kind, ...] = ("lost", "doubled", "early", "half-made", "against rule")
GRACE = timedelta(seconds=60)  # contract 4.2
CAP = 25
MOST_CANCELLED = 100  # issues that one firing cancels
DEEPEST = 10  # runs that follow the first one of a chain
CLOSED = ("done", "cancelled")
DOERS = ("user:", "agent:")  # actors with these prefixes count as activity for an activity gate
DONE_TO = ("agent", "goal", "issue", "project", "routine")  # prefixes of the events that count as their activity
NO_ACTIVITY = Skipped(reason="no_external_activity")
INSTANT = timedelta(microseconds=1)


class Violation(NamedTuple):
    kind: Kind
    text: str
    routine_id: UUID | None
    position: int


class Account:
    """One schedule: when occurrences are owed, and those that have their outcome."""

    def __init__(self, routine_id: UUID) -> None:
        self.routine_id = routine_id
        self.terms: Terms | None = None
        self.enabled = self.deleted = False
        # Occurrences planned after this moment must get an outcome; None before the schedule was created.
        self.since: datetime | None = None
        # Occurrences planned after this moment need no outcome; None while the schedule runs.
        self.stopped_at: datetime | None = None
        self.stood_still: tuple[datetime, datetime] | None = None  # the last time it did, from when until when
        self.outcomes: dict[datetime, str] = {}
        self.announced: dict[datetime, datetime] = {}  # with jitter: when an occurrence comes due


class Link(NamedTuple):
    """A chain: the routine runs when a run of another has ended as is wanted."""

    routine_id: UUID
    after_routine_id: UUID | None
    wanted: str | None
    enabled: bool


class Begun(NamedTuple):
    """A run that was neither skipped nor coalesced: an activity gate looks at what has happened since."""

    position: int
    at: datetime


class Deed(NamedTuple):
    """What somebody did to a thing last."""

    position: int
    at: datetime


class Oracle:
    """Reads the log event by event; `violations` is empty as long as all is well."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.occurrences: Counter[str] = Counter()  # by outcome
        self.open: dict[UUID, dict[UUID, None]] = defaultdict(dict)  # live execution issues, by routine
        self.owner: dict[UUID, UUID] = {}  # routines, by issue and by run
        self._accounts: dict[UUID, Account] = {}
        self._by_routine: dict[UUID, list[Account]] = defaultdict(list)
        self._routines: dict[UUID, RoutineSettings] = {}
        self._stopped: set[UUID] = set()  # agents and projects that are paused, agents that are gone
        self._slots: dict[UUID, dict[UUID, None]] = defaultdict(dict)  # live execution issues, as the slots say
        self._fired: set[UUID] = set()
        self._kept: list[tuple[Account, str]] = []  # schedules of which the first waiting occurrence has stayed
        self._unmade: dict[UUID, str] = {}  # runs whose issue is still missing in the log
        self._touched: set[UUID] = set()  # routines whose issues or slots moved since the last check
        self._made_up: Counter[tuple[UUID, datetime]] = Counter()
        self._capped: dict[tuple[UUID, datetime], int] = {}
        self._deadlines: dict[UUID, datetime] = {}
        self._waiting: dict[UUID, RunAttemptFailed] = {}  # runs that wait for their next attempt
        self._alerts: dict[tuple[UUID, str], UUID] = {}  # those that are open, by what is in trouble and how
        self._attempts: Counter[UUID] = Counter()  # by run: those that have failed
        self._tried: dict[UUID, int] = {}  # by run: how many attempts it may have
        self._leases: dict[UUID, datetime] = {}  # when each ends, by issue
        self._backfills: dict[UUID, BackfillRequested] = {}
        self._successors: dict[UUID, UUID] = {}  # routines, by the runs for which earlier ones were cancelled
        self._latest: dict[UUID, UUID] = {}  # routines, by the runs for which earlier occurrences were skipped
        self._position = 0
        self._links: dict[UUID, Link] = {}
        self._followed: dict[UUID, UUID] = {}  # routines, by their runs that others wait for and that have not ended
        self._owed_runs: dict[tuple[UUID, UUID], UUID] = {}  # routines, by the link and the run that is to fire them
        self._depths: dict[UUID, int] = {}  # of runs
        self._deeds: dict[UUID | None, dict[UUID, Deed]] = defaultdict(dict)  # the last one to each thing, the newest
        # last; of the company (None) and of each project
        self._projects: dict[UUID, UUID | None] = {}  # of issues
        self._begun: dict[UUID, list[Begun]] = defaultdict(list)  # by routine, the last one of each moment
        self._changed: dict[UUID, datetime] = {}  # when each routine was changed last
        self._let_through: dict[UUID, datetime] = {}  # by schedule: when its gate last let something through
        self._probes: dict[UUID, ProbeRequested] = {}  # that wait for an answer, by stream
        self._probe_findings: dict[
            UUID, tuple[datetime, ProbeFinding]
        ] = {}  # by schedule: since when, and what was found

    def read(self, recorded: Recorded) -> None:
        event, id_ = recorded.event, recorded.stream_id
        self._position = recorded.position
        self._note_deed(recorded)
        match event:
            case RunFired():
                self._read_run(recorded, event)
                self._read_guards(recorded, event)
            case ProbeRequested() | ProbeAnswered():
                self._read_probe(recorded, event)
            case IssueOpened(routine_id=UUID() as routine_id, run_id=UUID() as run_id):
                self.owner[id_] = routine_id
                self.open[routine_id][id_] = None
                self._touched.add(routine_id)
                if self._unmade.pop(run_id, None) != "issue":
                    self._report_violation("half-made", routine_id, f"issue {id_} of run {run_id}, which opened none")
            case SlotTaken(routine_id=routine_id, live=live):
                self._slots[routine_id][live.issue_id] = None
                self._touched.add(routine_id)
            case SlotFreed(routine_id=routine_id, issue_id=issue_id):
                self._slots[routine_id].pop(issue_id, None)
                self._touched.add(routine_id)
            case SlotCounted(routine_id=routine_id, live=live_now):
                self._slots[routine_id] = dict.fromkeys(one.issue_id for one in live_now)
            case IssueMoved() | IssueCheckedOut() | IssueLeaseRenewed() | IssueFreed() if id_ in self.owner:
                self._read_work(recorded, event)
            case AlertFailing() | AlertMissed() | AlertOverdue() | AlertUntaken() | AlertStuck():
                self._raise_alert(recorded, event)
            case AlertRecovered() | AlertClosed():
                self._close_alert(recorded, event)
            case RunAttemptFailed():
                self._fail_attempt(recorded, event)
            case RunAttemptBegun():
                self._begin_attempt(recorded, event)
            case RunCompleted() | RunFailed():
                self._end(recorded, event)
            case RoutineCreated(settings=new) | RoutineUpdated(settings=new) | RoutineRestored(settings=new):
                self._read_routine(recorded, new)
            case event if isinstance(event, TriggerEvent):
                self._read_trigger(recorded, event)
            case BackfillRequested():
                self._backfills[id_] = event
            case AgentPaused() | ProjectPaused() | AgentTerminated():
                self._stopped.add(id_)
            case AgentResumed() | ProjectResumed() | AgentApproved():
                self._stopped.discard(id_)
            case _:
                pass

    def _note_deed(self, recorded: Recorded) -> None:
        """What somebody has done to a thing belongs to the company, and to the project in which the thing now is."""
        id_, event = recorded.stream_id, recorded.event
        if isinstance(event, IssueOpened | IssueEdited):
            self._projects[id_] = event.details.project_id
        if isinstance(event, RoutineCreated | RoutineUpdated | RoutineRestored):
            self._projects[id_] = event.settings.project_id
        if not recorded.actor.startswith(DOERS) or recorded.name.partition(".")[0] not in DONE_TO:
            return
        for deeds in self._deeds.values():
            deeds.pop(id_, None)
        project_id = id_ if recorded.name.startswith("project.") else self._projects.get(id_)
        for scope in {None, project_id}:
            self._deeds[scope][id_] = Deed(recorded.position, recorded.at)

    def _read_work(
        self, recorded: Recorded, event: IssueMoved | IssueCheckedOut | IssueLeaseRenewed | IssueFreed
    ) -> None:
        id_ = recorded.stream_id
        match event:
            case IssueMoved(status=status):
                self._move(id_, status)
                self._note_lease(id_, None)
            case IssueCheckedOut(lease_until=until):
                self._move(id_, "in_progress")
                self._note_lease(id_, until)
            case IssueLeaseRenewed(until=until):
                self._note_lease(id_, until)
            case IssueFreed():
                ends_at = self._leases.pop(id_, None)
                if ends_at is None or recorded.at < ends_at:
                    self._report_violation(
                        "early", self.owner.get(id_), f"issue {id_} is free at {recorded.at}, not {ends_at}"
                    )

    def _read_trigger(self, recorded: Recorded, event: TriggerEvent) -> None:
        id_, moment = recorded.stream_id, recorded.at
        self._read_link(id_, event)
        match event:
            case (
                TriggerCreated(kind="schedule", routine_id=routine_id)
                | TriggerRestored(kind="schedule", routine_id=routine_id)
            ):
                account = self._accounts.get(id_) or Account(routine_id)
                if id_ not in self._accounts:
                    self._accounts[id_] = account
                    self._by_routine[routine_id].append(account)
                account.deleted, account.since, account.stopped_at = False, moment, None
                account.terms, account.enabled = _terms_of(event.settings), event.settings.enabled
                account.announced.clear()
            case TriggerUpdated(settings=settings) if id_ in self._accounts:
                self._change_terms(self._accounts[id_], moment, settings, event.next_at)
            case TriggerRescheduled():
                self._go_on(self._accounts[id_], moment, event.next_at, starts=self._accounts[id_].enabled)
            case TriggerDeleted() if id_ in self._accounts:
                self._expect_occurrences(self._accounts[id_], moment)
                self._accounts[id_].deleted = True
            case TriggerMissed():
                self._read_missed(recorded, event)
            case _:
                pass
        if id_ in self._accounts:
            self._follow(self._accounts[id_], moment)
        if isinstance(event, TriggerCreated | TriggerUpdated | TriggerRestored | TriggerRescheduled | TriggerMissed):
            self._note_due_moment(id_, event.next_at, event.due_at)

    def _read_link(self, id_: UUID, event: TriggerEvent) -> None:
        match event:
            case (
                TriggerCreated(kind="chain", settings=new, routine_id=routine_id)
                | TriggerRestored(kind="chain", settings=new, routine_id=routine_id)
            ):
                self._links[id_] = Link(routine_id, new.after_routine_id, new.after_outcome, new.enabled)
            case TriggerUpdated(settings=new) if id_ in self._links:
                routine_id = self._links[id_].routine_id
                self._links[id_] = Link(routine_id, new.after_routine_id, new.after_outcome, new.enabled)
            case TriggerDeleted() if id_ in self._links:
                self._links[id_] = self._links[id_]._replace(enabled=False)
            case _:
                pass

    def _waiting_for(self, routine_id: UUID) -> list[UUID]:
        """The links that wait for the ends of a routine's runs."""
        return [id_ for id_, link in self._links.items() if link.enabled and link.after_routine_id == routine_id]

    def _owe_runs(self, run_id: UUID, routine_id: UUID, outcome: str) -> None:
        for id_ in self._waiting_for(routine_id):
            if self._links[id_].wanted in ("any", outcome):
                self._owed_runs[id_, run_id] = self._links[id_].routine_id

    def _read_chained(self, event: RunFired, id_: UUID, settings: RoutineSettings) -> None:
        if event.trigger_id is None or event.cause_run_id is None:
            self._report_broken_rule(event.routine_id, "chained by nothing")
            return
        if self._owed_runs.pop((event.trigger_id, event.cause_run_id), None) != event.routine_id:
            self._report_broken_rule(
                event.routine_id, f"run {id_} is chained to {event.cause_run_id}, and nothing was owed"
            )
        if event.chain_depth != self._depths.get(event.cause_run_id, 0) + 1 or event.chain_depth > DEEPEST + 1:
            self._report_broken_rule(event.routine_id, f"run {id_} is {event.chain_depth} deep")
        match event.outcome:
            case Skipped(reason="routine_paused" | "routine_archived" as reason):
                if settings.status != reason.removeprefix("routine_"):
                    self._report_broken_rule(event.routine_id, f"chained run {id_} is {reason}")
            case Skipped(reason="chain_too_long"):
                if event.chain_depth <= DEEPEST:
                    self._report_broken_rule(event.routine_id, f"run {id_} is only {event.chain_depth} deep")
            case Skipped(reason="trigger_disabled" | "trigger_deleted"):
                if self._links[event.trigger_id].enabled:
                    self._report_broken_rule(event.routine_id, f"chained run {id_} is skipped, and its link is enabled")
            case _ if settings.status != "active":
                self._report_broken_rule(event.routine_id, f"chained run {id_} though it is {settings.status}")
            case _:
                pass

    def routine_of(self, recorded: Recorded) -> UUID | None:
        """Which routine an event is about, as far as it is known."""
        id_ = recorded.stream_id
        if id_ in self._routines:
            return id_
        account = self._accounts.get(id_)
        return account.routine_id if account else getattr(recorded.event, "routine_id", self.owner.get(id_))

    def check(self) -> None:
        """Of everything that is recorded up to here: whatever belongs together is there together."""
        for run_id, description in self._unmade.items():
            self._report_violation("half-made", self.owner[run_id], f"run {run_id} has no {description}")
        for run_id, routine_id in self._successors.items():
            self._report_violation("half-made", routine_id, f"run {run_id} took another's place, and opened nothing")
        for run_id, routine_id in self._latest.items():
            if run_id not in self._fired:
                self._report_violation(
                    "half-made", routine_id, f"run {run_id} took an occurrence's place, and is not there"
                )
        for routine_id in self._touched:
            if self._slots[routine_id].keys() != self.open[routine_id].keys():
                self._report_violation("half-made", routine_id, "its slot does not hold its open issues")
        for (trigger_id, moment), late in self._made_up.items():
            if late > CAP:
                self._report_broken_rule(self._accounts[trigger_id].routine_id, f"{late} made up for at {moment}")
        for (trigger_id, moment), dropped_count in self._capped.items():
            if self._made_up[trigger_id, moment] < CAP:
                made_up = self._made_up[trigger_id, moment]
                self._report_broken_rule(
                    self._accounts[trigger_id].routine_id, f"{dropped_count} dropped, only {made_up} made up for"
                )
        for account, text in self._kept:
            if account.stopped_at is None:  # else the same commit has paused its routine, and it did not go on
                self._report_broken_rule(account.routine_id, text)
        self._unmade.clear()
        self._kept.clear()
        self._successors.clear()
        self._latest.clear()
        self._touched.clear()
        self._made_up.clear()
        self._capped.clear()

    def close(self, now: datetime) -> None:
        """At the end: whatever was owed up to now was settled, and nothing outlived its time."""
        for account in self._accounts.values():
            if (terms := account.terms) is not None and account.stopped_at is None:
                self._expect_occurrences(account, now - terms.jitter)
        for (link_id, run_id), routine_id in self._owed_runs.items():
            self._report_violation("lost", routine_id, f"the end of run {run_id} has fired nothing by {link_id}")
        for run_id, ends_at in self._deadlines.items():
            if ends_at <= now:
                self._report_broken_rule(self.owner[run_id], f"run {run_id} was to end at {ends_at}")
        for run_id, failure in self._waiting.items():
            if failure.next_at <= now:
                self._report_violation(
                    "lost", self.owner[run_id], f"run {run_id} was to be tried again at {failure.next_at}"
                )
        for issue_id, until in self._leases.items():
            if until <= now:
                self._report_broken_rule(self.owner[issue_id], f"issue {issue_id} was to be free at {until}")
        for routine_id, settings in self._routines.items():
            if settings.status == "paused" and settings.resume_at is not None and settings.resume_at <= now:
                self._report_broken_rule(routine_id, f"was to go on at {settings.resume_at}")

    # Schedules

    def _change_terms(
        self, account: Account, moment: datetime, settings: TriggerSettings, next_at: datetime | None
    ) -> None:
        """With other terms only what is planned and not due yet stays, where they have it as well."""
        old, new, account.enabled = account.terms, _terms_of(settings), settings.enabled
        if new == old:
            self._go_on(account, moment, next_at, starts=account.enabled and self._is_active(account.routine_id))
            return
        stays = next_at if next_at is not None and next_at <= moment else None
        if stays is not None and (old is None or not (old.has(stays) and new.has(stays)) or account.stopped_at):
            self._report_broken_rule(account.routine_id, f"{stays} stays, and is not of both plans")
        account.terms, from_then = old, moment if stays is None else stays - INSTANT
        self._expect_occurrences(account, from_then)
        account.terms, account.since = new, from_then
        account.announced.clear()

    def _go_on(self, account: Account, moment: datetime, next_at: datetime | None, *, starts: bool) -> None:
        """With the same terms all that waits stays, unless more came due while the schedule stood still."""
        stopped_at, terms = account.stopped_at or moment, account.terms
        if terms is None or account.since is None:
            return
        waiting = [one for one in terms.between(account.since, stopped_at) if one not in account.outcomes]
        if waiting and next_at == waiting[0]:
            if starts and terms.between(stopped_at, moment - terms.jitter):
                self._kept.append((account, f"{next_at} stays, though more came due meanwhile"))
            return
        self._expect_occurrences(account, stopped_at)
        account.since = max(account.since, moment if next_at is None else min(moment, next_at - INSTANT))

    def _follow(self, account: Account, moment: datetime) -> None:
        """
        Note when the schedule ceases to run, or runs again.

        A restore may enable it, and pause its routine in the same commit: then it has not run in between.
        """
        runs = account.enabled and not account.deleted and self._is_active(account.routine_id)
        if runs and account.stopped_at is not None:
            account.stood_still, account.stopped_at = (account.stopped_at, moment), None
        elif not runs and account.stopped_at is None:
            since, until = account.stood_still or (moment, moment)
            account.stopped_at = since if until == moment else moment

    def _expect_occurrences(self, account: Account, until: datetime) -> None:
        """Every occurrence up to then, that was planned while the schedule ran, has its outcome."""
        until = min(until, account.stopped_at or until)
        if account.since is None or account.terms is None or until <= account.since:
            return
        for occurrence in account.terms.between(account.since, until):
            if occurrence not in account.outcomes:
                self._report_violation("lost", account.routine_id, f"{occurrence} has no outcome")
        account.since = until

    def _settle(self, account: Account, occurrence: datetime, outcome: str) -> None:
        if (before := account.outcomes.get(occurrence)) is not None:
            self._report_violation("doubled", account.routine_id, f"{occurrence} is {outcome}, and was {before}")
        account.outcomes[occurrence] = outcome
        self.occurrences[outcome] += 1

    def _note_due_moment(self, trigger_id: UUID | None, next_at: datetime | None, due_at: datetime | None) -> None:
        """With jitter an occurrence comes due later than planned, at a moment that does not change."""
        if trigger_id is None or next_at is None or due_at is None:
            return
        account = self._accounts[trigger_id]
        known = account.announced.setdefault(next_at, due_at)
        most = account.terms.jitter if account.terms else timedelta()
        if known != due_at or not timedelta() <= due_at - next_at <= most:
            self._report_broken_rule(account.routine_id, f"{next_at} comes due at {due_at}, was {known}, jitter {most}")

    def _read_missed(self, recorded: Recorded, event: TriggerMissed) -> None:
        account, moment = self._accounts[recorded.stream_id], recorded.at
        if account.terms is None:
            return
        moments = account.terms.between(event.first - INSTANT, event.last)
        if not moments or (moments[0], moments[-1], len(moments)) != (event.first, event.last, event.count):
            self._report_broken_rule(
                account.routine_id, f"missed {event.count} from {event.first} to {event.last}: {len(moments)}"
            )
        if event.last > moment:
            self._report_violation("early", account.routine_id, f"{event.last} is called missed at {moment}")
        if account.since is None or event.first <= account.since:
            self._report_broken_rule(account.routine_id, f"{event.first} is called missed, and was not owed")
        if event.reason in ("skip_missed", "catch_up_cap"):
            policy = self._routines[account.routine_id].catch_up_policy
            if event.reason != ("skip_missed" if policy == "skip_missed" else "catch_up_cap"):
                self._report_broken_rule(account.routine_id, f"{event.reason} under {policy}")
            if moment - event.last <= GRACE:
                self._report_broken_rule(account.routine_id, f"{event.last} was on time at {moment}, and is dropped")
            if event.reason == "catch_up_cap" and not account.terms.jitter:
                self._capped[recorded.stream_id, moment] = event.count
        for occurrence in moments:
            self._settle(account, occurrence, "missed")

    # Runs

    def _read_run(self, recorded: Recorded, event: RunFired) -> None:
        id_, settings = recorded.stream_id, self._routines[event.routine_id]
        if id_ in self._fired or recorded.version != 1:
            self._report_violation("doubled", event.routine_id, f"run {id_} is fired again")
        self._fired.add(id_)
        if event.chain_depth:
            self._depths[id_] = event.chain_depth
        if event.source == "chain":
            self._read_chained(event, id_, settings)
        elif settings.status == "archived":
            self._report_broken_rule(event.routine_id, "fired though it is archived")
        if isinstance(event.outcome, Failed):
            self._owe_runs(id_, event.routine_id, "failed")
        elif isinstance(event.outcome, Opened) and self._waiting_for(event.routine_id):
            self._followed[id_] = event.routine_id
        if event.backfill_id is not None:
            self._read_made_up(event, event.backfill_id)
        elif event.source == "schedule":
            self._read_scheduled(recorded, event, settings)
        self._read_outcome(event, id_, settings)

    def _read_outcome(self, event: RunFired, id_: UUID, settings: RoutineSettings) -> None:
        live = self.open[event.routine_id]
        match event.outcome:
            case Opened(issue_id=_):
                self.owner[id_] = event.routine_id
                self._unmade[id_] = "issue"
                if (
                    live and settings.concurrency_policy != "always_enqueue"
                ) or settings.assignee_agent_id in self._stopped:
                    self._report_broken_rule(
                        event.routine_id, f"opened beside {len(live)} under {settings.concurrency_policy}"
                    )
                self._tried[id_] = event.retry.max_attempts if event.retry else 1
                if event.deadline is not None:
                    self._deadlines[id_] = event.deadline
                self._successors.pop(id_, None)
            case Skipped(reason="superseded", into_run_id=UUID() as latest):
                self._latest[latest] = event.routine_id
                if settings.concurrency_policy != "cancel_previous":
                    self._report_broken_rule(event.routine_id, f"superseded under {settings.concurrency_policy}")
            case Skipped(reason="paused"):
                if settings.project_id not in self._stopped:
                    self._report_broken_rule(event.routine_id, "skipped though its project is not paused")
            case Coalesced(issue_id=met):
                if met not in live or settings.concurrency_policy != "coalesce_if_active":
                    self._report_broken_rule(event.routine_id, f"coalesced under {settings.concurrency_policy}")
            case Skipped(reason="no_external_activity" | "probe_failed" | "probe_unanswered"):
                if event.source != "schedule" or event.backfill_id is not None:
                    self._report_broken_rule(event.routine_id, f"skipped for {event.outcome.reason}")
            case Skipped(issue_id=None):
                if event.source != "chain":
                    self._report_broken_rule(event.routine_id, f"skipped for {event.outcome.reason}")
            case Skipped(issue_id=met):
                if met not in live or settings.concurrency_policy != "skip_if_active":
                    self._report_broken_rule(event.routine_id, f"skipped under {settings.concurrency_policy}")
            case Failed() if settings.concurrency_policy == "cancel_previous" and len(live) > MOST_CANCELLED:
                pass
            case Failed(reason=reason):
                if settings.assignee_agent_id is not None and settings.assignee_agent_id not in self._stopped:
                    self._report_broken_rule(event.routine_id, f"failed: {reason}")

    def _read_scheduled(self, recorded: Recorded, event: RunFired, settings: RoutineSettings) -> None:
        trigger_id, occurrence, moment = event.trigger_id, event.occurrence, recorded.at
        account = self._accounts.get(trigger_id) if trigger_id else None
        if trigger_id is None or account is None or account.terms is None or occurrence is None:
            self._report_broken_rule(event.routine_id, "fired by no schedule")
            return
        if account.since is None or account.stopped_at is not None:
            self._report_broken_rule(event.routine_id, f"{occurrence} fired though nothing was owed")
        elif occurrence <= account.since:
            self._report_broken_rule(event.routine_id, f"{occurrence} fired, and was not owed")
        if not account.terms.has(occurrence):
            self._report_broken_rule(event.routine_id, f"{occurrence} is no occurrence of {account.terms}")
        if moment < account.announced.pop(occurrence, occurrence):
            self._report_violation("early", event.routine_id, f"{occurrence} fired at {moment}")
        if self._decided_at(recorded, event) - occurrence > GRACE + account.terms.jitter:
            self._made_up[trigger_id, moment] += 1
            if settings.catch_up_policy == "skip_missed":
                self._report_broken_rule(event.routine_id, f"{occurrence} fired at {moment} under skip_missed")
        self._settle(account, occurrence, _outcome_name(event))
        self._note_due_moment(trigger_id, event.next_at, event.due_at)

    def _decided_at(self, recorded: Recorded, event: RunFired) -> datetime:
        """The moment as of which a firing was decided: when its probe was requested, if it was asked."""
        known = self._probe_findings.get(event.trigger_id) if event.trigger_id and event.probe else None
        return recorded.at if known is None else known[0]

    def _read_guards(self, recorded: Recorded, event: RunFired) -> None:
        if event.source == "schedule" and event.backfill_id is None:
            self._read_gate(recorded, event, self._routines[event.routine_id])
            self._read_probed(recorded, event, self._routines[event.routine_id])
        if not isinstance(event.outcome, Skipped | Coalesced):
            beginnings = self._begun[event.routine_id]
            beginnings[:] = [
                *[one for one in beginnings if one.at != recorded.at][-1:],
                Begun(recorded.position, recorded.at),
            ]

    def _read_gate(self, recorded: Recorded, event: RunFired, settings: RoutineSettings) -> None:
        """An occurrence that a gate has judged: held if nothing had happened since the last run, and only then."""
        id_, trigger_id, is_without_activity = event.routine_id, event.trigger_id, event.outcome == NO_ACTIVITY
        has_gate = isinstance(event.payload, dict) and "activityGate" in event.payload
        is_gated = settings.activity_gate_policy != "always"
        if trigger_id is None or self._changed.get(id_) == recorded.at or event.outcome == Skipped(reason="paused"):
            return
        if has_gate != is_gated or (is_without_activity and not has_gate):
            self._report_broken_rule(
                id_, f"{event.occurrence} under {settings.activity_gate_policy} has the gate's evidence: {has_gate}"
            )
        if not has_gate:
            return
        beginnings = self._begun[id_]
        if is_without_activity and self._let_through.get(trigger_id) != recorded.at:
            last = next(reversed(beginnings), None)  # another trigger may have run the routine at the same moment
            if last is None:
                self._report_broken_rule(id_, f"{event.occurrence} is held, and nothing has run before")
            elif any(deed.at < recorded.at for deed in self._done_since(last.position, id_, settings)):
                self._report_broken_rule(id_, f"{event.occurrence} is held, and something has happened")
        elif not is_without_activity:
            last = next((one for one in reversed(beginnings) if one.at != recorded.at), None)
            if last is not None and not self._done_since(last.position, id_, settings):
                self._report_broken_rule(id_, f"{event.occurrence} is let through, and nothing has happened")
            self._let_through[trigger_id] = recorded.at

    def _done_since(self, position: int, routine_id: UUID, settings: RoutineSettings) -> list[Deed]:
        """What somebody has done since then, in the scope of a routine's gate, but for the work on its own issues."""
        scope = None if settings.activity_gate_scope == "company" else settings.project_id
        newest = takewhile(lambda item: item[1].position > position, reversed(self._deeds[scope].items()))
        return [deed for id_, deed in newest if id_ in self._routines or self.owner.get(id_) != routine_id]

    def _read_probe(self, recorded: Recorded, event: ProbeRequested | ProbeAnswered) -> None:
        """A probe is requested while an occurrence is owed, and answered once."""
        id_ = recorded.stream_id
        account = self._accounts[event.trigger_id]
        if isinstance(event, ProbeRequested):
            if recorded.at < event.occurrence:
                self._report_violation("early", account.routine_id, f"{event.occurrence} is probed at {recorded.at}")
            if event.occurrence in account.outcomes:
                self._report_broken_rule(account.routine_id, f"{event.occurrence} is probed, and has its outcome")
            self._probes[id_] = event
            return
        request = self._probes.pop(id_, None)
        if request is None:
            self._report_violation("doubled", account.routine_id, f"the probe of {event.occurrence} is answered again")
            return
        self._probe_findings[event.trigger_id] = request.as_of, event.finding

    def _read_probed(self, recorded: Recorded, event: RunFired, settings: RoutineSettings) -> None:
        """An occurrence fires only as its probe has found, and that was found within a grace."""
        outcome, finding = event.outcome, event.probe
        if event.trigger_id is None or self._changed.get(event.routine_id) == recorded.at:
            return
        if settings.probe is None or outcome in (NO_ACTIVITY, Skipped(reason="paused")):
            if finding is not None and settings.probe is None:
                self._report_broken_rule(event.routine_id, f"{event.occurrence} was probed, and there is no probe")
            return
        known = self._probe_findings.get(event.trigger_id)
        if known is None or finding != known[1] or not timedelta() <= recorded.at - known[0] <= GRACE:
            self._report_broken_rule(
                event.routine_id, f"{event.occurrence} is settled by {finding}, and {known} was found"
            )
            return
        skips = {"passed": None, "failed": "probe_failed", "unanswered": "probe_unanswered"}[known[1].verdict]
        if known[1].verdict == "unanswered" and settings.probe.if_unanswered == "fire":
            skips = None
        reason = getattr(outcome, "reason", None)
        if skips != (reason if reason in ("probe_failed", "probe_unanswered") else None):
            self._report_broken_rule(
                event.routine_id, f"{event.occurrence} is {outcome}, and its probe {known[1].verdict}"
            )

    def _read_made_up(self, event: RunFired, backfill_id: UUID) -> None:
        """What a backfill fires had no run, is in its range, and is not owed by the schedule itself."""
        account = self._accounts.get(event.trigger_id) if event.trigger_id else None
        backfill, occurrence = self._backfills[backfill_id], event.occurrence
        if account is None or account.terms is None or occurrence is None or event.trigger_id != backfill.trigger_id:
            self._report_broken_rule(event.routine_id, "made up for by no schedule")
            return
        if not account.terms.has(occurrence) or not backfill.since <= occurrence <= backfill.until:
            self._report_broken_rule(
                event.routine_id, f"{occurrence} is made up for, and not of {account.terms} or the range"
            )
        since = account.since if account.stopped_at is None else None
        is_owed = since is not None and occurrence > since and occurrence not in account.outcomes
        if account.deleted or is_owed:
            self._report_broken_rule(event.routine_id, f"{occurrence} is made up for, and still owed")
        if backfill.overlap == "one_at_a_time" and self.open[event.routine_id]:
            self._report_broken_rule(event.routine_id, f"{occurrence} is made up for beside live work")
        if account.outcomes.get(occurrence) == "missed":
            del account.outcomes[occurrence]
        self._settle(account, occurrence, "made up for")

    def _raise_alert(
        self, recorded: Recorded, event: AlertFailing | AlertMissed | AlertOverdue | AlertUntaken | AlertStuck
    ) -> None:
        """A trouble is told once, and not before its time."""
        subject = event.subject_id, recorded.name.removeprefix("alert.")
        if subject in self._alerts:
            self._report_violation("doubled", event.routine_id, f"{subject} is told again")
        self._alerts[subject] = recorded.stream_id
        if isinstance(event, AlertOverdue | AlertUntaken | AlertStuck):
            is_early = recorded.at < event.since + timedelta(seconds=event.bound_sec)
            if is_early:
                self._report_violation("early", event.routine_id, f"{subject} is told at {recorded.at}")
            if event.subject_id not in self.open[event.routine_id]:
                self._report_broken_rule(event.routine_id, f"{subject} is told of work that is over")

    def _close_alert(self, recorded: Recorded, event: AlertRecovered | AlertClosed) -> None:
        kind = event.kind if isinstance(event, AlertClosed) else "failing"
        if self._alerts.pop((event.subject_id, kind), None) != recorded.stream_id:
            self._report_violation(
                "doubled", event.routine_id, f"{kind} of {event.subject_id} is over, and was not told"
            )

    def _fail_attempt(self, recorded: Recorded, event: RunAttemptFailed) -> None:
        """A run keeps its open issue, and so its place in the slot, until its next attempt."""
        run_id = recorded.stream_id
        routine_id = self.owner[run_id]
        self._end_in_time(recorded, event.reason)
        self._attempts[run_id] += 1
        if run_id in self._waiting or event.attempt != self._attempts[run_id]:
            self._report_violation("doubled", routine_id, f"attempt {event.attempt} of run {run_id} fails again")
        if event.attempt >= self._tried[run_id]:
            self._report_broken_rule(
                routine_id, f"run {run_id} has attempt {event.attempt + 1} of {self._tried[run_id]}"
            )
        if not self.open[routine_id]:
            self._report_violation("half-made", routine_id, f"run {run_id} waits without an open issue")
        self._waiting[run_id] = event

    def _begin_attempt(self, recorded: Recorded, event: RunAttemptBegun) -> None:
        run_id = recorded.stream_id
        routine_id, failure = self.owner[run_id], self._waiting.pop(run_id, None)
        if failure is None or event.attempt != failure.attempt + 1:
            self._report_violation(
                "doubled", routine_id, f"attempt {event.attempt} of run {run_id} begins after {failure}"
            )
        elif recorded.actor == "scheduler" and recorded.at < failure.next_at:
            self._report_violation(
                "early", routine_id, f"attempt {event.attempt} of run {run_id} begins before {failure.next_at}"
            )
        if recorded.actor == "scheduler" and not self._is_active(routine_id):
            self._report_broken_rule(
                routine_id, f"attempt {event.attempt} of run {run_id} begins, and the routine is not active"
            )
        if event.deadline is not None:
            self._deadlines[run_id] = event.deadline

    def _end(self, recorded: Recorded, event: RunCompleted | RunFailed) -> None:
        run_id, successor_run_id = recorded.stream_id, getattr(event, "successor_run_id", None)
        self._waiting.pop(run_id, None)
        self._end_in_time(recorded, event.reason if isinstance(event, RunFailed) else None)
        followed_id = self._followed.pop(run_id, None)
        if followed_id is not None and successor_run_id is None:
            self._owe_runs(run_id, followed_id, "succeeded" if isinstance(event, RunCompleted) else "failed")
        if successor_run_id is not None:
            routine_id = self.owner[run_id]
            self._successors[successor_run_id] = routine_id
            if self._routines[routine_id].concurrency_policy != "cancel_previous":
                self._report_broken_rule(routine_id, f"run {run_id} is cancelled for its successor")

    def _end_in_time(self, recorded: Recorded, reason: str | None) -> None:
        run_id = recorded.stream_id
        ends_at = self._deadlines.pop(run_id, None)
        if reason == "timed_out" and (ends_at is None or recorded.at < ends_at):
            self._report_violation(
                "early", self.owner.get(run_id), f"run {run_id} is timed out at {recorded.at}, not {ends_at}"
            )

    def _move(self, issue_id: UUID, status: str) -> None:
        routine_id = self.owner[issue_id]
        self._touched.add(routine_id)
        if status in CLOSED:
            self.open[routine_id].pop(issue_id, None)
        else:
            self.open[routine_id][issue_id] = None

    def _note_lease(self, issue_id: UUID, until: datetime | None) -> None:
        if until is None:
            self._leases.pop(issue_id, None)
        else:
            self._leases[issue_id] = until

    # Routines

    def _read_routine(self, recorded: Recorded, new: RoutineSettings) -> None:
        id_, moment = recorded.stream_id, recorded.at
        old = self._routines.get(id_)
        if old is not None and old.status == "archived" and new.status != "archived":
            self._report_broken_rule(id_, "is archived no more")
        by_itself = recorded.actor == "scheduler" and old is not None and old.status == "paused"
        if by_itself and old is not None and (old.resume_at is None or moment < old.resume_at):
            self._report_violation("early", id_, f"goes on at {moment}, not {old.resume_at}")
        self._routines[id_] = new
        self._changed[id_] = moment
        for account in self._by_routine[id_]:
            if new.status == "archived" and not account.deleted:
                self._expect_occurrences(account, moment)
            self._follow(account, moment)

    def _is_active(self, routine_id: UUID) -> bool:
        return self._routines[routine_id].status == "active"

    def _report_broken_rule(self, routine_id: UUID | None, text: str) -> None:
        self._report_violation("against rule", routine_id, text)

    def _report_violation(self, kind: Kind, routine_id: UUID | None, text: str) -> None:
        self.violations.append(Violation(kind, text, routine_id, self._position))


def _terms_of(settings: TriggerSettings) -> Terms:
    return Terms(
        cron=settings.cron_expression,
        zone=settings.timezone or "UTC",
        once=settings.run_at,
        starts=settings.starts_at,
        ends=settings.ends_at,
        excluded=settings.excluded_dates,
        jitter=timedelta(seconds=settings.jitter_sec),
    )


def _outcome_name(event: RunFired) -> str:
    match event.outcome:
        case Opened():
            return "fired"
        case Coalesced():
            return "coalesced"
        case Skipped():
            return "skipped"
        case Failed():
            return "failed"
        case Started():
            return "started"
