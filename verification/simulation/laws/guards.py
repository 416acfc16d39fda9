"""An occurrence is let through by its gate and its probe as what happened before says."""

from collections import defaultdict
from datetime import datetime, timedelta
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from domain.events import (
    IssueEdited,
    IssueOpened,
    ProbeAnswered,
    ProbeRequested,
    RoutineCreated,
    RoutineRestored,
    RoutineUpdated,
    RunFired,
)
from domain.recorded import Recorded
from domain.values import Coalesced, ProbeFinding, RoutineSettings, Skipped
from verification.simulation.laws.schedules import ScheduleLaws
from verification.simulation.laws.state import GRACE, State

ACTOR_PREFIXES = ("user:", "agent:")  # actors with these prefixes count as activity for an activity gate
SUBJECT_PREFIXES = ("agent", "goal", "issue", "project", "routine")  # of the events that count as their activity
NO_ACTIVITY = Skipped(reason="no_external_activity")


class RunStart(NamedTuple):
    """A run that was neither skipped nor coalesced: an activity gate looks at what has happened since."""

    position: int
    at: datetime


class Activity(NamedTuple):
    """What somebody did to a thing last."""

    position: int
    at: datetime


class GuardLaws:
    """What somebody has done and what probes have found, and what follows for the occurrences after that."""

    def __init__(self, state: State, schedules: ScheduleLaws) -> None:
        self._state, self._schedules = state, schedules
        # The last activity on each thing, by company or project, the newest at the end.
        self._activities: dict[UUID | None, dict[UUID, Activity]] = defaultdict(dict)
        self._projects: dict[UUID, UUID | None] = {}  # by issue and by routine: its project
        self._run_starts: dict[UUID, list[RunStart]] = defaultdict(list)  # by routine, the last one of each moment
        self._changed_at: dict[UUID, datetime] = {}  # when each routine was changed last
        self._let_through: dict[UUID, datetime] = {}  # by schedule: when its gate last let something through
        self._probes: dict[UUID, ProbeRequested] = {}  # probes that wait for an answer, by stream
        # By schedule: since when, and what was found.
        self._probe_findings: dict[UUID, tuple[datetime, ProbeFinding]] = {}

    def note_change(self, routine_id: UUID, moment: datetime) -> None:
        """Note that a routine was changed: what fires in the same commit may follow its old settings."""
        self._changed_at[routine_id] = moment

    def note_activity(self, recorded: Recorded) -> None:
        """Note what somebody has done to a thing, for the company, and for the project in which the thing now is."""
        id_, event = recorded.stream_id, recorded.event
        if isinstance(event, IssueOpened | IssueEdited):
            self._projects[id_] = event.details.project_id
        if isinstance(event, RoutineCreated | RoutineUpdated | RoutineRestored):
            self._projects[id_] = event.settings.project_id
        if not recorded.actor.startswith(ACTOR_PREFIXES) or recorded.name.partition(".")[0] not in SUBJECT_PREFIXES:
            return
        for activities in self._activities.values():
            activities.pop(id_, None)
        project_id = id_ if recorded.name.startswith("project.") else self._projects.get(id_)
        for scope in {None, project_id}:
            self._activities[scope][id_] = Activity(recorded.position, recorded.at)

    def decided_at(self, recorded: Recorded, event: RunFired) -> datetime:
        """Return the moment as of which a firing was decided: when its probe was requested, if it was asked."""
        known_finding = self._probe_findings.get(event.trigger_id) if event.trigger_id and event.probe else None
        return recorded.at if known_finding is None else known_finding[0]

    def read_firing(self, recorded: Recorded, event: RunFired) -> None:
        if event.source == "schedule" and event.backfill_id is None:
            self._read_gate(recorded, event, self._state.routines[event.routine_id])
            self._read_probed(recorded, event, self._state.routines[event.routine_id])
        if not isinstance(event.outcome, Skipped | Coalesced):
            beginnings = self._run_starts[event.routine_id]
            beginnings[:] = [
                *[one for one in beginnings if one.at != recorded.at][-1:],
                RunStart(recorded.position, recorded.at),
            ]

    def _read_gate(self, recorded: Recorded, event: RunFired, settings: RoutineSettings) -> None:
        """Judge an occurrence by its gate: it is held if nothing had happened since the last run, and only then."""
        id_, trigger_id, is_without_activity = event.routine_id, event.trigger_id, event.outcome == NO_ACTIVITY
        has_gate = isinstance(event.payload, dict) and "activityGate" in event.payload
        is_gated = settings.activity_gate_policy != "always"
        if trigger_id is None or self._changed_at.get(id_) == recorded.at or event.outcome == Skipped(reason="paused"):
            return
        if has_gate != is_gated or (is_without_activity and not has_gate):
            self._state.report_broken_rule(
                id_, f"{event.occurrence} under {settings.activity_gate_policy} has the gate's evidence: {has_gate}"
            )
        if not has_gate:
            return
        beginnings = self._run_starts[id_]
        if is_without_activity and self._let_through.get(trigger_id) != recorded.at:
            last = next(reversed(beginnings), None)  # another trigger may have run the routine at the same moment
            if last is None:
                self._state.report_broken_rule(id_, f"{event.occurrence} is held, and nothing has run before")
            elif any(activity.at < recorded.at for activity in self._activities_since(last.position, id_, settings)):
                self._state.report_broken_rule(id_, f"{event.occurrence} is held, and something has happened")
        elif not is_without_activity:
            last = next((one for one in reversed(beginnings) if one.at != recorded.at), None)
            if last is not None and not self._activities_since(last.position, id_, settings):
                self._state.report_broken_rule(id_, f"{event.occurrence} is let through, and nothing has happened")
            self._let_through[trigger_id] = recorded.at

    def _activities_since(self, position: int, routine_id: UUID, settings: RoutineSettings) -> list[Activity]:
        """Return what somebody has done since then, in the scope of a routine's gate, but for the work on its own issues."""
        scope = None if settings.activity_gate_scope == "company" else settings.project_id
        newest = takewhile(lambda item: item[1].position > position, reversed(self._activities[scope].items()))
        return [
            activity
            for id_, activity in newest
            if id_ in self._state.routines or self._state.owner.get(id_) != routine_id
        ]

    def read_probe(self, recorded: Recorded, event: ProbeRequested | ProbeAnswered) -> None:
        """Judge a probe: it is requested while an occurrence is owed, and answered once."""
        id_ = recorded.stream_id
        schedule = self._schedules.by_trigger[event.trigger_id]
        if isinstance(event, ProbeRequested):
            if recorded.at < event.occurrence:
                self._state.report_violation(
                    "early", schedule.routine_id, f"{event.occurrence} is probed at {recorded.at}"
                )
            if event.occurrence in schedule.outcomes:
                self._state.report_broken_rule(
                    schedule.routine_id, f"{event.occurrence} is probed, and has its outcome"
                )
            self._probes[id_] = event
            return
        request = self._probes.pop(id_, None)
        if request is None:
            self._state.report_violation(
                "doubled", schedule.routine_id, f"the probe of {event.occurrence} is answered again"
            )
            return
        self._probe_findings[event.trigger_id] = request.as_of, event.finding

    def _read_probed(self, recorded: Recorded, event: RunFired, settings: RoutineSettings) -> None:
        """Judge an occurrence by its probe: it fires only as that has found, within a grace."""
        outcome, finding = event.outcome, event.probe
        if event.trigger_id is None or self._changed_at.get(event.routine_id) == recorded.at:
            return
        if settings.probe is None or outcome in (NO_ACTIVITY, Skipped(reason="paused")):
            if finding is not None and settings.probe is None:
                self._state.report_broken_rule(
                    event.routine_id, f"{event.occurrence} was probed, and there is no probe"
                )
            return
        known_finding = self._probe_findings.get(event.trigger_id)
        if (
            known_finding is None
            or finding != known_finding[1]
            or not timedelta() <= recorded.at - known_finding[0] <= GRACE
        ):
            self._state.report_broken_rule(
                event.routine_id, f"{event.occurrence} is settled by {finding}, and {known_finding} was found"
            )
            return
        skips = {"passed": None, "failed": "probe_failed", "unanswered": "probe_unanswered"}[known_finding[1].verdict]
        if known_finding[1].verdict == "unanswered" and settings.probe.if_unanswered == "fire":
            skips = None
        reason = getattr(outcome, "reason", None)
        if skips != (reason if reason in ("probe_failed", "probe_unanswered") else None):
            self._state.report_broken_rule(
                event.routine_id, f"{event.occurrence} is {outcome}, and its probe {known_finding[1].verdict}"
            )
