"""Each line of a process is a JSON object that says when, how grave, which process and what."""

import json
import os
import subprocess
import sys

import pytest

from routines.logs import LogFile

TALK = """
import logging, threading, warnings
import structlog
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from routines import logs

logs.configure("info", "scheduler")
log = structlog.get_logger(process="web")
log.debug("too little")
log.info("fired", position=7, title="\\x1b[2J\\x7f\\x9b\\u202e")
structlog.get_logger().warning("nobody's")
logging.getLogger("psycopg.pool").warning("two\\nlines %d", 5)
logging.getLogger("psycopg.pool").warning("error connecting in %r: %s", "pool-1", "refused")
try:
    raise ValueError("no")
except ValueError:
    log.exception("failed")
    logging.getLogger("uvicorn.error").exception("failed")
warnings.warn("old", DeprecationWarning)
within = SpanContext(trace_id=10, span_id=11, is_remote=True, trace_flags=TraceFlags(1))
with trace.use_span(NonRecordingSpan(within)):
    log.info("within")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("the end")
"""


@pytest.fixture(scope="module")
def lines():
    talked = subprocess.run([sys.executable, "-W", "always", "-c", TALK], capture_output=True, text=True, check=False)
    assert (1, "") == (talked.returncode, talked.stdout)
    return [json.loads(line) for line in talked.stderr.splitlines()]


def test_every_line_is_json_with_time_level_process_and_event(lines):
    assert 9 == len(lines)
    for line in lines:
        assert {"timestamp", "level", "process", "event"} <= line.keys()
        assert line["timestamp"].endswith("Z")


def test_a_line_says_which_process_it_is_of(lines):
    values = {line["event"]: line["process"] for line in lines}

    assert ("web", "scheduler", "scheduler") == (values["fired"], values["nobody's"], values["two\nlines 5"])


def test_what_a_library_says_is_under_its_name(lines):
    assert ["psycopg.pool", "uvicorn.error", "py.warnings"] == [line["logger"] for line in lines if "logger" in line]


def test_each_try_to_connect_of_a_pool_has_no_line_since_an_outage_is_told_by_itself(lines):
    assert ["two\nlines 5"] == [line["event"] for line in lines if line.get("logger") == "psycopg.pool"]


def test_an_error_is_in_the_line_that_tells_of_it(lines):
    values = {(line["event"], line["level"]): line["exception"] for line in lines if "exception" in line}

    assert {("failed", "error"), ("crashed", "critical")} == values.keys()
    assert [True, True] == ["ValueError: no" in line["exception"] for line in lines if line["event"] == "failed"]
    crashes = [line["exception"] for line in lines if line["event"] == "crashed"]
    assert ["ZeroDivisionError: division by zero", "RuntimeError: the end"] == [
        crash.splitlines()[-1] for crash in crashes
    ]


def test_a_line_within_a_span_names_its_trace(lines):
    [within] = [line for line in lines if "trace_id" in line]

    assert ("within", f"{10:032x}", f"{11:016x}") == (within["event"], within["trace_id"], within["span_id"])


def test_a_line_is_ascii_so_that_no_terminal_obeys_what_others_wrote():
    talked = subprocess.run([sys.executable, "-c", TALK], capture_output=True, check=False)

    text = talked.stderr.decode("ascii")
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "\\u001b[2J\\u007f\\u009b\\u202e" in text


FILL = """
import logging, os, resource, signal, sys
import structlog
from routines import logs

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
logs.configure("info", "scheduler")
log = structlog.get_logger()
log.info("before")
size = os.fstat(2).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))  # room for ten bytes more
log.info("cut off")
log.info("lost")
logging.getLogger("psycopg.pool").warning("lost as well")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.info("after")
"""


def test_a_line_that_finds_no_room_is_dropped_and_counted_and_no_work_fails(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        result = subprocess.run([sys.executable, "-c", FILL], stderr=file, check=False)

    before, cut, *rest = (tmp_path / "log").read_text().splitlines()
    lost, last_line = (json.loads(line) for line in rest)
    assert 0 == result.returncode
    assert ("before", 10) == (json.loads(before)["event"], len(cut))
    assert ("log_lines_lost", 3, "error", "scheduler") == tuple(
        lost[name] for name in ("event", "lines", "level", "process")
    )
    assert "after" == last_line["event"]


def test_a_log_that_was_closed_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    file = LogFile(writer, lambda count: f"{count} lost\n")

    file.write("nobody reads this\n")  # EPIPE: Python ignores SIGPIPE

    os.close(writer)
