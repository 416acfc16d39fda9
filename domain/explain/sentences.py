"""What became of a moment, told in one plain sentence and with the facts that it rests on."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from domain.events import AgentTerminated, RunCompleted, RunFailed, RunFired, TriggerMissed
from domain.explain.time_words import span, when
from domain.explain.verdicts import Question, Verdict, reason_of
from domain.recorded import Recorded
from domain.routines.trigger import CATCH_UP_CAP
from domain.schedule import plan as plans
from domain.values import Coalesced, Failed, Skipped, Value

Name = Callable[[str], str]  # of an actor, as people call it
CHANGED = {
    "edited": "the schedule was edited",
    "deleted": "the trigger was deleted",
    "paused": "the routine was paused",
    "archived": "the routine was archived",
}


class Account(Value, frozen=True):
    """One schedule at one moment: everything that is known."""

    trigger_id: UUID
    question: Question
    verdict: Verdict
    now: datetime
    previous: datetime | None
    following: datetime | None
    created: Recorded  # the trigger
    fired: Recorded | None = None  # its run
    ended: Recorded | None = None  # the run, so far
    missed: Recorded | None = None
    blocking: Recorded | None = None  # the firing of the run whose issue was in the way
    obstacle: Recorded | None = None  # what paused the project, or paused or terminated the agent

    @property
    def zone(self) -> str:
        plan = self.question.plan
        return plan.cron.timezone if plan is not None and plan.cron is not None else "UTC"

    def due_at(self, occurrence: datetime | None) -> datetime | None:
        """When an occurrence of the schedule came or comes due."""
        plan = self.question.plan
        return None if plan is None or occurrence is None else plans.due_at(plan, occurrence)

    @property
    def issue_id(self) -> UUID | None:
        """The issue that its run opened or met."""
        return getattr(self.run.outcome, "issue_id", None) if self.run else None

    @property
    def reason(self) -> str | None:
        """Why an occurrence was missed, or a run was not to be."""
        if self.missed is not None and isinstance(self.missed.event, TriggerMissed):
            return self.missed.event.reason
        return reason_of(self.run.outcome) if self.run else None

    @property
    def run(self) -> RunFired | None:
        return self.fired.event if self.fired is not None and isinstance(self.fired.event, RunFired) else None

    @property
    def facts(self) -> dict[str, Recorded]:
        """What it rests on, by what it is to the account, in the order in which it was recorded."""
        era = self.question.era
        found = {
            "status": era.status,
            "schedule": era.edit or self.created,
            "obstacle": self.obstacle,
            "blocking": self.blocking,
            "missed": self.missed,
            "fired": self.fired,
            "ended": self.ended,
        }
        known = [(role, recorded) for role, recorded in found.items() if recorded is not None]
        return dict(sorted(known, key=lambda item: item[1].at))


def sentence(account: Account, name: Name) -> str:
    """What became of it."""
    told = {
        "ran": _ran,
        "coalesced": _met,
        "skipped": _met,
        "failed": _failed,
        "missed": _missed,
        "planned": _planned,
        "not_an_occurrence": _no_occurrence,
    }.get(account.verdict, _kept)
    return told(account, name)


def _ran(account: Account, _name: Name) -> str:
    if account.run is not None and account.run.backfill_id is not None and account.fired is not None:
        late = f"a backfill made up for it on {_at(account, account.fired.at)}"
        return f"{_moment(account)} ran after all: {late}, and opened an issue{_since(account)}."
    return f"{_moment(account)} ran: it was fired {_late(account)}, and opened an issue{_since(account)}."


def _since(account: Account) -> str:
    """What became of the run."""
    match account.ended and account.ended.event:
        case RunCompleted():
            return ", which is done"
        case RunFailed(reason="timed_out"):
            return ", which was cancelled because it took longer than the routine allows"
        case RunFailed():
            return ", which was cancelled"
        case _:
            return ", which is open"


def _met(account: Account, _name: Name) -> str:
    run = account.run
    if run is not None and isinstance(run.outcome, Skipped) and run.outcome.issue_id is None:
        by = f" (paused on {_at(account, account.obstacle.at)})" if account.obstacle else ""
        return f"{_moment(account)} was skipped, because the project of the routine was paused{by}."
    other = f"of the run of {_at(account, account.blocking.at)}" if account.blocking else "of an earlier run"
    if run is not None and isinstance(run.outcome, Coalesced):
        became, policy = "was joined to the issue", "coalesce_if_active"
        return f"{_moment(account)} {became} {other}, which was still open, as the policy {policy} says."
    return f"{_moment(account)} was skipped, because the issue {other} was still open: the policy is skip_if_active."


def _failed(account: Account, name: Name) -> str:
    reason = account.run.outcome.reason if account.run and isinstance(account.run.outcome, Failed) else "unknown"
    return f"{_moment(account)} failed: {reason.rstrip('.')}{_by_agent(account, name)}."


def _by_agent(account: Account, name: Name) -> str:
    if account.obstacle is None:
        return ""
    became = "terminated" if isinstance(account.obstacle.event, AgentTerminated) else "paused"
    return f" (it was {became} by {name(account.obstacle.actor)} on {_at(account, account.obstacle.at)})"


def _missed(account: Account, name: Name) -> str:
    if account.missed is None or not isinstance(account.missed.event, TriggerMissed):
        return f"{_moment(account)} has no outcome: the schedule was changed before it was settled."
    event, at = account.missed.event, _at(account, account.missed.at)
    if (changed := CHANGED.get(event.reason)) is not None:
        by = name(account.missed.actor)
        return f"{_moment(account)} was missed: {changed} by {by} on {at}, before the scheduler had come to it."
    many = f" {event.count} occurrences were missed at once" if event.count > 1 else " It alone was missed"
    if event.reason == "over_quota":
        return f"{_moment(account)} was missed: its company was over one of its quotas on {at}.{many}."
    late = f"the scheduler came to it on {at}, {_late(account, account.missed.at)}"
    if event.reason == "catch_up_cap":
        rule = f"of what is late only the oldest {CATCH_UP_CAP} are made up for"
    else:
        rule = "the catch-up policy skip_missed drops what is more than 60 s late"
    return f"{_moment(account)} was missed: {late}, and {rule}.{many}."


def _planned(account: Account, name: Name) -> str:
    if account.obstacle is None:
        return f"{_moment(account)} is planned{_due(account)}."
    if account.obstacle.event.__struct_config__.tag == "project.paused":
        return f"{_moment(account)} is planned, but will be skipped as things stand: the routine's project is paused."
    return f"{_moment(account)} is planned, but will fail as things stand: the agent cannot be given work{_by_agent(account, name)}."


def _due(account: Account) -> str:
    occurrence = account.question.occurrence
    due = account.due_at(occurrence)
    return "" if due is None or due == occurrence else f", due {_at(account, due)}"


def _no_occurrence(account: Account, _name: Name) -> str:
    trigger = account.question.era.trigger
    if trigger is not None and trigger.kind != "schedule":
        return f"The trigger is no schedule: it fires when it is called ({trigger.kind})."
    sides = [("before", account.previous), ("after", account.following)]
    known = [f"the one {side} is {_at(account, moment)}" for side, moment in sides if moment is not None]
    rest = f": {', '.join(known)}" if known else ", and there is none before or after"
    return f"{_at(account, account.question.at)} is no time of the schedule{rest}."


def _kept(account: Account, name: Name) -> str:
    """Something kept it from running, or it waits."""
    era = account.question.era
    edited = f" by {name(era.edit.actor)} on {_at(account, era.edit.at)}" if era.edit else ""
    plan = account.question.plan
    match account.verdict:
        case "being_settled":
            return f"{_moment(account)} is due and about to be settled by the scheduler."
        case "not_yet_created":
            made = f"{name(account.created.actor)} on {_at(account, account.created.at)}"
            return f"{_moment(account)} did not run: the schedule was not there yet; it was made by {made}."
        case "deleted":
            return f"{_moment(account)} {_did_not(account)}: the trigger was deleted{edited}."
        case "disabled":
            return f"{_moment(account)} {_did_not(account)}: the trigger was disabled{edited}."
        case "before_start" if plan is not None and plan.starts_at is not None:
            return f"{_moment(account)} {_did_not(account)}: the schedule starts on {_at(account, plan.starts_at)}."
        case "after_end" if plan is not None and plan.ends_at is not None:
            return f"{_moment(account)} {_did_not(account)}: the schedule ended on {_at(account, plan.ends_at)}."
        case "excluded_date":
            return f"{_moment(account)} {_did_not(account)}: the date is one of those that the schedule leaves out."
        case _:
            return _kept_by_routine(account, name)


def _kept_by_routine(account: Account, name: Name) -> str:
    era = account.question.era
    became = "archived" if account.verdict == "routine_archived" else "paused"
    by = f" by {name(era.status.actor)} on {_at(account, era.status.at)}" if era.status else ""
    settings = era.routine.settings if era.routine else None
    note = f', saying "{settings.pause_note}"' if settings and settings.pause_note else ""
    until = f"; it is to go on from {_at(account, settings.resume_at)}" if settings and settings.resume_at else ""
    return f"{_moment(account)} {_did_not(account)}: the routine was {became}{by}{note}{until}."


def _did_not(account: Account) -> str:
    asked = account.question.occurrence
    return "did not run" if asked is not None and asked <= account.now else "will not run as things stand"


def _moment(account: Account) -> str:
    return f"The occurrence of {_at(account, account.question.occurrence or account.question.at)}"


def _at(account: Account, moment: datetime) -> str:
    return when(moment, account.zone)


def _late(account: Account, at: datetime | None = None) -> str:
    at = at or (account.fired.at if account.fired else None)
    due = account.due_at(account.question.occurrence)
    return "when it was due" if due is None or at is None else f"{span(max(at - due, at - at))} after it was due"
