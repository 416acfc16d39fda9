"""The envelope of an event: what is recorded around it."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.errors import ImpossibleHistory
from domain.events import NAMES, STORED_NAMES, AnyEvent


class Unreadable(msgspec.Struct, frozen=True):
    """A placeholder for an event that cannot be read, so that readers of the log can go on; a fold passes over it."""

    name: str  # the name under which the log keeps it
    reason: str  # the name of the error

    @property
    def is_of_newer_version(self) -> bool:
        """Whether this version of the service does not know the stored name: a newer one wrote the event."""
        return self.name not in STORED_NAMES


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event in its envelope: its stream and version, when it was decided, by whom, why, and for which company."""

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
    hash: bytes = b""  # of the log up to it, where the log was read in its order; empty elsewhere

    @property
    def name(self) -> str:
        """The name under which the log keeps the event."""
        return self.event.name if isinstance(self.event, Unreadable) else NAMES[type(self.event)]

    @property
    def known_company_id(self) -> UUID:
        """The company of an event that must belong to one. Raises ImpossibleHistory."""
        if self.company_id is None:
            raise ImpossibleHistory(None, self.event)
        return self.company_id
