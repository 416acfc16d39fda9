"""Triggers in words: when a routine runs, in the zone of each schedule."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from domain.errors import DomainError
from domain.schedule import cron_words
from web.board import words

Json = Mapping[str, Any]


@lru_cache(maxsize=10_000)
def cron_in_words(expression: str) -> str:
    """Return what a cron expression means, clock changes aside; the expression itself if it cannot be said."""
    try:
        return cron_words.describe(expression, clocks_change=False)
    except DomainError:
        return expression


def in_words(trigger: Json) -> str:
    """Return when a trigger fires."""
    match trigger["kind"]:
        case "schedule" if trigger["cronExpression"]:
            return cron_in_words(trigger["cronExpression"])
        case "schedule":
            return "Once"
        case "webhook":
            return "When its webhook is called"
        case "chain":
            return "After another routine"
        case _:
            return "When the API names it"


def cadence(triggers: Sequence[Json]) -> str:
    """Return when a routine runs, for a list: its first trigger that is enabled, and how many more there are."""
    enabled = [trigger for trigger in triggers if trigger["enabled"]]
    if not enabled:
        return "Only by hand" if not triggers else "All triggers are disabled"
    text, more = in_words(enabled[0]), len(enabled) - 1
    return f"{text}, and {words.count_noun(more, 'more trigger')}" if more else text


def next_of(triggers: Sequence[Json]) -> Json | None:
    """Return the enabled schedule whose next occurrence comes due first, or None."""
    planned_triggers = [trigger for trigger in triggers if trigger["enabled"] and trigger["nextRunAt"]]
    return min(
        planned_triggers, key=lambda trigger: (trigger["dueAt"] or trigger["nextRunAt"], trigger["id"]), default=None
    )


def next_run(routine: Json, now: datetime) -> dict[str, str]:
    """Return the next run of a routine in words: when, in the zone of its schedule, and how far away; or why there is none."""
    trigger = next_of(routine["triggers"])
    if routine["status"] == "archived":
        return {"when": "", "more": "archived"}
    if routine["status"] == "paused":
        resumes = words.parse(routine.get("resumeAt"))
        return {
            "when": "",
            "more": f"paused until {words.moment_in_words(resumes, 'UTC', now)}" if resumes else "paused",
        }
    if trigger is None:
        kinds = {one["kind"] for one in routine["triggers"] if one["enabled"]}
        if "schedule" in kinds:
            return {"when": "", "more": "the schedule has ended"}
        return {"when": "", "more": "when called" if kinds & {"webhook", "api", "chain"} else "only by hand"}
    moment, zone = words.parse(trigger["nextRunAt"]), trigger["timezone"] or "UTC"
    if moment is None:
        return {"when": "", "more": ""}
    away = words.distance(words.parse(trigger["dueAt"]) or moment, now)
    local_time = words.in_zone(moment, zone)
    text = f"{words.day(local_time.date(), words.in_zone(now, zone).date())} {local_time:%H:%M}"  # "today" is another day elsewhere
    return {"when": text, "more": f"{zone} · {away}", "at": trigger["nextRunAt"]}
