"""What became of an occurrence, in one plain sentence, with the facts that it is based on."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from domain.events import (
    AgentTerminated,
    IssueFreed,
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunFailed,
    RunFired,
    TriggerMissed,
    TriggerReplanned,
)
from domain.explain.verdicts import ExplainQuery, Verdict, reason_of
from domain.recorded import Recorded
from domain.routines import activity_gate, budget, probe
from domain.routines.firing import SUPERSEDED
from domain.routines.settlement import CATCH_UP_CAP, COMPANY_ARCHIVED, OVER_QUOTA
from domain.schedule import plan as plans
from domain.schedule.time_words import describe_moment, span
from domain.values import Coalesced, Failed, OverBudget, Skipped, Value

Name = Callable[[str], str]  # turns an actor into a name for people
CHANGED = {
    "edited": "the schedule was edited",
    "deleted": "the trigger was deleted",
    "archived": "the routine was archived",
}


class Explanation(Value, frozen=True):
    """All that is known of one schedule at one moment."""

    trigger_id: UUID
    question: ExplainQuery
    verdict: Verdict
    now: datetime
    previous: datetime | None
    following: datetime | None
    created: Recorded  # the creation of the trigger
    fired: Recorded | None = None  # the firing of its run
    probe: Recorded | None = None  # the request for its probe, while it waits for the answer
    attempt: Recorded | None = (
        None  # the failure of its run's last attempt that was not the end, or the beginning of another
    )
    ended: Recorded | None = None  # the end of its run, if it has ended
    missed: Recorded | None = None
    blocking: Recorded | None = None  # the firing of the run whose issue was in the way
    freed: Recorded | None = None  # when the issue was last taken from a worker
    over_budget: OverBudget | None = None  # the budget that is used up now and will be then, for what is planned
    obstacle: Recorded | None = None  # what paused the project, paused or terminated the agent, or archived the company

    @property
    def zone(self) -> str:
        """The time zone of the schedule; UTC for a single moment."""
        plan = self.question.plan
        return plan.cron.timezone if plan is not None and plan.cron is not None else "UTC"

    def due_at(self, occurrence: datetime | None) -> datetime | None:
        """Return when an occurrence of the schedule came or comes due; None if there is no plan or occurrence."""
        plan = self.question.plan
        return None if plan is None or occurrence is None else plans.due_at(plan, occurrence)

    @property
    def issue_id(self) -> UUID | None:
        """The issue that its run opened or met, if any."""
        return getattr(self.run.outcome, "issue_id", None) if self.run else None

    @property
    def reason(self) -> str | None:
        """Why the occurrence was missed, or why its run opened no issue; None if it ran or there is no outcome."""
        if self.missed is not None and isinstance(self.missed.event, TriggerMissed):
            return self.missed.event.reason
        return reason_of(self.run.outcome) if self.run else None

    @property
    def run(self) -> RunFired | None:
        """The firing of the occurrence; None if it did not fire."""
        return self.fired.event if self.fired is not None and isinstance(self.fired.event, RunFired) else None

    @property
    def facts(self) -> dict[str, Recorded]:
        """The recorded events that the verdict is based on, by their role, in the order in which they were recorded."""
        period = self.question.period
        roles = {
            "status": period.status,
            "schedule": period.edit or self.created,
            "replanned": period.replanned,
            "obstacle": self.obstacle,
            "blocking": self.blocking,
            "missed": self.missed,
            "probe": self.probe,
            "fired": self.fired,
            "attempt": self.attempt,
            "freed": self.freed,
            "ended": self.ended,
        }
        present = [(role, recorded) for role, recorded in roles.items() if recorded is not None]
        return dict(sorted(present, key=lambda item: item[1].at))


def sentence(explanation: Explanation, name: Name) -> str:
    """Return one sentence that says what became of the occurrence; `name` turns an actor into a name for people."""
    write = {
        "ran": _explain_run,
        "coalesced": _explain_live_work,
        "skipped": _explain_live_work,
        "failed": _explain_failure,
        "missed": _explain_missed,
        "planned": _explain_planned,
        "not_an_occurrence": _no_occurrence,
    }.get(explanation.verdict, _explain_kept)
    return write(explanation, name)


def _explain_run(explanation: Explanation, _name: Name) -> str:
    if explanation.run is not None and explanation.run.backfill_id is not None and explanation.fired is not None:
        cause = f"a backfill made up for it on {_write_moment(explanation, explanation.fired.at)}"
        return f"{_name_occurrence(explanation)} ran after all: {cause}, and opened an issue{_what_became_of_run(explanation)}."
    finding = explanation.run.probe if explanation.run is not None else None
    probe_sentence = "" if finding is None else f" {_as_sentence(probe.findings(finding))}"
    firing_sentence = (
        f"it was fired {_write_lateness(explanation)}, and opened an issue{_what_became_of_run(explanation)}"
    )
    return f"{_name_occurrence(explanation)} ran: {firing_sentence}.{probe_sentence}"


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _what_became_of_run(explanation: Explanation) -> str:
    """Return what became of the run's issue, as the end of a sentence."""
    return _how_run_ended(explanation) + _when_freed(explanation)


def _how_run_ended(explanation: Explanation) -> str:
    last = explanation.ended or explanation.attempt
    attempt_event = explanation.attempt.event if explanation.attempt is not None else None
    attempts_note = f" after {attempt_event.attempt} attempts" if isinstance(attempt_event, RunAttemptBegun) else ""
    match last and last.event:
        case RunCompleted():
            return f", which is done{attempts_note}"
        case RunFailed(reason="timed_out"):
            return f", which was cancelled{attempts_note} because it took longer than the routine allows"
        case RunFailed(successor_run_id=UUID()):
            return f", which was cancelled{attempts_note} when the next run took its place, as the policy cancel_previous says"
        case RunFailed():
            return f", which was cancelled{attempts_note}"
        case RunAttemptFailed(attempt=attempt, next_at=next_at):
            begin = _write_moment(explanation, next_at)
            return f", which waits to be tried again: attempt {attempt} failed, and the next one begins on {begin}"
        case RunAttemptBegun(attempt=attempt):
            return f", which is open: attempt {attempt} is under way"
        case _:
            return ", which is open"


def _when_freed(explanation: Explanation) -> str:
    """Return when the issue was last taken from a worker, in brackets; nothing if it never was."""
    freeing = explanation.freed
    if freeing is None or not isinstance(freeing.event, IssueFreed):
        return ""
    cause = (
        "the lease of a worker on it ran out" if freeing.event.reason == "lease_over" else "it was released by force"
    )
    return f" ({cause} on {_write_moment(explanation, freeing.at)})"


def _explain_live_work(explanation: Explanation, _name: Name) -> str:
    run = explanation.run
    if run is not None and run.outcome == activity_gate.NO_ACTIVITY:
        since = activity_gate.window_start(run.payload)
        last_run = f", on {_write_moment(explanation, since)}" if since else ""
        return f"{_name_occurrence(explanation)} was skipped, because nothing had happened in {_scope_of_gate(explanation)} since the last run{last_run}."
    if explanation.reason == SUPERSEDED:
        return (
            f"{_name_occurrence(explanation)} was skipped, because a later one was due as well and took its place: the policy is "
            "cancel_previous."
        )
    if run is not None and isinstance(run.outcome, Skipped) and run.outcome.budget is not None:
        exceeded_budget = run.outcome.budget
        return f"{_name_occurrence(explanation)} was skipped: {over_budget(exceeded_budget)}{_when_budget_frees(explanation, exceeded_budget)}."
    if run is not None and run.probe is not None and explanation.reason in (probe.FAILED, probe.UNANSWERED):
        return f"{_name_occurrence(explanation)} was skipped: {probe.findings(run.probe)}."
    if run is not None and isinstance(run.outcome, Skipped) and run.outcome.issue_id is None:
        pause = f" (paused on {_write_moment(explanation, explanation.obstacle.at)})" if explanation.obstacle else ""
        return f"{_name_occurrence(explanation)} was skipped, because the project of the routine was paused{pause}."
    issue = (
        f"of the run of {_write_moment(explanation, explanation.blocking.at)}"
        if explanation.blocking
        else "of an earlier run"
    )
    still_open = f"still open{_when_freed(explanation)}"
    if run is not None and isinstance(run.outcome, Coalesced):
        outcome, policy = "was joined to the issue", "coalesce_if_active"
        return (
            f"{_name_occurrence(explanation)} {outcome} {issue}, which was {still_open}, as the policy {policy} says."
        )
    return f"{_name_occurrence(explanation)} was skipped, because the issue {issue} was {still_open}: the policy is skip_if_active."


def _explain_failure(explanation: Explanation, name: Name) -> str:
    reason = (
        explanation.run.outcome.reason if explanation.run and isinstance(explanation.run.outcome, Failed) else "unknown"
    )
    return f"{_name_occurrence(explanation)} failed: {reason.rstrip('.')}{_by_agent(explanation, name)}."


def over_budget(exceeded_budget: OverBudget) -> str:
    """Return whose budget was used up, and how much was spent of it, as a clause."""
    spent_amount, limit = budget.amount(exceeded_budget.spent_micros), budget.amount(exceeded_budget.max_cost_micros)
    return f"the budget of the {exceeded_budget.owner} is used up: {spent_amount} of {limit} within {span(timedelta(seconds=exceeded_budget.window_sec))}"


def _when_budget_frees(explanation: Explanation, exceeded_budget: OverBudget) -> str:
    return (
        ""
        if exceeded_budget.frees_at is None
        else f", and frees on {_write_moment(explanation, exceeded_budget.frees_at)} at the earliest"
    )


def _by_agent(explanation: Explanation, name: Name) -> str:
    if explanation.obstacle is None:
        return ""
    outcome = "terminated" if isinstance(explanation.obstacle.event, AgentTerminated) else "paused"
    return f" (it was {outcome} by {name(explanation.obstacle.actor)} on {_write_moment(explanation, explanation.obstacle.at)})"


def _explain_missed(explanation: Explanation, name: Name) -> str:
    if explanation.missed is None or not isinstance(explanation.missed.event, TriggerMissed):
        return f"{_name_occurrence(explanation)} has no outcome: the schedule was changed before it was settled."
    event, record_time = explanation.missed.event, _write_moment(explanation, explanation.missed.at)
    if event.reason == COMPANY_ARCHIVED:
        return f"{_name_occurrence(explanation)} was missed: {_explain_archiving(explanation, name)}."
    if event.reason == "paused":
        return f"{_name_occurrence(explanation)} was missed: the routine was paused before the scheduler had come to it, as was recorded on {record_time}."
    if (change := CHANGED.get(event.reason)) is not None:
        editor = name(explanation.missed.actor)
        return f"{_name_occurrence(explanation)} was missed: {change} by {editor} on {record_time}, before the scheduler had come to it."
    count_note = f" {event.count} occurrences were missed at once" if event.count > 1 else " It alone was missed"
    if event.reason == OVER_QUOTA:
        return f"{_name_occurrence(explanation)} was missed: its company was over one of its quotas, as was recorded on {record_time}.{count_note}."
    cause = f"the scheduler came to it on {record_time}, {_write_lateness(explanation, explanation.missed.at)}"
    if event.reason == "catch_up_cap":
        rule = f"of what is late only the oldest {CATCH_UP_CAP} are made up for"
    else:
        rule = "the catch-up policy skip_missed drops what is more than 60 s late"
    return f"{_name_occurrence(explanation)} was missed: {cause}, and {rule}.{count_note}."


def _explain_archiving(explanation: Explanation, name: Name) -> str:
    archiving = explanation.obstacle
    author = "" if archiving is None else f" by {name(archiving.actor)} on {_write_moment(explanation, archiving.at)}"
    return f"the company was archived{author}"


def _explain_planned(explanation: Explanation, name: Name) -> str:
    if explanation.obstacle is None and explanation.over_budget is not None:
        return (
            f"{_name_occurrence(explanation)} is planned, but will be skipped as things stand: "
            f"{over_budget(explanation.over_budget)}{_when_budget_frees(explanation, explanation.over_budget)}."
        )
    if explanation.obstacle is None:
        return f"{_name_occurrence(explanation)} is planned{_when_due(explanation)}{_if_active(explanation)}."
    if explanation.obstacle.event.__struct_config__.tag == "project.paused":
        return f"{_name_occurrence(explanation)} is planned, but will be skipped as things stand: the routine's project is paused."
    return f"{_name_occurrence(explanation)} is planned, but will fail as things stand: the agent cannot be given work{_by_agent(explanation, name)}."


def _if_active(explanation: Explanation) -> str:
    """Return what must hold for the occurrence, as the end of a sentence, if the routine has an activity gate or a probe."""
    routine = explanation.question.period.routine
    if routine is None:
        return ""
    is_gated, is_probed = activity_gate.is_on(routine.settings), routine.settings.probe is not None
    activity = f"something has happened in {_scope_of_gate(explanation)} by then" if is_gated else ""
    conditions = [condition for condition in (activity, "its probe passes then" if is_probed else "") if condition]
    return f", and runs only if {' and '.join(conditions)}" if conditions else ""


def _scope_of_gate(explanation: Explanation) -> str:
    routine = explanation.question.period.routine
    return activity_gate.scope_words(routine.settings) if routine else "the company"


def _when_due(explanation: Explanation) -> str:
    occurrence = explanation.question.occurrence
    due = explanation.due_at(occurrence)
    return "" if due is None or due == occurrence else f", due {_write_moment(explanation, due)}"


def _no_occurrence(explanation: Explanation, _name: Name) -> str:
    trigger = explanation.question.period.trigger
    if trigger is not None and trigger.kind != "schedule":
        return f"The trigger is no schedule: it fires when it is called ({trigger.kind})."
    sides = [("before", explanation.previous), ("after", explanation.following)]
    neighbours = [
        f"the one {side} is {_write_moment(explanation, moment)}" for side, moment in sides if moment is not None
    ]
    rest = f": {', '.join(neighbours)}" if neighbours else ", and there is none before or after"
    return f"{_write_moment(explanation, explanation.question.at)} is no time of the schedule{rest}.{_by_new_rules(explanation)}"


def _by_new_rules(explanation: Explanation) -> str:
    """Return since when the schedule is planned by other rules of its zone, as a sentence; an empty text if it is not."""
    replanning = explanation.question.period.replanned
    if replanning is None or not isinstance(replanning.event, TriggerReplanned):
        return ""
    return (
        f" Since {_write_moment(explanation, replanning.at)} it is planned by the zone data {replanning.event.zone_data}, by which the "
        f"clocks of {explanation.zone} go by other rules than before."
    )


def _explain_kept(explanation: Explanation, name: Name) -> str:
    """Return the sentence for an occurrence that was kept from running, or that waits."""
    period = explanation.question.period
    editor = f" by {name(period.edit.actor)} on {_write_moment(explanation, period.edit.at)}" if period.edit else ""
    plan = explanation.question.plan
    match explanation.verdict:
        case "being_settled":
            return _explain_waiting(explanation)
        case "not_yet_created":
            creator = f"{name(explanation.created.actor)} on {_write_moment(explanation, explanation.created.at)}"
            return f"{_name_occurrence(explanation)} did not run: the schedule was not there yet; it was made by {creator}."
        case "deleted":
            return f"{_name_occurrence(explanation)} {_did_not(explanation)}: the trigger was deleted{editor}."
        case "disabled":
            return f"{_name_occurrence(explanation)} {_did_not(explanation)}: the trigger was disabled{editor}."
        case "before_start" if plan is not None and plan.starts_at is not None:
            return f"{_name_occurrence(explanation)} {_did_not(explanation)}: the schedule starts on {_write_moment(explanation, plan.starts_at)}."
        case "after_end" if plan is not None and plan.ends_at is not None:
            return f"{_name_occurrence(explanation)} {_did_not(explanation)}: the schedule ended on {_write_moment(explanation, plan.ends_at)}."
        case "company_archived":
            return f"{_name_occurrence(explanation)} {_did_not(explanation)}: {_explain_archiving(explanation, name)}."
        case "excluded_date":
            return f"{_name_occurrence(explanation)} {_did_not(explanation)}: the date is one of those that the schedule leaves out."
        case _:
            return _kept_by_routine(explanation, name)


def _explain_waiting(explanation: Explanation) -> str:
    trigger, occurrence = explanation.question.period.trigger, explanation.question.occurrence
    until = trigger.rests_until if trigger is not None else None
    if explanation.probe is not None:
        return f"{_name_occurrence(explanation)} is due, and waits for the answer of its probe since {_write_moment(explanation, explanation.probe.at)}."
    if until is None or occurrence is None or not occurrence <= explanation.now < until:
        return f"{_name_occurrence(explanation)} is due and about to be settled by the scheduler."
    reason = f"its company was over one of its quotas, and the schedule rests until {_write_moment(explanation, until)} at most"
    return f"{_name_occurrence(explanation)} waits: {reason}. What is more than 60 s late then is recorded as missed."


def _kept_by_routine(explanation: Explanation, name: Name) -> str:
    period = explanation.question.period
    outcome = "archived" if explanation.verdict == "routine_archived" else "paused"
    author = (
        f" by {name(period.status.actor)} on {_write_moment(explanation, period.status.at)}" if period.status else ""
    )
    settings = period.routine.settings if period.routine else None
    note = f', saying "{settings.pause_note}"' if settings and settings.pause_note else ""
    until = (
        f"; it is to go on from {_write_moment(explanation, settings.resume_at)}"
        if settings and settings.resume_at
        else ""
    )
    return f"{_name_occurrence(explanation)} {_did_not(explanation)}: the routine was {outcome}{author}{note}{until}."


def _did_not(explanation: Explanation) -> str:
    occurrence = explanation.question.occurrence
    return "did not run" if occurrence is not None and occurrence <= explanation.now else "will not run as things stand"


def _name_occurrence(explanation: Explanation) -> str:
    return f"The occurrence of {_write_moment(explanation, explanation.question.occurrence or explanation.question.at)}"


def _write_moment(explanation: Explanation, moment: datetime) -> str:
    return describe_moment(moment, explanation.zone)


def _write_lateness(explanation: Explanation, moment: datetime | None = None) -> str:
    moment = moment or (explanation.fired.at if explanation.fired else None)
    due = explanation.due_at(explanation.question.occurrence)
    return (
        "when it was due"
        if due is None or moment is None
        else f"{span(max(moment - due, moment - moment))} after it was due"
    )
