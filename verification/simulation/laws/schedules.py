"""Each occurrence that a schedule owes has one outcome, at its time and by its policies."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from uuid import UUID

from domain.events import (
    BackfillRequested,
    RunFired,
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerMissed,
    TriggerRescheduled,
    TriggerRestored,
    TriggerUpdated,
)
from domain.recorded import Recorded
from domain.values import Coalesced, Failed, Opened, Skipped, Started, TriggerSettings
from verification.simulation.calendar_walk import Terms
from verification.simulation.laws.state import GRACE, INSTANT, State

CAP = 25


class ScheduleState:
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


class ScheduleLaws:
    """What is owed by each schedule, by plain sets and the walked calendar."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.by_trigger: dict[UUID, ScheduleState] = {}
        self._by_routine: dict[UUID, list[ScheduleState]] = defaultdict(list)
        # Schedules of which the first waiting occurrence has stayed.
        self._unmoved_schedules: list[tuple[ScheduleState, str]] = []
        self._catch_up_counts: Counter[tuple[UUID, datetime]] = Counter()
        self._dropped_counts: dict[tuple[UUID, datetime], int] = {}
        self.backfills: dict[UUID, BackfillRequested] = {}

    def read_trigger(self, recorded: Recorded, event: TriggerEvent) -> None:
        id_, moment = recorded.stream_id, recorded.at
        match event:
            case (
                TriggerCreated(kind="schedule", routine_id=routine_id)
                | TriggerRestored(kind="schedule", routine_id=routine_id)
            ):
                schedule = self.by_trigger.get(id_) or ScheduleState(routine_id)
                if id_ not in self.by_trigger:
                    self.by_trigger[id_] = schedule
                    self._by_routine[routine_id].append(schedule)
                schedule.deleted, schedule.since, schedule.stopped_at = False, moment, None
                schedule.terms, schedule.enabled = _terms_of(event.settings), event.settings.enabled
                schedule.announced.clear()
            case TriggerUpdated(settings=settings) if id_ in self.by_trigger:
                self._change_terms(self.by_trigger[id_], moment, settings, event.next_at)
            case TriggerRescheduled():
                self._go_on(self.by_trigger[id_], moment, event.next_at, is_starting=self.by_trigger[id_].enabled)
            case TriggerDeleted() if id_ in self.by_trigger:
                self._expect_occurrences(self.by_trigger[id_], moment)
                self.by_trigger[id_].deleted = True
            case TriggerMissed():
                self._read_missed(recorded, event)
            case _:
                pass
        if id_ in self.by_trigger:
            self._follow(self.by_trigger[id_], moment)
        if isinstance(event, TriggerCreated | TriggerUpdated | TriggerRestored | TriggerRescheduled | TriggerMissed):
            self._note_due_moment(id_, event.next_at, event.due_at)

    def _change_terms(
        self, schedule: ScheduleState, moment: datetime, settings: TriggerSettings, next_at: datetime | None
    ) -> None:
        """Change the terms: only what is planned and not due yet stays, where the new ones have it as well."""
        old_terms, new_terms, schedule.enabled = schedule.terms, _terms_of(settings), settings.enabled
        if new_terms == old_terms:
            self._go_on(
                schedule, moment, next_at, is_starting=schedule.enabled and self._state.is_active(schedule.routine_id)
            )
            return
        waiting_occurrence = next_at if next_at is not None and next_at <= moment else None
        if waiting_occurrence is not None and (
            old_terms is None
            or not (old_terms.has(waiting_occurrence) and new_terms.has(waiting_occurrence))
            or schedule.stopped_at
        ):
            self._state.report_broken_rule(schedule.routine_id, f"{waiting_occurrence} stays, and is not of both plans")
        schedule.terms, owed_from = old_terms, moment if waiting_occurrence is None else waiting_occurrence - INSTANT
        self._expect_occurrences(schedule, owed_from)
        schedule.terms, schedule.since = new_terms, owed_from
        schedule.announced.clear()

    def _go_on(self, schedule: ScheduleState, moment: datetime, next_at: datetime | None, *, is_starting: bool) -> None:
        """Let a schedule go on by the same terms: all that waits stays, unless more came due while it stood still."""
        stopped_at, terms = schedule.stopped_at or moment, schedule.terms
        if terms is None or schedule.since is None:
            return
        waiting = [one for one in terms.occurrences_between(schedule.since, stopped_at) if one not in schedule.outcomes]
        if waiting and next_at == waiting[0]:
            if is_starting and terms.occurrences_between(stopped_at, moment - terms.jitter):
                self._unmoved_schedules.append((schedule, f"{next_at} stays, though more came due meanwhile"))
            return
        self._expect_occurrences(schedule, stopped_at)
        schedule.since = max(schedule.since, moment if next_at is None else min(moment, next_at - INSTANT))

    def _follow(self, schedule: ScheduleState, moment: datetime) -> None:
        """
        Note when the schedule ceases to run, or runs again.

        A restore may enable it, and pause its routine in the same commit: then it has not run in between.
        """
        is_running = schedule.enabled and not schedule.deleted and self._state.is_active(schedule.routine_id)
        if is_running and schedule.stopped_at is not None:
            schedule.stood_still, schedule.stopped_at = (schedule.stopped_at, moment), None
        elif not is_running and schedule.stopped_at is None:
            since, until = schedule.stood_still or (moment, moment)
            schedule.stopped_at = since if until == moment else moment

    def _expect_occurrences(self, schedule: ScheduleState, until: datetime) -> None:
        """Judge that every occurrence up to then that was planned while the schedule ran has its outcome."""
        until = min(until, schedule.stopped_at or until)
        if schedule.since is None or schedule.terms is None or until <= schedule.since:
            return
        for occurrence in schedule.terms.occurrences_between(schedule.since, until):
            if occurrence not in schedule.outcomes:
                self._state.report_violation("lost", schedule.routine_id, f"{occurrence} has no outcome")
        schedule.since = until

    def _settle(self, schedule: ScheduleState, occurrence: datetime, outcome: str) -> None:
        if (old_outcome := schedule.outcomes.get(occurrence)) is not None:
            self._state.report_violation(
                "doubled", schedule.routine_id, f"{occurrence} is {outcome}, and was {old_outcome}"
            )
        schedule.outcomes[occurrence] = outcome
        self._state.occurrences[outcome] += 1

    def _note_due_moment(self, trigger_id: UUID | None, next_at: datetime | None, due_at: datetime | None) -> None:
        """Note when an occurrence comes due: with jitter later than planned, at a moment that does not change."""
        if trigger_id is None or next_at is None or due_at is None:
            return
        schedule = self.by_trigger[trigger_id]
        announced_at = schedule.announced.setdefault(next_at, due_at)
        longest_jitter = schedule.terms.jitter if schedule.terms else timedelta()
        if announced_at != due_at or not timedelta() <= due_at - next_at <= longest_jitter:
            self._state.report_broken_rule(
                schedule.routine_id, f"{next_at} comes due at {due_at}, was {announced_at}, jitter {longest_jitter}"
            )

    def _read_missed(self, recorded: Recorded, event: TriggerMissed) -> None:
        schedule, moment = self.by_trigger[recorded.stream_id], recorded.at
        if schedule.terms is None:
            return
        moments = schedule.terms.occurrences_between(event.first - INSTANT, event.last)
        if not moments or (moments[0], moments[-1], len(moments)) != (event.first, event.last, event.count):
            self._state.report_broken_rule(
                schedule.routine_id, f"missed {event.count} from {event.first} to {event.last}: {len(moments)}"
            )
        if event.last > moment:
            self._state.report_violation("early", schedule.routine_id, f"{event.last} is called missed at {moment}")
        if schedule.since is None or event.first <= schedule.since:
            self._state.report_broken_rule(schedule.routine_id, f"{event.first} is called missed, and was not owed")
        if event.reason in ("skip_missed", "catch_up_cap"):
            policy = self._state.routines[schedule.routine_id].catch_up_policy
            if event.reason != ("skip_missed" if policy == "skip_missed" else "catch_up_cap"):
                self._state.report_broken_rule(schedule.routine_id, f"{event.reason} under {policy}")
            if moment - event.last <= GRACE:
                self._state.report_broken_rule(
                    schedule.routine_id, f"{event.last} was on time at {moment}, and is dropped"
                )
            if event.reason == "catch_up_cap" and not schedule.terms.jitter:
                self._dropped_counts[recorded.stream_id, moment] = event.count
        for occurrence in moments:
            self._settle(schedule, occurrence, "missed")

    def read_scheduled(self, recorded: Recorded, event: RunFired, decided_at: datetime) -> None:
        """Read a firing by a schedule, which was decided as of a moment: that of its probe, if it was asked."""
        trigger_id, occurrence, moment = event.trigger_id, event.occurrence, recorded.at
        schedule = self.by_trigger.get(trigger_id) if trigger_id else None
        if trigger_id is None or schedule is None or schedule.terms is None or occurrence is None:
            self._state.report_broken_rule(event.routine_id, "fired by no schedule")
            return
        if schedule.since is None or schedule.stopped_at is not None:
            self._state.report_broken_rule(event.routine_id, f"{occurrence} fired though nothing was owed")
        elif occurrence <= schedule.since:
            self._state.report_broken_rule(event.routine_id, f"{occurrence} fired, and was not owed")
        if not schedule.terms.has(occurrence):
            self._state.report_broken_rule(event.routine_id, f"{occurrence} is no occurrence of {schedule.terms}")
        if moment < schedule.announced.pop(occurrence, occurrence):
            self._state.report_violation("early", event.routine_id, f"{occurrence} fired at {moment}")
        if decided_at - occurrence > GRACE + schedule.terms.jitter:
            self._catch_up_counts[trigger_id, moment] += 1
            if self._state.routines[event.routine_id].catch_up_policy == "skip_missed":
                self._state.report_broken_rule(event.routine_id, f"{occurrence} fired at {moment} under skip_missed")
        self._settle(schedule, occurrence, _outcome_name(event))
        self._note_due_moment(trigger_id, event.next_at, event.due_at)

    def read_backfilled(self, event: RunFired, backfill_id: UUID) -> None:
        """Judge a firing of a backfill: it had no run, is in the range, and is not owed by the schedule itself."""
        schedule = self.by_trigger.get(event.trigger_id) if event.trigger_id else None
        backfill, occurrence = self.backfills[backfill_id], event.occurrence
        if schedule is None or schedule.terms is None or occurrence is None or event.trigger_id != backfill.trigger_id:
            self._state.report_broken_rule(event.routine_id, "made up for by no schedule")
            return
        if not schedule.terms.has(occurrence) or not backfill.since <= occurrence <= backfill.until:
            self._state.report_broken_rule(
                event.routine_id, f"{occurrence} is made up for, and not of {schedule.terms} or the range"
            )
        since = schedule.since if schedule.stopped_at is None else None
        is_owed = since is not None and occurrence > since and occurrence not in schedule.outcomes
        if schedule.deleted or is_owed:
            self._state.report_broken_rule(event.routine_id, f"{occurrence} is made up for, and still owed")
        if backfill.overlap == "one_at_a_time" and self._state.open[event.routine_id]:
            self._state.report_broken_rule(event.routine_id, f"{occurrence} is made up for beside live work")
        if schedule.outcomes.get(occurrence) == "missed":
            del schedule.outcomes[occurrence]
        self._settle(schedule, occurrence, "made up for")

    def follow_routine(self, routine_id: UUID, status: str, moment: datetime) -> None:
        """Let the schedules of a routine run or stand still with it; an archived routine owes nothing more."""
        for schedule in self._by_routine[routine_id]:
            if status == "archived" and not schedule.deleted:
                self._expect_occurrences(schedule, moment)
            self._follow(schedule, moment)

    def judge_commit(self) -> None:
        """Judge what has been made up for and dropped at once; `Oracle.judge_commit` says when."""
        for (trigger_id, moment), catch_up_count in self._catch_up_counts.items():
            if catch_up_count > CAP:
                self._state.report_broken_rule(
                    self.by_trigger[trigger_id].routine_id, f"{catch_up_count} made up for at {moment}"
                )
        for (trigger_id, moment), dropped_count in self._dropped_counts.items():
            if self._catch_up_counts[trigger_id, moment] < CAP:
                catch_up_count = self._catch_up_counts[trigger_id, moment]
                self._state.report_broken_rule(
                    self.by_trigger[trigger_id].routine_id,
                    f"{dropped_count} dropped, only {catch_up_count} made up for",
                )
        for schedule, text in self._unmoved_schedules:
            if schedule.stopped_at is None:
                # Otherwise the same commit has paused the routine, and the schedule did not go on.
                self._state.report_broken_rule(schedule.routine_id, text)
        self._unmoved_schedules.clear()
        self._catch_up_counts.clear()
        self._dropped_counts.clear()

    def judge_end(self, now: datetime) -> None:
        """Judge at the end that whatever was owed up to now was settled."""
        for schedule in self.by_trigger.values():
            if (terms := schedule.terms) is not None and schedule.stopped_at is None:
                self._expect_occurrences(schedule, now - terms.jitter)


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
