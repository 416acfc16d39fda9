"""The routes of agents and their inbox (contract 7.3, 7.5)."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from application.access import AgentCaller, Caller
from application.request_bodies.board import AgentDraft, AgentPatch, PauseRequest
from application.request_bodies.triggers import SecretRotation
from application.use_cases import read_access
from application.use_cases.board import agents as use_cases
from domain import disclosure
from domain.board.agent import slug
from domain.errors import NotFound, RuleViolation, Unauthenticated
from projections import responses
from projections.board import agents, issues
from projections.board.issues import InboxItem
from projections.engine.table import Connection
from web.http.backend import Backend, Changed
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.path_ids import AgentId, CompanyId
from web.http.routing import get, patch, post
from web.http.validation import UUID_TEXT

MODELS = ("directory",)


class Me(responses.Agent, frozen=True, kw_only=True):
    """The calling agent. `chainOfCommand` is always empty."""

    chain_of_command: tuple[str, ...] = ()


class MadeAgent(responses.Agent, frozen=True, kw_only=True):
    """An agent. `heartbeatSecret`, which signs its heartbeats, is shown when it is made, and never again."""

    heartbeat_secret: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"MadeAgent({self.id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class Agents(Controller):
    """Agents, and what the calling agent reads of itself."""

    tags = ("agents",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/companies/{company_id:str}/agents", operation_id="listAgents", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[CompanyId],
    ) -> Response[list[responses.Agent]]:
        """
        Returns the agents of the company, oldest first. Whoever may not change agents sees `***` as their
        `heartbeatUrl` and as the values of their `adapterConfig`.
        """
        addresses = backend.authorize(caller, read_access.agents, company_id)
        read = partial(agents.of_company, company_id=company_id)
        return read_page(backend, paging, f"agents of {company_id}", MODELS, read, addresses=addresses)

    @post("/companies/{company_id:str}/agents", operation_id="createAgent", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[AgentDraft],
    ) -> Response[MadeAgent]:
        """
        Creates an agent. With a `heartbeatUrl` (our addition) it gets a message about each issue that is opened for it;
        `heartbeatSecret` signs those messages.
        """
        changed = backend.change(caller, ("directory",), use_cases.create, company_id, data)
        return _answer_new_agent(changed, 201)

    @get("/agents/me", operation_id="getMe")
    def me(self, backend: NamedDependency[Backend], caller: NamedDependency[Caller]) -> Me:
        """Returns the calling agent, without its addresses, which only members who may change it see."""
        id_ = _calling_agent(backend, caller)
        with backend.consistent_read("directory") as conn:
            agent = agents.one(conn, id_)
        if agent is None:
            raise NotFound("Agent not found")
        return disclosure.mask_addresses(
            Me(**{name: getattr(agent, name) for name in responses.Agent.__struct_fields__})
        )

    @get("/agents/me/inbox-lite", operation_id="getInbox", response_headers=NEXT)
    def inbox(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], paging: NamedDependency[Paging]
    ) -> Response[list[InboxItem]]:
        """Returns the issues that the calling agent has to work on, oldest first."""
        id_ = _calling_agent(backend, caller)
        return read_page(backend, paging, f"inbox of {id_}", ("issues",), partial(issues.inbox, agent_id=id_))

    @get("/agents/{agent_id:str}", operation_id="getAgent", refuses=(422,))
    def detail(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[str],
        company_id: Annotated[str | None, QueryParameter(name="companyId")] = None,
    ) -> responses.Agent:
        """
        Returns the agent with this id, or with this short name within `companyId`. Whoever may not change it sees no
        addresses, as in the list.
        """
        return backend.find_authorized(
            caller, ("directory",), "Agent", lambda conn: _find_agent(conn, agent_id, company_id)
        )

    @patch("/agents/{agent_id:str}", operation_id="updateAgent", refuses=(403, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[AgentId],
        data: JSONBody[AgentPatch],
    ) -> Response[MadeAgent]:
        """
        Changes the fields that are given. The first `heartbeatUrl` brings a `heartbeatSecret`, which is shown in this
        answer and never again.
        """
        return _answer_new_agent(backend.change(caller, ("directory",), use_cases.update, agent_id, data))

    @post(
        "/agents/{agent_id:str}/rotate-heartbeat-secret",
        operation_id="rotateHeartbeatSecret",
        refuses=(403, 422),
        status_code=200,
    )
    def rotate_heartbeat_secret(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[AgentId],
        data: JSONBody[SecretRotation],
    ) -> Response[MadeAgent]:
        """
        Makes a new secret, which is shown in this answer and never again. For `overlapSec` seconds the old one signs as
        well.
        """
        return _answer_new_agent(
            backend.change(caller, ("directory",), use_cases.rotate_heartbeat_secret, agent_id, data.overlap_sec)
        )

    @post("/agents/{agent_id:str}/pause", operation_id="pauseAgent", refuses=(403, 409), status_code=200)
    def pause(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[AgentId],
        data: JSONBody[PauseRequest],
    ) -> Response[responses.Agent]:
        """Pauses the agent. Runs of its routines fail until it is resumed."""
        return _change_agent(backend, caller, use_cases.pause, agent_id, data.reason)

    @post("/agents/{agent_id:str}/resume", operation_id="resumeAgent", refuses=(403, 409), status_code=200)
    def resume(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], agent_id: FromPath[AgentId]
    ) -> Response[responses.Agent]:
        """Resumes a paused agent, which is idle then."""
        return _change_agent(backend, caller, use_cases.resume, agent_id)

    @post("/agents/{agent_id:str}/approve", operation_id="approveAgent", refuses=(403, 409), status_code=200)
    def approve(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], agent_id: FromPath[AgentId]
    ) -> Response[responses.Agent]:
        """Approves an agent that waits for approval, which is idle then."""
        return _change_agent(backend, caller, use_cases.approve, agent_id)

    @post("/agents/{agent_id:str}/terminate", operation_id="terminateAgent", refuses=(403,), status_code=200)
    def terminate(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], agent_id: FromPath[AgentId]
    ) -> Response[responses.Agent]:
        """Ends the agent for good. None of its keys works from the next request on."""
        return _change_agent(backend, caller, use_cases.terminate, agent_id)


def _change_agent(
    backend: Backend, caller: Caller, use_case: Callable[..., UUID], agent_id: UUID, *args: Any
) -> Response[responses.Agent]:
    changed = backend.change(caller, ("directory",), use_case, agent_id, *args)
    return changed.answer(lambda conn: agents.one(conn, changed.result))


def _answer_new_agent(changed: Changed, status: int = 200) -> Response[MadeAgent]:
    result: use_cases.AgentResult = changed.result
    answer = changed.answer(lambda conn: agents.one(conn, result.agent_id), status)
    fields = {name: getattr(answer.content, name) for name in responses.Agent.__struct_fields__}
    agent = MadeAgent(**fields, heartbeat_secret=result.heartbeat_secret or UNSET)
    return Response(agent, status_code=status, headers=answer.headers)


def _calling_agent(backend: Backend, caller: Caller) -> UUID:
    principal = backend.authorize(caller, read_access.anyone)
    if not isinstance(principal, AgentCaller):
        raise Unauthenticated("Agent authentication required")
    return principal.agent_id


def _find_agent(conn: Connection, agent_id: str, company_id: str | None) -> responses.Agent | None:
    if UUID_TEXT.fullmatch(agent_id):
        return agents.one(conn, UUID(agent_id))
    if company_id is None:
        raise RuleViolation("Agent shortname lookup requires companyId query parameter")
    return agents.find_by_url_key(conn, CompanyId(company_id), slug(agent_id))
