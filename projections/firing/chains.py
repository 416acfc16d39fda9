"""
Chains: which routines run after others, and the runs that have ended and whose followers the scheduler has to fire.

A run is followed from its firing on if its routine has an enabled chain by then, and its first end is the one that counts.
A run whose place a successor has taken has not ended so: the successor goes on in its stead.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from domain.errors import ImpossibleHistory
from domain.events import (
    RunCompleted,
    RunFailed,
    RunFired,
    TriggerCreated,
    TriggerDeleted,
    TriggerRestored,
    TriggerUpdated,
)
from domain.identity import run_of_chain
from domain.recorded import Recorded
from domain.routines import chain
from domain.routines.chain import DueChain
from domain.values import ChainOutcome, Failed, Opened, Started, TriggerSettings
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table


class LinkRow(Row, frozen=True):
    """A chain trigger that is enabled, and the routine whose runs it waits for; its id is the trigger's."""

    after_routine_id: UUID


class FollowedRoutineRow(Row, frozen=True):
    """A routine whose runs others wait for; its id is the routine's."""

    links: dict[UUID, str]  # the outcomes that are waited for, by trigger


class FollowedRunRow(Row, frozen=True):
    """A run that has not ended and that others wait for; its id is the run's."""

    routine_id: UUID


class DueChainRow(Row, frozen=True):
    """A run that is to be fired because another has ended; its id is the id that it will have."""

    trigger_id: UUID
    cause_run_id: UUID
    company_id: UUID
    position: int


LINK = Table("chain_link", LinkRow)
FOLLOWED_ROUTINE = Table("chain_routine", FollowedRoutineRow)
FOLLOWED_RUN = Table("chain_run", FollowedRunRow)
DUE_CHAIN = Table("chain_due", DueChainRow)

SCHEMA = """
CREATE TABLE chain_link (id uuid PRIMARY KEY, after_routine_id uuid NOT NULL);
CREATE TABLE chain_routine (id uuid PRIMARY KEY, links json NOT NULL);
CREATE TABLE chain_run (id uuid PRIMARY KEY, routine_id uuid NOT NULL);
CREATE TABLE chain_due (
    id uuid PRIMARY KEY, trigger_id uuid NOT NULL, cause_run_id uuid NOT NULL, company_id uuid NOT NULL,
    position bigint NOT NULL);
CREATE INDEX ON chain_due (position, id);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the links, the runs that are followed, and what is due."""
    match recorded.event:
        case (TriggerCreated() | TriggerRestored()) as event if event.kind == "chain":
            _add_link(rows, recorded.stream_id, event.settings)
        case TriggerUpdated(settings=TriggerSettings(after_routine_id=UUID()) as settings):
            _remove_link(rows, recorded.stream_id)
            _add_link(rows, recorded.stream_id, settings)
        case TriggerDeleted():
            _remove_link(rows, recorded.stream_id)
        case RunFired() as event:
            if event.cause_run_id is not None:
                rows.delete(DUE_CHAIN, recorded.stream_id)
            _follow(rows, recorded, event)
        case RunCompleted():
            _end(rows, recorded, "succeeded")
        case RunFailed(successor_run_id=successor):
            _end(rows, recorded, "failed" if successor is None else None)
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows by which `fold` decides whether an event is about a chain at all."""
    match recorded.event:
        case TriggerUpdated() | TriggerDeleted():
            yield LINK, recorded.stream_id
        case RunFired(routine_id=routine_id):
            yield FOLLOWED_ROUTINE, routine_id
        case RunCompleted() | RunFailed():
            yield FOLLOWED_RUN, recorded.stream_id
        case _:
            pass


def _add_link(rows: Rows, trigger_id: UUID, settings: TriggerSettings) -> None:
    after_id = settings.after_routine_id
    if after_id is None or settings.after_outcome is None or not settings.enabled:
        return
    rows.put(LINK, LinkRow(id=trigger_id, after_routine_id=after_id))
    followed_routine = rows.get(FOLLOWED_ROUTINE, after_id)
    links = {} if followed_routine is None else followed_routine.links
    rows.put(FOLLOWED_ROUTINE, FollowedRoutineRow(id=after_id, links=links | {trigger_id: settings.after_outcome}))


def _remove_link(rows: Rows, trigger_id: UUID) -> None:
    if (link := rows.get(LINK, trigger_id)) is None:
        return
    rows.delete(LINK, trigger_id)
    followed_routine = rows.get(FOLLOWED_ROUTINE, link.after_routine_id)
    links = (
        {}
        if followed_routine is None
        else {id_: outcome for id_, outcome in followed_routine.links.items() if id_ != trigger_id}
    )
    if followed_routine is not None and links:
        rows.put(FOLLOWED_ROUTINE, replace(followed_routine, links=links))
    else:
        rows.delete(FOLLOWED_ROUTINE, link.after_routine_id)


def _follow(rows: Rows, recorded: Recorded, event: RunFired) -> None:
    if rows.get(FOLLOWED_ROUTINE, event.routine_id) is None:
        return
    if isinstance(event.outcome, Opened | Started):
        rows.put(FOLLOWED_RUN, FollowedRunRow(id=recorded.stream_id, routine_id=event.routine_id))
    elif isinstance(event.outcome, Failed):
        _fire_followers(rows, recorded, event.routine_id, "failed")


def _end(rows: Rows, recorded: Recorded, outcome: ChainOutcome | None) -> None:
    if (run := rows.get(FOLLOWED_RUN, recorded.stream_id)) is None:
        return
    rows.delete(FOLLOWED_RUN, recorded.stream_id)
    if outcome is not None:
        _fire_followers(rows, recorded, run.routine_id, outcome)


def _fire_followers(rows: Rows, recorded: Recorded, routine_id: UUID, outcome: ChainOutcome) -> None:
    if recorded.company_id is None:
        raise ImpossibleHistory(None, recorded.event)
    followed_routine = rows.get(FOLLOWED_ROUTINE, routine_id)
    for trigger_id, wanted_outcome in ({} if followed_routine is None else followed_routine.links).items():
        if chain.matches(wanted_outcome, outcome):
            due_row = DueChainRow(
                id=run_of_chain(trigger_id, recorded.stream_id),
                trigger_id=trigger_id,
                cause_run_id=recorded.stream_id,
                company_id=recorded.company_id,
                position=recorded.position,
            )
            rows.put(DUE_CHAIN, due_row)


chains = ReadModel(
    name="chains",
    tables=(LINK, FOLLOWED_ROUTINE, FOLLOWED_RUN, DUE_CHAIN),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(
        {TriggerCreated, TriggerRestored, TriggerUpdated, TriggerDeleted, RunFired, RunCompleted, RunFailed}
    ),
    polled_by="scheduler",
)

# Companies take turns, so that one whose runs have thousands of followers does not hide what waits for others.
_DUE = """
    SELECT id, trigger_id, cause_run_id, company_id FROM (
        SELECT d.*, row_number() OVER (PARTITION BY company_id ORDER BY position, id) AS turn FROM chain_due d) waiting
    ORDER BY turn, position, id LIMIT %s"""


def due(conn: Connection, *, limit: int) -> list[DueChain]:
    """Return the runs that are to be fired because others have ended, longest waiting first, the companies in turns."""
    rows = conn.execute(_DUE, (limit,), prepare=True)
    return [
        DueChain(id=id_, trigger_id=trigger_id, cause_run_id=cause_run_id, company_id=company_id)
        for id_, trigger_id, cause_run_id, company_id in rows
    ]
