"""
The slot guards a routine's concurrency policy: which of its execution issues are live (contract 5.2).

Its stream grows with every firing, so `slot.counted` says again now and then what all before it said: a reader begins
at the last one. The more there are live, the larger it is and the seldomer it comes.
"""

from uuid import UUID

from domain.events import SlotCounted, SlotEvent, SlotFreed, SlotTaken, stored_name
from domain.values import LiveWork, Value

READ_FROM = stored_name(SlotCounted)
COUNT_EVERY, COUNT_AT_LATEST = 6, 60  # events, of a slot with few live ones and of one with many


class Slot(Value, frozen=True):
    live: tuple[LiveWork, ...] = ()  # oldest first
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


def take(slot: Slot, routine_id: UUID, live: LiveWork) -> list[SlotEvent]:
    if live in slot.live:
        return []
    return [*_counted(slot, routine_id), SlotTaken(routine_id=routine_id, live=live)]


def free(slot: Slot, routine_id: UUID, issue_id: UUID) -> list[SlotEvent]:
    if not any(live.issue_id == issue_id for live in slot.live):
        return []
    return [*_counted(slot, routine_id), SlotFreed(routine_id=routine_id, issue_id=issue_id)]


def _counted(slot: Slot, routine_id: UUID) -> list[SlotEvent]:
    is_due = slot.since_count >= min(max(len(slot.live), COUNT_EVERY), COUNT_AT_LATEST)
    return [SlotCounted(routine_id=routine_id, live=slot.live)] if is_due else []
