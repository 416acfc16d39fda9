"""
What a program of an analyst imports: a projection of one's own, a test of it without a database, a loop over the log.

See docs/analytics.md and examples/success_rate.py. The kinds of events are in `domain.events`; their stored names and
fields are a promise.
"""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event as Stop
from uuid import UUID, uuid5

from application.audit import log_reader
from application.event_store.data_keys import ReadKeys
from domain.events import AnyEvent
from domain.recorded import Recorded
from processes.wakeup import Wakeup
from projections.engine.own_projection import names_of
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.rows_in_memory import fold_in_memory
from projections.engine.table import Row, Table
from routines.bootstrap import READING

__all__ = ["History", "ReadModel", "Recorded", "Row", "Rows", "Table", "fold_in_memory", "follow"]

POLL_S = 5.0  # longest wait for the next event
COMPANY = UUID("c0000000-0000-4000-8000-000000000000")  # the company of made-up events


def follow(url: str, *kinds: type, after: int = 0, until_head: bool = False) -> Generator[Recorded]:
    """
    Yield the events of the log after a position, of these kinds or all, in order, and those to come as they come.

    With `until_head` it ends where the log ends now. The login of the URL has to be one that may read the log. Whoever
    keeps the position of the last event that was dealt with can go on from there and misses none.
    """
    connect = partial(READING.connect, url)
    wakeup, names = Wakeup(connect), names_of(kinds)
    try:
        with connect() as conn:
            keys = ReadKeys(conn)
            while True:
                head = log_reader.read_head(conn).position
                for rows in log_reader.read_pages(conn, head, names, start=after):
                    yield from log_reader.all_recorded(rows, keys)
                after = head
                if until_head:
                    return
                wakeup.wait(POLL_S, Stop())
    finally:
        wakeup.close()


class History(list[Recorded]):
    """Made-up events for the test of a projection, each a minute after the one before unless a time is given."""

    def record(
        self,
        event: AnyEvent,
        stream_id: UUID | None = None,
        *,
        at: datetime | None = None,
        actor: str = "system",
        company_id: UUID | None = COMPANY,
    ) -> Recorded:
        """Add an event of a stream, by default of a new one, and return it as the log would have it."""
        position = len(self) + 1
        stream_id = stream_id or uuid5(COMPANY, str(position))
        recorded = Recorded(
            stream_id=stream_id,
            version=1 + sum(other.stream_id == stream_id for other in self),
            at=at or (self[-1].at + timedelta(minutes=1) if self else datetime(2026, 1, 1, tzinfo=UTC)),
            actor=actor,
            company_id=company_id,
            event=event,
            position=position,
        )
        self.append(recorded)
        return recorded
