"""What the demo creates through the API, and clears at its end."""

from typing import Any

import httpx
import msgspec

from routines.commands.terminal import CommandError
from routines.worker.server import client, message


class Failed(CommandError):
    """The demo did not reach its end; the message says why and what to do."""


class Board:
    """A client of the API with a board token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.client = client(url, token)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return the JSON of its answer or None. Raises Failed with the server's message."""
        try:
            response = self.client.request(method, path, json=body)
        except httpx.TransportError:
            raise Failed(f"cannot reach Routines at {self.url}: start it with `make up`, or name it by --url") from None
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise Failed(
                f"{self.url} does not take the board token, which has expired or is of another database: "
                "`routines board-key` mints one for --token"
            )
        if not response.is_success:
            raise Failed(f"{method} {path} was answered {response.status_code}: {message(response)}")
        return response.json() if response.content else None


class Fixtures(msgspec.Struct, frozen=True):
    """What the demo created: a company, its agent with a key, and a routine, as the API answered."""

    company: dict[str, Any]
    agent: dict[str, Any]
    key: dict[str, Any]
    routine: dict[str, Any]

    @classmethod
    def create_fixtures(cls, board: Board) -> "Fixtures":
        """Create the fixtures. Raises Failed."""
        company = board.ask("POST", "/api/companies", {"name": "Demo company"})
        agent = board.ask("POST", f"/api/companies/{company['id']}/agents", {"name": "Demo agent"})
        key = board.ask("POST", f"/api/agents/{agent['id']}/keys", {"name": "demo"})
        routine = {"title": "Say hello", "assigneeAgentId": agent["id"]}
        return cls(company, agent, key, board.ask("POST", f"/api/companies/{company['id']}/routines", routine))

    def clear(self, board: Board) -> None:
        """Pause the routine and revoke the key, so that nothing fires any more. Raises Failed."""
        board.ask("PATCH", f"/api/routines/{self.routine['id']}", {"status": "paused"})
        board.ask("DELETE", f"/api/agents/{self.agent['id']}/keys/{self.key['id']}")
