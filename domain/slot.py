"""
The slot guards a routine's concurrency policy: which of its execution issues are live (contract 5.2).

Its stream grows with every firing, so a reader takes only its last TAIL events: `slot.counted` stands
among them at least once, or they are all there are.
"""

from uuid import UUID

from domain.events import SlotCounted, SlotEvent, SlotFreed, SlotTaken
from domain.values import Live, Value

TAIL = 64
COUNT_EVERY = 30


class Slot(Value, frozen=True):
    live: tuple[Live, ...] = ()  # oldest first
    since_count: int = 0  # events since the last slot.counted


EMPTY = Slot()


def evolve(slot: Slot | None, event: SlotEvent) -> Slot:
    """Starts anywhere in the stream; right from the first slot.counted, or from the first event, on."""
    slot = slot or EMPTY
    match event:
        case SlotTaken(live=live):
            return Slot(live=(*slot.live, live), since_count=slot.since_count + 1)
        case SlotFreed(issue_id=gone):
            left = tuple(live for live in slot.live if live.issue_id != gone)
            return Slot(live=left, since_count=slot.since_count + 1)
        case SlotCounted(live=counted):
            return Slot(live=counted)


def take(slot: Slot, routine_id: UUID, live: Live) -> list[SlotEvent]:
    if live in slot.live:
        return []
    return [*_counted(slot, routine_id), SlotTaken(routine_id=routine_id, live=live)]


def free(slot: Slot, routine_id: UUID, issue_id: UUID) -> list[SlotEvent]:
    if not any(live.issue_id == issue_id for live in slot.live):
        return []
    return [*_counted(slot, routine_id), SlotFreed(routine_id=routine_id, issue_id=issue_id)]


def _counted(slot: Slot, routine_id: UUID) -> list[SlotEvent]:
    return [SlotCounted(routine_id=routine_id, live=slot.live)] if slot.since_count >= COUNT_EVERY else []
