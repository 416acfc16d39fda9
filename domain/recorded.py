"""The envelope around every event."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.events import AnyEvent


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event in its envelope: which stream and place, when, by whom, because of what, for which company."""

    stream_id: UUID
    version: int  # from 1, without gaps
    at: datetime  # UTC, the moment of the decision
    actor: str  # `user:<id>`, `agent:<id>`, `scheduler` or `system`
    company_id: UUID | None
    event: AnyEvent
    cause: str | None = None  # what led to it: the agent's work session, or None
    position: int = 0  # place in the log, from 1; 0 until it is stored
