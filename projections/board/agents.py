"""Agents in the directory."""

from uuid import UUID

import msgspec

from domain.bounds.limits import DEFAULT
from domain.events import (
    AgentApproved,
    AgentCreated,
    AgentHeartbeatStopped,
    AgentPaused,
    AgentResumed,
    AgentTerminated,
    AgentUpdated,
)
from domain.recorded import Recorded
from projections import responses
from projections.board.directory_rows import edit, of_company_by_position, stamps
from projections.engine.documents import Docs, Part
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.engine.views import View
from projections.responses import time


class AgentRow(Row, frozen=True):
    """An agent of a company, which is also found by its `url_key`."""

    company_id: UUID
    url_key: str
    position: int
    doc: responses.Agent


AGENT = Table("agent", AgentRow)
AGENTS = View(
    name="agents",
    about="An agent of a company, as it is now.",
    source="agent",
    moment="created_at",
    columns={
        "id": ("id", "The agent"),
        "company_id": ("company_id", "Its company"),
        "name": ("doc->>'name'", "Its name"),
        "role": ("doc->>'role'", "Its role"),
        "status": ("doc->>'status'", "idle, active, running, paused, error, pending_approval or terminated"),
        "created_at": ("(doc->>'createdAt')::timestamptz", "When it joined"),
    },
)

_AGENTS = Docs(of_company_by_position("agent"), responses.Agent, sorted_by="position")
_AGENT = Docs("SELECT doc FROM agent WHERE id = %(id)s", responses.Agent)
_AGENT_NAMED = Docs(
    "SELECT doc FROM agent WHERE company_id = %(company_id)s AND url_key = %(url_key)s", responses.Agent
)


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold an event of an agent."""
    match recorded.event:
        case AgentCreated() as event:
            rows.put(AGENT, _agent_row(recorded, event))
        case AgentUpdated(profile=profile):
            edit(rows, AGENT, recorded, **msgspec.structs.asdict(profile))
        case AgentPaused(reason=reason):
            edit(rows, AGENT, recorded, status="paused", paused_at=time(recorded.at), pause_reason=reason)
        case AgentResumed() | AgentApproved():
            edit(rows, AGENT, recorded, status="idle", paused_at=None, pause_reason=None)
        case AgentHeartbeatStopped():
            edit(rows, AGENT, recorded, heartbeat_url=None)
        case AgentTerminated():
            edit(rows, AGENT, recorded, status="terminated")
        case _:
            pass


def _agent_row(recorded: Recorded, event: AgentCreated) -> AgentRow:
    profile = msgspec.structs.asdict(event.profile)
    doc = responses.Agent(
        **stamps(recorded), **profile, company_id=recorded.known_company_id, status=event.status, url_key=event.url_key
    )
    return AgentRow(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        url_key=event.url_key,
        position=recorded.position,
        doc=doc,
    )


def of_company(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Agent]:
    """Return the agents of a company, terminated ones included, oldest first, after a position."""
    return _AGENTS.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def one(conn: Connection, id_: UUID) -> responses.Agent | None:
    """Return the agent with this id, terminated or not, or None."""
    return _AGENT.one(conn, id=id_)


def find_by_url_key(conn: Connection, company_id: UUID, url_key: str) -> responses.Agent | None:
    """Return the company's agent with this URL key, or None."""
    return _AGENT_NAMED.one(conn, company_id=company_id, url_key=url_key)
