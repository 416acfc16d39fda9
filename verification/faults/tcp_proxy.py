"""Between a client and a server over TCP: lets everything pass, or nothing, without a sign of either end."""

import contextlib
import socket
import threading
from collections.abc import Iterator

CHUNK = 65_536


class TcpProxy:
    """Listens on a port of its own. While it is `cut`, nothing passes, and what was on its way is gone."""

    def __init__(self, port: int) -> None:
        self.cut = False
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept_clients, daemon=True).start()

    def heal(self) -> None:
        """Let everything pass again; the connections from before are at an end."""
        self._end_all()
        self.cut = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end_all()

    def _end_all(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept_clients(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:
                client.close()
                continue
            self._ends += [client, server]
            for source, goal in ((client, server), (server, client)):
                threading.Thread(target=self._forward_bytes, args=(source, goal), daemon=True).start()

    def _forward_bytes(self, source: socket.socket, goal: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                if not self.cut:
                    goal.sendall(chunk)
            goal.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxies(port: int, many: int) -> Iterator[list[TcpProxy]]:
    """Yield `many` proxies of the server on a port of this machine."""
    opened = [TcpProxy(port) for _ in range(many)]
    try:
        yield opened
    finally:
        for proxy in opened:
            proxy.close()
