"""The application in a server of the product's own make, with little patience, and the operations that it describes."""

import socket
from collections.abc import Iterator
from contextlib import closing
from threading import Thread
from typing import Any

import httpx
import pytest

from routines.web_server import server
from tests.api import Api
from tests.waiting import wait_for
from tests.web.raw_http import HOST, read_until_closed
from web.app import create_app
from web.http.backend import Backend
from web.http.protocol import Connection

ID = "11111111-1111-4111-8111-111111111111"
FIRE = "fireWebhook"


@pytest.fixture(scope="module")
def served(api: Api) -> Any:
    return api.get("/openapi.json")


@pytest.fixture(scope="module")
def taking_bodies(served: Any) -> list[tuple[str, str]]:
    """Method and path of every operation that takes a JSON body; what webhook senders send is not ours to shape."""
    return [
        (method.upper(), path.removeprefix("/api").replace("{", "").replace("}", ""))
        for path, operations in served["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation and operation["operationId"] != FIRE
    ]


def path_of_nobody(path: str) -> str:
    """The path with ids of things that are not there."""
    return "/".join(ID if part.endswith("_id") else part for part in path.split("/"))


class HastyConnection(Connection):
    """With little patience, so that tests need none."""

    receive_s = 0.4


class HastyServer:
    """The application in a server of the product's own make."""

    def __init__(self, api: Api) -> None:
        backend = Backend(api.system.executor, api.system.pool, api.system.settings.patience_s)
        app = create_app(backend, "https://routines.example")
        self.token = api.token
        self.server = server(app, api.system.settings, "127.0.0.1", 0, HastyConnection)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        wait_for(lambda: self.server.started)

    def connect(self, *, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20)
        client.connect(("127.0.0.1", self.port))
        return client

    def exchange(self, *parts: bytes) -> bytes:
        """All that a connection says after these bytes, until it is closed."""
        with closing(self.connect()) as client:
            for part in parts:
                client.sendall(part)
            return read_until_closed(client)

    def authorized_headers(self) -> bytes:
        return HOST + f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n".encode()

    def read_health_status(self) -> int:
        return httpx.get(f"http://127.0.0.1:{self.port}/api/health", timeout=20, trust_env=False).status_code

    def count_connections(self) -> int:
        return len(self.server.server_state.connections)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


@pytest.fixture(scope="module")
def hasty_server(api: Api) -> Iterator[HastyServer]:
    running = HastyServer(api)
    yield running
    running.stop()
