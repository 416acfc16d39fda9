"""
The daily success rate of each agent: a projection of one's own, its query, and its plot.

    routines projections run examples/success_rate.py:success_rate --once
    python examples/success_rate.py postgresql://localhost/routines > success-rate.svg

A run counts for the day on which it ended, for the agent to whom its issue was assigned first.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
from msgspec.structs import replace

from domain.events import AgentCreated, IssueOpened, RunCompleted, RunFailed
from routines.analysis import ReadModel, Recorded, Row, Rows, Table


class AgentRow(Row, frozen=True):
    """An agent; its id is the agent's."""

    name: str


class AgentRunRow(Row, frozen=True):
    """A run that an agent was to do; its id is the run's. It has not ended while `ended_on` is None."""

    agent_id: UUID
    ended_on: date | None = None
    completed: bool = False


AGENT = Table("agent", AgentRow)
AGENT_RUN = Table("agent_run", AgentRunRow)

SCHEMA = """
CREATE TABLE agent (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE agent_run (id uuid PRIMARY KEY, agent_id uuid NOT NULL, ended_on date, completed boolean NOT NULL);
CREATE INDEX ON agent_run (ended_on, agent_id);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event into the rows: `put` and `change` keep them in memory, and each is written once a batch."""
    match recorded.event:
        case AgentCreated(profile=profile):
            rows.put(AGENT, AgentRow(id=recorded.stream_id, name=profile.name))
        case IssueOpened(run_id=UUID() as run_id, details=details) if details.assignee_agent_id is not None:
            rows.put(AGENT_RUN, AgentRunRow(id=run_id, agent_id=details.assignee_agent_id))
        case RunCompleted() | RunFailed() as end:  # the later one counts, if an issue is reopened
            rows.change(
                AGENT_RUN,
                recorded.stream_id,
                lambda row: replace(row, ended_on=recorded.at.date(), completed=isinstance(end, RunCompleted)),
            )
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Name the rows that an event changes, so that those of a batch are fetched together; without it, one by one."""
    if isinstance(recorded.event, RunCompleted | RunFailed):
        yield AGENT_RUN, recorded.stream_id


success_rate = ReadModel(
    name="success_rate",
    version=1,  # raise it when the fold makes other rows of the same events
    tables=(AGENT, AGENT_RUN),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset({AgentCreated, IssueOpened, RunCompleted, RunFailed}),
)

DAILY = """
    SELECT run.ended_on, agent.name, count(*) AS runs, avg(run.completed::int)::float8 AS success_rate
    FROM own_success_rate.agent_run run JOIN own_success_rate.agent agent ON agent.id = run.agent_id
    WHERE run.ended_on IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"""

Daily = tuple[date, str, int, float]
WIDTH, HEIGHT, MARGIN = 640, 240, 40
COLOURS = ("#0b62a3", "#b3501b", "#2d7d46", "#7b3fa0", "#8a6d00")


def plot(days: Sequence[Daily]) -> str:
    """Return the rates as a picture in SVG, one line for each agent."""
    if not days:
        return '<svg xmlns="http://www.w3.org/2000/svg"><text y="16">No run has ended yet</text></svg>\n'
    first, last = (end(day for day, *_ in days).toordinal() for end in (min, max))
    lines = defaultdict(list)
    for day, name, _, rate in days:
        x = MARGIN + (WIDTH - 2 * MARGIN) * (day.toordinal() - first) / max(last - first, 1)
        lines[name].append(f"{x:.0f},{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * rate:.0f}")
    begin, end_ = date.fromordinal(first), date.fromordinal(last)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        "<title>Share of runs that succeeded, by day and agent</title>",
        f'<path d="M{MARGIN} {MARGIN}V{HEIGHT - MARGIN}H{WIDTH - MARGIN}" fill="none" stroke="#555"/>',
        f'<text x="4" y="{MARGIN + 4}">100 %</text><text x="16" y="{HEIGHT - MARGIN + 4}">0 %</text>',
        f'<text x="{MARGIN}" y="{HEIGHT - 20}">{begin}</text>',
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 20}" text-anchor="end">{end_}</text>',
    ]
    for place, (name, points) in enumerate(lines.items()):
        colour, safe = COLOURS[place % len(COLOURS)], name.replace("&", "&amp;").replace("<", "&lt;")
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{MARGIN + 8 + 150 * place}" y="20" fill="{colour}">{safe}</text>')
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as conn:
        sys.stdout.write(plot(conn.execute(DAILY).fetchall()))
