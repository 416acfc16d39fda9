"""The envelope around every event."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.events import NAMES, STORED_NAMES, AnyEvent


class Unreadable(msgspec.Struct, frozen=True):
    """Stands for an event that cannot be read, so that those who follow the log go on; a fold passes over it."""

    name: str  # under which the log keeps it
    reason: str  # the kind of error

    @property
    def is_of_newer_version(self) -> bool:
        """Whether this version does not know the name: a newer one wrote the event."""
        return self.name not in STORED_NAMES


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event in its envelope: which stream and place, when, by whom, because of what, for which company."""

    stream_id: UUID
    version: int  # from 1, without gaps
    at: datetime  # UTC, the moment of the decision
    actor: str  # `user:<id>`, `agent:<id>`, `scheduler` or `system`
    company_id: UUID | None
    event: AnyEvent | Unreadable
    cause: str | None = None  # what led to it: the agent's work session, or None
    position: int = 0  # place in the log, from 1; 0 until it is stored
    size: int = 0  # bytes of its stored JSON; 0 until it is encoded
    memory: int = 0  # bytes that it takes in memory, by estimate; 0 where nobody keeps it

    @property
    def name(self) -> str:
        """Under which the log keeps the event."""
        return self.event.name if isinstance(self.event, Unreadable) else NAMES[type(self.event)]
