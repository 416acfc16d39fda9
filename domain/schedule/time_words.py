"""Moments in words, in local time and in UTC."""

from datetime import UTC, date, datetime, timedelta

from domain.schedule import zones

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def local(moment: datetime, zone: str) -> datetime:
    """Return the moment in a time zone, which is given by its IANA name."""
    return moment.astimezone(zones.zone(zone))


def describe_moment(moment: datetime, zone: str) -> str:
    """Return a moment in words: `Sun 22 Nov 2026 09:30 (Europe/Amsterdam; 08:30 UTC)`."""
    local_time, utc = local(moment, zone), moment.astimezone(UTC)
    if local_time.utcoffset() == utc.utcoffset() and zone in ("UTC", "Etc/UTC"):
        return f"{day(utc)} {clock(utc)} UTC"
    utc_text = clock(utc) if local_time.date() == utc.date() else f"{utc:%a} {utc.day} {utc:%b} {clock(utc)}"
    return f"{day(local_time)} {clock(local_time)} ({zone}; {utc_text} UTC)"


def day(moment: date) -> str:
    """Return a date in words: `Sun 22 Nov 2026`."""
    return f"{moment:%a} {moment.day} {moment:%b} {moment.year}"


def clock(moment: datetime) -> str:
    """Return the time of day: `09:30`, with seconds where there are any."""
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def span(length: timedelta) -> str:
    """Return a length of time in words: `12 ms`, `45 s`, `3 min`, `2 h 5 min`, `3 days`."""
    seconds = int(length.total_seconds())
    if seconds < 1:
        return f"{length // timedelta(milliseconds=1)} ms"
    if seconds < MINUTE_S:
        return f"{seconds} s"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S} min"
    if seconds < 2 * DAY_S:
        rest = seconds % HOUR_S // MINUTE_S
        return f"{seconds // HOUR_S} h" + (f" {rest} min" if rest else "")
    return f"{seconds // DAY_S} days"
