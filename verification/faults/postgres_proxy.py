"""
Between a client and Postgres, on a Unix socket: sees every message of either side, and lets a fault decide on each.

A fault says PASS; CUT_BEFORE, CUT_WITHIN or CUT_AFTER: the connection ends before the message has gone on, when half of it
has, or after it; SILENCE: from this message on nothing goes on in either direction, though the connection seems to be
there, until `heal`; SWALLOW: the message alone is gone.
"""

import contextlib
import enum
import random
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote

SOCKET = ".s.PGSQL.5432"
LENGTH = 4  # bytes; it counts itself
CHUNK = 65_536


class Action(enum.Enum):
    PASS = enum.auto()
    SWALLOW = enum.auto()
    CUT_BEFORE = enum.auto()
    CUT_WITHIN = enum.auto()
    CUT_AFTER = enum.auto()
    SILENCE = enum.auto()


class Message(NamedTuple):
    of_client: bool
    kind: bytes  # one letter; empty for the first message of a client
    raw: bytes


class Fault(Protocol):
    """Is asked about each message, one at a time, in the order in which they pass."""

    def on(self, link: "Link", message: Message) -> Action: ...


class NoFault:
    def on(self, _link: "Link", _message: Message) -> Action:
        return Action.PASS


class FaultAtMessage:
    """Does something once, at the k-th message; `beside` is called just before."""

    def __init__(self, number: int, action: Action, beside: Callable[[], None] = lambda: None) -> None:
        self._left = number
        self._action = action
        self._beside = beside
        self.hit = threading.Event()

    def on(self, _link: "Link", _message: Message) -> Action:
        self._left -= 1
        if self._left:
            return Action.PASS
        self._beside()
        self.hit.set()
        return self._action


class LoseAnswers:
    """Statements that append are carried out, but their answer is lost, and the connection with it: now and then."""

    def __init__(self, chance: random.Random, share: float, marker: bytes = b"log.append") -> None:
        self._chance = chance
        self._share = share
        self._marker = marker
        self.lost = 0

    def on(self, link: "Link", message: Message) -> Action:
        if message.of_client:
            self._note_message(link, message)
        elif link.loses:
            if message.kind != b"Z":  # ready for query: it is committed
                return Action.SWALLOW
            self.lost += 1
            return Action.CUT_BEFORE
        return Action.PASS

    def _note_message(self, link: "Link", message: Message) -> None:
        if message.kind == b"P" and self._marker in message.raw:
            link.names.add(message.raw[1 + LENGTH :].split(b"\0")[0])
        elif message.kind == b"B" and message.raw[1 + LENGTH :].split(b"\0")[1] in link.names:
            link.loses = self._chance.random() < self._share


class Link:
    """One connection through us."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.silent = False
        self.loses = False
        self.names: set[bytes] = set()  # the names of prepared statements that append

    def cut(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Listens in a directory of its own; `fault` may be changed at any time."""

    def __init__(self, server: Path) -> None:
        self.fault: Fault = NoFault()
        self.server = server  # the socket to which new connections lead
        self._directory = Path(tempfile.mkdtemp(prefix="routines-wire-"))
        self._links: list[Link] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._directory / SOCKET))
        self._listener.listen(200)
        self._is_closed = False
        threading.Thread(target=self._accept_clients, daemon=True).start()

    def url(self, user: str, dbname: str) -> str:
        options = "sslmode=disable&gssencmode=disable"
        return f"postgresql://{user}@/{dbname}?host={quote(str(self._directory))}&{options}"

    @property
    def links(self) -> list[Link]:
        """The connections through us; some may have ended."""
        return list(self._links)

    def heal(self) -> None:
        """End the connections that have gone silent, as the kernel of a client does after a while."""
        for link in self._links:
            if link.silent:
                link.cut()

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.cut()
        shutil.rmtree(self._directory)

    def _accept_clients(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.server))
            except OSError:  # Postgres is away
                client.close()
                server.close()
                continue
            link = Link(client, server)
            self._links = [*(one for one in self._links if one.client.fileno() >= 0), link]
            pumps = [
                threading.Thread(target=self._forward_bytes, args=(link, of_client), daemon=True)
                for of_client in (1, 0)
            ]
            for pump in pumps:
                pump.start()
            threading.Thread(target=_close_after, args=(link, pumps), daemon=True).start()

    def _forward_bytes(self, link: Link, of_client: bool) -> None:
        source, goal = (link.client, link.server) if of_client else (link.server, link.client)
        rest, has_type = b"", not of_client
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                rest += chunk
                for raw in (messages := _split(rest, has_type=has_type)):
                    kind = raw[:1] if has_type else b""
                    has_type = True
                    if not self._pass_message(link, Message(bool(of_client), kind, raw), goal):
                        return link.cut()
                rest = rest[sum(map(len, messages)) :]
        return None if link.silent else link.cut()

    def _pass_message(self, link: Link, message: Message, goal: socket.socket) -> bool:
        """Pass a message on; return whether the connection goes on."""
        with self._lock:
            if link.silent:
                return True
            action = self.fault.on(link, message)
            link.silent = action is Action.SILENCE
        if action in (Action.PASS, Action.CUT_AFTER):
            goal.sendall(message.raw)
        elif action is Action.CUT_WITHIN:
            goal.sendall(message.raw[: len(message.raw) // 2])
        return action in (Action.PASS, Action.SWALLOW, Action.SILENCE)


def _split(data: bytes, *, has_type: bool) -> list[bytes]:
    """Return the whole messages at the beginning of the data."""
    messages, start = list[bytes](), 0
    while True:
        head = start + (1 if has_type else 0)
        if len(data) < head + LENGTH:
            return messages
        end = head + int.from_bytes(data[head : head + LENGTH], "big")
        if len(data) < end:
            return messages
        messages.append(data[start:end])
        start, has_type = end, True


def _close_after(link: Link, pumps: list[threading.Thread]) -> None:
    for pump in pumps:
        pump.join()
    link.client.close()
    link.server.close()


@contextlib.contextmanager
def proxy_between(server: Path) -> Iterator[Proxy]:
    proxy = Proxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
