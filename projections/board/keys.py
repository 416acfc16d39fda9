"""Keys in the directory: those of users, of agents, and those that are bound to a collection."""

from uuid import UUID

from msgspec.structs import replace

from domain.board.access import membership_of_issuer
from domain.bounds.limits import DEFAULT
from domain.events import (
    KeyIssued,
    KeyRevoked,
)
from domain.recorded import Recorded
from projections import responses
from projections.board.directory_rows import BEFORE
from projections.engine.documents import Docs, Part
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.responses import time, time_or_none, user_of


class KeyRow(Row, frozen=True):
    """
    A key, with a document for each list that shows it.

    A user's key has only `doc` and belongs to no company. A key of an agent has `agent_doc` and `company_doc`, a key
    that is bound to a collection only `company_doc`.
    """

    user_id: UUID | None
    agent_id: UUID | None
    position: int
    company_id: UUID | None
    membership_id: UUID | None  # the membership of the issuer in that company
    doc: responses.BoardKey | None
    agent_doc: responses.AgentKey | None
    company_doc: responses.CompanyKey | None


KEY = Table("access_key", KeyRow)

_BOARD_KEYS = Docs(
    f"SELECT doc, position FROM access_key WHERE user_id = %(user_id)s AND {BEFORE} ORDER BY position DESC",
    responses.BoardKey,
    sorted_by="position",
)
_AGENT_KEYS = Docs(
    f"SELECT agent_doc AS doc, position FROM access_key WHERE agent_id = %(agent_id)s AND {BEFORE} "
    "ORDER BY position DESC",
    responses.AgentKey,
    sorted_by="position",
)
_COMPANY_KEYS = Docs(
    f"SELECT company_doc AS doc, position FROM access_key WHERE company_id = %(company_id)s AND {BEFORE} "
    "AND (%(issued_by)s::text IS NULL OR company_doc->>'issuedByUserId' = %(issued_by)s) "
    "ORDER BY position DESC LIMIT %(limit)s",
    responses.CompanyKey,
    sorted_by="position",
)


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold an event of a key."""
    match recorded.event:
        case KeyIssued() as event:
            rows.put(KEY, _key_row(recorded, event))
        case KeyRevoked():
            rows.change(KEY, recorded.stream_id, lambda row: _revoked_row(row, time(recorded.at)))
        case _:
            pass


def _key_row(recorded: Recorded, event: KeyIssued) -> KeyRow:
    id_, name, timestamp = recorded.stream_id, event.name, time(recorded.at)
    return KeyRow(
        id=id_,
        user_id=event.user_id,
        agent_id=event.agent_id,
        position=recorded.position,
        company_id=None if event.user_id else recorded.company_id,
        membership_id=None if event.user_id else membership_of_issuer(recorded),
        doc=responses.BoardKey(id=id_, name=name, created_at=timestamp, expires_at=time_or_none(event.expires_at))
        if event.user_id
        else None,
        agent_doc=responses.AgentKey(
            id=id_,
            name=name,
            issued_by_user_id=user_of(recorded.actor),
            created_at=timestamp,
            expires_at=time_or_none(event.expires_at),
        )
        if event.agent_id
        else None,
        company_doc=None if event.user_id else _company_key(recorded, event),
    )


def _company_key(recorded: Recorded, event: KeyIssued) -> responses.CompanyKey:
    return responses.CompanyKey(
        id=recorded.stream_id,
        kind="agent" if event.agent_id else "collection",
        name=event.name,
        agent_id=event.agent_id,
        issued_by_user_id=user_of(recorded.actor),
        created_at=time(recorded.at),
        expires_at=time_or_none(event.expires_at),
    )


def _revoked_row(row: KeyRow, timestamp: str) -> KeyRow:
    docs = {name: getattr(row, name) for name in ("doc", "agent_doc", "company_doc")}
    changes = {
        name: replace(doc, revoked_at=doc.revoked_at or timestamp) for name, doc in docs.items() if doc is not None
    }
    return replace(row, **changes)


def of_user(
    conn: Connection, user_id: UUID, *, before: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.BoardKey]:
    """Return the keys of a user, revoked ones included, newest first, before a position."""
    return _BOARD_KEYS.part(conn, user_id=user_id, before=before, max_bytes=max_bytes)


def of_agent(
    conn: Connection, agent_id: UUID, *, before: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.AgentKey]:
    """Return the keys of an agent, revoked ones included, newest first, before a position."""
    return _AGENT_KEYS.part(conn, agent_id=agent_id, before=before, max_bytes=max_bytes)


def of_company(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    company_id: UUID,
    limit: int,
    *,
    issued_by: UUID | None = None,
    before: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[responses.CompanyKey]:
    """
    Return the keys of a company's agents and those that are bound to it as a collection, newest first.

    Revoked ones are included. `issued_by` narrows the list to the keys that one user has issued.
    """
    issuer = None if issued_by is None else str(issued_by)
    return _COMPANY_KEYS.part(
        conn, company_id=company_id, limit=limit, issued_by=issuer, before=before, max_bytes=max_bytes
    )
