"""Routines and their triggers: one fold, and the queries for a single routine; routine_list.py has those for the list."""

from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

from msgspec.structs import replace

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
    RunFired,
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerMissed,
    TriggerReplanned,
    TriggerRescheduled,
    TriggerRestored,
    TriggerSecretRotated,
    TriggerUpdated,
)
from domain.identity import revision_of
from domain.recorded import Recorded
from domain.values import Coalesced, Failed, Opened, Outcome, RoutineSettings, Skipped, Started, Webhook
from projections import responses
from projections.engine.documents import BatchedDocs, Docs, beginning, joined_document, opened_document
from projections.engine.letter_case import fold_case
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.engine.views import View
from projections.firing import run_history
from projections.firing.routine_streams import STREAMS
from projections.responses import (
    RoutineDetail,
    agent_of,
    text_or_none,
    time,
    time_or_none,
    user_of,
)
from projections.routines import webhook_refusals

RECENT_RUNS = 25
Planning = (
    TriggerCreated | TriggerRestored | TriggerUpdated | TriggerRescheduled | TriggerReplanned | TriggerMissed | RunFired
)


class RoutineRow(Row, frozen=True):
    """A routine as clients read it, beside the columns by which the list is sorted and narrowed."""

    company_id: UUID
    project_id: UUID | None
    title: str
    updated_at: str
    doc: responses.RoutineWithoutFirings


class RoutineFiringsRow(Row, frozen=True):
    """What each firing changes of a routine, apart from its other fields, which are many; its id is the routine's."""

    doc: responses.RoutineFirings


class RoutineTextRow(Row, frozen=True):
    """
    The title and the description of a routine as searches compare them; its id is the routine's.

    They are not in the routine's row, which lists read.
    """

    folded: str


class TriggerRow(Row, frozen=True):
    """A trigger of a routine as clients read it; its id is the trigger's."""

    routine_id: UUID
    position: int
    doc: responses.TriggerWithoutFirings


class TriggerFiringsRow(Row, frozen=True):
    """What each firing changes of a trigger, apart from its other fields; its id is the trigger's."""

    doc: responses.TriggerFirings


ROUTINE = Table("routine", RoutineRow)
ROUTINE_FIRINGS = Table("routine_firings", RoutineFiringsRow)
ROUTINE_TEXT = Table("routine_text", RoutineTextRow)
TRIGGER = Table("routine_trigger", TriggerRow)
TRIGGER_FIRINGS = Table("trigger_firings", TriggerFiringsRow)

SCHEMA = """
CREATE TABLE routine (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, project_id uuid, title text NOT NULL, updated_at text NOT NULL,
    doc json NOT NULL);
CREATE INDEX ON routine (company_id, updated_at DESC, title, id);
CREATE INDEX ON routine (project_id);
CREATE TABLE routine_text (id uuid PRIMARY KEY, folded text NOT NULL);
CREATE TABLE routine_trigger (id uuid PRIMARY KEY, routine_id uuid NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON routine_trigger (routine_id, position);
-- Every firing changes a row of each; where its page has room, no index is written.
CREATE TABLE routine_firings (id uuid PRIMARY KEY, doc json NOT NULL) WITH (fillfactor = 60);
CREATE TABLE trigger_firings (id uuid PRIMARY KEY, doc json NOT NULL) WITH (fillfactor = 60);
"""

ROUTINES = View(
    name="routines",
    about="A routine, as it is now.",
    source="routine",
    moment="created_at",
    columns={
        "id": ("id", "The routine"),
        "company_id": ("company_id", "Its company"),
        "title": ("title", "Its title"),
        "status": ("doc->>'status'", "active, paused or archived"),
        "priority": ("doc->>'priority'", "critical, high, medium or low"),
        "project_id": ("project_id", "Its project"),
        "assignee_agent_id": ("(doc->>'assigneeAgentId')::uuid", "The agent who is to do its work"),
        "concurrency_policy": ("doc->>'concurrencyPolicy'", "What a firing does that meets live work"),
        "catch_up_policy": ("doc->>'catchUpPolicy'", "What becomes of occurrences that were missed"),
        "max_run_duration_s": ("(doc->>'maxRunDurationSec')::int", "Seconds after which a run has lasted too long"),
        "created_at": ("(doc->>'createdAt')::timestamptz", "When it was made"),
        "updated_at": ("(doc->>'updatedAt')::timestamptz", "When it was changed, or fired, last"),
    },
)


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the rows of routines and triggers; a firing changes what is kept apart of each."""
    match recorded.event:
        case RunFired() as firing:  # first, since it is the most frequent
            _fold_firing(rows, recorded, firing)
        case RoutineCreated() as event:
            rows.add(ROUTINE, _routine_row(recorded, event))
            rows.add(ROUTINE_FIRINGS, RoutineFiringsRow(id=recorded.stream_id, doc=responses.RoutineFirings()))
            rows.add(ROUTINE_TEXT, _text_row(recorded.stream_id, event.settings))
        case RoutineUpdated(settings=settings) | RoutineRestored(settings=settings):
            rows.change(ROUTINE, recorded.stream_id, lambda row: _revised_row(row, recorded, settings))
            rows.put(ROUTINE_TEXT, _text_row(recorded.stream_id, settings))
        case RoutineTriggerAdded() | RoutineTriggerChanged() | RoutineTriggerRemoved() | RoutineSecretRotated():
            rows.change(ROUTINE, recorded.stream_id, lambda row: _revised_row(row, recorded, None))
        case (TriggerCreated() | TriggerRestored()) as event:
            put = rows.add if recorded.version == 1 else rows.put
            put(TRIGGER, _trigger_row(recorded, event))
            put(
                TRIGGER_FIRINGS,
                TriggerFiringsRow(id=recorded.stream_id, doc=responses.TriggerFirings(**_next_fields(event))),
            )
        case TriggerUpdated() as edit:
            rows.change(TRIGGER, recorded.stream_id, lambda row: _edited_trigger_row(row, recorded, edit))
            _change_firings(rows, recorded.stream_id, **_next_fields(edit))
        case (TriggerRescheduled() | TriggerReplanned() | TriggerMissed()) as event:
            _change_firings(rows, recorded.stream_id, **_next_fields(event))
        case TriggerSecretRotated(webhook=webhook, old_until=until):
            fields = (
                _webhook_fields(recorded, webhook)
                | {"old_secret_until": time_or_none(until)}
                | _author_fields(recorded)
            )
            rows.change(TRIGGER, recorded.stream_id, lambda row: _change_document(row, **fields))
        case TriggerDeleted():
            rows.delete(TRIGGER, recorded.stream_id)
            rows.delete(TRIGGER_FIRINGS, recorded.stream_id)
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` will change, so that they can be fetched together before it."""
    match recorded.event:
        case RunFired(routine_id=routine_id, trigger_id=trigger_id):
            yield ROUTINE_FIRINGS, routine_id
            if trigger_id is not None:
                yield TRIGGER_FIRINGS, trigger_id
        case (
            RoutineUpdated()
            | RoutineRestored()
            | RoutineTriggerAdded()
            | RoutineTriggerChanged()
            | RoutineTriggerRemoved()
            | RoutineSecretRotated()
        ):
            yield ROUTINE, recorded.stream_id
        case TriggerSecretRotated():
            yield TRIGGER, recorded.stream_id
        case TriggerUpdated():
            yield TRIGGER, recorded.stream_id
            yield TRIGGER_FIRINGS, recorded.stream_id
        case TriggerRescheduled() | TriggerReplanned() | TriggerMissed():
            yield TRIGGER_FIRINGS, recorded.stream_id
        case _:
            pass


def result(outcome: Outcome) -> str:
    """Return a trigger's last result in words (contract 4.2)."""
    match outcome:
        case Opened(issue_id=issue_id):
            return f"Created execution issue {issue_id}"
        case Started(trajectory_id=trajectory_id):
            return f"Started trajectory {trajectory_id}"
        case Coalesced():
            return "Coalesced into an existing live execution issue"
        case Skipped(reason="paused"):
            return "Skipped because the project is paused"
        case Skipped(reason="no_external_activity"):
            return "skipped_no_activity"  # as the original says it
        case Skipped(reason="superseded"):
            return "Skipped because a later occurrence was due as well"
        case Skipped(reason="over_budget"):
            return "Skipped because a budget is used up"
        case Skipped(reason="probe_failed"):
            return "Skipped because the probe did not pass"
        case Skipped(reason="probe_unanswered"):
            return "Skipped because nobody answered the probe"
        case Skipped(reason=str() as reason):
            return f"Skipped: {reason}"
        case Skipped():
            return "Skipped because a live execution issue already exists"
        case Failed():
            return "Execution failed"


def updated_at(before: str | None, recorded: Recorded) -> str:
    """Return when a routine was changed last, after an event of it: a concurrent edit recorded later may have begun earlier."""
    return max(before or "", time(recorded.at))


def _routine_row(recorded: Recorded, event: RoutineCreated) -> RoutineRow:
    timestamp, by_agent, by_user = time(recorded.at), agent_of(recorded.actor), user_of(recorded.actor)
    doc = responses.RoutineWithoutFirings(
        **responses.routine_settings(event.settings),
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        latest_revision_id=revision_of(recorded.stream_id, recorded.version),
        latest_revision_number=recorded.version,
        created_by_agent_id=by_agent,
        created_by_user_id=by_user,
        updated_by_agent_id=by_agent,
        updated_by_user_id=by_user,
        responsible_user_id=text_or_none(event.responsible_user_id) or by_user,
        created_at=timestamp,
        updated_at=timestamp,
    )
    return RoutineRow(
        id=doc.id,
        company_id=doc.company_id,
        project_id=doc.project_id,
        title=doc.title,
        updated_at=timestamp,
        doc=doc,
    )


def _text_row(routine_id: UUID, settings: RoutineSettings) -> RoutineTextRow:
    return RoutineTextRow(id=routine_id, folded=fold_case(f"{settings.title}\n{settings.description or ''}"))


def _revised_row(row: RoutineRow, recorded: Recorded, settings: RoutineSettings | None) -> RoutineRow:
    changes = responses.routine_settings(settings) if settings else {}
    timestamp = updated_at(row.updated_at, recorded)
    doc = replace(
        row.doc,
        **changes,
        latest_revision_id=revision_of(recorded.stream_id, recorded.version),
        latest_revision_number=recorded.version,
        **_author_fields(recorded) | {"updated_at": timestamp},
    )
    return replace(row, project_id=doc.project_id, title=doc.title, updated_at=timestamp, doc=doc)


def _trigger_row(recorded: Recorded, event: TriggerCreated | TriggerRestored) -> TriggerRow:
    timestamp, by_agent, by_user = time(recorded.at), agent_of(recorded.actor), user_of(recorded.actor)
    doc = responses.TriggerWithoutFirings(
        **responses.trigger_settings(event.settings),
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        routine_id=event.routine_id,
        kind=event.kind,
        **_webhook_fields(recorded, event.webhook),
        created_by_agent_id=by_agent,
        created_by_user_id=by_user,
        updated_by_agent_id=by_agent,
        updated_by_user_id=by_user,
        created_at=timestamp,
        updated_at=timestamp,
    )
    return TriggerRow(id=doc.id, routine_id=doc.routine_id, position=recorded.position, doc=doc)


def _edited_trigger_row(row: TriggerRow, recorded: Recorded, event: TriggerUpdated) -> TriggerRow:
    return _change_document(
        row,
        **responses.trigger_settings(event.settings),
        **_webhook_fields(recorded, event.webhook),
        **_author_fields(recorded),
    )


def _next_fields(event: Planning) -> dict[str, Any]:
    """Return when the next occurrence is planned, and when it comes due."""
    return {"next_run_at": time_or_none(event.next_at), "due_at": time_or_none(event.due_at or event.next_at)}


def _author_fields(recorded: Recorded) -> dict[str, Any]:
    return {
        "updated_by_agent_id": agent_of(recorded.actor),
        "updated_by_user_id": user_of(recorded.actor),
        "updated_at": time(recorded.at),
    }


def _webhook_fields(recorded: Recorded, webhook: Webhook | None) -> dict[str, Any]:
    """Return the fields for a new webhook address or secret; nothing when neither is new."""
    if webhook is None:
        return {}
    return {
        "public_id": webhook.public_id,
        "secret_id": webhook.secret_id,
        "last_rotated_at": time(recorded.at),
        "old_secret_until": None,
    }


def _fold_firing(rows: Rows, recorded: Recorded, event: RunFired) -> None:
    timestamp = time(recorded.at)
    enqueue_time = {} if getattr(event.outcome, "issue_id", None) is None else {"last_enqueued_at": timestamp}
    rows.change(
        ROUTINE_FIRINGS,
        event.routine_id,
        lambda row: replace(row, doc=replace(row.doc, last_triggered_at=timestamp, **enqueue_time)),
    )
    next_run = _next_fields(event) if event.is_scheduled else {}
    _change_firings(rows, event.trigger_id, last_fired_at=timestamp, last_result=result(event.outcome), **next_run)


def _change_firings(rows: Rows, trigger_id: UUID | None, **changes: Any) -> None:
    rows.change(TRIGGER_FIRINGS, trigger_id, lambda row: replace(row, doc=replace(row.doc, **changes)))


def _change_document(row: TriggerRow, **changes: Any) -> TriggerRow:
    return replace(row, doc=replace(row.doc, **changes))


routines = ReadModel(
    name="routines",
    version=6,
    tables=(ROUTINE, ROUTINE_FIRINGS, ROUTINE_TEXT, TRIGGER, TRIGGER_FIRINGS),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({RunFired, *get_args(RoutineEvent), *get_args(TriggerEvent)}),
    views=(ROUTINES,),
)


_ROUTINE = Docs(
    f"SELECT {joined_document('r.doc', 'f.doc')} AS doc FROM routine r JOIN routine_firings f USING (id) WHERE id = %(id)s",
    responses.Routine,
)
_IN_FOLDER = "SELECT FROM routine WHERE company_id = %s AND (doc->>'folderId')::uuid = %s LIMIT 1"
_TRIGGERS = (
    f"SELECT {joined_document('t.doc', 'f.doc')} AS doc FROM routine_trigger t JOIN trigger_firings f USING (id)"
)
_TRIGGER = Docs(f"{_TRIGGERS} WHERE id = %(id)s", responses.Trigger)
_TRIGGERS_OF_ROUTINE = Docs(f"{_TRIGGERS} WHERE routine_id = %(routine_id)s ORDER BY position", responses.Trigger)
DETAIL = Docs(
    f"""SELECT {joined_document("o.doc", opened_document("(SELECT doc FROM routine_firings WHERE id = o.id)"))}
        || ',"managedByPlugin":null,"project":' || coalesce((SELECT doc FROM project WHERE id = o.project_id)::text, 'null')
        || ',"assignee":' || coalesce((
            SELECT {beginning("doc", "companyId")} FROM agent WHERE id = (o.doc->>'assigneeAgentId')::uuid), 'null')
        || ',"parentIssue":' || coalesce((SELECT doc FROM issue WHERE id = (o.doc->>'parentIssueId')::uuid)::text, 'null')
        || ',"triggers":[' || coalesce((
            SELECT string_agg({webhook_refusals.WITH_LAST}, ',' ORDER BY t.position)
            FROM routine_trigger t JOIN trigger_firings l USING (id)
            LEFT JOIN webhook_refusals f ON f.trigger_id = t.id AND t.doc->>'kind' = 'webhook'
            WHERE t.routine_id = o.id), '')
        || '],"recentRuns":[' || coalesce((
            SELECT CASE WHEN sum(octet_length(run)) <= %(max_bytes)s THEN string_agg(run, ',') ELSE (
                SELECT string_agg(run, ',' ORDER BY place) FROM (
                    SELECT run, place, sum(octet_length(run)) OVER (ORDER BY place) AS bytes
                    FROM unnest(array_agg(linked.run)) WITH ORDINALITY newest(run, place)) measured
                WHERE place = 1 OR bytes <= %(max_bytes)s) END
            FROM (
                SELECT {run_history.LINKED} AS run FROM run r
                WHERE routine_id = o.id ORDER BY position DESC LIMIT {RECENT_RUNS}) linked), '')
        || '],"activeIssue":' || coalesce((
            SELECT doc FROM issue WHERE origin_id = o.id AND is_open ORDER BY changed DESC LIMIT 1)::text, 'null')
        || '}}' AS doc
    FROM routine o WHERE id = %(id)s""",
    RoutineDetail,
)
DETAILS_OF_MANY = BatchedDocs(
    DETAIL, streams=STREAMS, beside=webhook_refusals.OF_ROUTINE, id="uuid", max_bytes="bigint"
)


def has_project(conn: Connection, project_id: UUID) -> bool:
    """Return whether a routine is in the project."""
    return conn.execute("SELECT FROM routine WHERE project_id = %s LIMIT 1", (project_id,)).fetchone() is not None


def has_in_folder(conn: Connection, company_id: UUID, folder_id: UUID) -> bool:
    """Return whether a routine of the company is in the folder."""
    return conn.execute(_IN_FOLDER, (company_id, folder_id)).fetchone() is not None


def routine(conn: Connection, id_: UUID) -> responses.Routine | None:
    """Return the routine with this id, archived or not, or None."""
    return _ROUTINE.one(conn, id=id_)


def trigger(conn: Connection, id_: UUID) -> responses.Trigger | None:
    """Return the trigger with this id, or None."""
    return _TRIGGER.one(conn, id=id_)


def triggers_of(conn: Connection, routine_id: UUID) -> list[responses.Trigger]:
    """Return the triggers of a routine, oldest first."""
    return _TRIGGERS_OF_ROUTINE.all(conn, routine_id=routine_id)


def detail(conn: Connection, id_: UUID, max_bytes: int = DEFAULT.max_page_bytes) -> RoutineDetail | None:
    """
    Return the routine with what belongs to it and as many of its newest runs as fit, or None.

    Joins the read models `directory`, `run_history` and `issues`.
    """
    return DETAIL.one(conn, id=id_, max_bytes=max_bytes)
