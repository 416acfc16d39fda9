"""A receiver of webhooks, which keeps what it was sent and answers what it is told to."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import msgspec


class ReceivedRequest(msgspec.Struct):
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Receiver:
    """`answer` gives the status for a request and how often that delivery came before; None drops the connection."""

    def __init__(self, answer: Callable[[ReceivedRequest, int], int | None] = lambda _request, _before: 200) -> None:
        self.got: list[ReceivedRequest] = []
        self.good: list[ReceivedRequest] = []  # those that were answered 2xx
        self.answer = answer
        self.headers: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                names = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(length)
                if len(body) < length:  # the sender was killed while it sent
                    self.close_connection = True
                    return
                request = ReceivedRequest(self.path, names, body)
                before = sum(one.id == request.id for one in receiver.got)
                receiver.got.append(request)
                status = receiver.answer(request, before)
                if status is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                if 200 <= status < 300:
                    receiver.good.append(request)
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError, ValueError):  # the sender was killed, or we have hung up
                    super().handle()

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/in"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer_slowly(seconds: float) -> Callable[[ReceivedRequest, int], int]:
    """Return an answer that takes so many seconds."""

    def answer(_request: ReceivedRequest, _before: int) -> int:
        time.sleep(seconds)
        return 200

    return answer
