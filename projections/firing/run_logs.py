"""
The output of a run's commands, as the worker sends it while they run.

This is no read model: it follows from no event, since it would outgrow the log of events, and nobody needs it for ever
(decision 0038). Parts of a run come one after another from the session that has its issue.
"""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg.types.json import Json

from domain.bounds.limits import KIB, Limits
from projections.engine.table import Connection
from projections.responses import ResponseBody, time

PAGE_BYTES = 256 * KIB  # after which a page ends
PART_COST = 256  # bytes that count for each part beside its text, so that there are not very many
FORGOTTEN = 1_000  # parts in one transaction
NOT_KEPT = -1  # the number of the part that says that the rest is not kept
OF_RUN = "[... what follows is not kept: the log of a run has at most {} bytes ...]\n"
OF_COMPANY = "[... what follows is not kept: the logs of the company's runs have at most {} bytes ...]\n"


class LogOutput(ResponseBody, frozen=True, kw_only=True):
    """A piece of output. The stream `mark` tells where something is left out."""

    stream: Literal["stdout", "stderr", "mark"]
    text: str


class LogPart(ResponseBody, frozen=True, kw_only=True):
    """What a command printed in a moment, in the work session that ran it."""

    position: int
    session_id: UUID
    at: str
    output: list[LogOutput]


class LogAppended(ResponseBody, frozen=True, kw_only=True):
    """Whether the log takes no more of this work session."""

    is_full: bool


_KNOW_COMPANY = "INSERT INTO run_log_size (company_id, bytes) VALUES (%s, 0) ON CONFLICT DO NOTHING"
_COMPANY_BYTES = "SELECT bytes FROM run_log_size WHERE company_id = %s FOR UPDATE"
_RUN_BYTES = "SELECT coalesce(sum(bytes), 0) FROM run_log WHERE run_id = %s"
_APPEND = """
    INSERT INTO run_log (run_id, company_id, session_id, part, at, bytes, output)
    VALUES (%s, %s, %s, %s, clock_timestamp(), %s, %s) ON CONFLICT DO NOTHING"""
_GROW = "UPDATE run_log_size SET bytes = bytes + %s WHERE company_id = %s"
_PARTS = """
    SELECT position, session_id, at, output FROM (
        SELECT *, sum(bytes) OVER (ORDER BY position) AS total FROM run_log WHERE run_id = %s AND position > %s) parts
    WHERE total - bytes < %s ORDER BY position"""
_FORGET = """
    WITH forgotten AS (
        DELETE FROM run_log WHERE position IN (
            SELECT position FROM run_log WHERE at < clock_timestamp() - make_interval(days => %s) ORDER BY at LIMIT %s)
        RETURNING company_id, bytes),
    freed AS (SELECT company_id, sum(bytes) AS bytes FROM forgotten GROUP BY company_id)
    UPDATE run_log_size s SET bytes = s.bytes - f.bytes FROM freed f WHERE s.company_id = f.company_id"""


def append(  # noqa: PLR0913, PLR0917 what a part is
    conn: Connection,
    company_id: UUID,
    run_id: UUID,
    session_id: UUID,
    part: int,
    output: Sequence[Any],
    limits: Limits,
) -> LogAppended:
    """
    Append a part to the log of a run; one that is sent again changes nothing.

    Beyond the bounds of the run or of its company it is not kept, and a mark says so, once for each session.
    """
    pieces = msgspec.to_builtins(output)
    size = PART_COST + sum(len(piece["text"].encode()) for piece in pieces)
    with conn.transaction():
        conn.execute(_KNOW_COMPANY, (company_id,))
        of_company = _fetch_number(conn, _COMPANY_BYTES, company_id)
        mark = None
        if _fetch_number(conn, _RUN_BYTES, run_id) + size > limits.max_run_log_bytes:
            mark = OF_RUN.format(limits.max_run_log_bytes)
        elif of_company + size > limits.max_company_run_log_bytes:
            mark = OF_COMPANY.format(limits.max_company_run_log_bytes)
        if mark is not None:
            part, size, pieces = NOT_KEPT, PART_COST, [{"stream": "mark", "text": mark}]
        values = (run_id, company_id, session_id, part, size, Json(pieces))
        if conn.execute(_APPEND, values).rowcount:
            conn.execute(_GROW, (size, company_id))
    return LogAppended(is_full=mark is not None)


def parts(conn: Connection, run_id: UUID, after: int) -> list[LogPart]:
    """Return the parts of a run's log after a position, up to some PAGE_BYTES, at least one if there is any."""
    return [
        LogPart(
            position=position, session_id=session_id, at=time(moment), output=msgspec.convert(output, list[LogOutput])
        )
        for position, session_id, moment, output in conn.execute(_PARTS, (run_id, after, PAGE_BYTES))
    ]


def forget(conn: Connection, days: int) -> None:
    """Delete the parts that are older than so many days."""
    while conn.execute(_FORGET, (days, FORGOTTEN)).rowcount:
        pass


def _fetch_number(conn: Connection, query: str, id_: UUID) -> int:
    row = conn.execute(query, (id_,)).fetchone()
    return int(row[0]) if row else 0
