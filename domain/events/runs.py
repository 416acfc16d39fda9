"""Runs and their attempts, backfills (past occurrences that are run after all), probes, and slots (live work)."""

from datetime import datetime
from uuid import UUID

from domain.events.event import Event
from domain.values import LiveWork, Outcome, Overlap, Payload, ProbeFinding, RetryPolicy, RunSource, Text


class RunFired(Event, frozen=True, tag="run.fired"):
    """
    A routine fired, and this is the outcome, decided together. `occurrence`, `next_at` and `due_at` are set for
    schedules only.
    """

    routine_id: UUID
    revision: int  # the routine's when it fired
    source: RunSource
    outcome: Outcome
    trigger_id: UUID | None = None
    occurrence: datetime | None = None  # the planned moment, not the actual one
    next_at: datetime | None = None
    due_at: datetime | None = None
    idempotency_key: str | None = None
    payload: Payload | None = None
    responsible_user_id: UUID | None = None
    deadline: datetime | None = None  # the run fails unless its issue is done by then
    backfill_id: UUID | None = None  # the backfill that ran the occurrence; the schedule itself does not move then
    request_digest: Text | None = None  # of what was asked under the idempotency key, to recognise another request
    retry: RetryPolicy | None = (
        None  # the routine's when it fired; it holds for this run, whatever becomes of the routine
    )
    cause_run_id: UUID | None = None  # the run whose end fired this one, by a chain
    chain_depth: int = 0  # how many runs have fired each other up to this one
    probe: ProbeFinding | None = None  # what the routine's probe had found; None if it was not asked

    @property
    def is_scheduled(self) -> bool:
        """Whether the schedule itself fired it when it was due, and goes on to `next_at`."""
        return self.occurrence is not None and self.backfill_id is None


class RunReported(Event, frozen=True, tag="run.reported"):
    """
    What the run has brought forth and used so far was reported. Each field that is not None replaces what was reported
    of it before, so a report that is repeated changes nothing.
    """

    outputs: Payload | None = None
    cost_micros: int | None = None  # in millionths of the currency in which the installation counts
    input_tokens: int | None = None
    output_tokens: int | None = None
    routine_id: UUID | None = None  # of the run; None where no usage is reported
    agent_id: UUID | None = None  # the agent to whom the issue of the run was assigned at that time


class RunCompleted(Event, frozen=True, tag="run.completed"):
    """The issue of the run was done, or its trajectory was completed."""


class RunFailed(Event, frozen=True, tag="run.failed"):
    """
    The run failed: its issue was cancelled, its trajectory did not succeed, or it lasted too long (reason `timed_out`).
    Where the routine's next run took its place (`cancel_previous`), `successor_run_id` is that run.
    """

    reason: Text
    successor_run_id: UUID | None = None


class RunAttemptFailed(Event, frozen=True, tag="run.attempt_failed"):
    """An attempt failed, and the run goes on: the next attempt begins at `next_at`. Attempts are numbered from 1."""

    attempt: int
    reason: Text
    next_at: datetime


class RunAttemptBegun(Event, frozen=True, tag="run.attempt_begun"):
    """A further attempt of the run began: its issue is to do again. `agent_id` is the agent to whom it is assigned."""

    attempt: int
    issue_id: UUID
    agent_id: UUID | None = None
    deadline: datetime | None = None  # the attempt fails unless the issue is done by then


class BackfillRequested(Event, frozen=True, tag="backfill.requested"):
    """The `count` occurrences of a schedule from `since` to `until`, both included, are to run unless they have run."""

    trigger_id: UUID
    routine_id: UUID
    since: datetime
    until: datetime
    count: int
    overlap: Overlap
    request_digest: Text | None = None  # of what was asked under an idempotency key, to recognise another request


class BackfillAdvanced(Event, frozen=True, tag="backfill.advanced"):
    """
    The backfill has come to `reached`: `fired` more occurrences ran, and `left_out` more had run before, or wait for their
    schedule. If it `waits`, it waits for live work to end, or (`over_quota`) until its company has recorded less in a
    minute.
    """

    reached: datetime
    fired: int
    left_out: int
    waits: bool = False
    over_quota: bool = False


class BackfillCompleted(Event, frozen=True, tag="backfill.completed"):
    """Every occurrence in the range of the backfill has been handled."""


class BackfillCancelled(Event, frozen=True, tag="backfill.cancelled"):
    """
    The backfill runs no more occurrences: somebody cancelled it (reason `cancelled`), or its routine cannot work any
    more.
    """

    reason: str


class ProbeRequested(Event, frozen=True, tag="probe.requested"):
    """
    An occurrence has come due, and fires, with what is due beside it at `as_of`, only as the routine's probe says. Unless
    that has an answer at `until`, it counts as unanswered.
    """

    trigger_id: UUID
    routine_id: UUID
    occurrence: datetime
    as_of: datetime
    until: datetime


class ProbeAnswered(Event, frozen=True, tag="probe.answered"):
    """What the probe of an occurrence has found, or that nobody has answered it."""

    trigger_id: UUID
    occurrence: datetime
    finding: ProbeFinding


class SlotTaken(Event, frozen=True, tag="slot.taken"):
    """A routine has one more piece of live work: an execution issue or a trajectory."""

    routine_id: UUID
    live: LiveWork


class SlotFreed(Event, frozen=True, tag="slot.freed"):
    """One piece of the routine's live work is not open any more; `issue_id` is the id of the issue or the trajectory."""

    routine_id: UUID
    issue_id: UUID


class SlotCounted(Event, frozen=True, tag="slot.counted"):
    """A snapshot of all live work of the routine, so that a reader need not read earlier events."""

    routine_id: UUID
    live: tuple[LiveWork, ...]


RunEvent = RunFired | RunReported | RunAttemptFailed | RunAttemptBegun | RunCompleted | RunFailed


BackfillEvent = BackfillRequested | BackfillAdvanced | BackfillCompleted | BackfillCancelled


ProbeEvent = ProbeRequested | ProbeAnswered


SlotEvent = SlotTaken | SlotFreed | SlotCounted
