"""The output of a command: shown line by line as it comes, and kept up to a bound, with its secrets masked."""

import os
from collections.abc import Callable, Iterator, Sequence
from threading import Lock, Thread
from typing import IO, Literal

MASK = b"***"
LONGEST_PIECE = 1 << 16  # bytes of a line that has not ended; what goes beyond is passed on
LEFT_OUT = "\n[... {} bytes are left out here ...]\n"

Stream = Literal["stdout", "stderr"]
Hear = Callable[[Stream, str], None]  # called with a stream and a text that was printed on it
Show = Callable[[str, Stream, str], None]  # the same, with the name of the work first


class SecretMask:
    """
    Replaces secrets in a stream of bytes, wherever it is split, and also where one overlaps another. No secret has a line
    break. NUL is left out before.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret.encode(errors="surrogatepass") for secret in secrets]
        self._overlap = max(map(len, self._secrets), default=1) - 1
        self._held = b""
        # Bytes at the beginning of `_held` that belong to a secret whose mask is passed on already.
        self._masked_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be passed on: whole lines, and most of a very long one."""
        self._held += chunk.replace(b"\0", b"")
        end = max(self._held.rfind(b"\n"), self._held.rfind(b"\r")) + 1
        if len(self._held) - end > LONGEST_PIECE + self._overlap:
            end = len(self._held) - self._overlap  # a secret that begins before this place has arrived in full
        return self._pass_on(end)

    def rest(self) -> bytes:
        """Return the line that has not ended."""
        return self._pass_on(len(self._held))

    def _pass_on(self, end: int) -> bytes:
        piece, covered_bytes = bytearray(), self._masked_bytes
        for start, stop in sorted(self._find_secrets(end)):
            if start >= covered_bytes:
                piece += self._held[covered_bytes:start] + MASK
            covered_bytes = max(covered_bytes, stop)
        piece += self._held[covered_bytes:end]
        self._held, self._masked_bytes = self._held[end:], max(0, covered_bytes - end)
        return bytes(piece)

    def _find_secrets(self, end: int) -> Iterator[tuple[int, int]]:
        """Yield where each secret begins and stops that begins before `end`."""
        for secret in self._secrets:
            start = self._held.find(secret)
            while 0 <= start < end:
                yield start, start + len(secret)
                start = self._held.find(secret, start + 1)


class OutputEnds:
    """The first and the last bytes of an output; every text of up to `most` characters is kept whole."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._half = 2 * most + 2  # bytes; a character has at most 4
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Keep the data, and drop bytes from the middle when there are too many."""
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        del self._tail[: -self._half]
        self._size += len(data)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out of the text."""
        return self._size == len(self._head) + len(self._tail) and len(self._decode_kept()) <= self.most

    def text(self) -> str:
        """Return the output as sound text, with a mark where its middle is left out."""
        if self._size > len(self._head) + len(self._tail):
            return _join_ends(_decode_bytes(self._head), _decode_bytes(self._tail), self.most, self._size)
        return shorten(self._decode_kept(), self.most)

    def _decode_kept(self) -> str:
        return _decode_bytes(self._head + self._tail)


class Reader:
    """Reads one output of a command in a thread of its own until it ends, or until `finish`."""

    def __init__(self, pipe: IO[bytes], most: int, secrets: Sequence[str], take: Callable[[str], None]) -> None:
        self.kept = OutputEnds(most)
        self._pipe = pipe
        self._masking = SecretMask(secrets)
        self._pass_on = take
        self._lock = Lock()
        self._over = False
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def finish(self, patience_s: float) -> None:
        """Wait for the end; what a process that the command left behind prints after `patience_s` is dropped."""
        self._thread.join(patience_s)
        with self._lock:
            self._take_piece(self._masking.rest())
            self._over = True

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), 1 << 16):
                with self._lock:
                    if not self._over:
                        self._take_piece(self._masking.feed(chunk))

    def _take_piece(self, piece: bytes) -> None:
        if piece:
            self.kept.add(piece)
            self._pass_on(_decode_bytes(piece))


def shorten(text: str, most: int) -> str:
    """Return the text if it has at most `most` characters, else its head and its tail with a mark between them."""
    return text if len(text) <= most else _join_ends(text, text, most, len(text.encode()))


def last_line(text: str) -> str:
    """Return the last line that is not blank; empty if there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _join_ends(head: str, tail: str, most: int, size: int) -> str:
    first, last = head[: most // 2], tail[-(most // 2) :]
    return first + LEFT_OUT.format(size - len(first.encode()) - len(last.encode())) + last


def _decode_bytes(data: bytes | bytearray) -> str:
    return data.decode(errors="replace")
