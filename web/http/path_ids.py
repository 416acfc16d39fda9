"""
Types of the ids in paths. A malformed id is answered like an unknown one, with 404.

The framework calls the type that a handler names with the text in the path, after the body has been read. The
docstring of each type describes the parameter in the description of the API.
"""

from typing import ClassVar
from uuid import UUID

from domain.errors import NotFound
from web.http.validation import UUID_TEXT


class PathId(UUID):
    """An id that is read from the text of a path. A malformed one raises NotFound with the noun of its kind."""

    noun: ClassVar[str]

    def __init_subclass__(cls, *, noun: str) -> None:
        cls.noun = noun

    def __init__(self, text: str) -> None:
        if not UUID_TEXT.fullmatch(text):
            raise NotFound(f"{self.noun} not found")
        super().__init__(text)


class CompanyId(PathId, noun="Company"):
    """A company's id."""


class MemberId(PathId, noun="Member"):
    """A user's id."""


class AgentId(PathId, noun="Agent"):
    """An agent's id."""


class KeyId(PathId, noun="Key"):
    """A key's id."""


class BoardKeyId(PathId, noun="Board API key"):
    """A board key's id."""


class ProjectId(PathId, noun="Project"):
    """A project's id."""


class FolderId(PathId, noun="Folder"):
    """A folder's id."""


class GoalId(PathId, noun="Goal"):
    """A goal's id."""


class RoutineId(PathId, noun="Routine"):
    """A routine's id."""


class RevisionId(PathId, noun="Routine revision"):
    """The id of one of the routine's revisions."""


class TriggerId(PathId, noun="Routine trigger"):
    """A trigger's id."""


class RunId(PathId, noun="Run"):
    """A run's id."""


class BackfillId(PathId, noun="Backfill"):
    """A backfill's id."""


class CommentId(PathId, noun="Comment"):
    """A comment's id."""


class EndpointId(PathId, noun="Webhook endpoint"):
    """A webhook endpoint's id."""


class DeliveryId(PathId, noun="Delivery"):
    """A delivery's id."""


class ClaimId(PathId, noun="Claim"):
    """The id of a claim, as the worker received it."""
