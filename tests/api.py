"""A client of the running API, for tests: short ways to the things most tests need."""

import json
from collections.abc import Callable
from itertools import cycle, product
from string import ascii_uppercase
from typing import Any, ClassVar
from uuid import UUID

import httpx

from application.access import Caller, Principal
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import AgentDraft, AgentKeyDraft, CompanyDraft
from application.request_bodies.routines import RoutineDraft
from application.use_cases import triggers
from application.use_cases.board import agents, companies, keys
from routines.bootstrap import System
from tests.description import Description
from web.http.validation import parse

COMPANIES_AT_ONCE = 20


class Api:
    """
    Requests as the first board user unless another token is given; `token=None` sends none.

    Whatever is answered must be in the API's description. `operator` is the same system over the login of the
    database's owner, where a test needs it; whoever has it runs as long as the tests do, so companies are kept ready there.

    The company, the agent and the routine that most tests begin with are made by the use cases, for the same caller as
    over HTTP: a request for each, and a batch for the projector after each, were a third of what a test costs.
    """

    description: ClassVar[Description | None] = None
    # Names with different issue prefixes: for the thousandth company of one name a thousand prefixes would be tried.
    _names = cycle(f"X{first}{second} Works" for first, second in product(ascii_uppercase, repeat=2))

    def __init__(self, url: str, token: str, system: System, operator: System | None = None) -> None:
        self.url = url
        self.token = token
        self.system = system
        self.operator = operator
        self._companies: list[UUID] = []  # that nobody has been given yet
        if Api.description is None:  # every application describes the API alike, and takes its time for it
            Api.description = Description(httpx.get(f"{url}/api/openapi.json", timeout=60).json())
        hooks = {"response": [Api.description.check]}
        self._client = httpx.Client(base_url=f"{url}/api", timeout=20, event_hooks=hooks)

    def request(self, method: str, path: str, body: Any = ..., token: str | None = "", **kwargs: Any) -> httpx.Response:
        """`body` is sent as JSON when given; `token` "" means the board's, None means none."""
        headers = dict(kwargs.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token or self.token}")
        if body is not ...:
            kwargs["json"] = body
        return self._client.request(method, path, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> Any:
        """The JSON of a GET that must succeed."""
        return _require_success(self.request("GET", path, **kwargs))

    def post(self, path: str, body: Any = ..., **kwargs: Any) -> Any:
        """The JSON of a POST that must succeed."""
        return _require_success(self.request("POST", path, body, **kwargs))

    def patch(self, path: str, body: Any, **kwargs: Any) -> Any:
        """The JSON of a PATCH that must succeed."""
        return _require_success(self.request("PATCH", path, body, **kwargs))

    def close(self) -> None:
        self._client.close()

    def company(self, name: str = "") -> str:
        """The id of a new company."""
        if name:
            return str(self.post("/companies", {"name": name})["id"])
        if not self._companies:
            drafts = [CompanyDraft(name=next(self._names)) for _ in range(COMPANIES_AT_ONCE if self.operator else 1)]
            self._companies = self.ask(lambda work, by: [companies.create(work, by, draft) for draft in drafts])
        return str(self._companies.pop())

    def agent(self, company_id: str, name: str = "Scout") -> tuple[str, str]:
        """Id and token of a new agent."""

        def create(work: UnitOfWork, by: Principal) -> tuple[str, str]:
            agent_id = agents.create(work, by, UUID(company_id), AgentDraft(name=name)).agent_id
            return str(agent_id), keys.create_for_agent(work, by, agent_id, AgentKeyDraft()).token

        return self.ask(create)

    def ask(self, use_case: Callable[..., Any], *args: Any) -> Any:
        """The result of a use case, without a request."""
        return self.system.executor.execute(Caller(token=self.token), use_case, *args).result

    def routine(self, company_id: str, agent_id: str | None, **fields: Any) -> str:
        """The id of a new routine."""
        body = json.loads(json.dumps({"title": "Check the inbox", "assigneeAgentId": agent_id, **fields}))
        return str(self.ask(triggers.create_routine, UUID(company_id), parse(RoutineDraft, body)).routine_id)


def _require_success(response: httpx.Response) -> Any:
    assert response.is_success, f"{response.request.method} {response.request.url}: {response.text}"
    return response.json() if response.content else None
