"""A client of the running API, for tests: short ways to the things most tests need."""

from typing import Any, ClassVar

import httpx

from routines.bootstrap import System
from tests.description import Description


class Api:
    """
    Requests as the first board user unless another token is given; `token=None` sends none.

    Whatever is answered must be in the API's description. `operator` is the same system over the login of the
    database's owner, where a test needs it.
    """

    description: ClassVar[Description | None] = None

    def __init__(self, url: str, token: str, system: System, operator: System | None = None) -> None:
        self.url = url
        self.token = token
        self.system = system
        self.operator = operator
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

    def company(self, name: str = "Acme") -> str:
        """The id of a new company."""
        return str(self.post("/companies", {"name": name})["id"])

    def agent(self, company_id: str, name: str = "Scout") -> tuple[str, str]:
        """Id and token of a new agent."""
        id_ = str(self.post(f"/companies/{company_id}/agents", {"name": name})["id"])
        return id_, str(self.post(f"/agents/{id_}/keys", {})["token"])

    def routine(self, company_id: str, agent_id: str | None, **fields: Any) -> str:
        """The id of a new routine."""
        body = {"title": "Check the inbox", "assigneeAgentId": agent_id, **fields}
        return str(self.post(f"/companies/{company_id}/routines", body)["id"])


def _require_success(response: httpx.Response) -> Any:
    assert response.is_success, f"{response.request.method} {response.request.url}: {response.text}"
    return response.json() if response.content else None
