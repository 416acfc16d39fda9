"""Run history: the outcome of every firing, newest first."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, get_args
from uuid import UUID

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict, replace

from domain.bounds import json_size
from domain.bounds.limits import DEFAULT, SHOWN_PAYLOAD_BYTES
from domain.errors import ImpossibleHistory
from domain.events import (
    RunAttemptBegun,
    RunAttemptFailed,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunFired,
    RunReported,
)
from domain.identity import revision_of
from domain.recorded import Recorded
from domain.values import Coalesced, Failed, Opened, OverBudget, RunSource, Skipped, Started
from projections import responses
from projections.board.issues import SUMMARY
from projections.engine.documents import BatchedDocs, Docs, Part, beginning
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.engine.views import View
from projections.firing.routine_streams import STREAMS
from projections.responses import (
    RunAttempt,
    RunStatus,
    RunSummary,
    text_or_none,
    time,
    time_or_none,
)

ENDLESS = 2**63 - 1  # comes after all positions
SEPARATORS = 2  # bytes of a colon and a comma in JSON
F = TypeVar("F", bound=responses.RunFields)


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
            doc = with_shortened_payload(_fired_run(responses.RunFields, recorded, event))
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


def run_of(events: Sequence[Recorded]) -> responses.Run:
    """Return a run as clients read it, folded from the events of its stream; raise ValueError if there are none."""
    match events:
        case [Recorded(event=RunFired() as event) as first, *later]:
            doc = _fired_run(responses.Run, first, event, responsible_user_id=text_or_none(event.responsible_user_id))
        case [first, *_]:
            raise ImpossibleHistory(None, first.event)
        case _:
            raise ValueError(events)
    for recorded in later:
        doc = run_after(doc, recorded)
    return doc


def detail_of(events: Sequence[Recorded]) -> responses.RunDetail:
    """Return a run as `run_of` does, with its attempts, the deadline of the newest one, its successor and its outputs."""
    attempts, facts = list[RunAttempt](), dict[str, Any]()
    for recorded in events:
        timestamp = time(recorded.at)
        match recorded.event:
            case RunFired(retry=policy, deadline=deadline) as firing:
                facts = {"deadline": time_or_none(deadline), "max_attempts": policy.max_attempts if policy else 1}
                if isinstance(firing.outcome, Opened | Started):
                    attempts.append(RunAttempt(attempt=1, begun_at=timestamp))
            case RunAttemptBegun(attempt=attempt, deadline=deadline):
                facts |= {"deadline": time_or_none(deadline), "next_attempt_at": None, "attempt": attempt}
                attempts.append(RunAttempt(attempt=attempt, begun_at=timestamp))
            case RunAttemptFailed(reason=reason, next_at=next_at):
                facts |= {"deadline": None, "next_attempt_at": time(next_at)}
                attempts[-1] = replace(attempts[-1], outcome="failed", reason=reason, ended_at=timestamp)
            case RunReported(outputs=outputs) if outputs is not None:
                facts |= {"outputs": outputs}
            case (RunCompleted() | RunFailed()) as end:
                if facts.get("next_attempt_at") is None:  # else the attempt has failed already, for its own reason
                    attempts[-1] = replace(attempts[-1], **_last_attempt_fields(end), ended_at=timestamp)
                facts |= {"next_attempt_at": None, "successor_run_id": getattr(end, "successor_run_id", None)}
    run = {name: value for name, value in asdict(run_of(events)).items() if name not in ("attempt", "max_attempts")}
    return responses.RunDetail(**run, **facts, attempts=attempts)


def _last_attempt_fields(event: RunCompleted | RunFailed) -> dict[str, Any]:
    """Return what the end of a run says of its last attempt."""
    if isinstance(event, RunCompleted):
        return {"outcome": "completed", "reason": None}
    return {"outcome": "failed", "reason": event.reason}


def with_shortened_payload(run: F) -> F:
    """Return a run as lists show it: a payload of more than SHOWN_PAYLOAD_BYTES without its largest fields."""
    if run.trigger_payload is None or (size := json_size.size_of(run.trigger_payload)) <= SHOWN_PAYLOAD_BYTES:
        return run
    sizes = {name: json_size.size_of(name, value) for name, value in run.trigger_payload.items()}
    left, kept_names = SHOWN_PAYLOAD_BYTES, set[str]()
    for name in sorted(sizes, key=sizes.__getitem__):
        left -= sizes[name] + SEPARATORS
        if left < 0:
            break
        kept_names.add(name)
    payload = {name: value for name, value in run.trigger_payload.items() if name in kept_names}
    return replace(run, trigger_payload=payload, trigger_payload_bytes=size)


def run_after(doc: F, recorded: Recorded) -> F:
    """Return a run as it is after an event that follows its firing. Raises ImpossibleHistory for one that cannot."""
    timestamp = time(recorded.at)
    match recorded.event:
        case RunAttemptFailed():
            return replace(doc, updated_at=timestamp)
        case RunAttemptBegun(attempt=attempt):
            return replace(doc, attempt=attempt, updated_at=timestamp)
        case RunReported() as event:
            return replace(doc, **_usage_fields(event))
        case RunCompleted():
            return replace(doc, status="completed", completed_at=timestamp, failure_reason=None, updated_at=timestamp)
        case RunFailed(reason=reason):
            return replace(doc, status="failed", completed_at=timestamp, failure_reason=reason, updated_at=timestamp)
        case _:
            raise ImpossibleHistory(doc, recorded.event)


def _fired_run(shape: type[F], recorded: Recorded, event: RunFired, **more: Any) -> F:
    """Return the run that a firing makes, in a shape that may have more fields."""
    timestamp = time(recorded.at)
    return shape(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        routine_id=event.routine_id,
        trigger_id=event.trigger_id,
        source=event.source,
        status="received" if isinstance(event.outcome, Started) else event.outcome.__struct_config__.tag,  # type: ignore[arg-type]
        triggered_at=timestamp,
        routine_revision_id=revision_of(event.routine_id, event.revision),
        idempotency_key=event.idempotency_key,
        trigger_payload=event.payload,
        dispatch_fingerprint=_fingerprint_of(event),
        created_at=timestamp,
        updated_at=timestamp,
        completed_at=None if isinstance(event.outcome, Opened | Started) else timestamp,
        planned_at=UNSET if event.occurrence is None else time(event.occurrence),
        backfill_id=event.backfill_id or UNSET,
        cause_run_id=event.cause_run_id or UNSET,
        probe=event.probe or UNSET,
        attempt=1 if event.retry else UNSET,
        max_attempts=event.retry.max_attempts if event.retry else UNSET,
        **_link_fields(event),
        **more,
    )


def _usage_fields(event: RunReported) -> dict[str, int]:
    """Return the usage that was reported, without what the report does not mention."""
    usage = {name: getattr(event, name) for name in ("cost_micros", "input_tokens", "output_tokens")}
    return {name: number for name, number in usage.items() if number is not None}


def _budget_answer(exceeded_budget: OverBudget) -> responses.OverBudget:
    return responses.OverBudget(**asdict(exceeded_budget) | {"frees_at": time_or_none(exceeded_budget.frees_at)})


def _fingerprint_of(event: RunFired) -> str:
    """Return 64 hexadecimal digits that are equal for the same routine and payload."""
    payload = msgspec.json.encode(event.payload, order="deterministic")
    return hashlib.sha256(event.routine_id.bytes + payload).hexdigest()


def _link_fields(event: RunFired) -> dict[str, Any]:
    match event.outcome:
        case Opened(issue_id=issue_id):
            return {"linked_issue_id": issue_id, "coalesced_into_run_id": None, "failure_reason": None}
        case Started():
            return {"linked_issue_id": None, "coalesced_into_run_id": None, "failure_reason": None}
        case Coalesced(issue_id=issue_id, into_run_id=run_id):
            return {"linked_issue_id": issue_id, "coalesced_into_run_id": run_id, "failure_reason": None}
        case Skipped(issue_id=issue_id, into_run_id=run_id, reason=reason, budget=budget):
            links = {"linked_issue_id": issue_id, "coalesced_into_run_id": run_id, "failure_reason": reason}
            return links if budget is None else links | {"budget": _budget_answer(budget)}
        case Failed(reason=reason):
            return {"linked_issue_id": None, "coalesced_into_run_id": None, "failure_reason": reason}


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
