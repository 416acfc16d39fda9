"""
The activity gate: occurrences of a schedule wake an agent only if something has happened since the routine's last run.

What counts is what people, agents, holders of keys and senders of webhooks have recorded in the company, or in the
routine's project. What the service has decided does not count, nor does the work that the routine itself has caused.
"""

from datetime import UTC, datetime
from uuid import UUID

from domain.errors import RuleViolation
from domain.values import Json, RoutineSettings, Skipped, Value

QUIET = "no_external_activity"  # the reason for which a firing is skipped
NO_ACTIVITY = Skipped(reason=QUIET)
EVIDENCE = "activityGate"  # the field of a run's payload


class Activity(Value, frozen=True):
    """Something that happened: the event, and the id of what it happened to."""

    id: UUID
    event: str  # the stored name of the event
    at: datetime


class Window(Value, frozen=True):
    """
    The time since the last run that was neither skipped nor coalesced, and the newest activity in it, if there is any.

    Without such a run `since` is None.
    """

    since: datetime | None = None
    activity: Activity | None = None


def is_on(settings: RoutineSettings) -> bool:
    """Return whether the routine has an activity gate."""
    return settings.activity_gate_policy != "always"


def check(settings: RoutineSettings) -> None:
    """Raise RuleViolation for a gate that looks at the routine's project if there is none."""
    if is_on(settings) and settings.activity_gate_scope == "project" and settings.project_id is None:
        raise RuleViolation("activityGateScope project requires projectId")


def holds(window: Window) -> bool:
    """Return whether an occurrence is held back; the first run never is."""
    return window.since is not None and window.activity is None


def evidence(window: Window) -> Json:
    """Return why an occurrence was held back or let through, as its run shows it."""
    activity = window.activity
    match_fields = {} if activity is None else {"matchedEvent": activity.event, "matchedAt": _time_text(activity.at)}
    return {
        "verdict": "first_run" if window.since is None else "quiet" if activity is None else "active",
        "windowStart": _time_text(window.since),
        "matchedActivityId": None if activity is None else str(activity.id),
        **match_fields,
    }


def window_start(payload: Json | None) -> datetime | None:
    """Return when the window of a run began that its evidence names; None if there is no evidence."""
    shown_evidence = (payload or {}).get(EVIDENCE)
    start = shown_evidence.get("windowStart") if isinstance(shown_evidence, dict) else None
    return datetime.fromisoformat(start) if isinstance(start, str) else None


def scope_words(settings: RoutineSettings) -> str:
    """Return where something must have happened, for a sentence."""
    return f"the {'project of the routine' if settings.activity_gate_scope == 'project' else 'company'}"


def condition(settings: RoutineSettings) -> str:
    """Return the rule of a routine's gate as a sentence."""
    return f"An occurrence is skipped unless something else has happened in {scope_words(settings)} since the last run."


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
