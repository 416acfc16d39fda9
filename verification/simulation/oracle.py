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

from collections import Counter
from datetime import datetime
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
    TriggerEvent,
)
from domain.recorded import Recorded
from domain.values import RoutineSettings
from verification.simulation.laws.alerts import AlertLaws
from verification.simulation.laws.chains import ChainLaws
from verification.simulation.laws.guards import GuardLaws
from verification.simulation.laws.runs import RunLaws
from verification.simulation.laws.schedules import ScheduleLaws
from verification.simulation.laws.state import State, Violation


class Oracle:
    """Reads the log event by event and lets the laws judge; `violations` is empty as long as all is well."""

    def __init__(self) -> None:
        self._state = State()
        self._schedules = ScheduleLaws(self._state)
        self._chains = ChainLaws(self._state)
        self._guards = GuardLaws(self._state, self._schedules)
        self._runs = RunLaws(self._state)
        self._alerts = AlertLaws(self._state)

    @property
    def violations(self) -> list[Violation]:
        """What was broken, in the order in which it was found."""
        return self._state.violations

    @property
    def occurrences(self) -> Counter[str]:
        """How many occurrences have had each outcome."""
        return self._state.occurrences

    @property
    def open(self) -> dict[UUID, dict[UUID, None]]:
        """The live execution issues, by routine."""
        return self._state.open

    def read(self, recorded: Recorded) -> None:
        """Read the next event of the log."""
        event, id_ = recorded.event, recorded.stream_id
        self._state.position = recorded.position
        self._guards.note_activity(recorded)
        match event:
            case RunFired():
                self._read_firing(recorded, event)
            case ProbeRequested() | ProbeAnswered():
                self._guards.read_probe(recorded, event)
            case IssueOpened(routine_id=UUID() as routine_id, run_id=UUID() as run_id):
                self._runs.open_issue(id_, routine_id, run_id)
            case SlotTaken() | SlotFreed() | SlotCounted():
                self._runs.read_slot(event)
            case IssueMoved() | IssueCheckedOut() | IssueLeaseRenewed() | IssueFreed() if id_ in self._state.owner:
                self._runs.read_work(recorded, event)
            case AlertFailing() | AlertMissed() | AlertOverdue() | AlertUntaken() | AlertStuck():
                self._alerts.raise_alert(recorded, event)
            case AlertRecovered() | AlertClosed():
                self._alerts.close_alert(recorded, event)
            case RunAttemptFailed():
                self._runs.fail_attempt(recorded, event)
            case RunAttemptBegun():
                self._runs.begin_attempt(recorded, event)
            case RunCompleted() | RunFailed():
                self._runs.end(recorded, event)
                self._chains.read_end(id_, event)
            case RoutineCreated(settings=new) | RoutineUpdated(settings=new) | RoutineRestored(settings=new):
                self._read_routine(recorded, new)
            case event if isinstance(event, TriggerEvent):
                self._chains.read_link(id_, event)
                self._schedules.read_trigger(recorded, event)
            case BackfillRequested():
                self._schedules.backfills[id_] = event
            case AgentPaused() | ProjectPaused() | AgentTerminated():
                self._state.stopped.add(id_)
            case AgentResumed() | ProjectResumed() | AgentApproved():
                self._state.stopped.discard(id_)
            case _:
                pass

    def routine_of(self, recorded: Recorded) -> UUID | None:
        """Return which routine an event is about, as far as it is known."""
        id_ = recorded.stream_id
        if id_ in self._state.routines:
            return id_
        schedule = self._schedules.by_trigger.get(id_)
        return schedule.routine_id if schedule else getattr(recorded.event, "routine_id", self._state.owner.get(id_))

    def judge_commit(self) -> None:
        """Judge everything that is recorded up to here: whatever belongs together is there together."""
        self._runs.judge_commit()
        self._schedules.judge_commit()

    def judge_end(self, now: datetime) -> None:
        """Judge at the end: whatever was owed up to now was settled, and nothing outlived its time."""
        self._schedules.judge_end(now)
        self._chains.judge_end()
        self._runs.judge_end(now)
        for routine_id, settings in self._state.routines.items():
            if settings.status == "paused" and settings.resume_at is not None and settings.resume_at <= now:
                self._state.report_broken_rule(routine_id, f"was to go on at {settings.resume_at}")

    def _read_firing(self, recorded: Recorded, event: RunFired) -> None:
        self._runs.read_firing(recorded, event)
        self._chains.read_firing(event, recorded.stream_id)
        if event.backfill_id is not None:
            self._schedules.read_backfilled(event, event.backfill_id)
        elif event.source == "schedule":
            self._schedules.read_scheduled(recorded, event, self._guards.decided_at(recorded, event))
        self._runs.read_outcome(event, recorded.stream_id, self._state.routines[event.routine_id])
        self._guards.read_firing(recorded, event)

    def _read_routine(self, recorded: Recorded, new: RoutineSettings) -> None:
        id_, moment = recorded.stream_id, recorded.at
        old = self._state.routines.get(id_)
        if old is not None and old.status == "archived" and new.status != "archived":
            self._state.report_broken_rule(id_, "is archived no more")
        by_itself = recorded.actor == "scheduler" and old is not None and old.status == "paused"
        if by_itself and old is not None and (old.resume_at is None or moment < old.resume_at):
            self._state.report_violation("early", id_, f"goes on at {moment}, not {old.resume_at}")
        self._state.routines[id_] = new
        self._guards.note_change(id_, moment)
        self._schedules.follow_routine(id_, new.status, moment)
