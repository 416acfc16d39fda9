"""What a commit costs of the quotas, and the two ways to refuse it."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from domain.errors import DomainError, RuleViolation
from domain.recorded import Recorded

OVER_QUOTA = "over_quota"


class Charge(msgspec.Struct, frozen=True):
    """What a unit of work is about to record, and for whom."""

    batch: Sequence[Recorded]
    sizes: Sequence[int]  # in bytes of stored JSON, one for each event
    holder: UUID | None  # the holder of the key in the request, or the webhook; None: the service itself
    only_ends: bool = False  # every event stops or ends something

    @property
    def may_be_refused(self) -> bool:
        """Whether a caller wants it recorded and it is more than an ending."""
        return self.holder is not None and not self.only_ends


class OverQuota(DomainError):
    """Refuses a request because too much was recorded within a minute; it may succeed after `retry_after_s` seconds."""

    def __init__(self, quota: str, most: int, text: str, retry_after_s: int) -> None:
        self.quota, self.retry_after_s = quota, retry_after_s
        super().__init__(f"{text}: try again in {retry_after_s} s", {"code": OVER_QUOTA, "quota": quota, "limit": most})


class TooMany(RuleViolation):
    """Refuses a request because there are as many things, or as many bytes, as there may be."""

    def __init__(self, quota: str, most: int, text: str) -> None:
        self.quota = quota
        super().__init__(text, {"code": OVER_QUOTA, "quota": quota, "limit": most})
