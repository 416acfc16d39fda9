"""An agent at its issues."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.api import Api

STATUSES = ["backlog", "todo", "in_progress", "in_review", "done", "blocked", "cancelled"]


class IssuesFixture(msgspec.Struct):
    """A company, an agent, the agent's work session."""

    api: Api
    company: str
    agent: str
    token: str
    session: str

    def open(self, **fields: Any) -> Any:
        return self.api.post(f"/companies/{self.company}/issues", {"title": "Look", **fields})

    def open_assigned(self, **fields: Any) -> str:
        return str(self.open(assigneeAgentId=self.agent, **fields)["id"])

    def send(self, method: str, path: str, body: Any = ..., *, session: str | None = "", **kwargs: Any) -> Any:
        """As the agent in its session."""
        kwargs.setdefault("token", self.token)
        headers = {} if session is None else {"X-Paperclip-Run-Id": session or self.session}
        return self.api.request(method, path, body, headers=headers, **kwargs)

    def refusal(self, method: str, path: str, body: Any = ..., **kwargs: Any) -> tuple[int, str]:
        answer = self.send(method, path, body, **kwargs)
        return answer.status_code, answer.json()["error"]

    def checkout(self, issue: str, **kwargs: Any) -> Any:
        body = {"agentId": self.agent, "expectedStatuses": ["todo", "backlog", "blocked"]}
        return self.send("POST", f"/issues/{issue}/checkout", body, **kwargs)

    def check_out_new(self) -> str:
        issue = self.open_assigned()
        assert 200 == self.checkout(issue).status_code
        return issue

    def inbox(self) -> list[Any]:
        items: list[Any] = self.api.get("/agents/me/inbox-lite", token=self.token)
        return items

    def list_ids(self, query: str = "") -> list[str]:
        return [issue["id"] for issue in self.api.get(f"/companies/{self.company}/issues{query}")]


@pytest.fixture
def issues_fixture(api: Api) -> IssuesFixture:
    company = api.company()
    return IssuesFixture(api, company, *api.agent(company), session=str(uuid4()))
