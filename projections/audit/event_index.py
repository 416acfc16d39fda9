"""
The read model of the event feed: for each event of the log where it belongs, so that a page of any filter is found by
an index. The events themselves are read from the log.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from domain.audit import belonging
from domain.audit.belonging import Belonging
from domain.recorded import Recorded
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Row, Table


class EventRow(Row, frozen=True):
    """An event of the log; its id is its position, as 128 bits."""

    position: int
    company_id: UUID | None
    stream_id: UUID
    name: str
    actor: str
    routine_id: UUID | None
    trigger_id: UUID | None
    run_id: UUID | None
    issue_id: UUID | None


class OwnerRow(Row, frozen=True):
    """What the events of a stream belong to; its id is the stream's."""

    belonging: Belonging


EVENT = Table("event", EventRow)
OWNER = Table("event_owner", OwnerRow)

# No index has the position alone: a page is found by the index of its filter, and that of all events by the id.
SCHEMA = """
CREATE TABLE event (
    id uuid PRIMARY KEY, position bigint NOT NULL, company_id uuid, stream_id uuid NOT NULL, name text NOT NULL,
    actor text NOT NULL, routine_id uuid, trigger_id uuid, run_id uuid, issue_id uuid);
CREATE INDEX ON event (company_id, position);
CREATE INDEX ON event (company_id, name, position);
CREATE INDEX ON event (name, position);
CREATE INDEX ON event (stream_id, position);
CREATE INDEX ON event (actor, position);
CREATE INDEX ON event (routine_id, position) WHERE routine_id IS NOT NULL;
CREATE INDEX ON event (trigger_id, position) WHERE trigger_id IS NOT NULL;
CREATE INDEX ON event (run_id, position) WHERE run_id IS NOT NULL;
CREATE INDEX ON event (issue_id, position) WHERE issue_id IS NOT NULL;
CREATE TABLE event_owner (id uuid PRIMARY KEY, belonging json NOT NULL);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Note where one event belongs, and, where it is the first word of its stream, where the later ones do."""
    stream_id = belonging.stream_of(recorded)
    owner = None if stream_id is None else rows.get(OWNER, stream_id)
    where = belonging.belonging_of(recorded, None if owner is None else owner.belonging)
    if belonging.is_first_word(recorded.event):
        word = OwnerRow(id=recorded.stream_id, belonging=where)
        (rows.add if recorded.version == 1 else rows.put)(OWNER, word)
    row = EventRow(
        id=UUID(int=recorded.position),
        position=recorded.position,
        company_id=recorded.company_id,
        stream_id=recorded.stream_id,
        name=recorded.name,
        actor=recorded.actor,
        routine_id=where.routine_id,
        trigger_id=where.trigger_id,
        run_id=where.run_id,
        issue_id=where.issue_id,
    )
    rows.add(EVENT, row)


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Return the key of the stream on which it depends where the event belongs."""
    stream_id = belonging.stream_of(recorded)
    return () if stream_id is None else ((OWNER, stream_id),)


event_index = ReadModel(
    name="event_index",
    tables=(EVENT, OWNER),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
)
