"""When a delivery that failed is tried again: one table of pauses, three days altogether."""

import hashlib
from datetime import datetime, timedelta
from fractions import Fraction
from uuid import UUID

PAUSES_S = (5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 36_000, 43_200, 64_800, 72_000)  # 71 hours
MOST_ATTEMPTS = len(PAUSES_S) + 1
JITTER = Fraction(1, 5)  # at most added to a pause, so that a receiver that was away does not get everything at once
LONGEST_RETRY_AFTER = timedelta(days=1)  # a receiver may ask for no more by Retry-After


def next_at(delivery_id: UUID, attempt: int, now: datetime, retry_after: timedelta | None = None) -> datetime | None:
    """
    Return when the attempt after number `attempt` (from 1) is made; None if that was the last.

    `retry_after` is how long the receiver asked to be left alone; it counts where it is longer than the pause, up to
    LONGEST_RETRY_AFTER.
    """
    if attempt >= MOST_ATTEMPTS:
        return None
    pause = timedelta(seconds=PAUSES_S[attempt - 1])
    return now + max(
        pause + pause * float(JITTER * _chance_of_attempt(delivery_id, attempt)),
        min(retry_after or pause, LONGEST_RETRY_AFTER),
    )


def _chance_of_attempt(delivery_id: UUID, attempt: int) -> Fraction:
    """Return a number from 0 to 1 that is always the same for the same attempt."""
    digest = hashlib.sha256(delivery_id.bytes + attempt.to_bytes(4, "big")).digest()
    return Fraction(int.from_bytes(digest[:4], "big"), 2**32)
