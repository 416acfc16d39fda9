"""
Ids that follow from what they name, so that a race, a retry or a replay meets the first one.

Whatever has an id from here can be recorded once: the store refuses a second version 1 of a stream.
"""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID, uuid5

NAMESPACE = UUID("5b1d6c2e-6f0e-5c7a-9d65-0f2a7c3f8e11")
KEPT = 16_384  # ids that are asked for several times while a firing is decided


@lru_cache(maxsize=KEPT)
def run_of_occurrence(trigger_id: UUID, occurrence: datetime) -> UUID:
    """The same occurrence of a trigger always gets the same run."""
    return uuid5(trigger_id, occurrence.astimezone(UTC).isoformat())


def run_of_key(routine_id: UUID, source: str, trigger_id: UUID | None, idempotency_key: str) -> UUID:
    """The same idempotency key on the same routine, source and trigger always gets the same run."""
    return uuid5(routine_id, f"{source}|{trigger_id or '-'}|{idempotency_key}")


@lru_cache(maxsize=KEPT)
def issue_of_run(run_id: UUID) -> UUID:
    """A run opens one execution issue at most."""
    return uuid5(run_id, "issue")


@lru_cache(maxsize=KEPT)
def slot_of(routine_id: UUID) -> UUID:
    """The stream that guards a routine's concurrency policy."""
    return uuid5(routine_id, "slot")


def trajectory_of_run(run_id: UUID) -> UUID:
    """A run calls a task once at most."""
    return uuid5(run_id, "trajectory")


def cadence_of(routine_id: UUID) -> UUID:
    """The schedule trigger of a routine that calls a task: it has one."""
    return uuid5(routine_id, "cadence")


def trajectory_of_origin(task_id: UUID, origin: str) -> UUID:
    """A run that was over already is pushed once under its own id."""
    return uuid5(task_id, f"ingest|{origin}")


def delivery_of(stream_id: UUID, version: int, target_id: UUID) -> UUID:
    """An event is told to a target once; what is told again is the same delivery."""
    return uuid5(target_id, f"{stream_id}|{version}")


def revision_of(routine_id: UUID, number: int) -> UUID:
    """The id under which clients know a revision."""
    return uuid5(routine_id, f"revision|{number}")


def membership_of(user_id: UUID, company_id: UUID) -> UUID:
    """A user joins a company once."""
    return uuid5(user_id, str(company_id))


def claim_of(scope: str, name: str) -> UUID:
    """A name is given once within its scope."""
    return uuid5(NAMESPACE, f"{scope}|{name}")


def key_of(token: str) -> UUID:
    """Where a bearer token is looked up: 122 bits of its SHA-256. The token itself is not in the database."""
    return UUID(bytes=hashlib.sha256(token.encode()).digest()[:16], version=5)


FIRST_USER = uuid5(NAMESPACE, "first user")
