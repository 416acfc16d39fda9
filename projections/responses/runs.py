"""Runs and their attempts as clients read them."""

from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from domain.values import Json, ProbeFinding, RunSource
from projections.responses.body import ResponseBody
from projections.responses.issues import IssueSummary
from projections.responses.triggers import TriggerName

RunStatus = Literal["received", "coalesced", "skipped", "issue_created", "completed", "failed"]


class OverBudget(ResponseBody, frozen=True, kw_only=True):
    """
    Why a firing was beyond a budget: whose it was, how much was spent of it in the window before, and when enough of that
    is over if nothing is added (null: never). Amounts are millionths of a currency unit.
    """

    owner: Literal["routine", "agent", "company"]
    spent_micros: int
    max_cost_micros: int
    window_sec: int
    frees_at: str | None


class RunFields(ResponseBody, frozen=True, kw_only=True):
    """
    The fields of a run that every answer has. `plannedAt` is the planned moment of the occurrence that the run is for; it
    is there only when a schedule planned it. `backfillId` is there only when the run made up for an occurrence,
    `causeRunId` only when a chain fired it, at the end of that run, `costMicros` (in millionths), `inputTokens` and
    `outputTokens` only when they were reported, `budget` only when a used-up budget kept it from beginning,
    `probe` (what the probe of its routine had found) only when that was asked, in lists `attempt` and `maxAttempts`
    only when there may be several attempts, and `triggerPayloadBytes` only when the payload is so large that its largest fields are left out; `getRun` has it whole.
    """

    id: UUID
    company_id: UUID
    routine_id: UUID
    trigger_id: UUID | None
    source: RunSource
    status: RunStatus
    triggered_at: str
    routine_revision_id: UUID | None
    idempotency_key: str | None
    trigger_payload: Json | None
    trigger_payload_bytes: int | UnsetType = UNSET  # not in Paperclip; only where the payload is not shown whole
    dispatch_fingerprint: str | None
    linked_issue_id: UUID | None
    coalesced_into_run_id: UUID | None
    failure_reason: str | None
    completed_at: str | None
    created_at: str
    updated_at: str
    planned_at: str | UnsetType = UNSET  # not in Paperclip; only a run of an occurrence has it
    backfill_id: UUID | UnsetType = UNSET  # not in Paperclip; only a run of a backfill has it
    cause_run_id: UUID | UnsetType = UNSET  # not in Paperclip; only a run that a chain fired has it
    cost_micros: int | UnsetType = UNSET  # these three are not in Paperclip
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET
    budget: OverBudget | UnsetType = UNSET  # not in Paperclip; only a run that was skipped for a budget has it
    probe: ProbeFinding | UnsetType = UNSET  # not in Paperclip; only a run for which a probe was asked has it
    attempt: int | UnsetType = UNSET  # not in Paperclip; in lists only a run that may have several attempts has these
    max_attempts: int | UnsetType = UNSET


class Run(RunFields, frozen=True, kw_only=True):
    """A run: one firing of a routine and its outcome."""

    responsible_user_id: str | None = None


class RunAttempt(ResponseBody, frozen=True, kw_only=True):
    """An attempt of a run: when it began and ended, its outcome, and why it failed. `live` is one that has not ended."""

    attempt: int
    outcome: Literal["live", "completed", "failed"] = "live"
    reason: str | None = None
    begun_at: str
    ended_at: str | None = None


class RunDetail(Run, frozen=True, kw_only=True):
    """
    A run as it is read by its id, with what Paperclip does not have.

    `deadline` is when its attempt fails unless its work is done, if its routine bounds that. `attempt` is the number of its
    newest attempt, of at most `maxAttempts`; `nextAttemptAt` is when the next one begins, if it waits for one.
    `successorRunId` is the run that took its place under the policy cancel_previous. `outputs` are what was reported of
    it; those of a trajectory are in its steps.
    """

    deadline: str | None = None
    attempt: int = 1
    max_attempts: int = 1
    next_attempt_at: str | None = None
    attempts: list[RunAttempt] = []
    successor_run_id: UUID | None = None
    outputs: Json | None = None


class RunSummary(RunFields, frozen=True, kw_only=True):
    """A run as lists show it, with its issue and its trigger."""

    linked_issue: IssueSummary | None
    trigger: TriggerName | None
