"""Sends what a command prints to the log of its run or its trajectory, while the command runs."""

from collections.abc import Callable
from threading import Event as Stop
from threading import Lock, Thread
from typing import Any, Self

from routines.worker.errors import CannotWork, RequestRefused
from routines.worker.output import Stream

PAUSE_S = 2.0  # between two parts: a command that prints much costs no more than this
MOST_PART = 32_768  # characters of a part; what is printed beyond it in one pause is left out
MOST_PIECES = 100  # the most changes between standard output and standard error in one part
LEFT_OUT = "[... {} bytes are left out here ...]\n"

Send = Callable[[Any], bool | None]  # sends a part; returns whether the log is full, or None if no answer came


class LiveLog:
    """
    Gathers the output of a command, and sends it in parts while it is entered.

    What the server does not take is lost, and stops nothing: the output is kept as a comment at the end anyway.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = Lock()
        self._pieces: list[dict[str, str]] = []
        self._size = 0  # characters in the pieces
        self._left_out = 0  # bytes
        self._part = 0
        self._unsent: Any = None  # a part whose answer was not heard
        self._is_full = False
        self._stop = Stop()
        self._thread = Thread(target=self._keep_sending, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._send_next()

    def add(self, stream: Stream, text: str) -> None:
        """Take some output, as much as there is room for until the next part is sent."""
        with self._lock:
            if self._is_full:
                return
            is_new = not self._pieces or self._pieces[-1]["stream"] != stream
            room = MOST_PART - self._size if not self._left_out and len(self._pieces) < MOST_PIECES else 0
            piece = text[:room]
            self._size += len(piece)
            self._left_out += len(text[room:].encode(errors="replace"))
            if piece and is_new:
                self._pieces.append({"stream": stream, "text": piece})
            elif piece:
                self._pieces[-1]["text"] += piece

    def _keep_sending(self) -> None:
        while not self._is_full and not self._stop.wait(PAUSE_S):
            self._send_next()

    def _send_next(self) -> None:
        body = self._unsent or self._take_part()
        if body is None or self._is_full:
            return
        try:
            is_full = self._send(body)
        except (RequestRefused, CannotWork):  # raised by servers without run logs, too
            self._is_full = True
            return
        self._unsent = body if is_full is None else None
        self._is_full = bool(is_full)

    def _take_part(self) -> Any:
        """Return the next part; None when nothing was printed."""
        with self._lock:
            pieces, self._pieces, self._size = self._pieces, [], 0
            if self._left_out:
                pieces.append({"stream": "mark", "text": LEFT_OUT.format(self._left_out)})
                self._left_out = 0
            if not pieces:
                return None
            self._part += 1
            return {"part": self._part - 1, "output": pieces}
