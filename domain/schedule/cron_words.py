"""
A cron expression in plain English, by the rules of `cron_schedule`; the words follow from the sets of values, and from
what clock changes do to the times.

Two expressions that name different times, or follow different rules at a clock change, never get the same description.
"""

from collections.abc import Sequence
from itertools import chain, pairwise

from domain.schedule import cron_fields
from domain.schedule.time_words import MONTHS

MOST_TIMES = 8  # times that are listed one by one
MINUTES, HOURS = list(range(60)), list(range(24))
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
IN_REAL_TIME = "left out where the clocks skip a time and run twice where they repeat it"
BY_THE_CLOCK = "each time once a day, also where the clocks change"
RUN, SERIES = 3, 4  # the fewest values that are described as a range, or as an even series, instead of a list


def describe(expression: str, *, clocks_change: bool = True) -> str:
    """
    Return the description of an expression: `30 9 * * 1-5` gives `At 09:30 on Monday to Friday`. Raise BadSchedule.

    Times that are listed run once a day, and what runs at intervals does so in real time. The description says where it
    is the other way round, unless the clocks of the schedule's zone never change.
    """
    texts, (minutes, hours, days, months, weekdays) = cron_fields.read(expression)
    is_either_day = not texts[2].startswith("*") and not texts[4].startswith("*")
    times = _describe_times(sorted(minutes), sorted(hours))
    on_days = _describe_days(sorted(days), sorted({(day + 6) % 7 for day in weekdays}), is_either_day=is_either_day)
    in_months = (
        "" if len(months) == len(MONTHS) else f"in {list_in_words([month - 1 for month in sorted(months)], MONTHS)}"
    )
    if not on_days and len(minutes) * len(hours) <= MOST_TIMES:
        on_days = "every day"
    sentence = " ".join(part for part in (times, on_days, in_months) if part)
    real_time, is_listed = cron_fields.is_real_time(texts), len(minutes) * len(hours) <= MOST_TIMES
    if clocks_change and real_time == is_listed:
        sentence += f", {IN_REAL_TIME if real_time else BY_THE_CLOCK}"
    return sentence[0].upper() + sentence[1:]


def list_in_words(values: Sequence[int], names: Sequence[str] | None = None) -> str:
    """Return the values as a list in words: `1 to 5 and 7`; with `names`, these instead of the numbers."""
    name = str if names is None else names.__getitem__
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    words = ([f"{name(run[0])} to {name(run[-1])}"] if len(run) >= RUN else map(name, run) for run in runs)
    return join_in_words(list(chain.from_iterable(words)))


def join_in_words(parts: Sequence[str]) -> str:
    """Return the parts joined in words: `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _describe_times(minutes: list[int], hours: list[int]) -> str:
    if len(minutes) * len(hours) <= MOST_TIMES:
        return "at " + join_in_words([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    if hours == HOURS:
        if minutes == [0]:
            return "every hour, on the hour"
        return _describe_pace(minutes) or f"at {_describe_values('minute', minutes)} of every hour"
    minutes_text = _describe_pace(minutes) or f"at {_describe_values('minute', minutes)}"
    if hours == list(range(hours[0], hours[-1] + 1)):
        return f"{minutes_text} from {hours[0]:02}:00 to {hours[-1]:02}:59"
    return f"{minutes_text} of {_describe_values('hour', hours)}"


def _describe_pace(minutes: list[int]) -> str | None:
    """Return how often it runs within an hour, if that is at even intervals all round the clock; otherwise None."""
    if minutes == MINUTES:
        return "every minute"
    step = 60 // len(minutes)
    if len(minutes) == 1 or minutes != list(range(minutes[0], 60, step)) or minutes[0] >= step or 60 % step:
        return None
    return f"every {step} minutes" + (f" from minute {minutes[0]}" if minutes[0] else "")


def _describe_days(days: list[int], weekdays: list[int], *, is_either_day: bool) -> str:
    any_day, any_weekday = len(days) == 31, len(weekdays) == 7  # noqa: PLR2004 the days of a month, of a week
    of_month = f"on {_describe_values('day', days)} of the month"
    of_week = f"every {WEEKDAYS[weekdays[0]]}" if len(weekdays) == 1 else list_in_words(weekdays, WEEKDAYS)
    if (any_day and any_weekday) or (is_either_day and (any_day or any_weekday)):
        return ""
    if any_weekday:
        return of_month
    if any_day:
        return of_week if len(weekdays) == 1 else f"on {of_week}"
    if is_either_day:
        return f"{of_month}, and also {of_week if len(weekdays) == 1 else f'on {of_week}'}"
    return f"{of_month}, but only on a {join_in_words([WEEKDAYS[day] for day in weekdays]).replace(' and ', ' or ')}"


def _describe_values(noun: str, values: Sequence[int]) -> str:
    """Return the values with their noun: `day 1`, `days 1 and 15`, `every 2nd day from 1 to 31`."""
    steps = {second - first for first, second in pairwise(values)}
    if len(values) >= SERIES and len(steps) == 1 and (step := steps.pop()) > 1:
        return f"every {_write_ordinal(step)} {noun} from {values[0]} to {values[-1]}"
    return f"{noun}{'s' if len(values) > 1 else ''} {list_in_words(values)}"


def _write_ordinal(number: int) -> str:
    """Return 2nd, 3rd, 11th, 22nd: a step of 1 is never put into words."""
    teens = 10 < number % 100 < 20  # noqa: PLR2004
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
