"""Events that are not yet recorded, and batches of them."""

import threading
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from application.event_store.codec import encode
from application.event_store.recorder import Batch
from domain.events import AgentPaused
from domain.recorded import Recorded
from tests.waiting import wait_for

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


def fact(stream_id, version, event=None, **more):
    envelope: dict[str, Any] = {"at": NOON, "actor": "system", "company_id": None} | more
    return Recorded(stream_id=stream_id, version=version, event=event or AgentPaused(reason=f"v{version}"), **envelope)


def stream(many, stream_id=None):
    """A stream of so many facts, not yet recorded."""
    stream_id = stream_id or uuid4()
    return [fact(stream_id, version) for version in range(1, many + 1)]


def places(recorded):
    return [(one.stream_id, one.version) for one in recorded]


def without_places(streams):
    """As they were given: without their places in the log, and what they take in memory."""
    return {id_: [replace(one, position=0, size=0, memory=0) for one in events] for id_, events in streams.items()}


def batch(events, guards=()):
    stored = [encode(one).stored for one in events]
    return Batch(
        [one.originator_id for one in stored],
        [one.originator_version for one in stored],
        [one.topic for one in stored],
        [one.state for one in stored],
        [id_ for id_, _ in guards],
        [version for _, version in guards],
    )


def append_together(store, *batches):
    """Append these batches, by a thread each; the first goes alone, and the others together. Return what becomes of them."""
    outcomes: list[Any] = [None] * len(batches)
    groups = store.recorder._groups
    commit, may_go = groups._commit, threading.Event()

    def held(items):
        assert may_go.wait(10)
        return commit(items)

    def append(number, events):
        try:
            outcomes[number] = store.append(events)
        except Exception as error:  # noqa: BLE001 a thread tells nobody
            outcomes[number] = error

    groups._commit = held
    threads = [threading.Thread(target=append, args=one) for one in enumerate(batches)]
    for number, thread in enumerate(threads):
        thread.start()
        wait_for(lambda many=number: len(groups._waiting) == many and groups._is_committing, limit_s=10)
    may_go.set()
    for thread in threads:
        thread.join()
    groups._commit = commit
    return outcomes
