"""HTTP load by wrk, a client in C: one in Python takes more of the processor than what it measures."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

SCRIPT = Path(__file__).with_name("replay.lua")
MISSING = "wrk is not installed: `apt-get install wrk` (the benchmark installs nothing outside the checkout by itself)"
LIMIT_S = 30


class Answers(msgspec.Struct, frozen=True):
    """What came of a load: its requests, the seconds that it took, latencies, and how many were refused or unanswered."""

    requests: int
    seconds: float
    p50_s: float
    p99_s: float
    refused: int
    failed: int

    @property
    def rate(self) -> float:
        """The answers a second."""
        return self.requests / self.seconds


def request(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Write a request as it is sent. Neither its headers nor its body may contain a zero byte."""
    place = urlsplit(url)
    target = f"{place.path}?{place.query}" if place.query else place.path
    lines = [f"{method} {target} HTTP/1.1", f"Host: {place.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def load(url: str, requests: Iterable[bytes], connections: int, seconds: int) -> Answers:
    """
    Send the requests again and again, in turn, over so many connections, for so many seconds.

    Exits with a sentence when wrk is missing, or when an answer is none or no 2xx.
    """
    if (wrk := shutil.which("wrk")) is None:
        raise SystemExit(MISSING)
    threads = min(connections, 2)
    with tempfile.NamedTemporaryFile() as file:
        file.writelines(text + b"\0" for text in requests)
        file.flush()
        options = [f"-t{threads}", f"-c{connections}", f"-d{seconds}s", f"-T{LIMIT_S}s", f"--script={SCRIPT}"]
        command = [wrk, *options, url, "--", file.name, str(threads)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answers = msgspec.json.decode(output.splitlines()[-1], type=Answers)
    if answers.refused or answers.failed or not answers.requests:
        raise SystemExit(f"{url}: {answers}\n{output}")
    return answers
