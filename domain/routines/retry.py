"""When the next attempt of a run begins after one that failed."""

from datetime import datetime, timedelta

from domain.values import FailureCause, RetryPolicy


def next_at(policy: RetryPolicy, attempt: int, cause: FailureCause, now: datetime) -> datetime | None:
    """
    Return when the attempt after number `attempt` (from 1) begins.

    None if that was the last, or the policy does not try again after such a failure.
    """
    if attempt >= policy.max_attempts or cause not in policy.retry_on:
        return None
    pause_s = min(policy.backoff_seconds * policy.backoff_factor ** (attempt - 1), policy.max_backoff_seconds)
    return now + timedelta(seconds=pause_s)
