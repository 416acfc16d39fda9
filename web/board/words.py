"""Times, lengths and outcomes as the board writes them."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfoNotFoundError

import msgspec

from domain.schedule import time_words, zones
from projections.responses.body import time

SOON = timedelta(seconds=1)
utc_text = time  # a moment as the API writes it, for `<time datetime>` and for queries
NO_TIME = "This is no time in {zone}: write it like 2026-11-30 09:00."
CAPITAL = re.compile(r"(?<=[a-z])[A-Z]|(?<=[A-Z])[A-Z](?=[a-z])")


class Outcome(NamedTuple):
    """How an outcome is shown: by a word and by the name of a shape and a colour, which are the same everywhere."""

    word: str
    kind: str


OUTCOMES: Mapping[str, Outcome] = {  # by the status of a run or a trajectory, or the outcome of an occurrence
    "completed": Outcome("ran", "ran"),
    "issue_created": Outcome("under way", "live"),
    "trajectory_started": Outcome("under way", "live"),
    "received": Outcome("under way", "live"),
    "coalesced": Outcome("coalesced", "coalesced"),
    "skipped": Outcome("skipped", "skipped"),
    "missed": Outcome("missed", "missed"),
    "failed": Outcome("failed", "failed"),
    "planned": Outcome("planned", "planned"),
    "pending": Outcome("waiting", "planned"),  # these three are of trajectories
    "running": Outcome("under way", "live"),
    "cancelled": Outcome("cancelled", "skipped"),
}
REASONS = {  # the reasons that are stored as words of the contract
    "paused": "the project is paused",
    "no_external_activity": "nothing has changed since the last run",
    "superseded": "a later occurrence was due as well",
    "over_budget": "a budget is used up",
    "probe_failed": "its probe found something else than it should",
    "probe_unanswered": "nobody answered its probe",
    "no_assignee": "no agent is assigned",
    "live_execution_issue": "a run was still open",
    "company_archived": "the company is archived",
    "over_quota": "the company had recorded too much",
}
NOBODY_CAME = "before the scheduler had come to it"
MISSED_REASONS = {  # the same of what was missed, where some of these words mean something else
    "skip_missed": "the scheduler came to it too late (catch-up policy skip_missed)",
    "catch_up_cap": "more were late than are made up for (catch-up policy enqueue_missed_with_cap)",
    "edited": f"the schedule was edited {NOBODY_CAME}",
    "deleted": f"the trigger was deleted {NOBODY_CAME}",
    "paused": f"the routine was paused {NOBODY_CAME}",
    "archived": f"the routine was archived {NOBODY_CAME}",
}


SOURCES = {
    "schedule": "its schedule",
    "manual": "hand",
    "api": "the API",
    "webhook": "its webhook",
    "chain": "another routine",
    "routine": "a routine",  # these three are of trajectories
    "run": "a call",
    "ingest": "a client that has reported it",
}


def source(name: str) -> str:
    """Return by what a run was fired, as it stands after `by`."""
    return SOURCES.get(name, name)


def parse(text: str | None) -> datetime | None:
    """Return a moment of the API."""
    return datetime.fromisoformat(text) if text else None


def outcome(status: str) -> Outcome:
    """Return how the status of a run, or the outcome of an occurrence, is shown."""
    return OUTCOMES.get(status, Outcome(status.replace("_", " "), "planned"))


def with_chosen(options: Mapping[str, str], chosen: str) -> Mapping[str, str]:
    """Return options, with the one that is chosen among them: addresses may ask for more, or for several, than a form offers."""
    if chosen in options:
        return options
    return {**options, chosen: " or ".join(options.get(one, one) for one in chosen.split(","))}


def reason(text: str | None, outcome: str = "") -> str:
    """Return the reason of an outcome in words."""
    if not text:
        return ""
    reasons = REASONS | MISSED_REASONS if outcome == "missed" else REASONS
    return reasons.get(text, text if " " in text else text.replace("_", " "))


def offset(moment: datetime) -> str:
    """Return what tells the zone of a local moment: `UTC`, `CET` or `UTC+05:30`."""
    name = moment.tzname() or ""
    if name.isalpha():
        return name
    minutes = (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
    return f"UTC{'+' if minutes >= 0 else '-'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def moment_in_words(moment: datetime, zone: str, now: datetime) -> str:
    """Return a moment in a zone, with what tells the zone; the year and the day only where they are needed."""
    local_time = time_words.local(moment, zone)
    return f"{_relative_day(local_time.date(), _today(now, zone))}{time_words.clock(local_time)} {offset(local_time)}"


@lru_cache(maxsize=100)
def _today(now: datetime, zone: str) -> date:
    """Return the day in a zone; all times of a page are told from the same moment."""
    return time_words.local(now, zone).date()


def day(moment: date, today: date) -> str:
    """Return a date, without the year if it is this one."""
    return f"{moment:%a} {moment.day} {moment:%b}" + (f" {moment.year}" if moment.year != today.year else "")


def _relative_day(local_day: date, today: date) -> str:
    match (local_day - today).days:
        case 0:
            return "today "
        case 1:
            return "tomorrow "
        case -1:
            return "yesterday "
        case _:
            return f"{day(local_day, today)} "


def distance(moment: datetime, now: datetime) -> str:
    """Return how far a moment is away: `in 5 min`, `3 h 2 min ago`, `now`."""
    length = moment - now
    if abs(length) < SOON:
        return "now"
    return f"in {time_words.span(length)}" if length > timedelta() else f"{time_words.span(-length)} ago"


def span(length: timedelta | None) -> str:
    """Return a length of time in words; nothing for None."""
    return "" if length is None else time_words.span(max(length, timedelta()))


def milliseconds(number: int | None) -> str:
    """Return a number of milliseconds in words; nothing for None."""
    return span(None if number is None else timedelta(milliseconds=number))


def count_noun(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 run`, `1,204 runs`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def spell_field(field: str) -> str:
    """Return the name of a field of the API as words: `retry policy, max attempts`."""
    return CAPITAL.sub(lambda match: f" {match[0].lower()}", field).replace(".", ", ").replace("_", " ")


def as_json(value: object) -> str:
    """Return a JSON value as people read it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def read_local(text: str, zone: str) -> datetime | None:
    """Return the moment, in UTC, that a text names in a zone, such as `2026-11-30 09:00`; None if it names none."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zones.zone(zone))).astimezone(UTC)
    except (ValueError, OverflowError, ZoneInfoNotFoundError):
        return None


def read_field(text: str, zone: str, name: str, errors: dict[str, str]) -> str | None:
    """Return the moment of a field as the API reads it; None if there is none or, with an error of that name, a wrong one."""
    if not text.strip():
        return None
    if (moment := read_local(text.strip(), zone)) is None:
        errors[name] = NO_TIME.format(zone=zone)
        return None
    return utc_text(moment)


def local_text(moment: datetime, zone: str) -> str:
    """Return a moment as a field of a form has it, without its zone, which stands beside the field."""
    return f"{time_words.local(moment, zone):%Y-%m-%d %H:%M}"


def exact_local_text(moment: datetime | None, zone: str) -> str:
    """
    Return a moment as a field of a form has it that is read back as exactly this one; nothing for None.

    What the minute does not tell has its seconds and its offset: a clock shows an hour twice when it is set back.
    """
    if moment is None:
        return ""
    text = local_text(moment, zone)
    return text if read_local(text, zone) == moment else time_words.local(moment, zone).isoformat(sep=" ")


def in_zone(moment: datetime, zone: str) -> datetime:
    """Return a moment in a zone."""
    return time_words.local(moment, zone)
