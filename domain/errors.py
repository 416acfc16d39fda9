"""
Every way the domain can say no. The docstring is the message, unless the raiser gives a better one:

* Refusal                 the answer is no; `message` says why, `details` (JSON-able or None) says more
  - NotFound              there is no such thing, or it is another company's
  - Forbidden             the caller is known and may not do this
  - Unknown               the caller is not known
  - Conflict              the state of things forbids it now
  - Unacceptable          well-formed, but a rule forbids it
    - BadSchedule         a cron expression or time zone that cannot be followed
    - Misfit              a field whose value does not fit; `field` names it
    - Oversized           what would be recorded, or read for it, is larger, deeper or more than may be
* ImpossibleHistory       the log contradicts itself: a bug, or a damaged store
"""

from typing import Any


class DomainError(Exception):
    """The answer is no."""

    def __init__(self, message: str | None = None, details: Any = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.details = details
        super().__init__(self.message)


class NotFound(DomainError):
    """Not found"""


class Forbidden(DomainError):
    """Forbidden"""


class Unauthenticated(DomainError):
    """Unauthorized"""


class Conflict(DomainError):
    """Conflict"""


class RuleViolation(DomainError):
    """Unacceptable"""


class BadSchedule(RuleViolation):
    """Not a schedule that can be followed"""


class InvalidField(RuleViolation):
    """A value does not fit"""

    def __init__(self, message: str, field: str, details: Any = None) -> None:
        super().__init__(message, details)
        self.field = field


class Oversized(RuleViolation):
    """More than may be recorded"""


class ImpossibleHistory(Exception):
    """The log contradicts itself: a bug, or a damaged store."""

    def __init__(self, state: object, event: object) -> None:
        super().__init__(f"{type(event).__name__} cannot follow {type(state).__name__}")
