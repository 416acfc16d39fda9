"""Moments and periods that requests name, in queries and bodies."""

import re
from datetime import UTC, datetime

from application.use_cases import schedule_previews
from web.http.validation import Invalid, invalid, parse

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), schedule_previews.LAST  # the moments that requests may name
LOST_PLUS = re.compile(r" (?=\d\d:?\d\d$)")  # where a client did not escape the + of an offset


def check_order(begin: datetime | None, end: datetime | None) -> None:
    """Raise Invalid for a period that ends before it begins: nothing lies in it, which is hardly what was asked for."""
    if begin is not None and end is not None and end < begin:
        raise invalid("to must not be before from", "to")


def moment_of(text: str | None, name: str) -> datetime | None:
    """Return the moment of a query parameter, or None for an absent or empty one. Raise Invalid."""
    if not text:
        return None
    try:
        moment = parse(datetime, LOST_PLUS.sub("+", text))
    except Invalid as error:
        raise Invalid([{**issue, "path": [name]} for issue in error.issues]) from error
    return check_years(moment, name)


def check_years(moment: datetime | None, name: str) -> datetime | None:
    """Return the moment, or None for None. Raise Invalid if it is before EARLIEST or after LATEST."""
    if moment is not None and not EARLIEST <= moment <= LATEST:
        raise invalid(f"{name} must lie between the years {EARLIEST.year} and {LATEST.year}", name)
    return moment
