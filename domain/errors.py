"""
The ways in which the domain refuses a request, and one for a damaged log.

* DomainError             the request is refused; `message` says why, `details` (JSON-able or None) says more
  - NotFound              there is no such thing, or it is another company's
  - Forbidden             the caller is known and may not do this
  - Unauthenticated       the caller is not known
  - Conflict              the present state forbids it
  - PreconditionFailed    the caller's copy of what it changes is not the current one
  - RuleViolation         the request is well-formed, but a rule forbids it
    - BadSchedule         a cron expression or time zone that cannot be followed
    - InvalidField        a field whose value does not fit; `field` names it
    - Oversized           what would be recorded, or read for it, is larger, deeper or more than is allowed
* ImpossibleHistory       the log contradicts itself: a bug, or a damaged store
"""

from typing import Any, ClassVar


class DomainError(Exception):
    """A request is refused. `message` is the text that the client gets: the one given, or the usual one of the class."""

    usual_message: ClassVar[str] = "The answer is no."

    def __init__(self, message: str | None = None, details: Any = None) -> None:
        self.message = message or self.usual_message
        self.details = details
        super().__init__(self.message)


class NotFound(DomainError):
    """What the request names does not exist, or belongs to another company."""

    usual_message = "Not found"


class Forbidden(DomainError):
    """The caller is known and may not do this."""

    usual_message = "Forbidden"


class Unauthenticated(DomainError):
    """The caller is not known."""

    usual_message = "Unauthorized"


class Conflict(DomainError):
    """The present state forbids it."""

    usual_message = "Conflict"


class PreconditionFailed(DomainError):
    """The caller's copy of what it changes is not the current one."""

    usual_message = "Precondition failed: yours is not the current copy. Read it again, and decide anew."


class RuleViolation(DomainError):
    """The request is well-formed, but a rule forbids it."""

    usual_message = "Unacceptable"


class BadSchedule(RuleViolation):
    """A cron expression or time zone cannot be followed."""

    usual_message = "Not a schedule that can be followed"


class InvalidField(RuleViolation):
    """The value of a field does not fit; `field` is its name in JSON."""

    usual_message = "A value does not fit"

    def __init__(self, message: str, field: str, details: Any = None) -> None:
        super().__init__(message, details)
        self.field = field


class Oversized(RuleViolation):
    """What would be recorded, or read for it, is larger, deeper or more than is allowed."""

    usual_message = "More than may be recorded"


class ImpossibleHistory(Exception):
    """The log contradicts itself, because of a bug or a damaged store."""

    def __init__(self, state: object, event: object) -> None:
        super().__init__(f"{type(event).__name__} cannot follow {type(state).__name__}")
