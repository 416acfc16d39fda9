"""Revisions: every state that a routine has been in, newest first (contract 3.6), folded from its stream when it is read."""

from collections import deque
from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec

from domain.bounds.limits import DEFAULT
from domain.events import (
    RoutineCreated,
    RoutineEvent,
    RoutineRestored,
    RoutineSecretRotated,
    RoutineTriggerAdded,
    RoutineTriggerChanged,
    RoutineTriggerRemoved,
    RoutineUpdated,
)
from domain.identity import revision_of
from domain.recorded import Recorded
from domain.routines import routine
from domain.routines.routine import Routine
from domain.values import TriggerState
from projections import responses
from projections.engine.documents import Part, first_documents
from projections.responses import (
    Revision,
    RoutineSnapshot,
    Snapshot,
    TriggerSnapshot,
    agent_of,
    text_or_none,
    time,
    user_of,
)

MOST = 100
_encode = msgspec.json.Encoder().encode


def page(
    history: Sequence[Recorded], *, before: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[Revision]:
    """Return at most MOST revisions of a routine, newest first, before a number, given the events of its stream."""
    states = deque(_states(history if before is None else history[: max(before - 1, 0)]), MOST + 1)
    responsible_user_id = _responsible_user_of(history)
    revisions = [_revision(*state, responsible_user_id) for state in reversed(states)]
    documents = ((_encode(revision), revision.revision_number) for revision in revisions)
    part = first_documents(documents, MOST, max_bytes)
    return part.of(revisions[: len(part)])


def newest_revision(history: Sequence[Recorded]) -> Revision:
    """Return the newest revision of a routine, given the events of its stream."""
    (last,) = deque(_states(history), 1)  # thousands of states, each with all triggers, are not held at once
    return _revision(*last, _responsible_user_of(history))


def _states(history: Sequence[Recorded]) -> Iterator[tuple[Recorded, RoutineEvent, Routine]]:
    """Yield each event of a routine with the state after it."""
    state = None
    for recorded in history:
        event: RoutineEvent = recorded.event  # type: ignore[assignment]
        state = routine.evolve(state, event)
        yield recorded, event, state


def _responsible_user_of(history: Sequence[Recorded]) -> str | None:
    """Return the user who is responsible for a routine: whom its first event names, or who created it."""
    match history:
        case [Recorded(event=RoutineCreated(responsible_user_id=named), actor=creator), *_]:
            return text_or_none(named) or user_of(creator)
        case _:
            return None


def summary(event: RoutineEvent) -> str:
    """Return the change that an event of a routine made, in words: the `changeSummary` of its revision."""
    match event:
        case RoutineCreated():
            return "Created routine"
        case RoutineUpdated():
            return "Updated routine"
        case RoutineRestored(from_revision=number):
            return f"Restored from revision {number}"
        case RoutineTriggerAdded(kind=kind):
            return f"Created {kind} trigger"
        case RoutineTriggerChanged(kind=kind):
            return f"Updated {kind} trigger"
        case RoutineTriggerRemoved(kind=kind):
            return f"Deleted {kind} trigger"
        case RoutineSecretRotated():
            return "Rotated webhook trigger secret"


def _revision(recorded: Recorded, event: RoutineEvent, state: Routine, responsible_user_id: str | None) -> Revision:
    restored_number = event.from_revision if isinstance(event, RoutineRestored) else None
    settings, routine_id = state.settings, recorded.stream_id
    return Revision(
        id=revision_of(routine_id, recorded.version),
        company_id=recorded.known_company_id,
        routine_id=routine_id,
        revision_number=recorded.version,
        title=settings.title,
        description=settings.description,
        snapshot=_snapshot_of(recorded, state, responsible_user_id),
        change_summary=summary(event),
        restored_from_revision_id=None if restored_number is None else revision_of(routine_id, restored_number),
        created_by_agent_id=agent_of(recorded.actor),
        created_by_user_id=user_of(recorded.actor),
        created_by_run_id=recorded.cause,
        responsible_user_id=responsible_user_id,
        created_at=time(recorded.at),
    )


def _snapshot_of(recorded: Recorded, state: Routine, responsible_user_id: str | None) -> Snapshot:
    settings = RoutineSnapshot(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        responsible_user_id=responsible_user_id,
        **responses.routine_settings(state.settings),
    )
    return Snapshot(routine=settings, triggers=[_trigger_snapshot(*trigger) for trigger in state.triggers.items()])


def _trigger_snapshot(trigger_id: UUID, state: TriggerState) -> TriggerSnapshot:
    return TriggerSnapshot(
        id=trigger_id, kind=state.kind, public_id=state.public_id, **responses.trigger_settings(state.settings)
    )
