"""The event store's recorder in memory, for tests and the simulation: the same rules as log.append, without a database."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    IntegrityError,
    Notification,
    StoredEvent,
)
from eventsourcing.popo import POPOApplicationRecorder

from application.event_store.recorder import FOREVER, Guards


class MemoryRecorder(POPOApplicationRecorder):
    """A recorder that keeps events in memory, for tests and simulations."""

    def _assert_uniqueness(self, stored_events: Sequence[StoredEvent], guards: Guards = (), **_: Any) -> None:
        super()._assert_uniqueness(stored_events)
        index = self._stored_events_index
        if any(version + 1 in index[str(stream_id)] for stream_id, version in guards):
            msg = "a stream that was read has changed"
            raise IntegrityError(msg)
        new = {(str(e.originator_id), e.originator_version) for e in stored_events}
        for stream_id, version in new:
            follows = version == 1 or (stream_id, version - 1) in new or version - 1 in index[stream_id]
            if version < 1 or not follows:
                msg = "a stream would get a gap"
                raise IntegrityError(msg)

    def select_streams(
        self,
        stream_ids: Sequence[UUID],
        read_from: str | None = None,
        most_bytes: int = FOREVER,  # noqa: ARG002 the events are in memory already, so a bound would save nothing
    ) -> Sequence[StoredEvent]:
        """Return the events of these streams; with `read_from` each begins at its last event of that name."""
        index = self._stored_events_index
        streams = [list(self.select_events(id_)) for id_ in stream_ids]
        return [
            Notification(
                event.originator_id,
                event.originator_version,
                event.topic,
                event.state,
                index[str(event.originator_id)][event.originator_version] + 1,
            )
            for events in streams
            for event in events[_last_index(events, read_from) :]
        ]

    def select_notifications(  # noqa: PLR0913 as in the library
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
        without: Sequence[str] = (),
    ) -> Sequence[Notification]:
        """Return the next events of the log from a position on, without those of the names in `without`."""
        if not without:
            return super().select_notifications(start, limit, stop, topics, inclusive_of_start=inclusive_of_start)
        every = super().select_notifications(start, 2**62, stop, topics, inclusive_of_start=inclusive_of_start)
        return [one for one in every if one.topic not in without][:limit]

    def select_versions(self, stream_ids: Sequence[UUID]) -> Sequence[tuple[UUID, int]]:
        """Return the newest version of each of these streams; 0 for one that does not exist."""
        return [(id_, max(self._stored_events_index[str(id_)], default=0)) for id_ in stream_ids]


def _last_index(events: Sequence[StoredEvent], name: str | None) -> int:
    """Return the index of the last event of this name; 0 when there is none."""
    return max((place for place, event in enumerate(events) if event.topic == name), default=0)
