"""
Structured logs: one JSON object a line on standard error.

Each line has `timestamp` (UTC), `level`, `process` and `event`. Lines of libraries have `logger` as well, and lines
within a span have `trace_id` and `span_id`. A line that cannot be written, for instance because the disk is full, is
dropped and counted: no work fails because of a log line.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

# What a pool of connections says of each try to connect, several lines a second for as long as the database is away: that
# it is away is told by application/outage.py.
TRIES = (
    "error connecting in ",
    "reconnection attempt in ",
    "discarding closed connection",
    "discarding broken connection",
)

log = structlog.get_logger()


class LogFile:
    """
    The file of the log lines, in the form that the logging libraries expect. It takes whole lines and never raises.

    A line that cannot be written is dropped. Once there is room again, the next line is preceded by one that says how
    many were.
    """

    def __init__(self, file: int, lost_lines: Callable[[int], str]) -> None:
        """Write to this descriptor; `lost_lines` makes the line that says how many lines are missing."""
        self._file = file
        self._lost_lines = lost_lines
        self._lock = threading.Lock()
        self._lost_count = 0
        self._is_cut = False  # whether the last line has been written in part, without its end

    def write(self, line: str) -> int:
        """Write the line, or drop it and count it."""
        with self._lock:
            if self._lost_count and self._put(self._lost_lines(self._lost_count)):
                self._lost_count = 0
            if self._lost_count or not self._put(line):
                self._lost_count += 1
        return len(line)

    def flush(self) -> None:
        """Do nothing: each line is written at once."""

    def _put(self, line: str) -> bool:
        """Return whether the whole line has been written. The rest of a line that was cut off is never written."""
        rest = (b"\n" if self._is_cut else b"") + line.encode(errors="backslashreplace")
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self._file, rest) :]
                self._is_cut = bool(rest)
        return not rest


def configure(level: str, process: str) -> None:
    """Give every later log line of this process the same form, those of libraries and crashes included."""

    def of_process(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        line.setdefault("process", process)
        return line

    def lost_lines(count: int) -> str:
        line = {"event": "log_lines_lost", "lines": count, "level": "error", "process": process}
        return str(render(None, "error", stamp(None, "error", line))) + "\n"

    stamp, render = structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer()
    error_output = sys.stderr.fileno() if sys.stderr else os.open(os.devnull, os.O_WRONLY)  # None: it was closed
    file = LogFile(error_output, lost_lines)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        of_process,
        _of_trace,
        stamp,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file),  # type: ignore[arg-type]  # the factory only writes and flushes
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processor=render,
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
    )
    handler = logging.StreamHandler(file)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("psycopg.pool").addFilter(lambda record: not record.msg.startswith(TRIES))
    sys.excepthook = _log_crash
    threading.excepthook = lambda args: _log_crash(args.exc_type, args.exc_value, args.exc_traceback)


def _of_trace(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Add the ids of the current span, if there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = trace.format_trace_id(context.trace_id)
        line["span_id"] = trace.format_span_id(context.span_id)
    return line


def _log_crash(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    log.critical("crashed", exc_info=(kind, error, traceback))
