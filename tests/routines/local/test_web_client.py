"""What `routines up` asks its web process: the answer, or none from whoever does not answer."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from routines.local.listening import free_port
from routines.local.web_client import WebAnswer, WebClient


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked for, and by whom."""

    def do_GET(self) -> None:
        self.send_response(401 if self.headers["Authorization"] is None else 200)
        self.end_headers()
        self.wfile.write(f"{self.path} by {self.headers['Authorization']}".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Echo) as web:
        thread = threading.Thread(target=web.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def test_a_request_has_the_status_and_the_text_of_its_answer(url: str):
    client = WebClient(url)

    assert WebAnswer(200, "/api/companies by Bearer mine") == client.ask("GET", "/api/companies", "mine")
    assert WebAnswer(401, "/api/health by None") == client.ask("GET", "/api/health")


def test_nobody_who_answers_is_no_error():
    assert WebClient(f"http://127.0.0.1:{free_port('127.0.0.1', 0)}").ask("GET", "/api/health") is None


@pytest.mark.parametrize("token", ["two\nlines", "Zürich €"])
def test_a_token_that_no_header_can_hold_is_no_error(url: str, token: str):
    assert WebClient(url).ask("GET", "/api/companies", token) is None
