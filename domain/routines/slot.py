"""
The slot guards a routine's concurrency policy: it knows which of the execution issues are live (contract 5.2).

`slot.counted` is a snapshot of the whole slot, since its stream grows with every firing; readers start at the newest
one. It is written every 6 events, less often for slots with many live issues, because it grows with them.
"""

from uuid import UUID

from domain.events import SlotCounted, SlotEvent, SlotFreed, SlotTaken, stored_name
from domain.values import LiveWork, Value

READ_FROM = stored_name(SlotCounted)
COUNT_EVERY, COUNT_AT_LATEST = 6, 60  # events between snapshots, with little live work and with much


class Slot(Value, frozen=True):
    """The live work of a routine, and how many events were recorded since the last snapshot."""

    live: tuple[LiveWork, ...] = ()  # oldest first
    since_count: int = 0  # events since the last slot.counted


EMPTY = Slot()


def evolve(slot: Slot | None, event: SlotEvent) -> Slot:
    """
    Fold an event into the slot.

    A fold may start anywhere in the stream; the result is right if it starts at a `slot.counted` or at the first event.
    """
    slot = slot or EMPTY
    match event:
        case SlotTaken(live=live):
            return Slot(live=(*slot.live, live), since_count=slot.since_count + 1)
        case SlotFreed(issue_id=freed_id):
            others = tuple(live for live in slot.live if live.issue_id != freed_id)
            return Slot(live=others, since_count=slot.since_count + 1)
        case SlotCounted(live=live_now):
            return Slot(live=live_now)


def take_slot(slot: Slot, routine_id: UUID, live: LiveWork) -> list[SlotEvent]:
    """Record that the routine has one more piece of live work; nothing if the slot has it already."""
    if live in slot.live:
        return []
    return [*_count_if_due(slot, routine_id), SlotTaken(routine_id=routine_id, live=live)]


def free_slot(slot: Slot, routine_id: UUID, issue_id: UUID) -> list[SlotEvent]:
    """Record that an issue or a trajectory is not live any more; nothing if the slot does not have it."""
    if not any(live.issue_id == issue_id for live in slot.live):
        return []
    return [*_count_if_due(slot, routine_id), SlotFreed(routine_id=routine_id, issue_id=issue_id)]


def _count_if_due(slot: Slot, routine_id: UUID) -> list[SlotEvent]:
    """Return a snapshot if enough events have passed since the last one."""
    is_due = slot.since_count >= min(max(len(slot.live), COUNT_EVERY), COUNT_AT_LATEST)
    return [SlotCounted(routine_id=routine_id, live=slot.live)] if is_due else []
