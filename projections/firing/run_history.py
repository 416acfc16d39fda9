"""Run history: the outcome of every firing, newest first."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from domain.events import (
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunFired,
    RunReported,
)
from domain.recorded import Recorded
from domain.values import RunSource
from projections import responses
from projections.board.issues import SUMMARY
from projections.engine.documents import BatchedDocs, Docs, Part, beginning
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.engine.views import View
from projections.firing.routine_streams import STREAMS
from projections.firing.run_documents import fired_run, run_after, with_shortened_payload
from projections.responses import (
    RunStatus,
    RunSummary,
)

ENDLESS = 2**63 - 1  # comes after all positions


class RunRow(Row, frozen=True):
    """
    A run of a routine as lists show it, but for its links; runs are sorted by `position`, that of the firing.

    `until` is a position by which it was live no more: that of its last event, once it has ended; ENDLESS as long as it is live.
    """

    company_id: UUID
    routine_id: UUID
    position: int
    until: int
    triggered_at: datetime
    linked_issue_id: UUID | None
    trigger_id: UUID | None
    status: RunStatus
    source: RunSource
    doc: responses.RunFields


RUN = Table("run", RunRow, over="doc->>'completedAt' IS NOT NULL")

SCHEMA = """
CREATE TABLE run (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, routine_id uuid NOT NULL, position bigint NOT NULL,
    until bigint NOT NULL, triggered_at timestamptz NOT NULL, linked_issue_id uuid, trigger_id uuid, status text NOT NULL,
    source text NOT NULL, doc json NOT NULL);
CREATE INDEX ON run (routine_id, position);
CREATE INDEX ON run (routine_id, status, source, position DESC NULLS LAST);
CREATE INDEX ON run (company_id, status, source, triggered_at, position, until);
"""

RUNS = View(
    name="runs",
    about="A run: one firing of a routine, by whatever fired it, and its outcome.",
    source="run",
    moment="triggered_at",
    columns={
        "id": ("id", "The run"),
        "company_id": ("company_id", "Its company"),
        "routine_id": ("routine_id", "The routine that was fired"),
        "trigger_id": ("trigger_id", "The trigger that fired it; NULL if it was fired by hand"),
        "source": ("source", "What fired it: schedule, manual, api, webhook or chain"),
        "status": ("status", "received, issue_created, coalesced, skipped, completed or failed"),
        "triggered_at": ("triggered_at", "When it was fired"),
        "planned_at": (
            "(doc->>'plannedAt')::timestamptz",
            "The planned moment of its occurrence; NULL if no schedule planned it",
        ),
        "completed_at": ("(doc->>'completedAt')::timestamptz", "When its work was over"),
        "duration_s": (
            "extract(epoch FROM (doc->>'completedAt')::timestamptz - triggered_at)::float8",
            "Seconds from fired to over",
        ),
        "failure_reason": ("doc->>'failureReason'", "Why it failed or was skipped"),
        "coalesced_into_run_id": ("(doc->>'coalescedIntoRunId')::uuid", "The live run that it met"),
        "issue_id": ("linked_issue_id", "The issue that it opened or met"),
        "backfill_id": ("(doc->>'backfillId')::uuid", "The backfill that made up for its occurrence"),
        "cause_run_id": ("(doc->>'causeRunId')::uuid", "The run whose end fired it, by a chain"),
        "cost_micros": ("(doc->>'costMicros')::bigint", "What it has cost, in millionths of a currency unit"),
        "input_tokens": ("(doc->>'inputTokens')::bigint", "Tokens that it has read"),
        "output_tokens": ("(doc->>'outputTokens')::bigint", "Tokens that it has written"),
        "position": ("position", "Place of the firing in the log"),
    },
)


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event of a run into its row."""
    match recorded.event:
        case RunFired() as event:
            doc = with_shortened_payload(fired_run(responses.RunFields, recorded, event))
            rows.add(
                RUN,
                RunRow(
                    id=recorded.stream_id,
                    company_id=doc.company_id,
                    routine_id=doc.routine_id,
                    position=recorded.position,
                    until=_until(doc, recorded),
                    triggered_at=recorded.at,
                    linked_issue_id=doc.linked_issue_id,
                    trigger_id=doc.trigger_id,
                    status=doc.status,
                    source=doc.source,
                    doc=doc,
                ),
            )
        case RunAttemptFailed() | RunAttemptBegun() | RunReported() | RunCompleted() | RunFailed():
            rows.change(RUN, recorded.stream_id, lambda row: _row_after(row, recorded))
        case _:
            pass


def _row_after(row: RunRow, recorded: Recorded) -> RunRow:
    doc = run_after(row.doc, recorded)
    return replace(row, status=doc.status, until=_until(doc, recorded), doc=doc)


def _until(doc: responses.RunFields, last: Recorded) -> int:
    return ENDLESS if doc.completed_at is None else last.position


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the key of the row that `fold` will change, so that it can be fetched before it."""
    if not isinstance(recorded.event, RunFired):
        yield RUN, recorded.stream_id


run_history = ReadModel(
    name="run_history",
    version=8,
    tables=(RUN,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(get_args(RunEvent)),
    views=(RUNS,),
)


class Filters(msgspec.Struct, frozen=True):
    """The filters of a routine's list of runs, as clients give them; None leaves a filter out."""

    status: tuple[RunStatus, ...] | None = None
    source: tuple[RunSource, ...] | None = None


ALL = Filters()


class CompanyFilters(Filters, frozen=True, rename="camel"):
    """
    The filters of a company's list of runs; None leaves a filter out.

    The agent of a run is the assignee of its issue, or that of its routine if it has none.
    """

    routine_id: UUID | None = None
    assignee_agent_id: UUID | None = None


class RunIdentity(msgspec.Struct, frozen=True):
    """The field of a run after which the next page of runs begins."""

    id: UUID


class Place(NamedTuple):
    """The place of a run in the list of its company, which is sorted by these columns, newest first."""

    triggered_at: datetime
    position: int


TRIGGER_NAME = beginning("t.doc", "enabled")  # a TriggerName of the trigger `t`
# A RunSummary of the run `r` of a query, as text: the run as it is stored, with its issue and its trigger, from the read
# models of those, as further fields.
LINKED = f"""left(r.doc::text, -1)
    || ',"linkedIssue":' || coalesce((SELECT {SUMMARY} FROM issue i WHERE id = r.linked_issue_id), 'null')
    || ',"trigger":' || coalesce((SELECT {TRIGGER_NAME} FROM routine_trigger t WHERE id = r.trigger_id), 'null') || '}}'"""


def _newest_runs_query(runs: str) -> Docs[RunSummary]:
    return Docs(f"SELECT {LINKED} AS doc FROM ({runs} ORDER BY position DESC LIMIT %(limit)s) r", RunSummary)


_BEFORE = "position < coalesce(%(before)s::bigint, 9223372036854775807)"
_POSITION = "SELECT position FROM run WHERE routine_id = %s AND id = %s"
RECENT = _newest_runs_query(f"SELECT * FROM run WHERE routine_id = %(routine_id)s AND {_BEFORE}")
RECENT_OF_MANY = BatchedDocs(RECENT, streams=STREAMS, routine_id="uuid", before="bigint", limit="bigint")
NARROWED = _newest_runs_query(  # one index range per status and source; only that index has the order NULLS LAST
    f"""SELECT found.* FROM unnest(%(status)s::text[]) one_status, unnest(%(source)s::text[]) one_source, LATERAL (
        SELECT * FROM run WHERE routine_id = %(routine_id)s AND {_BEFORE}
        AND status = one_status AND source = one_source ORDER BY position DESC NULLS LAST LIMIT %(limit)s) found"""
)
OF_COMPANY = Docs(  # one index range per status and source, or a rare one would be looked for among all others
    f"""SELECT {LINKED} AS doc FROM (
        SELECT found.* FROM unnest(%(status)s::text[]) one_status, unnest(%(source)s::text[]) one_source, LATERAL (
        SELECT * FROM run WHERE company_id = %(company_id)s AND status = one_status AND source = one_source
        AND triggered_at BETWEEN %(since)s AND %(until)s AND (triggered_at, position) < (%(triggered_at)s, %(position)s)
        AND (%(routine_id)s::uuid IS NULL OR routine_id = %(routine_id)s)
        AND (%(agent_id)s::uuid IS NULL OR %(agent_id)s = coalesce(
            (SELECT assignee_agent_id FROM issue i WHERE i.id = linked_issue_id),
            (SELECT (doc->>'assigneeAgentId')::uuid FROM routine o WHERE o.id = routine_id)))
        ORDER BY triggered_at DESC, position DESC LIMIT %(limit)s) found
        ORDER BY triggered_at DESC, position DESC LIMIT %(limit)s) r""",
    RunSummary,
    prepared=False,
)
_PLACE = "SELECT triggered_at, position FROM run WHERE company_id = %s AND id = %s"
FRONT = Place(datetime(9999, 1, 1, tzinfo=UTC), 0)  # comes before all runs


def recent_runs(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    routine_id: UUID,
    limit: int,
    *,
    filters: Filters = ALL,
    before: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[RunSummary]:
    """
    Return the runs of a routine that meet the filters, newest first, before a position.

    Joins the read models `issues` and `routines`.
    """
    query, values = RECENT, dict[str, Any](routine_id=routine_id, before=before)
    if filters != ALL:
        choices = {"status": filters.status or get_args(RunStatus), "source": filters.source or get_args(RunSource)}
        query, values = NARROWED, values | {name: list(set(words)) for name, words in choices.items()}
    return query.part(conn, limit=limit, max_bytes=max_bytes, **values)


def of_company(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    company_id: UUID,
    filters: CompanyFilters,
    period: tuple[datetime, datetime],
    limit: int,
    *,
    after: Place | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[RunSummary]:
    """
    Return the runs of a company that meet the filters and were fired in the period, both ends included, newest first.

    They begin after a place. Joins the read models `issues` and `routines`.
    """
    return OF_COMPANY.part(
        conn, limit=limit, max_bytes=max_bytes, **values_of_query(company_id, filters, period, after)
    )


def values_of_query(
    company_id: UUID, filters: CompanyFilters, period: tuple[datetime, datetime], after: Place | None = None
) -> dict[str, object]:
    """Return the values for the query `OF_COMPANY`, but for its limit."""
    return {
        "company_id": company_id,
        "status": list(set(filters.status or get_args(RunStatus))),
        "source": list(set(filters.source or get_args(RunSource))),
        "routine_id": filters.routine_id,
        "agent_id": filters.assignee_agent_id,
        "since": period[0],
        "until": period[1],
        **(after or FRONT)._asdict(),
    }


def id_in(doc: bytes) -> UUID:
    """Return the id of a run, given its document."""
    return msgspec.json.decode(doc, type=RunIdentity).id


def place(conn: Connection, company_id: UUID, run_id: UUID) -> Place | None:
    """Return the place of a run in the list of its company; None if the company has no such run."""
    row = conn.execute(_PLACE, (company_id, run_id), prepare=True).fetchone()
    return Place(*row) if row else None


def position(conn: Connection, routine_id: UUID, run_id: UUID) -> int | None:
    """Return the position of a run in the log; None if the routine has no such run."""
    row = conn.execute(_POSITION, (routine_id, run_id), prepare=True).fetchone()
    return row[0] if row else None
