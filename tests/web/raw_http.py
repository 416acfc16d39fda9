"""What a client says and reads that writes its bytes by itself."""

import json
import socket
from contextlib import suppress
from typing import Any

HOST = b"Host: routines.example\r\n"


def read_until_closed(client: socket.socket) -> bytes:
    """Until the other end closes; a reset is an end, too."""
    said = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65_536):
            said += part
    return said


def split_answers(said: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of each answer of a connection; all of ours announce their length."""
    statuses = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(one.lower().split(": ", 1) for one in lines)
        length = int(headers.get("content-length", 0))
        statuses.append((int(line.split()[1]), headers, said[:length]))
        said = said[length:]
    return statuses


def read_only_answer(said: bytes) -> tuple[int, Any]:
    ((status, _, body),) = split_answers(said)
    return status, json.loads(body)["error"]
