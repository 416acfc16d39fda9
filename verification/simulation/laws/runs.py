"""A run has its issue and its slot, attempts that follow each other, and ends in time."""

from collections import Counter, defaultdict
from datetime import datetime
from uuid import UUID

from domain.events import (
    IssueCheckedOut,
    IssueFreed,
    IssueLeaseRenewed,
    IssueMoved,
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunFired,
    SlotCounted,
    SlotFreed,
    SlotTaken,
)
from domain.recorded import Recorded
from domain.values import Coalesced, Failed, Opened, RoutineSettings, Skipped
from verification.simulation.laws.state import State

MOST_CANCELLED = 100  # issues that one firing cancels
CLOSED = ("done", "cancelled")


class RunLaws:
    """The runs, their attempts and their issues, and the slots that hold them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._slots: dict[UUID, dict[UUID, None]] = defaultdict(dict)  # live execution issues, as the slots say
        self._missing_issues: dict[UUID, str] = {}  # runs whose issue is still missing in the log
        self._unchecked_routines: set[UUID] = set()  # routines whose issues or slots moved since the last check
        self._deadlines: dict[UUID, datetime] = {}
        self._waiting: dict[UUID, RunAttemptFailed] = {}  # runs that wait for their next attempt
        self._attempts: Counter[UUID] = Counter()  # by run: those that have failed
        self._max_attempts: dict[UUID, int] = {}  # by run: how many attempts it may have
        self._leases: dict[UUID, datetime] = {}  # when each ends, by issue
        self._successors: dict[UUID, UUID] = {}  # routines, by the runs for which earlier ones were cancelled
        # Routines, by the runs for which earlier occurrences were skipped.
        self._superseding_runs: dict[UUID, UUID] = {}
        self._run_ids: set[UUID] = set()

    def read_firing(self, recorded: Recorded, event: RunFired) -> None:
        """Judge a firing: a run is fired once, and of an archived routine only by a chain, which skips it."""
        id_, settings = recorded.stream_id, self._state.routines[event.routine_id]
        if id_ in self._run_ids or recorded.version != 1:
            self._state.report_violation("doubled", event.routine_id, f"run {id_} is fired again")
        self._run_ids.add(id_)
        if event.source != "chain" and settings.status == "archived":
            self._state.report_broken_rule(event.routine_id, "fired though it is archived")

    def open_issue(self, issue_id: UUID, routine_id: UUID, run_id: UUID) -> None:
        """Note the issue of a run."""
        self._state.owner[issue_id] = routine_id
        self._state.open[routine_id][issue_id] = None
        self._unchecked_routines.add(routine_id)
        if self._missing_issues.pop(run_id, None) != "issue":
            self._state.report_violation(
                "half-made", routine_id, f"issue {issue_id} of run {run_id}, which opened none"
            )

    def read_slot(self, event: SlotTaken | SlotFreed | SlotCounted) -> None:
        """Note which issues a slot holds."""
        match event:
            case SlotTaken(routine_id=routine_id, live=live):
                self._slots[routine_id][live.issue_id] = None
                self._unchecked_routines.add(routine_id)
            case SlotFreed(routine_id=routine_id, issue_id=issue_id):
                self._slots[routine_id].pop(issue_id, None)
                self._unchecked_routines.add(routine_id)
            case SlotCounted(routine_id=routine_id, live=live_now):
                self._slots[routine_id] = dict.fromkeys(one.issue_id for one in live_now)

    def read_work(
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
                    self._state.report_violation(
                        "early", self._state.owner.get(id_), f"issue {id_} is free at {recorded.at}, not {ends_at}"
                    )

    def _move(self, issue_id: UUID, status: str) -> None:
        routine_id = self._state.owner[issue_id]
        self._unchecked_routines.add(routine_id)
        if status in CLOSED:
            self._state.open[routine_id].pop(issue_id, None)
        else:
            self._state.open[routine_id][issue_id] = None

    def _note_lease(self, issue_id: UUID, until: datetime | None) -> None:
        if until is None:
            self._leases.pop(issue_id, None)
        else:
            self._leases[issue_id] = until

    def fail_attempt(self, recorded: Recorded, event: RunAttemptFailed) -> None:
        """Note a failed attempt: the run keeps its open issue, and so its place in the slot, until its next attempt."""
        run_id = recorded.stream_id
        routine_id = self._state.owner[run_id]
        self._end_in_time(recorded, event.reason)
        self._attempts[run_id] += 1
        if run_id in self._waiting or event.attempt != self._attempts[run_id]:
            self._state.report_violation("doubled", routine_id, f"attempt {event.attempt} of run {run_id} fails again")
        if event.attempt >= self._max_attempts[run_id]:
            self._state.report_broken_rule(
                routine_id, f"run {run_id} has attempt {event.attempt + 1} of {self._max_attempts[run_id]}"
            )
        if not self._state.open[routine_id]:
            self._state.report_violation("half-made", routine_id, f"run {run_id} waits without an open issue")
        self._waiting[run_id] = event

    def begin_attempt(self, recorded: Recorded, event: RunAttemptBegun) -> None:
        run_id = recorded.stream_id
        routine_id, failure = self._state.owner[run_id], self._waiting.pop(run_id, None)
        if failure is None or event.attempt != failure.attempt + 1:
            self._state.report_violation(
                "doubled", routine_id, f"attempt {event.attempt} of run {run_id} begins after {failure}"
            )
        elif recorded.actor == "scheduler" and recorded.at < failure.next_at:
            self._state.report_violation(
                "early", routine_id, f"attempt {event.attempt} of run {run_id} begins before {failure.next_at}"
            )
        if recorded.actor == "scheduler" and not self._state.is_active(routine_id):
            self._state.report_broken_rule(
                routine_id, f"attempt {event.attempt} of run {run_id} begins, and the routine is not active"
            )
        if event.deadline is not None:
            self._deadlines[run_id] = event.deadline

    def end(self, recorded: Recorded, event: RunCompleted | RunFailed) -> None:
        run_id, successor_run_id = recorded.stream_id, getattr(event, "successor_run_id", None)
        self._waiting.pop(run_id, None)
        self._end_in_time(recorded, event.reason if isinstance(event, RunFailed) else None)
        if successor_run_id is not None:
            routine_id = self._state.owner[run_id]
            self._successors[successor_run_id] = routine_id
            if self._state.routines[routine_id].concurrency_policy != "cancel_previous":
                self._state.report_broken_rule(routine_id, f"run {run_id} is cancelled for its successor")

    def _end_in_time(self, recorded: Recorded, reason: str | None) -> None:
        run_id = recorded.stream_id
        ends_at = self._deadlines.pop(run_id, None)
        if reason == "timed_out" and (ends_at is None or recorded.at < ends_at):
            self._state.report_violation(
                "early", self._state.owner.get(run_id), f"run {run_id} is timed out at {recorded.at}, not {ends_at}"
            )

    def read_outcome(self, event: RunFired, id_: UUID, settings: RoutineSettings) -> None:
        live = self._state.open[event.routine_id]
        match event.outcome:
            case Opened(issue_id=_):
                self._state.owner[id_] = event.routine_id
                self._missing_issues[id_] = "issue"
                if (
                    live and settings.concurrency_policy != "always_enqueue"
                ) or settings.assignee_agent_id in self._state.stopped:
                    self._state.report_broken_rule(
                        event.routine_id, f"opened beside {len(live)} under {settings.concurrency_policy}"
                    )
                self._max_attempts[id_] = event.retry.max_attempts if event.retry else 1
                if event.deadline is not None:
                    self._deadlines[id_] = event.deadline
                self._successors.pop(id_, None)
            case Skipped(reason="superseded", into_run_id=UUID() as latest):
                self._superseding_runs[latest] = event.routine_id
                if settings.concurrency_policy != "cancel_previous":
                    self._state.report_broken_rule(event.routine_id, f"superseded under {settings.concurrency_policy}")
            case Skipped(reason="paused"):
                if settings.project_id not in self._state.stopped:
                    self._state.report_broken_rule(event.routine_id, "skipped though its project is not paused")
            case Coalesced(issue_id=met):
                if met not in live or settings.concurrency_policy != "coalesce_if_active":
                    self._state.report_broken_rule(event.routine_id, f"coalesced under {settings.concurrency_policy}")
            case Skipped(reason="no_external_activity" | "probe_failed" | "probe_unanswered"):
                if event.source != "schedule" or event.backfill_id is not None:
                    self._state.report_broken_rule(event.routine_id, f"skipped for {event.outcome.reason}")
            case Skipped(issue_id=None):
                if event.source != "chain":
                    self._state.report_broken_rule(event.routine_id, f"skipped for {event.outcome.reason}")
            case Skipped(issue_id=met):
                if met not in live or settings.concurrency_policy != "skip_if_active":
                    self._state.report_broken_rule(event.routine_id, f"skipped under {settings.concurrency_policy}")
            case Failed() if settings.concurrency_policy == "cancel_previous" and len(live) > MOST_CANCELLED:
                pass
            case Failed(reason=reason):
                if settings.assignee_agent_id is not None and settings.assignee_agent_id not in self._state.stopped:
                    self._state.report_broken_rule(event.routine_id, f"failed: {reason}")

    def judge_commit(self) -> None:
        """Judge whether all that belongs to a run is there; `Oracle.judge_commit` says when."""
        for run_id, description in self._missing_issues.items():
            self._state.report_violation("half-made", self._state.owner[run_id], f"run {run_id} has no {description}")
        for run_id, routine_id in self._successors.items():
            self._state.report_violation(
                "half-made", routine_id, f"run {run_id} took another's place, and opened nothing"
            )
        for run_id, routine_id in self._superseding_runs.items():
            if run_id not in self._run_ids:
                self._state.report_violation(
                    "half-made", routine_id, f"run {run_id} took an occurrence's place, and is not there"
                )
        for routine_id in self._unchecked_routines:
            if self._slots[routine_id].keys() != self._state.open[routine_id].keys():
                self._state.report_violation("half-made", routine_id, "its slot does not hold its open issues")
        self._missing_issues.clear()
        self._successors.clear()
        self._superseding_runs.clear()
        self._unchecked_routines.clear()

    def judge_end(self, now: datetime) -> None:
        """Judge at the end that no run, wait or lease has outlived its time."""
        for run_id, ends_at in self._deadlines.items():
            if ends_at <= now:
                self._state.report_broken_rule(self._state.owner[run_id], f"run {run_id} was to end at {ends_at}")
        for run_id, failure in self._waiting.items():
            if failure.next_at <= now:
                self._state.report_violation(
                    "lost", self._state.owner[run_id], f"run {run_id} was to be tried again at {failure.next_at}"
                )
        for issue_id, until in self._leases.items():
            if until <= now:
                self._state.report_broken_rule(
                    self._state.owner[issue_id], f"issue {issue_id} was to be free at {until}"
                )
