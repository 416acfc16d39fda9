"""What all JSON that clients read has in common. Times are ISO 8601 in UTC, with milliseconds and Z."""

from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

import msgspec


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A JSON object in which every field is always there; "or null" means JSON null."""


@lru_cache(maxsize=1_000)  # what is recorded together has the same moment
def time(moment: datetime) -> str:
    """Return a moment as clients read it: `2026-11-22T01:05:39.330Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_or_none(moment: datetime | None) -> str | None:
    """Return a moment as `time` does, and None for None."""
    return None if moment is None else time(moment)


def text_or_none(id_: UUID | None) -> str | None:
    """Return an id as text, and None for None."""
    return None if id_ is None else str(id_)


def user_of(actor: str) -> str | None:
    """Return the id of the user that an actor is, as text; None if it is another kind of actor."""
    return actor.removeprefix("user:") if actor.startswith("user:") else None


def agent_of(actor: str) -> UUID | None:
    """Return the id of the agent that an actor is; None if it is another kind of actor."""
    return UUID(actor.removeprefix("agent:")) if actor.startswith("agent:") else None
