"""The zone in which the reader wants times: they choose it, and a cookie keeps it."""

from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from litestar import Request

from domain.errors import BadSchedule
from domain.schedule import zones

ZONE_COOKIE = "routines-zone"


def zone_of(request: Request[Any, Any, Any]) -> str:
    """Return the zone in which the reader wants times, UTC unless they chose another."""
    return known_zone(request.cookies.get(ZONE_COOKIE, "")) or "UTC"


def known_zone(name: str) -> str | None:
    """Return the zone as the zone data spell it, or None for one that they do not have."""
    try:
        spelling = zones.spell_zone(name)
        zones.zone(spelling)
    except (BadSchedule, ZoneInfoNotFoundError):
        return None
    return spelling
