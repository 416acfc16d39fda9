"""
Ids that are computed from what they identify, so that a race, a retry or a replay arrives at the same id.

What has an id from here is recorded only once: the store refuses a second version 1 of a stream.
"""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID, uuid5

NAMESPACE = UUID("5b1d6c2e-6f0e-5c7a-9d65-0f2a7c3f8e11")
KEPT = 16_384  # ids in the cache: deciding a firing computes the same ones several times


@lru_cache(maxsize=KEPT)
def run_of_occurrence(trigger_id: UUID, occurrence: datetime) -> UUID:
    """Return the id of the run of an occurrence; an occurrence of a trigger has one run only."""
    return uuid5(trigger_id, occurrence.astimezone(UTC).isoformat())


def probe_of_occurrence(trigger_id: UUID, occurrence: datetime) -> UUID:
    """Return the id of the stream that says what the probe of an occurrence has found."""
    return uuid5(run_of_occurrence(trigger_id, occurrence), "probe")


def run_of_key(routine_id: UUID, source: str, trigger_id: UUID | None, idempotency_key: str) -> UUID:
    """Return the id of the run for an idempotency key; it is the same for the same routine, source and trigger."""
    return uuid5(routine_id, f"{source}|{trigger_id or '-'}|{idempotency_key}")


def run_of_chain(trigger_id: UUID, cause_run_id: UUID) -> UUID:
    """Return the id of the run that a chain fires when a run has ended; the end of a run fires it once at most."""
    return uuid5(trigger_id, f"chain|{cause_run_id}")


def backfill_of_key(trigger_id: UUID, idempotency_key: str) -> UUID:
    """Return the id of the backfill for an idempotency key; it is the same for the same trigger."""
    return uuid5(trigger_id, f"backfill|{idempotency_key}")


@lru_cache(maxsize=KEPT)
def issue_of_run(run_id: UUID) -> UUID:
    """Return the id of the execution issue that a run may open; it opens one at most."""
    return uuid5(run_id, "issue")


@lru_cache(maxsize=KEPT)
def slot_of(routine_id: UUID) -> UUID:
    """Return the id of the slot of a routine, the stream that guards its concurrency policy."""
    return uuid5(routine_id, "slot")


def alert_of(subject_id: UUID, kind: str, since: datetime) -> UUID:
    """Return the id of the alert about a run, a schedule or a routine whose trouble began then; there is one at most."""
    return uuid5(subject_id, f"alert|{kind}|{since.astimezone(UTC).isoformat()}")


def trajectory_of_run(run_id: UUID) -> UUID:
    """Return the id of the trajectory by which a run calls a task; it calls one at most."""
    return uuid5(run_id, "trajectory")


def cadence_of(routine_id: UUID) -> UUID:
    """Return the id of the one schedule trigger of a routine that calls a task."""
    return uuid5(routine_id, "cadence")


def trajectory_of_origin(task_id: UUID, origin: str) -> UUID:
    """Return the id of a trajectory that is pushed when it is over already; `origin` is the caller's own id of it."""
    return uuid5(task_id, f"ingest|{origin}")


def delivery_of(stream_id: UUID, version: int, target_id: UUID) -> UUID:
    """Return the id of the delivery of one event to one target; a repeated delivery has the same id."""
    return uuid5(target_id, f"{stream_id}|{version}")


@lru_cache(maxsize=KEPT)
def revision_of(routine_id: UUID, number: int) -> UUID:
    """Return the id under which clients know a revision of a routine."""
    return uuid5(routine_id, f"revision|{number}")


@lru_cache(maxsize=KEPT)
def membership_of(user_id: UUID, company_id: UUID) -> UUID:
    """Return the id of a user's membership in a company; there is one at most."""
    return uuid5(user_id, str(company_id))


def claim_of(scope: str, name: str) -> UUID:
    """Return the id of the stream that records who holds a name; within a scope a name has one holder at most."""
    return uuid5(NAMESPACE, f"{scope}|{name}")


def key_of(token: str) -> UUID:
    """
    Return the id under which a bearer token is looked up: 122 bits of its SHA-256. The token itself is not in the
    database.
    """
    return UUID(bytes=hashlib.sha256(token.encode()).digest()[:16], version=5)


ZONE_DATA = uuid5(NAMESPACE, "zone data")  # the one stream that says by which zone data schedules are planned
FIRST_USER = uuid5(NAMESPACE, "first user")
