"""Revisions: every state that a routine has been in, newest first (contract 3.6), folded from its stream."""

from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

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
from projections.engine.documents import Docs, Part
from projections.engine.read_model import Connection, ReadModel, Row, Rows, Table
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


class StateRow(Row, frozen=True):
    """The current state of a routine, and the user who is responsible for it; its id is the routine's."""

    responsible_user_id: str | None
    state: Routine


class RevisionRow(Row, frozen=True):
    """A revision of a routine as clients read it; `number` is the version of the routine's stream."""

    routine_id: UUID
    number: int
    doc: responses.Revision


STATE = Table("routine_state", StateRow)
REVISION = Table("revision", RevisionRow)

SCHEMA = """
CREATE TABLE routine_state (id uuid PRIMARY KEY, responsible_user_id text, state json NOT NULL);
CREATE TABLE revision (id uuid PRIMARY KEY, routine_id uuid NOT NULL, number bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON revision (routine_id, number);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event of a routine into its state, and add the revision that the event has made."""
    if not isinstance(event := recorded.event, RoutineEvent):
        return
    previous = rows.get(STATE, recorded.stream_id)
    state = routine.evolve(previous.state if previous else None, event)
    creator = text_or_none(state.responsible_user_id) or user_of(recorded.actor)
    responsible_user_id = previous.responsible_user_id if previous else creator
    current = StateRow(id=recorded.stream_id, responsible_user_id=responsible_user_id, state=state)
    rows.put(STATE, current)
    doc = _revision_after(recorded, event, current)
    rows.add(REVISION, RevisionRow(id=doc.id, routine_id=recorded.stream_id, number=recorded.version, doc=doc))


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the key of the routine's state, which `fold` needs, so that it can be fetched before it."""
    yield STATE, recorded.stream_id


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


def _revision_after(recorded: Recorded, event: RoutineEvent, row: StateRow) -> Revision:
    restored_number = event.from_revision if isinstance(event, RoutineRestored) else None
    settings = row.state.settings
    return Revision(
        id=revision_of(row.id, recorded.version),
        company_id=recorded.known_company_id,
        routine_id=row.id,
        revision_number=recorded.version,
        title=settings.title,
        description=settings.description,
        snapshot=_snapshot_of(recorded.known_company_id, row),
        change_summary=summary(event),
        restored_from_revision_id=None if restored_number is None else revision_of(row.id, restored_number),
        created_by_agent_id=agent_of(recorded.actor),
        created_by_user_id=user_of(recorded.actor),
        created_by_run_id=recorded.cause,
        responsible_user_id=row.responsible_user_id,
        created_at=time(recorded.at),
    )


def _snapshot_of(company_id: UUID, row: StateRow) -> Snapshot:
    settings = RoutineSnapshot(
        id=row.id,
        company_id=company_id,
        responsible_user_id=row.responsible_user_id,
        **responses.routine_settings(row.state.settings),
    )
    return Snapshot(
        routine=settings, triggers=[_trigger_snapshot(id_, state) for id_, state in row.state.triggers.items()]
    )


def _trigger_snapshot(trigger_id: UUID, state: TriggerState) -> TriggerSnapshot:
    return TriggerSnapshot(
        id=trigger_id, kind=state.kind, public_id=state.public_id, **responses.trigger_settings(state.settings)
    )


revisions = ReadModel(
    name="revisions",
    version=3,
    tables=(STATE, REVISION),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(get_args(RoutineEvent)),
)

_PAGE = Docs(
    "SELECT doc FROM revision WHERE routine_id = %(routine_id)s AND (%(before)s::bigint IS NULL OR number < %(before)s) "
    "ORDER BY number DESC LIMIT %(limit)s",
    responses.Revision,
)
_REVISION = Docs("SELECT doc FROM revision WHERE id = %(id)s", responses.Revision)


def page(
    conn: Connection, routine_id: UUID, *, before: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[Revision]:
    """Return at most MOST revisions of a routine, newest first, before a number."""
    return _PAGE.part(conn, routine_id=routine_id, before=before, limit=MOST, max_bytes=max_bytes)


def revision(conn: Connection, routine_id: UUID, number: int) -> Revision | None:
    """Return the revision of a routine with this number, or None."""
    return _REVISION.one(conn, id=revision_of(routine_id, number))
