"""Agents, their keys and their inbox (contract 7.1, 7.3, 7.5)."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from application.access import AgentCaller, Caller
from application.request_bodies import AgentDraft, AgentKeyDraft, AgentPatch, PauseRequest, SecretRotation
from application.use_cases import read_access
from application.use_cases.board import agents, keys
from domain import disclosure
from domain.board.agent import slug
from domain.errors import NotFound, RuleViolation, Unauthenticated
from projections import responses
from projections.board import directory, issues
from projections.board.issues import InboxItem
from projections.engine.read_model import Connection
from web.http.backend import Backend, Changed
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.requests import identified
from web.http.routing import delete, get, patch, post
from web.http.validation import UUID_TEXT
from web.paperclip.keys import MintedAgentKey, Revoked, check_expiry

MODELS = ("directory",)


class Me(responses.Agent, frozen=True, kw_only=True):
    chain_of_command: tuple[str, ...] = ()


class MadeAgent(responses.Agent, frozen=True, kw_only=True):
    """The secret that signs its heartbeats is shown when it is made, and never again."""

    heartbeat_secret: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"MadeAgent({self.id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class Agents(Controller):
    tags = ("agents",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/companies/{company_id:str}/agents", operation_id="listAgents", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[str],
    ) -> Response[list[responses.Agent]]:
        """
        Oldest first. Whoever may not change agents sees `***` as their `heartbeatUrl` and as the values of their
        `adapterConfig`.
        """
        id_ = identified(company_id, "Company")
        addresses = backend.authorize(caller, read_access.agents, id_)
        read = partial(directory.agents, company_id=id_)
        return read_page(backend, paging, f"agents of {id_}", MODELS, read, addresses=addresses)

    @post("/companies/{company_id:str}/agents", operation_id="createAgent", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[str],
        data: JSONBody[AgentDraft],
    ) -> Response[MadeAgent]:
        """With a `heartbeatUrl` (ours) it hears of issues that are opened for it; `heartbeatSecret` signs that."""
        changed = backend.change(caller, ("directory",), agents.create, identified(company_id, "Company"), data)
        return _made(changed, 201)

    @get("/agents/me", operation_id="getMe")
    def me(self, backend: NamedDependency[Backend], caller: NamedDependency[Caller]) -> Me:
        """The calling agent, without its addresses: those are for members who may change it."""
        id_ = _calling_agent(backend, caller)
        with backend.consistent_read("directory") as conn:
            found = directory.agent(conn, id_)
        if found is None:
            raise NotFound("Agent not found")
        return disclosure.masked(Me(**{name: getattr(found, name) for name in responses.Agent.__struct_fields__}))

    @get("/agents/me/inbox-lite", operation_id="getInbox", response_headers=NEXT)
    def inbox(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], paging: NamedDependency[Paging]
    ) -> Response[list[InboxItem]]:
        """What the calling agent has to do, oldest first."""
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
        """By id, or by short name within `companyId`. Whoever may not change it sees no addresses, as in the list."""
        return backend.find_authorized(caller, ("directory",), "Agent", lambda conn: _find(conn, agent_id, company_id))

    @patch("/agents/{agent_id:str}", operation_id="updateAgent", refuses=(403, 422))
    def update(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[str],
        data: JSONBody[AgentPatch],
    ) -> Response[MadeAgent]:
        """The first `heartbeatUrl` brings a `heartbeatSecret`, which is shown here and never again."""
        return _made(backend.change(caller, ("directory",), agents.update, identified(agent_id, "Agent"), data))

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
        agent_id: FromPath[str],
        data: JSONBody[SecretRotation],
    ) -> Response[MadeAgent]:
        """Another secret, shown once; for `overlapSec` seconds the one before signs beside it."""
        id_ = identified(agent_id, "Agent")
        return _made(backend.change(caller, ("directory",), agents.rotate_heartbeat_secret, id_, data.overlap_sec))

    @post("/agents/{agent_id:str}/pause", operation_id="pauseAgent", refuses=(403, 409), status_code=200)
    def pause(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[str],
        data: JSONBody[PauseRequest],
    ) -> Response[responses.Agent]:
        return _changed(backend, caller, agents.pause, agent_id, data.reason)

    @post("/agents/{agent_id:str}/resume", operation_id="resumeAgent", refuses=(403, 409), status_code=200)
    def resume(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], agent_id: FromPath[str]
    ) -> Response[responses.Agent]:
        return _changed(backend, caller, agents.resume, agent_id)

    @post("/agents/{agent_id:str}/approve", operation_id="approveAgent", refuses=(403, 409), status_code=200)
    def approve(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], agent_id: FromPath[str]
    ) -> Response[responses.Agent]:
        return _changed(backend, caller, agents.approve, agent_id)

    @post("/agents/{agent_id:str}/terminate", operation_id="terminateAgent", refuses=(403,), status_code=200)
    def terminate(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], agent_id: FromPath[str]
    ) -> Response[responses.Agent]:
        return _changed(backend, caller, agents.terminate, agent_id)

    @get("/agents/{agent_id:str}/keys", operation_id="listAgentKeys", refuses=(403,), response_headers=NEXT)
    def list_keys(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        agent_id: FromPath[str],
    ) -> Response[list[responses.AgentKey]]:
        """Newest first, without their tokens."""
        id_ = identified(agent_id, "Agent")
        backend.authorize(caller, keys.may_list_agent_keys, id_)
        return read_page(backend, paging, f"keys of {id_}", MODELS, partial(directory.agent_keys, agent_id=id_))

    @post("/agents/{agent_id:str}/keys", operation_id="createAgentKey", refuses=(403, 422))
    def create_key(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[str],
        data: JSONBody[AgentKeyDraft],
    ) -> MintedAgentKey:
        """
        The token is shown here and never again. It is good for as long as the key that asks for it, or until
        `expiresAt` (null: for ever), and never for longer than the key that asks.
        """
        check_expiry(data.expires_at, "expiresAt", backend.executor.clock())
        made = backend.executor.execute(caller, keys.create_for_agent, identified(agent_id, "Agent"), data)
        return MintedAgentKey.of(made.result)

    @delete("/agents/{agent_id:str}/keys/{key_id:str}", operation_id="revokeAgentKey", refuses=(403,), status_code=200)
    def revoke_key(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        agent_id: FromPath[str],
        key_id: FromPath[str],
    ) -> Revoked:
        """The token is unknown from the next request on."""
        ids = identified(agent_id, "Agent"), identified(key_id, "Key")
        backend.executor.execute(caller, keys.revoke_agent_key, *ids)
        return Revoked()


def _changed(
    backend: Backend, caller: Caller, use_case: Callable[..., UUID], agent_id: str, *args: Any
) -> Response[responses.Agent]:
    changed = backend.change(caller, ("directory",), use_case, identified(agent_id, "Agent"), *args)
    return changed.answer(lambda conn: directory.agent(conn, changed.result))


def _made(changed: Changed, status: int = 200) -> Response[MadeAgent]:
    result: agents.AgentResult = changed.result
    shown = changed.answer(lambda conn: directory.agent(conn, result.agent_id), status)
    fields = {name: getattr(shown.content, name) for name in responses.Agent.__struct_fields__}
    agent = MadeAgent(**fields, heartbeat_secret=result.heartbeat_secret or UNSET)
    return Response(agent, status_code=status, headers=shown.headers)


def _calling_agent(backend: Backend, caller: Caller) -> UUID:
    principal = backend.authorize(caller, read_access.anyone)
    if not isinstance(principal, AgentCaller):
        raise Unauthenticated("Agent authentication required")
    return principal.agent_id


def _find(conn: Connection, agent_id: str, company_id: str | None) -> responses.Agent | None:
    if UUID_TEXT.fullmatch(agent_id):
        return directory.agent(conn, UUID(agent_id))
    if company_id is None:
        raise RuleViolation("Agent shortname lookup requires companyId query parameter")
    return directory.agent_named(conn, identified(company_id, "Company"), slug(agent_id))
