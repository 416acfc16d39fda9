"""A recorder that appends the events of a batch one by one, each in a transaction of its own. For mutation_check.py only."""

from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import StoredEvent

from application.event_store.recorder import Guards, PostgresRecorder

whole = PostgresRecorder.insert_events


def insert_events(
    self: PostgresRecorder, stored_events: Sequence[StoredEvent], *, guards: Guards = (), **_: Any
) -> Sequence[int]:
    positions: list[int] = []
    for event in stored_events:
        positions += whole(self, [event], guards=() if positions else guards)
    return positions


def install() -> None:
    PostgresRecorder.insert_events = insert_events  # type: ignore[method-assign]
