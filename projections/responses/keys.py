"""Keys as clients read them."""

from typing import Literal
from uuid import UUID

from projections.responses.body import ResponseBody


class BoardKey(ResponseBody, frozen=True, kw_only=True):
    """A key of a user. The key itself is never shown here."""

    id: UUID
    name: str
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None
    expires_at: str | None = None


class KeyScope(ResponseBody, frozen=True, kw_only=True):
    """The scope of an agent's key, which is always `standard`."""

    kind: str = "standard"


class AgentKey(ResponseBody, frozen=True, kw_only=True):
    """A key of an agent. The key itself is never shown here."""

    id: UUID
    name: str
    scope: KeyScope = KeyScope()
    responsible_user_id: str | None = None
    issued_by_user_id: str | None = None  # not in Paperclip
    created_at: str
    revoked_at: str | None = None
    expires_at: str | None = None  # not in Paperclip


class CompanyKey(ResponseBody, frozen=True, kw_only=True):
    """
    A key of one of the company's agents, or one that is bound to it as a collection.

    This object is ours: Paperclip does not have it.
    """

    id: UUID
    kind: Literal["agent", "collection"]
    name: str
    agent_id: UUID | None  # the agent whose key it is; null if it is the collection's
    issued_by_user_id: str | None
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None
    expires_at: str | None
