"""
A small witness (C2SP tlog-witness) over real HTTP, written from the standard and with none of our code.

What it verifies, it verifies with metamorphic-log (Rust), which we have not written either.
"""

import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import metamorphic_log as foreign
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MOMENT = 1_795_993_200  # by its clock, in seconds since 1970: 2026-11-29, 23:00 UTC
EMPTY_ROOT = sha256().digest()


class Cosigner:
    """The name and the key of a witness."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
        public = b"\x04" + self._key.public_key().public_bytes_raw()
        self._id = sha256(name.encode() + b"\n" + public).digest()[:4]
        self.verifier_key = f"{name}+{self._id.hex()}+{b64encode(public).decode()}"

    def line(self, note: str) -> str:
        """The cosignature of a checkpoint."""
        text = note.rpartition("\n\n")[0] + "\n"
        signature = self._key.sign(f"cosignature/v1\ntime {MOMENT}\n{text}".encode())
        return f"\u2014 {self.name} {b64encode(self._id + MOMENT.to_bytes(8, 'big') + signature).decode()}"


class Request(NamedTuple):
    """What the witness was asked: which size it should know, the proof, and the checkpoint."""

    older: int
    proof: list[bytes]
    note: str


class Witness:
    """What a witness remembers of each log, by its origin: the key that it trusts, and the largest tree that it has seen."""

    def __init__(self, name: str = "witness.example/w1") -> None:
        self.cosigner = Cosigner(name)
        self.keys: dict[str, str] = {}
        self.heads: dict[str, tuple[int, bytes]] = {}
        self.requests: list[Request] = []
        self.forced: tuple[int, bytes] | None = None  # an answer that it gives whatever it is asked
        self.retry_after: str | None = None  # how long it asks to be left alone
        self.url = ""
        self._lock = threading.Lock()

    def trust(self, verifier_key: str) -> None:
        """Witness the log that this key signs for."""
        self.keys[verifier_key.partition("+")[0]] = verifier_key

    @property
    def sizes(self) -> list[int]:
        """What it has seen, of each log."""
        return [size for size, _ in self.heads.values()]

    def answer(self, body: bytes) -> tuple[int, str, bytes]:
        """The status, the type and the body of its answer to a request."""
        first, gap, note = body.decode().partition("\n\n")
        older, *proof = first.split("\n")
        request = Request(int(older.removeprefix("old ")), [b64decode(line, validate=True) for line in proof], note)
        assert (gap, older[:4]) == ("\n\n", "old ")
        assert len(proof) <= 63
        with self._lock:
            self.requests.append(request)
            if self.forced is not None:
                return self.forced[0], "text/plain", self.forced[1]
            return self._judge_request(request)

    def _judge_request(self, request: Request) -> tuple[int, str, bytes]:
        origin = request.note.partition("\n")[0]
        if origin not in self.keys:
            return 404, "text/plain", b"unknown log\n"
        try:
            head = foreign.checkpoint_verify(request.note, [self.keys[origin]])
        except foreign.VerifyError:
            return 403, "text/plain", b"not signed by a known key\n"
        if request.older > head.size:
            return 400, "text/plain", b"old size beyond the checkpoint\n"
        size, root = self.heads.get(origin, (0, EMPTY_ROOT))
        if request.older != size or (size == head.size and root != head.root):
            return 409, "text/x.tlog.size", f"{size}\n".encode()
        if not self._goes_on(request, head, size, root):
            return 422, "text/plain", b"the proof does not verify\n"
        self.heads[origin] = (head.size, head.root)
        return 200, "text/plain", f"{self.cosigner.line(request.note)}\n".encode()

    def _goes_on(self, request: Request, head: Any, size: int, root: bytes) -> bool:
        if size == 0:
            return not request.proof
        try:
            foreign.verify_consistency(size, head.size, request.proof, root, head.root)
        except foreign.VerifyError:
            return False
        return True


@contextmanager
def serve_witness(witness: Witness) -> Iterator[Witness]:
    """The witness answers at its `url` until the end of the `with`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, kind, content = (
                witness.answer(body) if self.path == "/w1/add-checkpoint" else (404, "text/plain", b"")
            )
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            if witness.retry_after is not None:
                self.send_header("Retry-After", witness.retry_after)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    witness.url = f"http://127.0.0.1:{server.server_address[1]}/w1"
    try:
        yield witness
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
