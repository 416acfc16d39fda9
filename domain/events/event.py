"""What every kind of event is."""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that was recorded. Its stream, moment, actor and company are on its envelope (`Recorded`)."""
